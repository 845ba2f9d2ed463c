namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// Options that steps on a device read from tensors there: so a graph that was captured takes another rate when that tensor changes.
[<Sealed; AllowNullLiteral(false)>]
type RateTensors private (tensors: ImmutableSortedDictionary<string, TensorView>) =
    static let none =
        RateTensors(ImmutableSortedDictionary.Create<string, TensorView>(StringComparer.Ordinal))

    /// No option is read from a tensor.
    static member None = none

    /// The same, and this number is read from a tensor of one element, float32 or float64, on the device of the parameters.
    member _.With(number: string, tensor: TensorView) =
        Argument.notNull "number" number

        if
            tensor.Count <> 1n
            || tensor.DType <> DType.Float32 && tensor.DType <> DType.Float64
        then
            raise (
                ArgumentException(
                    $"{number} is read from {tensor.Layout}; it must be a tensor of one element, float32 or float64",
                    nameof tensor
                )
            )

        RateTensors(tensors.SetItem(number, tensor))

    /// The tensors by the names of the numbers: lr, weight_decay, beta1 for the first of betas.
    member _.Tensors = (tensors :> IReadOnlyDictionary<string, TensorView>)

    /// The numbers that are read from tensors.
    override _.ToString() = String.Join(", ", tensors.Keys)
