/// What tests over other devices share: tensors of any dtype and place, a device of the tests' own, and the comparison of our kernels with libtorch's operators.
module DeviceKit

open System
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit
open TorchKit

type private Tensor = torch.Tensor

let doubles (tensor: Tensor) : float[] =
    use plain = tensor.detach().cpu().resolve_conj()
    use real = if plain.is_complex () then plain.view_as_real () else plain
    use wide = real.``to``(torch.float64).contiguous()
    // TorchSharp's accessor does not take empty ones.
    if wide.numel () = 0L then
        [||]
    else
        wide.data<float>().ToArray()

/// A number for each element, both parts of complex ones.
let tensorOf (dtype: torch.ScalarType) (device: torch.Device) (shape: int64[]) (values: float[]) : Tensor =
    let complex = torch.is_complex dtype
    // In libtorch's own memory, since its complex numbers must begin at multiples of their size, and .NET's arrays need not.
    let flat = (torch.tensor values).clone()

    let shaped =
        if complex then
            flat.reshape(Array.append shape [| 2L |]).view_as_complex()
        else
            flat.reshape shape

    shaped.``to``(dtype).``to``(device).clone()

let count (dtype: torch.ScalarType) (shape: int64[]) =
    int (Array.fold (*) 1L shape) * (if torch.is_complex dtype then 2 else 1)

/// Where steps by libtorch's operators can be had: the device, who is asked for, the name that steps then go by.
let places =
    lazy
        [
            "cpu", torch.CPU, ValueSome Torch.Operators
            if torch.cuda.is_available () then
                // Asked for by name: kernels step what lies there otherwise.
                "cuda", torch.CUDA, ValueSome Torch.Operators
        ]

let parametersAt executor (list: (string * Tensor) list) =
    let tensors = [| for name, tensor in list -> struct (name, tensor) |]

    match executor with
    | ValueSome executor -> Torch.Parameters((executor: Executor), tensors)
    | ValueNone -> Torch.Parameters tensors

let make (rule: Rule) settings parameters =
    RuleOptimizer(rule, all parameters, options settings)

let halves = [ torch.float16; torch.bfloat16 ]

/// The share of the larger value in what two runs of the same formula may differ by, of which one fuses and the other does not.
let allowed dtype =
    if dtype = torch.float64 || dtype = torch.complex128 then
        1e-12
    elif dtype = torch.float16 then
        2e-3
    elif dtype = torch.bfloat16 then
        1.6e-2
    else
        2e-6

let close what dtype (actual: float[]) (expected: float[]) =
    for i in 0 .. expected.Length - 1 do
        if not (abs (actual[i] - expected[i]) <= allowed dtype * (1.0 + abs expected[i])) then
            failtestf "%s, element %d: %s, expected %s" what i (text actual[i]) (text expected[i])

let stepped =
    List.ofSeq Rules.All
    |> List.filter (fun rule -> rule.Name <> "SparseAdam" && rule.IsDifferentiable)

let settingsOf (rule: Rule) =
    let telling =
        [
            "lr", Number 0.05
            "weight_decay", Number 0.1
            "momentum", Number 0.6
            "lr_decay", Number 0.1
            "initial_accumulator_value", Number 0.3
            "lambd", Number 0.02
            "t0", Number 2.5
        ]
        |> List.filter (fun (name, _) -> rule.Has name)

    let flags =
        [ "amsgrad"; "centered"; "nesterov"; "maximize"; "decoupled_weight_decay" ]
        |> List.filter (fun name -> rule.Has name && not (rule.IsFixed name))

    [
        "plain",
        [
            if rule.Has "lr" then
                "lr", Number 0.05
        ]
        "all flags", telling @ [ for flag in flags -> flag, Flag true ]
    ]

/// Whether kernels step complex parameters by the rule.
let takes (rule: Rule) (dtype: torch.ScalarType) =
    not (torch.is_complex dtype)
    || (try
            rule.Init(rule.Defaults, Parameters.Of [ TensorView.Zeros(DType.Complex64, [| 1L |]) ])
            |> ignore

            true
        with :? NotSupportedException ->
            false)

/// Five steps by our kernels and five by libtorch's operators, the third without a gradient: parameters and state agree. `slack` is what
/// parameters may differ by beside what dtypes allow.
let agreeWith (rule: Rule) settings others slack dtype shape =
    for place, device, executor in places.Value do
        let n = count dtype shape
        let start = noise 1 n
        let ours = (tensorOf dtype torch.CPU shape start).requires_grad_ true
        let theirs = (tensorOf dtype device shape start).requires_grad_ true
        let kernels = make rule settings (Torch.Parameters(struct ("w", ours)))
        let operators = make rule others (parametersAt executor [ "w", theirs ])
        let before = doubles theirs
        let mutable moves = false

        for step in 1..5 do
            if step <> 3 then
                ours.grad <- tensorOf dtype torch.CPU shape (noise (10 + step) n)
                theirs.grad <- tensorOf dtype device shape (noise (10 + step) n)
            else
                ours.grad <- null
                theirs.grad <- null

            kernels.Step()
            operators.Step()
            // Steps of one length may end where they began.
            moves <- moves || doubles theirs <> before

        Expect.equal operators.LastExecutor "libtorch's operators" "who stepped"
        let size = String.Join(", ", shape)
        let what = $"{rule.Name}, {place}, {dtype}, [{size}]"
        let actual, expected = doubles theirs, doubles ours

        for i in 0 .. n - 1 do
            if abs (actual[i] - expected[i]) > slack then
                close what dtype actual[i..i] expected[i..i]

        // Numbers of a half type may lie too far from the next ones.
        if n > 0 && not (List.contains dtype halves) then
            Expect.isTrue moves $"{what}: it moved"

        let a, b = operators.StateDict(), kernels.StateDict()
        Expect.sequenceEqual a.State.Keys b.State.Keys what

        for KeyValue(id, state) in b.State do
            Expect.sequenceEqual (a.State[id]).Keys state.Keys what

            for KeyValue(name, tensor) in state do
                let tensor = (tensor: Tree).AsTensor()
                let theirs: Tree = (a.State[id])[name]
                let other = theirs.AsTensor()
                Expect.equal (string other.Layout) (string tensor.Layout) name
                let wide = if List.contains dtype halves then torch.float32 else dtype
                close $"{what}, {name}" wide (other.ToDoubles()) (tensor.ToDoubles())

let agree rule settings slack dtype shape =
    agreeWith rule settings settings slack dtype shape

/// A device of the tests' own: memory of the processor under another name, which kernels do not reach.
let pretend =
    lazy
        (LibTorch.Name("pretend", 0)
         DeviceMemory.Register("pretend", TorchMemory())
         TensorExecutor.Register("pretend", Torch.Operators :?> TensorExecutor)
         Device("pretend", 0))

/// A tensor there, of the same elements, without gaps in the same order.
let moved (here: TensorView) =
    let layout =
        Layout.Strided(here.DType, here.Shape.AsSpan(), here.Strides.AsSpan(), Nullable(pretend.Force()))

    let view = TensorView.Zeros layout
    view.CopyFrom here
    view

/// Many steps keep no tensor, and no memory.
let keepsNothing bytes (step: unit -> unit) =
    let steps count =
        for _ in 1..count do
            step ()

    steps 300
    collect ()
    let tensors = Tensor.TotalCount
    expectFlat bytes (fun () -> steps 2000)
    Expect.isLessThanOrEqual Tensor.TotalCount tensors "live tensors"
