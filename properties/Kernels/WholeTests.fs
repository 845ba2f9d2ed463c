/// Adafactor, Muon and what they are made of, against independent references.
module WholeTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Kit
open KernelRuns
open Plain
open WholeReference

let private draw seed count =
    let random = Random(seed: int)
    Array.init count (fun _ -> Palette.logUniform -4 3 random DType.Float64)

/// Steps a tensor by the rule and by the reference; the second gradient is missing.
let private follow rule options dtype (shape: int list) (judge: WholeReference.Tensor -> float[] -> WholeReference.Tensor) =
    let count = List.fold (*) 1 shape
    let rounded = Array.map (Number.round dtype)
    let start = draw count count |> rounded
    let p = param "w" dtype (shape |> List.map int64 |> Array.ofList) start
    let optimizer = optimizer rule options [ p ]
    let mutable expected = tensor shape start

    for step in 1..4 do
        let gradient =
            if step = 2 then
                None
            else
                Some(draw (1000 * step + count) count |> rounded)

        setGradient p gradient
        optimizer.Step()
        gradient |> Option.iter (fun gradient -> expected <- judge expected gradient)

        let what =
            sprintf "%s %A of %A in %s, step %d" rule options shape (dtype.Name()) step

        closeTo dtype what expected.Theta (values p)

        // Means over nothing are NaN in PyTorch, and 0 here; nobody sees them.
        for KeyValue(name, slot) in (if count = 0 then Map.empty else expected.Slots) do
            closeTo dtype (name + ", " + what) slot (column optimizer p name)

    Cases.add "whole tensors" 1

let private shapes =
    [
        []
        [ 7 ]
        [ 5000 ]
        [ 3; 2 ]
        [ 40; 70 ]
        [ 3; 64; 33 ]
        [ 1; 3000 ]
        [ 3000; 1 ]
        [ 50; 1; 1 ]
        [ 300; 3; 3 ]
        [ 4; 3; 2; 5 ]
        [ 2; 130; 65 ]
        [ 0; 3 ]
        [ 2; 3; 0 ]
    ]

let private adafactorTests =
    test "Adafactor agrees with its reference on every shape, under every option" {
        for dtype in dtypes do
            let eps =
                if dtype = DType.Float32 then
                    Math.ScaleB(1.0, -23)
                else
                    Math.ScaleB(1.0, -52)

            let defaults =
                {
                    Lr = 1e-2
                    Beta2Decay = -0.8
                    Eps1 = eps
                    Eps2 = 1e-3
                    D = 1.0
                    WeightDecay = 0.0
                    Maximize = false
                }

            for shape in shapes do
                follow "Adafactor" [] dtype shape (adafactor defaults)

                follow
                    "Adafactor"
                    [
                        "lr", Reference.Number 0.3
                        "beta2_decay", Reference.Number -0.3
                        "eps", Reference.Pair(0.01, 2.0)
                        "d", Reference.Number 1.5
                        "weight_decay", Reference.Number 0.1
                        "maximize", Reference.Flag true
                    ]
                    dtype
                    shape
                    (adafactor
                        {
                            Lr = 0.3
                            Beta2Decay = -0.3
                            Eps1 = 0.01
                            Eps2 = 2.0
                            D = 1.5
                            WeightDecay = 0.1
                            Maximize = true
                        })
    }

let private muonTests =
    test "Muon agrees with its reference on every shape, under every option" {
        for dtype in dtypes do
            let defaults =
                {
                    Lr = 1e-3
                    WeightDecay = 0.1
                    Momentum = 0.95
                    Nesterov = true
                    A = 3.4445
                    B = -4.7750
                    C = 2.0315
                    Eps = 1e-7
                    Steps = 5
                    Adjust = ""
                }

            for shape in
                [
                    [ 1; 1 ]
                    [ 3; 2 ]
                    [ 2; 40 ]
                    [ 40; 2 ]
                    [ 20; 20 ]
                    [ 33; 50 ]
                    [ 70; 35 ]
                    [ 0; 3 ]
                ] do
                follow "Muon" [] dtype shape (muon defaults)

                for adjust in [ "original"; "match_rms_adamw"; "spectral_unclamped" ] do
                    follow
                        "Muon"
                        [
                            "lr", Reference.Number 0.05
                            "weight_decay", Reference.Number 0.0
                            "momentum", Reference.Number 0.4
                            "nesterov", Reference.Flag false
                            "ns_coefficients", Reference.Several [ Reference.Number 1.5; Reference.Number -0.5; Reference.Number 0.01 ]
                            "eps", Reference.Number 1.0
                            "ns_steps", Reference.Number 3.0
                            "adjust_lr_fn", Reference.Text adjust
                        ]
                        dtype
                        shape
                        (muon
                            {
                                Lr = 0.05
                                WeightDecay = 0.0
                                Momentum = 0.4
                                Nesterov = false
                                A = 1.5
                                B = -0.5
                                C = 0.01
                                Eps = 1.0
                                Steps = 3
                                Adjust = adjust
                            })
    }

let private judgesTests =
    test "Adafactor's reference agrees with PyTorch's recorded runs, in float64" {
        let mutable runs = 0

        for file in Golden.files "optimizers*.json" do
            for raw in Golden.cases file do
                if
                    (Golden.field "optimizer" raw |> Golden.text) = "Adafactor"
                    && (Golden.field "dtype" raw |> Golden.text) = "float64"
                then
                    let case = Golden.case raw
                    runs <- runs + 1

                    let mutable tensors =
                        [
                            for group, g in List.indexed case.Groups do
                                let options =
                                    (wholeDefaults["Adafactor"], case.Options @ g.Options)
                                    ||> List.fold (fun all (name, value) -> Map.add name value all)
                                    |> adafactorOptions (Math.ScaleB(1.0, -52))

                                for p in g.Parameters -> group, options, tensor (p.Shape |> Array.map int |> List.ofArray) p.Initial
                        ]

                    for step, gradients in List.indexed case.Gradients do
                        tensors <-
                            List.zip tensors gradients
                            |> List.map (fun ((group, options, x), gradient) ->
                                let options =
                                    match case.Rates with
                                    | Some rates -> { options with Lr = rates[step][group] }
                                    | None -> options

                                match gradient with
                                | Some gradient -> group, options, adafactor options x gradient
                                | None -> group, options, x)

                        for (_, _, x), expected in List.zip tensors case.Expected[step] do
                            closeTo DType.Float64 (sprintf "%A, step %d" case.Options step) expected x.Theta

        Expect.isGreaterThan runs 0 "runs"
    }

let private refusalTests =
    test "what Muon and Adafactor do not take is refused, by name" {
        let matrix () =
            param "w" DType.Float64 [| 2L; 2L |] [| 1.0; 2.0; 3.0; 4.0 |]

        for shape in [ [||]; [| 4L |]; [| 1L; 2L; 2L |] ] do
            refuses<ArgumentException> "Muon" [ "'w'"; "2D" ] (fun () ->
                optimizer "Muon" [] [ param "w" DType.Float64 shape (noise 1 (int (Array.fold (*) 1L shape))) ]
                |> ignore)

        for name, value, words in
            [
                "ns_steps", Reference.Number 100.0, [ "ns_steps"; "100"; "[0" ]
                "ns_steps", Reference.Number 2.5, [ "ns_steps"; "2.5"; "whole" ]
                "ns_coefficients", Reference.Pair(1.0, 2.0), [ "ns_coefficients"; "(1, 2)"; "three" ]
                "adjust_lr_fn", Reference.Text "fast", [ "adjust_lr_fn"; "fast"; "match_rms_adamw" ]
                "precision", Reference.Text "float8", [ "precision"; "float8"; "bfloat16" ]
            ] do
            refuses<OptionException> name words (fun () -> optimizer "Muon" [ name, value ] [ matrix () ] |> ignore)

        refuses<OptionException> "eps" [ "eps"; "-1" ] (fun () ->
            optimizer "Adafactor" [ "eps", Reference.Several [ Reference.Unset; Reference.Number -1.0 ] ] [ matrix () ]
            |> ignore)

        for name in [ "Muon"; "Adafactor" ] do
            let complex = Parameters.Of [ TensorView.Zeros(DType.Complex64, [| 2L; 2L |]) ]

            refuses<NotSupportedException> name [ name; "complex64" ] (fun () ->
                let rule = rule name
                rule.Init(rule.Defaults, complex) |> ignore)

            let parameters = Parameters.Of [ (matrix ()).View ]

            let sparse =
                Gradient.OfSparse(TensorView.Of [| 0L |], TensorView.Of([| 1.0; 2.0 |], [| 1L; 2L |]))

            refuses<NotSupportedException> name [ name; "sparse" ] (fun () ->
                let rule = rule name
                let state = rule.Init(rule.Defaults, parameters)
                rule.Step(rule.Defaults, parameters, Gradients.Of [ sparse ], state) |> ignore)
    }

let private epsTests =
    test "Adafactor's first eps, when it is not given, is that of each parameter's own dtype" {
        for dtype, eps in [ DType.Float32, Math.ScaleB(1.0, -23); DType.Float64, Math.ScaleB(1.0, -52) ] do
            let step (settings: (string * Reference.Setting) list) =
                let other = param "first" DType.Float64 [| 1L |] [| 1.0 |]
                let p = param "w" dtype [| 2L |] [| 1.0; 2.0 |]
                setGradient p (Some [| 1e-9; 2e-9 |])
                (optimizer "Adafactor" settings [ other; p ]).Step()
                values p

            expectSameBits (step []) (step [ "eps", Reference.Pair(eps, 1e-3) ]) (dtype.Name())
    }

let private splitTests =
    test "a model's parameters are split into matrices and the others, in order" {
        let list =
            [
                param "embedding" DType.Float64 [| 4L; 2L |] (noise 1 8)
                param "bias" DType.Float64 [| 2L |] (noise 2 2)
                param "weight" DType.Float64 [| 2L; 2L |] (noise 3 4)
                param "kernel" DType.Float64 [| 1L; 2L; 2L |] (noise 4 4)
            ]

        let names (list: Param[]) =
            list |> Array.map _.Name |> List.ofArray

        let struct (matrices, others) = ForMuon.Split list
        Expect.equal (names matrices) [ "embedding"; "weight" ] "matrices"
        Expect.equal (names others) [ "bias"; "kernel" ] "others"
        let struct (matrices, others) = ForMuon.Split(list, (fun p -> p.Name = "embedding"))
        Expect.equal (names matrices) [ "weight" ] "matrices but one"
        Expect.equal (names others) [ "embedding"; "bias"; "kernel" ] "others and that one"
    }

[<Tests>]
let tests =
    testSequenced
    <| testList
        "whole tensors"
        [
            adafactorTests
            muonTests
            judgesTests
            MatrixProductTests.products
            refusalTests
            epsTests
            splitTests
        ]
