namespace Optim.Core

open System
open Optim.Kernels

/// Gradients that are added up over several batches. The mean counts a gradient that is missing in one of them as zero, and is
/// absent where it was missing in all; it is formed in the order in which gradients came.
[<Sealed>]
type GradientSum(rows: int) =
    let adding = Driver<AddedFormula>.Instance
    let dividing = Driver<DivideFormula>.Instance
    let sums: TensorView array = Array.zeroCreate rows
    let present: bool array = Array.zeroCreate rows
    let targets: TensorView array = Array.zeroCreate rows
    let partners: TensorView array = Array.zeroCreate rows
    let means: Gradient array = Array.zeroCreate rows
    let mutable count = 0

    /// How many batches were added since the last mean.
    member _.Count = count

    /// Adds the gradients of a batch.
    member _.Add(gradients: Gradients) =
        if gradients.Count <> rows then
            raise (ArgumentException $"{gradients.Count} gradients were given to the sum of {rows}; the numbers must agree")

        for row in 0 .. rows - 1 do
            if gradients[row].Kind = GradientKind.Sparse then
                raise (NotSupportedException $"gradient {row} is sparse; sparse gradients cannot be accumulated")

            let value = gradients[row].Values

            if
                present[row]
                && not value.IsAbsent
                && not (value.Layout.SameShape sums[row].Layout && value.DType = sums[row].DType)
            then
                raise (ArgumentException $"gradient {row} is {value.Layout}, and was {sums[row].Layout} in the batch before")

        for row in 0 .. rows - 1 do
            let value = gradients[row].Values
            targets[row] <- TensorView()
            partners[row] <- value

            if not value.IsAbsent then
                if present[row] then
                    targets[row] <- sums[row]
                else
                    if sums[row].IsAbsent || not (sums[row].Layout.Equals value.Layout) then
                        sums[row] <-
                            TensorView.Zeros(
                                if value.Layout.IsDense then
                                    value.Layout
                                else
                                    value.Layout.ToContiguous()
                            )

                    sums[row].CopyFrom value
                    present[row] <- true

        let once = Coefficients<Real>(Real 1.0)
        Elements.Run(adding, 0, &once, ReadOnlySpan targets, ReadOnlySpan partners, Executor.Team)
        count <- count + 1

    /// The sums divided by the number of batches, valid until the next Add, which begins anew.
    member _.Mean() =
        for row in 0 .. rows - 1 do
            targets[row] <- if present[row] then sums[row] else TensorView()

            means[row] <-
                if present[row] then
                    Gradient.OfDense sums[row]
                else
                    Gradient.Absent

            present[row] <- false

        let divisor = Coefficients<Real>(Real(double count))
        Elements.Run(dividing, 0, &divisor, ReadOnlySpan targets, ReadOnlySpan(), Executor.Team)
        count <- 0
        Gradients.Over means
