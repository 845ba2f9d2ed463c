namespace Optim.Core

open System
open System.Collections.Immutable
open Optim.Kernels

/// What is refused before anything is written.
module internal Checks =
    /// Whether two elements of a layout may share memory: each stride must reach beyond all that the smaller ones span.
    let private mayOverlap (layout: Layout) =
        let mutable reach = 0L
        let mutable overlaps = false

        for struct (stride, length) in
            Seq.map2 (fun stride length -> struct (stride, length)) layout.Strides layout.Shape
            |> Seq.filter (fun (struct (_, length)) -> length > 1L)
            |> Seq.sort do
            overlaps <- overlaps || stride <= reach
            reach <- reach + (length - 1L) * stride

        overlaps && layout.Count > 0n

    let private refuseParameters rule complex (takes: TensorExecutor -> bool) (parameters: Parameters) =
        for row in 0 .. parameters.Count - 1 do
            let parameter = parameters[row]

            let refuse reason : exn =
                NotSupportedException $"{rule}: {parameters.Label row} {reason}"

            if not (parameter.DType.IsFloatingPoint() || parameter.DType.IsComplex()) then
                raise (
                    ArgumentException
                        $"{rule}: {parameters.Label row} is of dtype {parameter.DType.Name()}; only floating point and complex tensors can be optimized"
                )

            if parameter.DType.IsComplex() && not complex then
                raise (refuse $"is of dtype {parameter.DType.Name()}; {rule} does not support complex parameters")

            if
                not (
                    parameter.Layout.IsOnCpu
                    || ValueOption.exists takes (TensorExecutor.Find parameter.Device)
                )
            then
                raise (refuse $"lies on {parameter.Device}; supported is {TensorExecutor.KnownOf takes}")

            if mayOverlap parameter.Layout then
                raise (refuse "has elements that share memory (an expanded tensor); make it contiguous")

    /// Refuses parameters that neither a kernel steps nor whoever is registered for their device.
    let parametersAnywhere rule complex parameters =
        refuseParameters rule complex (fun _ -> true) parameters

    /// Refuses parameters that neither a kernel steps nor whoever is registered for their device, which must have lanes that are whole tensors.
    let wholeParametersAnywhere rule complex (parameters: Parameters) =
        let takes (executor: TensorExecutor) = executor.HasWholeLanes
        refuseParameters rule complex takes parameters

        match parameters.Executor with
        | :? TensorExecutor as executor when not (takes executor) ->
            raise (
                NotSupportedException
                    $"{rule} looks at whole tensors, and {executor.Name}, who is asked to step {parameters.Label 0}, has no lanes that are such"
            )
        | _ -> ()

    /// Refuses parameters that share memory, or one that is there twice.
    let disjoint rule (parameters: Parameters) =
        MemoryWatch().Check(rule, parameters, Gradients.Of [], ImmutableArray.Empty)

    let private sparse rule (parameters: Parameters) row (gradient: Gradient) =
        let parameter, label = parameters[row], parameters.Label row
        let indices, values = gradient.Rows, gradient.Values

        if indices.Device <> parameter.Device then
            raise (
                NotSupportedException
                    $"{rule}: the indices of the sparse gradient of {label} lie on {indices.Device}; they must be on {parameter.Device}, as the parameter is"
            )

        if
            indices.DType <> DType.Int64
            || indices.Shape.Length < 1
            || indices.Shape.Length > 2
        then
            raise (ArgumentException $"{rule}: the sparse gradient of {label} has indices {indices.Layout}; they must be int64[rows]")

        let dimensions = SparseRows.IndexDimensions indices
        let rows = indices.Shape[indices.Shape.Length - 1]

        if
            dimensions > parameter.Shape.Length
            || parameter.Shape.Length = 0
            || values.Shape.Length <> 1 + parameter.Shape.Length - dimensions
            || values.Shape[0] <> rows
            || not ((values.Shape.AsSpan().Slice 1).SequenceEqual(parameter.Shape.AsSpan().Slice dimensions))
        then
            raise (
                ArgumentException
                    $"{rule}: the sparse gradient of {label} has {rows} rows and values {values.Layout}; these must be rows of the parameter, {parameter.Layout}"
            )

    /// Refuses gradients that do not fit, or that the rule does not take.
    let gradient rule (accepts: SparseGradients) (parameters: Parameters) row (gradient: Gradient) =
        let parameter = parameters[row]
        let label = parameters.Label row

        if gradient.IsHollow then
            raise (ArgumentException($"{rule}: a tensor of the gradient of {label} is absent (a default TensorView)", "gradients"))

        match gradient.Kind, accepts with
        | GradientKind.Sparse, SparseGradients.Refused ->
            raise (
                NotSupportedException
                    $"{rule} does not support sparse gradients, and {label} has one; SparseAdam, Adagrad, SGD and LBFGS take them"
            )
        | GradientKind.Sparse, SparseGradients.RefusedByWeightDecay ->
            raise (
                NotSupportedException
                    $"{rule}: the weight_decay option is not compatible with sparse gradients, and {label} has one; set it to 0"
            )
        | GradientKind.Dense, SparseGradients.Required ->
            raise (NotSupportedException $"{rule} does not support dense gradients, and {label} has one; please consider Adam instead")
        | _ -> ()

        if gradient.Values.DType <> parameter.DType then
            let found, wanted = gradient.Values.DType.Name(), parameter.DType.Name()
            raise (NotSupportedException $"{rule}: the gradient of {label} is of dtype {found}; it must be {wanted}, as the parameter is")

        if gradient.Values.Device <> parameter.Device then
            raise (
                NotSupportedException
                    $"{rule}: the gradient of {label} lies on {gradient.Values.Device}; it must be on {parameter.Device}, as the parameter is"
            )

        if gradient.Kind = GradientKind.Sparse then
            sparse rule parameters row gradient
        elif not (gradient.Values.Layout.SameShape parameter.Layout) then
            raise (
                ArgumentException
                    $"{rule}: the gradient of {label} is {gradient.Values.Layout}; its shape must be that of the parameter, {parameter.Layout}"
            )

    let private refuseRow rule (parameters: Parameters) row (wrong: Nullable<int64>) =
        if wrong.HasValue then
            raise (
                ArgumentOutOfRangeException(
                    "gradients",
                    $"{rule}: the sparse gradient of {parameters.Label row} has row {wrong.Value}, and the parameter is {parameters[row].Layout}"
                )
            )

    /// Refuses rows that a sparse gradient's parameter does not have.
    let rows rule (parameters: Parameters) row (indices: TensorView) =
        refuseRow rule parameters row (SparseRows.FirstOutside(parameters[row].Layout, indices))

    /// Puts a sparse gradient in order; refuses rows that its parameter does not have.
    let sort rule (rows: SparseRows) (parameters: Parameters) row (indices: TensorView) (values: TensorView) =
        refuseRow rule parameters row (rows.Sort(parameters[row].Layout, indices, values))
