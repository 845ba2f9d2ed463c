/// Law O1 for rules of whole tensors: Adafactor and Muon against their reference, over generated shapes, options and histories.
module WholeReferenceTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Optim.Kernels
open Optim.Laws
open global.Reference
open Kit
open WholeReference

type Run =
    {
        Rule: string
        DType: DType
        Shape: int list
        Given: (string * Setting) list
        /// How many steps, and in which of them there is no gradient.
        Steps: int
        Missing: int
        Seed: int
    }

    override this.ToString() =
        let given =
            String.Join(", ", [ for name, value in this.Given -> $"{name} {value}" ])

        sprintf
            "%s of %s, %A, %s, %d steps without %d, seed %d"
            this.Rule
            (this.DType.Name())
            this.Shape
            given
            this.Steps
            this.Missing
            this.Seed

let private numbers = List.map Number >> Gen.elements
let private flags = Gen.elements [ Flag false; Flag true ]

let private triple a b c =
    Several [ Number a; Number b; Number c ]

let private settings =
    Map
        [
            "Adafactor",
            [
                "lr", numbers [ 0.0; 1e-3; 1e-2; 0.3; 2.0 ]
                "beta2_decay", numbers [ -0.8; -0.3; -1.0; 0.0 ]
                "eps",
                Gen.elements
                    [
                        Several [ Unset; Number 1e-3 ]
                        Several [ Unset; Number 0.5 ]
                        Pair(0.01, 2.0)
                        Pair(0.5, 0.1)
                        Pair(1e-8, 0.0)
                    ]
                "d", numbers [ 1.0; 1.5; 3.0 ]
                "weight_decay", numbers [ 0.0; 0.1; 1.0 ]
                "maximize", flags
            ]
            "Muon",
            [
                "lr", numbers [ 0.0; 1e-3; 0.05; 0.3 ]
                "weight_decay", numbers [ 0.0; 0.1; 1.0 ]
                "momentum", numbers [ 0.95; 0.0; 0.4 ]
                "nesterov", flags
                "ns_coefficients", Gen.elements [ triple 3.4445 -4.7750 2.0315; triple 1.5 -0.5 0.01; triple 2.0 -1.5 0.5 ]
                "eps", numbers [ 1e-7; 1.0; 50.0 ]
                "ns_steps", numbers [ 0.0; 1.0; 3.0; 5.0 ]
                "adjust_lr_fn", Gen.elements [ Unset; Text "original"; Text "match_rms_adamw"; Text "spectral_unclamped" ]
            ]
        ]

let private shapes =
    let side = Gen.choose (1, 12)
    let matrix = Gen.map2 (fun rows columns -> [ rows; columns ]) side side

    Map
        [
            "Adafactor",
            Gen.oneof
                [
                    matrix
                    Gen.elements [ []; [ 1 ]; [ 7 ]; [ 40 ]; [ 1; 30 ]; [ 30; 1 ]; [ 0; 3 ] ]
                    Gen.map2 (fun first rest -> first :: rest) (Gen.choose (1, 3)) matrix
                    Gen.map2 (fun first rest -> 2 :: first :: rest) (Gen.choose (1, 3)) matrix
                ]
            "Muon",
            Gen.oneof
                [
                    matrix
                    Gen.elements [ [ 1; 1 ]; [ 1; 20 ]; [ 20; 1 ]; [ 16; 16 ]; [ 0; 3 ] ]
                ]
        ]

let private run rule dtype =
    gen {
        let! shape = shapes[rule]

        let! given =
            settings[rule]
            |> List.map (fun (name, value) -> Gen.frequency [ 3, value |> Gen.map (fun value -> Some(name, value)); 1, Gen.constant None ])
            |> Gen.sequenceToList

        let! steps = Gen.choose (1, 5)
        let! missing = Gen.choose (1, 9)
        let! seed = Gen.choose (0, 1_000_000)

        return
            {
                Rule = rule
                DType = dtype
                Shape = shape
                Given = List.choose id given
                Steps = steps
                Missing = missing
                Seed = seed
            }
    }

let private shrink run =
    seq {
        if run.Steps > 1 then
            { run with Steps = run.Steps - 1 }

        for name, _ in run.Given do
            { run with
                Given = run.Given |> List.filter (fun (other, _) -> other <> name)
            }

        for at in 0 .. run.Shape.Length - 1 do
            if run.Shape[at] > 1 then
                { run with
                    Shape = List.updateAt at (run.Shape[at] - 1) run.Shape
                }
    }

let private complete rule given : Settings =
    (wholeDefaults[rule], given)
    ||> Seq.fold (fun all (name, value) -> Map.add name value all)

let private judge rule dtype settings : Tensor -> float[] -> Tensor =
    if rule = "Adafactor" then
        adafactor (adafactorOptions (Number.u dtype) settings)
    else
        muon (muonOptions settings)

/// How far a step of lr may be off. What Muon's iteration makes of the smallest singular values it magnifies 500 times.
let private allowed rule dtype (steps: int) (lr: float) (x: float) =
    let u = Number.u dtype
    let magnified = if rule = "Muon" then 2000.0 else 200.0
    magnified * u * float steps * (lr + abs x) + 1e-300

/// The first number in which the product is too far from the reference; None: it keeps the law.
let private disagreement (run: Run) (settings: Settings) =
    let random = Random run.Seed
    let count = List.fold (*) 1 run.Shape

    let draw () =
        Array.init count (fun _ -> Palette.logUniform -4 3 random run.DType)

    let start = draw ()

    let p = param "w" run.DType (run.Shape |> List.map int64 |> Array.ofList) start
    let optimizer = optimizer run.Rule run.Given [ p ]
    let judge = judge run.Rule run.DType settings
    let mutable expected = tensor run.Shape start
    let mutable found = None

    let lr =
        match settings["lr"] with
        | Number lr -> lr
        | _ -> 0.0

    // Muon's rate is adjusted by less, and its singular values are below 2.
    let longest = lr * 2.0 * sqrt (float (List.fold max 1 run.Shape))

    let compare what (expected: float[]) (actual: float[]) scale =
        let off i =
            not (
                abs (actual[i] - expected[i])
                <= allowed run.Rule run.DType run.Steps scale expected[i]
            )

        seq { 0 .. expected.Length - 1 }
        |> Seq.tryFind off
        |> Option.map (fun i -> sprintf "%s, element %d: %s, the reference has %s" what i (text actual[i]) (text expected[i]))

    for step in 1 .. run.Steps do
        let gradient = if step = run.Missing then None else Some(draw ())
        setGradient p gradient
        optimizer.Step()
        gradient |> Option.iter (fun gradient -> expected <- judge expected gradient)

        if found.IsNone && count > 0 then
            found <- compare (sprintf "step %d" step) expected.Theta (values p) longest

            for KeyValue(name, slot) in expected.Slots do
                if found.IsNone then
                    let size = slot |> Array.map abs |> Array.fold max 0.0
                    found <- compare (sprintf "%s, step %d" name step) slot (column optimizer p name) size

    found

let rec private off =
    function
    | Number number -> Number(if number = 0.0 then 0.01 else 0.99 * number)
    | Flag flag -> Flag(not flag)
    | Pair(first, second) -> Pair(0.99 * first, 0.99 * second)
    | Several settings -> Several(settings |> List.map (fun value -> if value = Unset then Unset else off value))
    | Text "match_rms_adamw" -> Text "original"
    | Text _
    | Unset -> Text "match_rms_adamw"

let private offByName name =
    match name with
    | "ns_steps" ->
        function
        | Number steps -> Number(steps + 1.0)
        | other -> other
    | _ -> off

let private everyOption =
    test "every option that changes what comes out is drawn" {
        for KeyValue(rule, drawn) in settings do
            // How a step runs is no matter of the reference, and Muon's other precision is PyTorch's, compared in golden runs.
            let execution =
                set [ "foreach"; "fused"; "capturable"; "differentiable"; "precision"; "product" ]

            let names =
                (Kit.rule rule).OptionNames
                |> Seq.filter (fun name -> not (execution.Contains name))
                |> Set.ofSeq

            Expect.equal (Set.ofList (List.map fst drawn)) names rule
    }

/// Where the numbers of Adafactor end.
let private ends =
    let run given dtype shape (gradients: float[] list) =
        let p =
            param "w" dtype (shape |> List.map int64 |> Array.ofList) (Array.init gradients.Head.Length (fun i -> 1.0 + float i / 8.0))

        let optimizer = optimizer "Adafactor" given [ p ]

        for gradient in gradients do
            setGradient p (Some gradient)
            optimizer.Step()

        values p

    let dtypes = [ DType.Float32; DType.Float64; DType.BFloat16 ]
    let shapes = [ [ 12 ]; [ 3; 4 ]; [ 2; 3; 2 ]; [ 12; 1; 1 ] ]

    [
        test "Adafactor with an infinite lr goes by the step count alone" {
            for dtype in dtypes do
                for shape in shapes do
                    let gradients = [ for k in 1..4 -> noise k 12 ]
                    let infinite = run [ "lr", Number infinity ] dtype shape gradients
                    expectSameBits infinite (run [ "lr", Number 1.0 ] dtype shape gradients) $"%A{shape} {dtype}"
                    Expect.all infinite Double.IsFinite "finite"

            refuses<Optim.Core.OptionException> "decay by an infinite lr" [ "Adafactor"; "weight_decay"; "0.1"; "infinite lr" ] (fun () ->
                run [ "lr", Number infinity; "weight_decay", Number 0.1 ] DType.Float64 [ 1 ] [ [| 1.0 |] ]
                |> ignore)
        }

        test "Adafactor: a gradient whose square overflows loses its element, or its matrix, and leaves the others" {
            for dtype in dtypes do
                // From this element on, each is of another vector's element, or another matrix.
                for shape, first in [ [ 12 ], 1; [ 2; 3; 2 ], 6; [ 12; 1; 1 ], 1 ] do
                    let huge = if dtype = DType.Float64 then 1e200 else 1e20

                    let after =
                        run
                            [ "lr", Number 0.1 ]
                            dtype
                            shape
                            [
                                for k in 1..4 -> noise k 12 |> Array.mapi (fun i g -> if i = 0 && k = 2 then huge else g)
                            ]

                    for i in first..11 do
                        Expect.isTrue
                            (Double.IsFinite after[i] && after[i] <> 1.0 + float i / 8.0)
                            $"%A{shape} {dtype}, element {i}: {after[i]}"
        }

        test "Adafactor with the published eps, whose square float32 does not have, steps rows that never had a gradient" {
            for dtype in dtypes do
                for shape in shapes do
                    let after =
                        run
                            [ "eps", Pair(1e-30, 1e-3) ]
                            dtype
                            shape
                            [
                                for k in 1..3 -> noise k 12 |> Array.mapi (fun i g -> if i < 4 then 0.0 else g)
                            ]

                    Expect.all after Double.IsFinite $"%A{shape} {dtype}"
        }
    ]

[<Tests>]
let tests =
    testList
        "reference of whole tensors"
        [
            yield! ends

            for rule in [ "Adafactor"; "Muon" ] do
                for dtype in [ DType.Float64; DType.Float32 ] do
                    let complete (run: Run) = complete rule run.Given

                    ReferenceTests.agrees
                        200
                        $"{rule} {dtype.Name()}: state and parameters are those of the reference"
                        (Arb.fromGenShrink (run rule dtype, shrink))
                        complete
                        disagreement

                    ReferenceTests.notices
                        200
                        $"{rule} {dtype.Name()}: a reference with any option a hundredth off disagrees"
                        (run rule dtype)
                        (List.map fst settings[rule])
                        offByName
                        complete
                        disagreement
            everyOption
        ]
