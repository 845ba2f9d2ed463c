/// Tensors that no kernel of ours steps: the formula on libtorch's operators, in place. On the CPU by asking for it, and on CUDA where there is one.
module DeviceTests

open System
open System.Collections.Generic
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
                "cuda", torch.CUDA, ValueNone
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

let private settingsOf (rule: Rule) =
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
let private takes (rule: Rule) (dtype: torch.ScalarType) =
    not (torch.is_complex dtype)
    || (try
            rule.Init(rule.Defaults, Parameters.Of [ TensorView.Zeros(DType.Complex64, [| 1L |]) ])
            |> ignore

            true
        with :? NotSupportedException ->
            false)

/// Five steps by our kernels and five by libtorch's operators, the third without a gradient: parameters and state agree. `slack` is what
/// parameters may differ by beside what dtypes allow.
let private agreeWith (rule: Rule) settings others slack dtype shape =
    for place, device, executor in places.Value do
        let n = count dtype shape
        let start = noise 1 n
        let ours = (tensorOf dtype torch.CPU shape start).requires_grad_ true
        let theirs = (tensorOf dtype device shape start).requires_grad_ true
        let kernels = make rule settings (Torch.Parameters(struct ("w", ours)))
        let operators = make rule others (parametersAt executor [ "w", theirs ])
        let before = doubles theirs

        for step in 1..5 do
            if step <> 3 then
                ours.grad <- tensorOf dtype torch.CPU shape (noise (10 + step) n)
                theirs.grad <- tensorOf dtype device shape (noise (10 + step) n)
            else
                ours.grad <- null
                theirs.grad <- null

            kernels.Step()
            operators.Step()

        Expect.equal operators.LastExecutor "libtorch's operators" "who stepped"
        let size = String.Join(", ", shape)
        let what = $"{rule.Name}, {place}, {dtype}, [{size}]"
        let actual, expected = doubles theirs, doubles ours

        for i in 0 .. n - 1 do
            if abs (actual[i] - expected[i]) > slack then
                close what dtype actual[i..i] expected[i..i]

        // Numbers of a half type may lie too far from the next ones.
        if n > 0 && not (List.contains dtype halves) then
            Expect.notEqual actual before "it moved"

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

let private agree rule settings slack dtype shape =
    agreeWith rule settings settings slack dtype shape

let private dense =
    [
        for rule in stepped do
            for label, settings in settingsOf rule do
                test $"{rule.Name} ({label}): libtorch's operators and our kernels agree, for every dtype" {
                    for dtype in [ torch.float32; torch.float64; torch.complex64; torch.complex128 ] @ halves do
                        if takes rule dtype then
                            for shape in [ [| 3L; 4L |]; [||]; [| 0L |] ] do
                                agree rule settings 0.0 dtype shape
                }
    ]

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

let private thereOf (shape: int64[]) (values: float[]) = moved (TensorView.Of(values, shape))

let private there (values: float[]) =
    thereOf [| int64 values.Length |] values

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

/// The rules that look at whole tensors, a shape that both take, and what tells their options apart.
let private wholeRules =
    [
        "Adafactor",
        [
            [ "lr", Number 0.05 ]
            [
                "lr", Number 0.3
                "beta2_decay", Number -0.3
                "eps", Pair(1.5, 2.0)
                "d", Number 1.5
                "weight_decay", Number 0.1
                "maximize", Flag true
            ]
            [
                "lr", Number 0.05
                "beta2_decay", Number 0.0
                "eps", Several [ Unset; Number 0.5 ]
            ]
            [ "lr", Number 0.05; "foreach", Flag true; "d", Number 1.01 ]
        ],
        [
            [||]
            [| 7L |]
            [| 3L; 4L |]
            [| 1L; 5L |]
            [| 5L; 1L |]
            [| 2L; 1L; 1L |]
            [| 2L; 3L; 4L |]
            [| 2L; 40L; 70L |]
            [| 0L |]
            [| 2L; 0L; 3L |]
        ]
        "Muon",
        [
            [ "lr", Number 0.05 ]
            for adjust in [ "original"; "match_rms_adamw"; "spectral_unclamped" ] do
                [
                    "lr", Number 0.05
                    "weight_decay", Number 0.0
                    "momentum", Number 0.4
                    "nesterov", Flag false
                    "ns_coefficients", Several [ Number 1.5; Number -0.5; Number 0.01 ]
                    "eps", Number 1.0
                    "ns_steps", Number 3.0
                    "adjust_lr_fn", Text adjust
                ]
            [ "lr", Number 0.05; "ns_steps", Number 0.0 ]
            [ "lr", Number 0.05; "product", Text "provider" ]
            [ "lr", Number 0.05; "precision", Text "bfloat16"; "momentum", Number 0.6 ]
        ],
        [
            [| 1L; 1L |]
            [| 3L; 4L |]
            [| 4L; 3L |]
            [| 20L; 20L |]
            [| 33L; 50L |]
            [| 70L; 35L |]
            [| 0L; 3L |]
        ]
    ]

/// What single flips of bfloat16 in Muon's iteration move a parameter by in five steps of lr 0.05 (GoldenTests has the measure).
let private flips = 5.0 * 0.003 * 0.05 * 2.0

let private whole =
    [
        test "whole tensors: a part of the formula that one of the two lacks is found" {
            for name, ours, theirs, slack in
                [
                    "Muon", [ "ns_steps", Number 5.0 ], [ "ns_steps", Number 4.0 ], 0.0
                    "Muon",
                    [ "ns_steps", Number 5.0; "precision", Text "bfloat16" ],
                    [ "ns_steps", Number 4.0; "precision", Text "bfloat16" ],
                    flips
                    "Muon", [], [ "nesterov", Flag false ], 0.0
                    "Muon", [], [ "adjust_lr_fn", Text "match_rms_adamw" ], 0.0
                    "Adafactor", [], [ "beta2_decay", Number -0.7 ], 0.0
                    "Adafactor", [], [ "d", Number 1.1 ], 0.0
                    "Adafactor", [], [ "eps", Pair(2.0, 1e-3) ], 0.0
                ] do
                let rate = [ "lr", Number 0.05 ]

                refuses<Expecto.AssertException> $"{name}, {theirs}" [ "expected" ] (fun () ->
                    agreeWith (Kit.rule name) (rate @ ours) (rate @ theirs) slack torch.float32 [| 20L; 30L |])
        }

        for name, all, shapes in wholeRules do
            for settings in all do
                let label =
                    String.Join(", ", settings |> Seq.map (fun (name, value) -> $"{name} {value}"))

                test $"{name} ({label}): libtorch's operators and our kernels agree, for every dtype and shape" {
                    let before = MatrixProducts.Provider
                    TorchProducts.Register()

                    try
                        for dtype in [ torch.float32; torch.float64 ] @ halves do
                            for shape in shapes do
                                let slack =
                                    if List.contains ("precision", Text "bfloat16") settings then
                                        flips
                                    else
                                        0.0

                                agree (Kit.rule name) settings slack dtype shape
                    finally
                        MatrixProducts.Provider <- before
                }

        test "whole tensors in any strides: transposed parameters and gradients, and what lies between the elements" {
            for name, _, _ in wholeRules do
                for place, device, executor in places.Value do
                    let step (tensor: float[] -> Tensor) executor =
                        let w = (tensor (noise 1 12)).requires_grad_ true
                        let optimizer = make (Kit.rule name) [] (parametersAt executor [ "w", w ])

                        for i in 2..4 do
                            w.grad <- tensor (noise i 12)
                            optimizer.Step()

                        w

                    let plain values =
                        tensorOf torch.float64 torch.CPU [| 4L; 3L |] values

                    let turned (values: float[]) =
                        (plain values).t().contiguous().``to``(device).t()

                    let sliced (values: float[]) =
                        let whole = tensorOf torch.float64 device [| 4L; 6L |] (Array.create 24 7.0)
                        let inside = whole.slice (1L, 0L, 6L, 2L)
                        inside.copy_ (plain values) |> ignore
                        inside

                    let expected = doubles (step plain ValueNone)
                    close $"{name}, {place}, turned" torch.float64 (doubles (step turned executor)) expected
                    close $"{name}, {place}, sliced" torch.float64 (doubles (step sliced executor)) expected
        }

        test "steps of whole tensors leave no tensor behind, and memory flat" {
            for name, _, _ in wholeRules do
                let w =
                    (tensorOf torch.float32 torch.CPU [| 20L; 50L |] (noise 1 1000)).requires_grad_ true

                w.grad <- tensorOf torch.float32 torch.CPU [| 20L; 50L |] (noise 2 1000)

                let optimizer =
                    make (Kit.rule name) [] (parametersAt (ValueSome Torch.Operators) [ "w", w ])

                // A vector of 1000 numbers left behind in each step would be 8 MB.
                keepsNothing (6L <<< 20) optimizer.Step
        }

        test "refused on another device: complex parameters, as on the processor" {
            for name, _, _ in wholeRules do
                let rule = Kit.rule name

                let layout =
                    Layout.Strided(DType.Complex64, ReadOnlySpan [| 1L; 1L |], ReadOnlySpan [| 1L; 1L |], Nullable(pretend.Force()))

                refuses<NotSupportedException> name [ name; "parameter 0"; "complex64" ] (fun () ->
                    rule.Init(rule.Defaults, Parameters.Of [ TensorView(0n, layout, obj ()) ])
                    |> ignore)
        }
    ]

let private elsewhere =
    [
        test "a tensor on another device: state is made there, state dicts come to the processor, and back" {
            for rule in stepped @ [ for name, _, _ in wholeRules -> Kit.rule name ] do
                let _, settings = settingsOf rule |> List.last
                // Muon takes matrices only.
                let shape =
                    if rule.Scope = RuleScope.Elements then
                        [| 6L |]
                    else
                        [| 3L; 2L |]

                let record =
                    rule.Replace(rule.Defaults, [ for name, s in settings -> KeyValuePair(name, option s) ])

                let start, gradients = noise 1 6, [ for i in 2..6 -> noise i 6 ]

                let run (make: float[] -> TensorView) through =
                    let parameters = Parameters.Of [ make start ]
                    let mutable state = rule.Init(record, parameters)

                    for index, gradient in List.indexed gradients do
                        if through && index = 2 then
                            let columns =
                                [
                                    for column in state.Columns ->
                                        KeyValuePair(
                                            column.Name,
                                            [|
                                                if column[0].IsAbsent then
                                                    TensorView()
                                                else
                                                    column[0].ToHost()
                                            |]
                                        )
                                ]

                            let scalars =
                                [
                                    for name in state.ScalarNames -> KeyValuePair(name, [| state.Scalar(name, 0) |])
                                ]

                            state <- rule.Restore(parameters, [| state.Count 0 |], scalars, columns)

                        if index = 3 then
                            state <- State.copy state

                        state <- rule.Step(record, parameters, Gradients.OfDense [ make gradient ], state)

                    parameters[0].ToDoubles(), state

                let there = thereOf shape
                let expected, _ = run (fun v -> TensorView.Of(v, shape)) false
                let actual, state = run there true
                close rule.Name torch.float64 actual expected

                for column in state.Columns do
                    if not column[0].IsAbsent then
                        Expect.equal column[0].Device.Kind "pretend" "where the state lies"

                let struct (moved, _) =
                    rule.PureStep(
                        record,
                        Parameters.Of [ there start ],
                        Gradients.OfDense [ there start ],
                        rule.Init(record, Parameters.Of [ there start ])
                    )

                Expect.equal moved[0].Device.Kind "pretend" "a pure step"
        }

        test "parameters of two devices in one group: each is stepped where it lies" {
            for name in [ "Adam"; "Adafactor"; "Muon" ] do
                let rule = Kit.rule name
                let here (values: float[]) = TensorView.Of(values, [| 1L; 1L |])

                let some () =
                    [ here [| 1.0 |]; thereOf [| 1L; 1L |] [| 1.0 |]; here [| 1.0 |] ]

                let parameters = Parameters.Of(some ())
                let mutable state = rule.Init(rule.Defaults, parameters)

                for _ in 1..3 do
                    state <- rule.Step(rule.Defaults, parameters, Gradients.OfDense(some ()), state)

                let values = [ for i in 0..2 -> parameters[i].ToDoubles()[0] ]
                Expect.equal values[2] values[0] "kernels"
                Expect.isLessThan (abs (values[1] - values[0])) 1e-12 "and operators"
                Expect.isLessThan values[0] 1.0 "moved"
        }

        test "refused: a device that nobody is registered for, with those that there are" {
            let layout =
                Layout.Strided(DType.Float64, ReadOnlySpan [| 1L |], ReadOnlySpan [| 1L |], Nullable(Device("nowhere", 0)))

            let rule = Kit.rule "SGD"

            refuses<NotSupportedException> "nowhere" [ "nowhere:0"; "cpu" ] (fun () ->
                rule.Init(rule.Defaults, Parameters.Of [ TensorView(0n, layout, obj ()) ])
                |> ignore)
        }

        test "the executor that is asked for is the one that steps, wherever in the group it is asked for" {
            let tensors =
                [
                    for i in 1..2 -> (tensorOf torch.float32 torch.CPU [| 3L |] (noise i 3)).requires_grad_ true
                ]

            let first: IParameter = TorchParameter("a", tensors[0])
            let second: IParameter = TorchParameter("b", tensors[1], Executor = Torch.Operators)
            let optimizer = SGD(all [ first; second ], lr = 1.0)

            for w in tensors do
                w.grad <- torch.ones_like w

            optimizer.Step()
            Expect.equal optimizer.LastExecutor "libtorch's operators" "its name"
            let model = torch.nn.Linear(2L, 2L)
            let named = model.NamedParameters(executor = Torch.Operators)
            Expect.all named (fun p -> obj.ReferenceEquals(p.Executor, Torch.Operators)) "of a module"
        }

        test "any strides, and what lies between the elements" {
            let whole = tensorOf torch.float64 torch.CPU [| 4L; 6L |] (Array.create 24 7.0)
            let w = whole.slice(1L, 0L, 6L, 2L).t().requires_grad_ true
            w.grad <- torch.ones ([| 3L; 4L |], dtype = Nullable torch.float64)
            (SGD(all (Torch.Parameters(Torch.Operators, struct ("w", w))), lr = 1.0)).Step()
            Expect.equal (doubles whole) (Array.init 24 (fun i -> if i % 2 = 0 then 6.0 else 7.0)) "elements and gaps"
        }

        test "a graph that needs the values from before is refused, and steps have none" {
            let w =
                (tensorOf torch.float64 torch.CPU [| 2L |] [| 1.0; 2.0 |]).requires_grad_ true

            let loss = (w * w).sum()
            loss.backward (retain_graph = true)
            (Adam(all (Torch.Parameters(Torch.Operators, struct ("w", w))))).Step()
            Expect.isTrue w.is_leaf "still a leaf"

            refuses<Runtime.InteropServices.ExternalException> "a stale graph" [ "modified by an inplace operation" ] (fun () ->
                loss.backward ())
        }

        test "steps leave no tensor behind, and memory flat" {
            let w =
                (tensorOf torch.float32 torch.CPU [| 1000L |] (noise 1 1000)).requires_grad_ true

            w.grad <- tensorOf torch.float32 torch.CPU [| 1000L |] (noise 2 1000)

            let optimizer =
                Adam(all (Torch.Parameters(Torch.Operators, struct ("w", w))), amsgrad = true)

            keepsNothing (6L <<< 20) optimizer.Step
        }
    ]

let tests =
    [
        testList "operators" dense
        testList "whole tensors" whole
        testList "devices" elsewhere
    ]
