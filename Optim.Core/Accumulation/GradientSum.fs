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

    let own row (values: TensorView) =
        if memory[row].IsAbsent || not (memory[row].Layout.Equals values.Layout) then
            memory[row] <-
                TensorView.Zeros(
                    if values.Layout.IsDense then
                        values.Layout
                    else
                        values.Layout.ToContiguous()
                )

        memory[row].CopyFrom values
        Gradient.OfDense memory[row]

    /// The sum of what is there and a gradient, where that takes more than adding element to element.
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
        | _ ->
            let coalesced = gradient.Coalesce()
            CoalescedRows.AddTo(sum.Values, coalesced.Rows, coalesced.Values)
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

        let once = Coefficients<Real>(Real 1.0)
        Elements.Run(adding, 0, &once, ReadOnlySpan targets, ReadOnlySpan partners, Executor.Team)

    /// Divides by a number.
    member _.Divide(divisor: double) =
        for row in 0 .. rows - 1 do
            targets[row] <- items[row].Values

        let divisor = Coefficients<Real>(Real divisor)
        Elements.Run(dividing, 0, &divisor, ReadOnlySpan targets, ReadOnlySpan(), Executor.Team)

/// Gradients that are added up over several batches. The mean counts a gradient that is missing in one of them as zero, and is
/// absent where it was missing in all; it is formed in the order in which gradients came. Clear begins anew, when the step by the mean
/// was made. Sparse gradients are sums of rows: their
/// mean is sparse with each row once, or dense where one of the batches had a dense gradient.
[<Sealed>]
type GradientSum(rows: int, before: int) =
    // Two sets of memory, so that a step that fails has lost nothing.
    let sums = GradientRows rows
    let means = GradientRows rows
    let mutable count = before

    let meanOf (batches: int) =
        means.Divide(double batches)
        Gradients.Over means.Items

    /// For so many gradients.
    new(rows) = GradientSum(rows, 0)

    /// How many batches were added since the beginning.
    member _.Count = count

    /// The sums, where they lie.
    member _.Sums = Gradients.Over sums.Items

    /// Refuses what cannot be added; changes nothing.
    member _.Check(gradients: Gradients) =
        Argument.notNull "gradients" gradients

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

    /// Adds the gradients of a batch.
    member sum.Add(gradients: Gradients) =
        sum.Check gradients
        sums.Add gradients
        count <- count + 1

    /// The sums divided by the number of batches, in memory of their own that is valid until the next mean. The sums stay as they are.
    member _.Mean() =
        means.Clear()
        means.Add(Gradients.Over sums.Items)
        meanOf count

    /// The mean with the gradients of one more batch, which is not added; valid as that of Mean is.
    member sum.MeanWith(gradients: Gradients) =
        sum.Check gradients
        means.Clear()
        means.Add(Gradients.Over sums.Items)
        means.Add gradients
        meanOf (count + 1)

    /// Begins anew.
    member _.Clear() =
        sums.Clear()
        count <- 0
