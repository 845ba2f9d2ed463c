namespace Optim.Core

open System
open Optim.Kernels

/// Gradients in memory of their own, to which others are added.
[<Sealed>]
type internal GradientRows(rows: int) =
    let adding = Driver<AddedFormula>.Instance
    let dividing = Driver<DivideFormula>.Instance
    let items: Gradient array = Array.zeroCreate rows
    /// The memory of dense rows, kept while they are absent.
    let memory: TensorView array = Array.zeroCreate rows
    let targets: TensorView array = Array.zeroCreate rows
    let partners: TensorView array = Array.zeroCreate rows
    let sums: TensorView array = Array.zeroCreate rows
    let prologue = GradientPrologue()
    let numbers: double array = Array.zeroCreate Surroundings.WeightsAt

    /// Memory for a dense gradient like this one.
    let room row (layout: Layout) =
        if memory[row].IsAbsent || not (memory[row].Layout.Equals layout) then
            memory[row] <- TensorView.Zeros(if layout.IsDense then layout else layout.ToContiguous())

        memory[row]

    let own row (values: TensorView) =
        let memory = room row values.Layout
        memory.CopyFrom values
        Gradient.OfDense memory

    let add (targets: TensorView array) (partners: TensorView array) =
        let once = Coefficients<Real>(Real 1.0)
        Elements.Run(adding, 0, &once, ReadOnlySpan targets, ReadOnlySpan partners, Executor.Team)

    /// The sum of what is there and a gradient.
    let plus row (gradient: Gradient) =
        let sum = items[row]

        match sum.Kind, gradient.Kind with
        | GradientKind.Absent, GradientKind.Sparse -> gradient.Coalesce()
        | GradientKind.Absent, _ -> own row gradient.Values
        | GradientKind.Sparse, GradientKind.Sparse ->
            let coalesced = gradient.Coalesce()

            let both =
                [| struct (sum.Rows, sum.Values); struct (coalesced.Rows, coalesced.Values) |]

            let struct (rows, values) = CoalescedRows.Coalesce(ReadOnlySpan both)
            Gradient.OfSparse(rows, values)
        | GradientKind.Sparse, _ ->
            let dense = own row gradient.Values
            CoalescedRows.AddTo(dense.Values, sum.Rows, sum.Values)
            dense
        | _, GradientKind.Sparse ->
            let coalesced = gradient.Coalesce()
            CoalescedRows.AddTo(sum.Values, coalesced.Rows, coalesced.Values)
            sum
        | _ ->
            add [| sum.Values |] [| gradient.Values |]
            sum

    /// The gradients of now.
    member _.Items = items

    /// Leaves all rows absent.
    member _.Clear() = Array.Clear items

    /// Adds gradients, which fit.
    member _.Add(gradients: Gradients) =
        for row in 0 .. rows - 1 do
            let gradient = gradients[row]
            targets[row] <- TensorView()
            partners[row] <- gradient.Values

            if gradient.Kind = GradientKind.Dense && items[row].Kind = GradientKind.Dense then
                targets[row] <- items[row].Values
            elif gradient.Kind <> GradientKind.Absent then
                items[row] <- plus row gradient

        add targets partners

    /// Becomes the mean of sums over so many calls; with the gradients of one more call, which the sums do not have, where they are given.
    /// Dense rows go in one pass, which reads both and writes their mean; what is sparse, missing or on other devices by copies.
    member mean.MeanOf(added: GradientRows, more: Gradients voption, calls: int) =
        mean.Clear()

        for row in 0 .. rows - 1 do
            let sum = added.Items[row]
            targets[row] <- TensorView()

            match more with
            | ValueSome more when
                sum.Kind = GradientKind.Dense
                && more[row].Kind = GradientKind.Dense
                && sum.Values.Layout.IsOnCpu
                ->
                targets[row] <- room row sum.Values.Layout
                partners[row] <- more[row].Values
                sums[row] <- sum.Values
                items[row] <- Gradient.OfDense targets[row]
            | _ ->
                if sum.Kind <> GradientKind.Absent then
                    items[row] <- plus row sum

                match more with
                | ValueSome more when more[row].Kind <> GradientKind.Absent -> items[row] <- plus row more[row]
                | _ -> ()

        numbers[Surroundings.CallsAt] <- double calls
        let around = Surroundings(false, false, false, false, true)
        prologue.Run(around, numbers, ReadOnlySpan targets, ReadOnlySpan partners, ReadOnlySpan sums, Executor.Team)

        for row in 0 .. rows - 1 do
            targets[row] <-
                if targets[row].IsAbsent then
                    items[row].Values
                else
                    TensorView()

        let divisor = Coefficients<Real>(Real(double calls))
        Elements.Run(dividing, 0, &divisor, ReadOnlySpan targets, ReadOnlySpan(), Executor.Team)

/// What successive accumulations share: the stamp that tells the live one, and their memory.
[<Sealed>]
type internal AccumulationLineage(rows: int) =
    member val Stamp = 0L with get, set
    // Two sets of memory, so that a step that fails has lost nothing.
    member val Sums = GradientRows rows
    member val Means = GradientRows rows
    member _.Rows = rows

/// Gradients that were added up over several calls, for one step by their mean. Adding changes the sums in place, returns the next record
/// and leaves this one spent: reading a spent one is a SpentStateException. A gradient that is missing in some calls counts as zero there,
/// and one that was missing in all is absent. Sparse gradients are sums of rows: their sum is sparse with each row once, or dense where
/// one of the calls had a dense gradient. Compared by content.
[<Sealed>]
type Accumulation internal (calls: int, lineage: AccumulationLineage) =
    let stamp = lineage.Stamp

    let live () =
        if stamp <> lineage.Stamp then
            raise (
                SpentStateException
                    "these gradients were added to later, in place; use the accumulation which that call returned, or fork one with Accumulation.copy before it"
            )

    /// How many calls were added up.
    member _.Calls =
        live ()
        calls

    /// The sums, in the order of the parameters.
    member _.Sums =
        live ()
        Gradients.Over lineage.Sums.Items

    /// The number of gradients of a call.
    member _.Count = lineage.Rows

    /// Whether a later call has consumed it.
    member _.IsSpent = stamp <> lineage.Stamp

    member internal _.Lineage = lineage
    member internal _.Live() = live ()

    /// The next record, over the same memory.
    member internal _.Next(calls: int) =
        lineage.Stamp <- lineage.Stamp + 1L
        Accumulation(calls, lineage)

    /// How many calls, and what was added up.
    override sum.ToString() =
        if sum.IsSpent then
            "accumulated gradients, which a later call has consumed"
        else
            $"{calls} calls, added up: {sum.Sums}"

    /// Whether both have as many calls and the same sums, bit for bit. A SpentStateException when one of them is spent.
    override sum.Equals other =
        match other with
        | :? Accumulation as other -> sum.Calls = other.Calls && sum.Sums.Equals other.Sums
        | _ -> false

    override _.GetHashCode() = HashCode.Combine(calls, lineage.Rows)

/// Accumulating gradients. What is added must have the shapes and dtypes of what was added before.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Accumulation =
    let internal after (rows: int) (calls: int) =
        Accumulation(calls, AccumulationLineage rows)

    /// Before the first call, for so many parameters.
    let init (rows: int) =
        if rows < 0 then
            raise (ArgumentOutOfRangeException("rows", rows, "the number of parameters must be at least 0"))

        after rows 0

    /// Refuses gradients that cannot be added; changes nothing.
    let check (gradients: Gradients) (sum: Accumulation) =
        Argument.notNull "gradients" gradients
        Argument.notNull "sum" sum
        sum.Live()
        let rows, sums = sum.Count, sum.Lineage.Sums

        if gradients.Count <> rows then
            raise (ArgumentException $"{gradients.Count} gradients were given to the sum of {rows}; the numbers must agree")

        for row in 0 .. rows - 1 do
            let sum, gradient = sums.Items[row], gradients[row]
            let found, known = gradient.Values, sum.Values

            let isRowOf (row: TensorView) skipped (whole: Layout) =
                whole.Shape.Length >= skipped
                && whole.Shape.AsSpan().Slice(skipped).SequenceEqual(row.Shape.AsSpan().Slice 1)

            let isOf (sparse: Gradient) (dense: TensorView) =
                isRowOf sparse.Values (SparseRows.IndexDimensions sparse.Rows) dense.Layout
                && not (SparseRows.FirstOutside(dense.Layout, sparse.Rows).HasValue)

            if gradient.Kind <> GradientKind.Absent && sum.Kind <> GradientKind.Absent then
                let fits =
                    match sum.Kind, gradient.Kind with
                    | GradientKind.Dense, GradientKind.Dense -> found.Layout.SameShape known.Layout
                    | GradientKind.Dense, _ -> isOf gradient known
                    | _, GradientKind.Dense -> isOf sum found
                    | _ ->
                        isRowOf found 1 known.Layout
                        && SparseRows.IndexDimensions sum.Rows = SparseRows.IndexDimensions gradient.Rows

                let fits = fits && found.DType = known.DType

                if not fits then
                    raise (
                        ArgumentException
                            $"gradient {row} is {gradient.Kind}, {found.Layout}, and was {sum.Kind}, {known.Layout}, in the batch before"
                    )

    /// Adds the gradients of a call, in place; the accumulation that is given is spent.
    let add (gradients: Gradients) (sum: Accumulation) =
        check gradients sum
        sum.Lineage.Sums.Add gradients
        sum.Next(sum.Calls + 1)

    let private meanOf (sum: Accumulation) more calls =
        sum.Lineage.Means.MeanOf(sum.Lineage.Sums, more, calls)
        Gradients.Over sum.Lineage.Means.Items

    /// The sums divided by the number of calls, in memory that is valid until the next mean. The sums stay as they are.
    let mean (sum: Accumulation) =
        Argument.notNull "sum" sum
        sum.Live()
        meanOf sum ValueNone sum.Calls

    /// The mean with the gradients of one more call, which is not added; valid as that of mean is.
    let meanWith (gradients: Gradients) (sum: Accumulation) =
        check gradients sum
        meanOf sum (ValueSome gradients) (sum.Calls + 1)

    /// Begins anew, over the same memory; the accumulation that is given is spent.
    let clear (sum: Accumulation) =
        Argument.notNull "sum" sum
        sum.Live()
        sum.Lineage.Sums.Clear()
        sum.Next 0

    /// The same in memory of its own, to go on from twice.
    let copy (sum: Accumulation) =
        Argument.notNull "sum" sum
        let other = AccumulationLineage sum.Count
        other.Sums.Add sum.Sums
        Accumulation(sum.Calls, other)
