/// Rules that look at whole tensors, on libtorch's operators: as our kernels step them.
module DeviceWholeTests

open System
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit
open DeviceKit

type private Tensor = torch.Tensor

/// The rules that look at whole tensors, a shape that both take, and what tells their options apart.
let wholeRules =
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

/// Asks for sums over all parameters.
let private ofAll = "Ranger21"

let private ofVectors = set [ "Conda"; "SOAP"; "SPlus"; "Shampoo" ]

let private isNarrow (name: string) =
    name <> "optax.muon"
    && (name.Contains("muon", StringComparison.OrdinalIgnoreCase)
        || name.Contains "SCION"
        || name = "AdaGO")

let tests =
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

        test "the catalogue's rules over whole tensors: libtorch's operators and our kernels agree" {
            for entry in Catalogue.All do
                if
                    entry.Rule.StepsByValues
                    && not (ofVectors.Contains entry.Name || entry.Name = ofAll)
                then
                    for dtype in [ torch.float32; torch.float64 ] do
                        for shape in [ [||]; [| 7L |]; [| 6L; 4L |]; [| 20L; 33L |]; [| 2L; 3L; 4L |] ] do
                            // In bfloat16 a last bit here and there is another one, by which small numbers are then divided.
                            if shape.Length < 2 || not (isNarrow entry.Name) then
                                agreeWith entry.Rule [] [] 0.0 dtype shape
        }

        test "a rule that sums over all parameters is refused on libtorch's operators, in words" {
            refuses<NotSupportedException> ofAll [ ofAll; "sums over all parameters"; "libtorch's operators" ] (fun () ->
                agreeWith (Rules.Find ofAll) [] [] 0.0 torch.float64 [| 6L; 4L |])
        }

        test "the catalogue's rules of eigenvectors: libtorch's operators and our kernels agree on parameters" {
            // Vectors have either sign, and of a matrix of less than full rank some are anybody's choice.
            let shape, n = [| 5L; 5L |], 25

            for name in ofVectors do
                for place, device, executor in places.Value do
                    let moved device executor =
                        let w = (tensorOf torch.float64 device shape (noise 1 n)).requires_grad_ true
                        let optimizer = make (Rules.Find name) [] (parametersAt executor [ "w", w ])

                        for step in 1..4 do
                            w.grad <- tensorOf torch.float64 device shape (noise (10 + step) n)
                            optimizer.Step()

                        doubles w

                    let ours, theirs = moved torch.CPU ValueNone, moved device executor

                    for i in 0 .. n - 1 do
                        if not (abs (ours[i] - theirs[i]) <= 1e-8) then
                            failtestf "%s, %s, element %d: %s, expected %s" name place i (text theirs[i]) (text ours[i])
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
