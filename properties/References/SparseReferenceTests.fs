/// Law O1 for sparse gradients: rules against their reference, over generated options, rows in any order, and rows that come more than once.
module SparseReferenceTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Optim
open Optim.Kernels
open Optim.Laws
open global.Reference
open Kit

type Run =
    {
        Rule: string
        DType: DType
        Given: (string * Setting) list
        Rows: int
        Columns: int
        /// For each step the rows that have a gradient.
        Touched: int list list
        Seed: int
    }

    override this.ToString() =
        let given =
            String.Join(", ", [ for name, value in this.Given -> $"{name} {value}" ])

        sprintf "%s, %s, %s, %d x %d, rows %A, seed %d" this.Rule (this.DType.Name()) given this.Rows this.Columns this.Touched this.Seed

let private numbers = List.map Number >> Gen.elements
let private flags = Gen.elements [ Flag false; Flag true ]
let private lr = numbers [ 1e-3; 0.1; 1.0 ]

let private settings =
    Map
        [
            "SparseAdam",
            [
                "lr", lr
                "betas", Gen.elements [ Pair(0.9, 0.999); Pair(0.0, 0.5); Pair(0.5, 0.0); Pair(0.8, 0.9) ]
                "eps", numbers [ 1e-8; 1e-3; 0.5 ]
                "maximize", flags
            ]
            "SGD",
            [
                "lr", lr
                "momentum", numbers [ 0.9; 0.5 ]
                "dampening", numbers [ 0.0; 0.5 ]
                "maximize", flags
            ]
            "Adagrad",
            [
                "lr", lr
                "lr_decay", numbers [ 0.0; 0.1; 1.0 ]
                "initial_accumulator_value", numbers [ 0.0; 0.1 ]
                "eps", numbers [ 1e-10; 1e-3; 0.5 ]
                "maximize", flags
            ]
        ]

let private run rule dtype =
    gen {
        let! given =
            settings[rule]
            |> List.map (fun (name, value) -> Gen.frequency [ 3, value |> Gen.map (fun value -> Some(name, value)); 1, Gen.constant None ])
            |> Gen.sequenceToList

        let! rows = Gen.choose (1, 7)
        let! columns = Gen.elements [ 1; 2; 5; 17 ]
        let! steps = Gen.choose (1, 8)

        let! touched =
            Gen.listOfLength
                steps
                (Gen.choose (0, rows + 2)
                 |> Gen.bind (fun count -> Gen.listOfLength count (Gen.choose (0, rows - 1))))

        let! seed = Gen.choose (0, 1_000_000)

        return
            {
                Rule = rule
                DType = dtype
                Given = List.choose id given
                Rows = rows
                Columns = columns
                Touched = touched
                Seed = seed
            }
    }

let private shrink run =
    seq {
        for at in 0 .. run.Touched.Length - 1 do
            if run.Touched.Length > 1 then
                { run with
                    Touched = List.removeAt at run.Touched
                }

        for name, _ in run.Given do
            { run with
                Given = run.Given |> List.filter (fun (other, _) -> other <> name)
            }

        if run.Columns > 1 then
            { run with Columns = 1 }
    }

/// One step of an element whose row has a gradient, or none. To SGD and Adagrad that is a gradient of zero.
let private judge rule settings (x: Element) (gradient: float option) =
    match rule with
    | "SparseAdam" -> sparseAdam settings x gradient
    | rule -> Reference.rules[rule] settings x (Option.defaultValue 0.0 gradient)

/// The first number in which the product is too far from the reference; None: it keeps the law.
let private disagreement (run: Run) (settings: Settings) =
    let random = Random run.Seed
    let u = Number.u run.DType

    let draw count palette : float[] =
        Array.init count (fun _ -> palette random run.DType)

    // Gradients are of few bits, so that the sums of repeated rows are exact.
    let start = draw (run.Rows * run.Columns) (Palette.logUniform -6 6)

    let p = param "table" run.DType [| int64 run.Rows; int64 run.Columns |] start
    let optimizer = optimizer run.Rule run.Given [ p ]
    let mutable expected = start |> Array.map element
    let mutable found = None

    let tooFar what (actual: float) (expected: float) allowed =
        if Double.IsFinite allowed && not (abs (actual - expected) <= allowed) then
            Some $"{what}: {text actual}, the reference has {text expected}; allowed {allowed}"
        else
            None

    let compare step =
        let theta = values p
        let state = optimizer.State p

        Seq.indexed expected
        |> Seq.collect (fun (i, x) ->
            seq {
                let allowed = 64.0 * u * x.LargestStep + 2.0 * float (step + 1) * u * x.Theta.Size

                tooFar $"step {step}, element {i}" theta[i] x.Theta.Value allowed

                for KeyValue(name, slot) in x.Slots do
                    if state.ContainsKey name then
                        let found = state[name].ToDoubles()
                        tooFar $"step {step}, {name}, element {i}" found[i] slot.Value (64.0 * u * slot.Size)
            })
        |> Seq.tryPick id

    for step, touched in List.indexed run.Touched do
        let gradients = draw (touched.Length * run.Columns) Palette.dyadic
        let indices = touched |> List.map int64 |> Array.ofList
        let count = indices.LongLength

        p.SetSparseGradient(
            TensorView.Of(ReadOnlySpan indices, ReadOnlySpan [| count |]),
            Tensor.shaped [| count; int64 run.Columns |] run.DType gradients
        )

        optimizer.Step()

        expected <-
            expected
            |> Array.mapi (fun at x ->
                let own =
                    [
                        for k, row in List.indexed touched do
                            if row = at / run.Columns then
                                gradients[k * run.Columns + at % run.Columns]
                    ]

                judge run.Rule settings x (if own.IsEmpty then None else Some(List.sum own)))

        if found.IsNone then
            found <- compare step

    found

let private off _ =
    function
    | Number number -> Number(if number = 0.0 then 1e-3 else 0.999 * number)
    | Pair(first, second) -> Pair(0.999 * first, 0.999 * second)
    | Flag flag -> Flag(not flag)
    | other -> other

[<Tests>]
let tests =
    testList
        "reference of sparse gradients"
        [
            for KeyValue(rule, _) in settings do
                for dtype in [ DType.Float64; DType.Float32 ] do
                    let complete (run: Run) = Constructors.settings rule run.Given

                    ReferenceTests.agrees
                        100
                        $"{rule} {dtype.Name()}, sparse: every slot within 64 u of the reference, parameters within 64 u of the largest step"
                        (Arb.fromGenShrink (run rule dtype, shrink))
                        complete
                        disagreement

                    ReferenceTests.notices
                        200
                        $"{rule} {dtype.Name()}, sparse: a reference with any option off by a thousandth disagrees"
                        (run rule dtype)
                        (List.map fst settings[rule])
                        off
                        complete
                        disagreement
        ]
