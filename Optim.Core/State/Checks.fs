namespace Optim.Core

open System
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

    /// Refuses parameters that no kernel steps.
    let parameters rule (parameters: Parameters) =
        for row in 0 .. parameters.Count - 1 do
            let parameter = parameters[row]

            let refuse reason : exn =
                NotSupportedException $"{rule}: {parameters.Label row} {reason}"

            match parameter.DType with
            | DType.Float32
            | DType.Float64 -> ()
            | dtype when dtype.IsFloatingPoint() || dtype.IsComplex() ->
                raise (refuse $"is of dtype {dtype.Name()}; supported are float32 and float64")
            | dtype ->
                raise (
                    ArgumentException
                        $"{rule}: {parameters.Label row} is of dtype {dtype.Name()}; only floating point tensors can be optimized"
                )

            if parameter.Device <> Device.Cpu then
                raise (refuse $"lies on {parameter.Device}; supported is cpu")

            if mayOverlap parameter.Layout then
                raise (refuse "has elements that share memory (an expanded tensor); make it contiguous")

    let gradient rule (parameters: Parameters) row (gradient: Gradient) =
        let parameter = parameters[row]
        let label = parameters.Label row

        if gradient.Kind = GradientKind.Sparse then
            raise (NotSupportedException $"{rule} does not support sparse gradients, and {label} has one")

        if gradient.Values.DType <> parameter.DType then
            let found, wanted = gradient.Values.DType.Name(), parameter.DType.Name()
            raise (NotSupportedException $"{rule}: the gradient of {label} is of dtype {found}; it must be {wanted}, as the parameter is")

        if gradient.Values.Device <> parameter.Device then
            raise (
                NotSupportedException
                    $"{rule}: the gradient of {label} lies on {gradient.Values.Device}; it must be on {parameter.Device}, as the parameter is"
            )

        if not (gradient.Values.Layout.SameShape parameter.Layout) then
            raise (
                ArgumentException
                    $"{rule}: the gradient of {label} is {gradient.Values.Layout}; its shape must be that of the parameter, {parameter.Layout}"
            )
