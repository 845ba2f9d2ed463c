/// What tests of averages of TorchSharp's modules share: a small network with batch normalization, and its weights.
module TorchAverageKit

open System
open Expecto
open TorchSharp
open Kit

type private Tensor = torch.Tensor
type private Net = torch.nn.Module<torch.Tensor, torch.Tensor>

let constant (shape: int64 list) (values: float[]) : Tensor =
    torch.tensor(values).reshape(List.toArray shape)

let values (tensor: Tensor) : float[] =
    use plain = tensor.detach().``to``(torch.float64).contiguous()
    plain.data<float>().ToArray()

/// Linear and batch normalization, in float64, as the recorded models are.
let net inputs outputs : Modules.Sequential =
    let linear =
        torch.nn.Linear(inputs, outputs, dtype = Nullable torch.ScalarType.Float64) :> Net

    let norm =
        torch.nn.BatchNorm1d(outputs, dtype = Nullable torch.ScalarType.Float64) :> Net

    torch.nn.Sequential(linear, norm)

let making (model: unit -> Modules.Sequential) =
    Func<torch.nn.Module>(fun () -> model () :> torch.nn.Module)

let child (model: Modules.Sequential) (index: int) = model[index] :> obj :?> torch.nn.Module

let fill (model: torch.nn.Module) (values: (string * float[]) list) =
    use _ = torch.no_grad ()
    let state = model.state_dict ()

    for name, values in values do
        let tensor = state[name]

        if tensor.dtype = torch.ScalarType.Int64 then
            tensor.copy_ (torch.tensor (int64 values[0])) |> ignore
        else
            tensor.copy_ (constant (List.ofArray tensor.shape) values) |> ignore

let close what (actual: float[]) (expected: float[]) =
    for actual, expected in Array.zip actual expected do
        if not (abs (actual - expected) <= 1e-11 * (1.0 + abs expected)) then
            failtestf "%s: %s, PyTorch %s" what (text actual) (text expected)

let batchNorm (model: Modules.Sequential) = model[1] :?> Modules.BatchNorm1d
