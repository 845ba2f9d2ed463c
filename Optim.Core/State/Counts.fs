namespace Optim.Core

open System
open System.Collections.Immutable
open Optim.Kernels

/// Numbers that count up: steps, evaluations, updates.
module internal Counting =
    /// Where counting stops, 2^62. No run gets there; but whatever stands in a file can be counted on from, saved and loaded again.
    let limit = 1L <<< 62

    let add (count: int64) more = min (count + more) limit

    /// A count in a state tree: a whole number, or a tensor of one; an ArgumentException says what it is of.
    let ofTree (what: string) (tree: Tree) : int64 =
        let refuse () : int64 =
            raise (ArgumentException $"{what} is {tree}; it must be a whole number from 0 to {limit}")

        let ofWhole number =
            if number >= 0L && number <= limit then
                number
            else
                refuse ()

        match tree with
        | Tree.Int number -> ofWhole number
        | Tree.Tensor view when view.Count = 1n && view.DType = DType.Int64 ->
            let copy = view.ToHost().Copy()
            let number = copy.AsSpan<int64>()[0]
            GC.KeepAlive copy.Owner
            ofWhole number
        | Tree.Tensor view when view.Count <> 1n || view.DType.IsComplex() ->
            raise (ArgumentException $"{what} is {tree}; it must be a single number")
        | Tree.Tensor _
        | Tree.Float _ ->
            let number = tree.ToDoubles()[0]

            if number >= 0.0 && number <= double limit && Math.Floor number = number then
                int64 number
            else
                let shown = OptionValue.Float number
                raise (ArgumentException $"{what} is {shown}; it must be a whole number from 0 to {limit}")
        | _ -> raise (ArgumentException $"{what} is {tree}; it must be a single number")

    /// A count as PyTorch keeps that of steps, a float32; where that cannot hold it a float64, and beyond 2^53 a whole number.
    let toTree (count: int64) : Tree =
        if count <= (1L <<< 24) then
            Tree.Tensor(TensorView.Of([| float32 count |], [||]))
        elif count <= (1L <<< 53) then
            Tree.Tensor(TensorView.Of([| double count |], [||]))
        else
            Tree.Int count

/// What is counted of the steps of some rows.
[<Struct>]
type internal StepCount =
    {
        /// Steps taken.
        Taken: int64
        /// Those that the rule counts, by which it goes: SGD counts only under momentum.
        Counted: int64
    }

    static member Of(steps: int64) = { Taken = steps; Counted = steps }

/// How many steps each row has taken, and the numbers that some rules keep beside (mu_product). Rows with the same numbers that step
/// together form a class, so that a step replaces the numbers of each class, and one set of them while all rows agree.
[<Sealed; AllowNullLiteral(false)>]
type Counts internal (classes: ImmutableArray<int>, counts: ImmutableArray<StepCount>, scalars: ImmutableArray<Scalars<Real>>) =
    /// The steps of a row.
    member _.Item
        with get (row: int) = counts[if classes.IsEmpty then 0 else classes[row]].Taken

    /// The steps of a row, and those that its rule counts.
    member internal _.Steps(row: int) =
        counts[if classes.IsEmpty then 0 else classes[row]]

    /// The kept numbers of a row; they mean nothing before its first step.
    member internal _.Scalars(row: int) =
        scalars[if classes.IsEmpty then 0 else classes[row]]

    /// The class of a row.
    member internal _.Class(row: int) =
        if classes.IsEmpty then 0 else classes[row]

    /// The number of classes.
    member internal _.Classes = counts.Length
    /// The steps of a class that its rule counts.
    member internal _.OfClass(index: int) = counts[index].Counted
    /// The steps of a class.
    member internal _.TakenOf(index: int) = counts[index].Taken
    /// The kept numbers of a class.
    member internal _.ScalarsOfClass(index: int) = scalars[index]

    /// One more for the classes that step, which the rule counts or not, and their next numbers.
    member internal _.Advance(steps: bool array, counted: bool, next: Scalars<Real> array) =
        let builder = ImmutableArray.CreateBuilder<StepCount> counts.Length

        for index in 0 .. counts.Length - 1 do
            let before = counts[index]

            builder.Add(
                if steps[index] then
                    {
                        Taken = Counting.add before.Taken 1L
                        Counted =
                            if counted then
                                Counting.add before.Counted 1L
                            else
                                before.Counted
                    }
                else
                    before
            )

        let nextScalars =
            if next.Length = 0 then
                scalars
            else
                let builder = ImmutableArray.CreateBuilder<Scalars<Real>> counts.Length

                for index in 0 .. counts.Length - 1 do
                    builder.Add(if steps[index] then next[index] else scalars[index])

                builder.MoveToImmutable()

        Counts(classes, builder.MoveToImmutable(), nextScalars)

    /// After steps that somebody else has made, which the rule counts or not: how many of a class, and the numbers that it keeps then.
    member internal _.After(counted: bool, made: int -> struct (int64 * Real array) voption) =
        let builder = ImmutableArray.CreateBuilder<StepCount> counts.Length
        let numbers = ImmutableArray.CreateBuilder<Scalars<Real>> counts.Length

        for index in 0 .. counts.Length - 1 do
            let before = counts[index]

            match made index with
            | ValueNone ->
                builder.Add before
                numbers.Add scalars[index]
            | ValueSome(struct (steps, kept)) ->
                builder.Add
                    {
                        Taken = Counting.add before.Taken steps
                        Counted =
                            if counted then
                                Counting.add before.Counted steps
                            else
                                before.Counted
                    }

                numbers.Add(
                    if kept.Length = 0 then
                        scalars[index]
                    else
                        Scalars<Real>(ReadOnlySpan kept)
                )

        Counts(classes, builder.MoveToImmutable(), numbers.MoveToImmutable())

    /// The steps of each row, or of all rows at once.
    override _.ToString() =
        if classes.IsEmpty then
            string counts[0].Taken
        else
            String.Join(", ", classes |> Seq.truncate 8 |> Seq.map (fun index -> counts[index].Taken))
            + (if classes.Length > 8 then ", ..." else "")

    /// No steps yet.
    static member internal Zero =
        Counts(ImmutableArray.Empty, ImmutableArray.Create(StepCount.Of 0L), ImmutableArray.Create(Scalars<Real>()))

    /// Rows with these counts and numbers, of which some step together: equal ones form a class.
    static member internal Of(count: int -> StepCount, scalars: int -> Scalars<Real>, steps: int -> bool, rows: int) =
        Counts.Of(count, scalars, steps, rows, (fun _ -> 0))

    /// The same of rows of several kinds.
    static member internal Of(count: int -> StepCount, scalars: int -> Scalars<Real>, steps: int -> bool, rows: int, kind: int -> int) =
        let found =
            System.Collections.Generic.Dictionary<struct (StepCount * Scalars<Real> * bool * int), int>()

        let counts = ImmutableArray.CreateBuilder<StepCount>()
        let numbers = ImmutableArray.CreateBuilder<Scalars<Real>>()
        let classes = ImmutableArray.CreateBuilder<int> rows

        for row in 0 .. rows - 1 do
            let key = struct (count row, scalars row, steps row, kind row)

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
