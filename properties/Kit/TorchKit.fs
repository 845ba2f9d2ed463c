/// What tests over TorchSharp share: tensors, a small network and data for it.
module TorchKit

open System
open System.Collections.Generic
open System.Runtime.InteropServices
open Expecto
open TorchSharp
open Optim
open Kit

type private Tensor = torch.Tensor
type private Net = torch.nn.Module<torch.Tensor, torch.Tensor>

let floats seed count : float32[] = noise seed count |> Array.map float32

/// A leaf with memory of its own.
let leaf (shape: int64 list) (values: float32[]) : Tensor =
    torch.tensor(values).reshape(List.toArray shape).clone().requires_grad_ true

let constant (shape: int64 list) (values: float32[]) : Tensor =
    torch.tensor(values).reshape(List.toArray shape).clone()

/// The elements in row-major order.
let values (tensor: Tensor) : float32[] =
    use plain = tensor.detach().contiguous()
    plain.data<float32>().ToArray()

let gradient (tensor: Tensor) : Tensor = nonNull tensor.grad

/// A new wrapper each time, as native modules do it.
let weight (embedding: Modules.Embedding) : Tensor = nonNull embedding.weight

let named (list: (string * Tensor) list) : IEnumerable<IParameter> =
    Torch.Parameters [| for name, tensor in list -> struct (name, tensor) |]

/// What optimizers take, which F# does not find out by itself.
let all (parameters: IParameter seq) = Seq.cast<IParameterOrGroup> parameters

/// Subtracts the gradient.
let plain list = SGD(all (named list), lr = 1.0)

/// Every rule with options that use all of its columns.
let rules: (string * (IEnumerable<IParameter> -> Optimizer)) list =
    [
        "SGD", (fun p -> SGD(all p, lr = 0.1, momentum = 0.9, weightDecay = 0.01))
        "Adam", (fun p -> Adam(all p, lr = 0.01, amsgrad = true))
        "AdamW", (fun p -> AdamW(all p, lr = 0.01))
        "Adadelta", (fun p -> Adadelta(all p, lr = 0.5))
        "Adagrad", (fun p -> Adagrad(all p, lr = 0.01, lrDecay = 0.1))
        "Adamax", (fun p -> Adamax(all p, lr = 0.01))
        "ASGD", (fun p -> ASGD(all p, lr = 0.1, t0 = 1.0))
        "NAdam", (fun p -> NAdam(all p, lr = 0.01))
        "RAdam", (fun p -> RAdam(all p, lr = 0.01))
        "RMSprop", (fun p -> RMSprop(all p, lr = 0.01, momentum = 0.9, centered = true))
        "Rprop", (fun p -> Rprop(all p, lr = 0.01))
    ]

let zeros (dtype: torch.ScalarType) (shape: int64 list) =
    torch.zeros (List.toArray shape, dtype = Nullable dtype)

let layer name (net: #Net) = struct (name, net :> Net)

let network () =
    torch.random.manual_seed 11L |> ignore

    torch.nn.Sequential(layer "first" (torch.nn.Linear(8L, 16L)), layer "tanh" (torch.nn.Tanh()), layer "last" (torch.nn.Linear(16L, 1L)))

let batch () =
    constant [ 32L; 8L ] (floats 5 256), constant [ 32L; 1L ] (floats 6 32)

let loss (model: Net) (x: Tensor, y: Tensor) =
    torch.nn.functional.mse_loss (model.call x, y)

let equal (actual: float32[]) (expected: float32[]) what =
    Expect.isTrue
        (MemoryMarshal.Cast<float32, int>(ReadOnlySpan actual).SequenceEqual(MemoryMarshal.Cast<float32, int>(ReadOnlySpan expected)))
        what
