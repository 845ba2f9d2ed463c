namespace Optim.Core

open System.Collections.Immutable
open Optim.Kernels

/// How many steps each row has taken, and the numbers that some rules keep beside (mu_product). Rows with the same numbers that step
/// together form a class, so that a step replaces the numbers of each class, and one set of them while all rows agree.
[<Sealed; AllowNullLiteral(false)>]
type Counts internal (classes: ImmutableArray<int>, counts: ImmutableArray<int64>, scalars: ImmutableArray<Scalars<Real>>) =
    /// The steps of a row.
    member _.Item
        with get (row: int) = counts[if classes.IsEmpty then 0 else classes[row]]

    /// The kept numbers of a row; they mean nothing before its first step.
    member internal _.Scalars(row: int) =
        scalars[if classes.IsEmpty then 0 else classes[row]]

    /// The class of a row.
    member internal _.Class(row: int) =
        if classes.IsEmpty then 0 else classes[row]

    /// The number of classes.
    member internal _.Classes = counts.Length
    /// The count of a class.
    member internal _.OfClass(index: int) = counts[index]
    /// The kept numbers of a class.
    member internal _.ScalarsOfClass(index: int) = scalars[index]

    /// One more for the classes that step, and their next numbers.
    member internal _.Advance(steps: bool array, next: Scalars<Real> array) =
        let builder = ImmutableArray.CreateBuilder<int64> counts.Length

        for index in 0 .. counts.Length - 1 do
            builder.Add(if steps[index] then counts[index] + 1L else counts[index])

        let nextScalars =
            if next.Length = 0 then
                scalars
            else
                let builder = ImmutableArray.CreateBuilder<Scalars<Real>> counts.Length

                for index in 0 .. counts.Length - 1 do
                    builder.Add(if steps[index] then next[index] else scalars[index])

                builder.MoveToImmutable()

        Counts(classes, builder.MoveToImmutable(), nextScalars)

    /// No steps yet.
    static member internal Zero =
        Counts(ImmutableArray.Empty, ImmutableArray.Create 0L, ImmutableArray.Create(Scalars<Real>()))

    /// Rows with these counts and numbers, of which some step together: equal ones form a class.
    static member internal Of(count: int -> int64, scalars: int -> Scalars<Real>, steps: int -> bool, rows: int) =
        let found =
            System.Collections.Generic.Dictionary<struct (int64 * Scalars<Real> * bool), int>()

        let counts = ImmutableArray.CreateBuilder<int64>()
        let numbers = ImmutableArray.CreateBuilder<Scalars<Real>>()
        let classes = ImmutableArray.CreateBuilder<int> rows

        for row in 0 .. rows - 1 do
            let key = struct (count row, scalars row, steps row)

            match found.TryGetValue key with
            | true, index -> classes.Add index
            | _ ->
                found.Add(key, counts.Count)
                classes.Add counts.Count
                counts.Add(count row)
                numbers.Add(scalars row)

        if counts.Count = 0 then
            Counts.Zero
        elif counts.Count = 1 then
            Counts(ImmutableArray.Empty, counts.ToImmutable(), numbers.ToImmutable())
        else
            Counts(classes.MoveToImmutable(), counts.ToImmutable(), numbers.ToImmutable())
