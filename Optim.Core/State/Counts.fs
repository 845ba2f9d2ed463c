namespace Optim.Core

open System.Collections.Immutable

/// How many steps each row has taken. Rows with the same count that step together form a class, so that a step replaces a
/// number for each class, and one number while all rows agree.
[<Sealed; AllowNullLiteral(false)>]
type Counts internal (classes: ImmutableArray<int>, counts: ImmutableArray<int64>) =
    /// The steps of a row.
    member _.Item
        with get (row: int) = counts[if classes.IsEmpty then 0 else classes[row]]

    /// The class of a row.
    member internal _.Class(row: int) =
        if classes.IsEmpty then 0 else classes[row]

    /// The number of classes.
    member internal _.Classes = counts.Length
    /// The count of a class.
    member internal _.OfClass(index: int) = counts[index]

    /// One more for the classes that step.
    member internal _.Advance(steps: bool array) =
        let builder = ImmutableArray.CreateBuilder<int64> counts.Length

        for index in 0 .. counts.Length - 1 do
            builder.Add(if steps[index] then counts[index] + 1L else counts[index])

        Counts(classes, builder.MoveToImmutable())

    /// No steps yet.
    static member internal Zero = Counts(ImmutableArray.Empty, ImmutableArray.Create 0L)

    /// Rows with these counts, of which some step together: equal pairs form a class.
    static member internal Of(count: int -> int64, steps: int -> bool, rows: int) =
        let found = System.Collections.Generic.Dictionary<struct (int64 * bool), int>()
        let counts = ImmutableArray.CreateBuilder<int64>()
        let classes = ImmutableArray.CreateBuilder<int> rows

        for row in 0 .. rows - 1 do
            let key = struct (count row, steps row)

            match found.TryGetValue key with
            | true, index -> classes.Add index
            | _ ->
                found.Add(key, counts.Count)
                classes.Add counts.Count
                counts.Add(count row)

        if counts.Count = 0 then
            Counts.Zero
        elif counts.Count = 1 then
            Counts(ImmutableArray.Empty, counts.ToImmutable())
        else
            Counts(classes.MoveToImmutable(), counts.ToImmutable())
