/// Law O1: the product against the reference, over generated options and histories in which gradients are missing.
module ReferenceTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Optim
open Optim.Kernels
open Reference
open Kit
open ReferenceRuns

/// The first number in which the product is further from the reference than `u` allows; None: it keeps the law.
let private disagreement (run: Run) (referenceSettings: Settings) =
    let u =
        if run.DType = DType.Float32 then
            Math.Pow(2.0, -23.0)
        else
            Math.Pow(2.0, -52.0)

    let rule = Reference.rules[run.Rule]

    let list =
        run.Initial
        |> List.mapi (fun i initial -> param $"p{i}" run.DType [| int64 initial.Length |] initial)

    let optimizer = optimizer run.Rule run.Given list

    let tooFar what (actual: float) (expected: float) allowed =
        if not (Double.IsFinite allowed) then
            None
        elif actual = expected || abs (actual - expected) <= allowed then
            None
        else
            Some $"{what}: {text actual}, the reference has {text expected}; off by {abs (actual - expected)}, allowed {allowed}"

    let compare step i (p: Param) (elements: Element[]) =
        seq {
            let theta = values p
            let state = if elements[0].Steps = 0 then null else optimizer.State p

            for k, x in Array.indexed elements do
                let t = float (max 1 x.Steps)

                yield tooFar $"step {step}, p{i}[{k}]" theta[k] x.Theta.Value (64.0 * u * x.LargestStep + 2.0 * t * u * x.Theta.Size)

                for KeyValue(name, slot) in x.Slots do
                    if state.ContainsKey name then
                        let actual = state[name].ToDoubles()
                        // A number for the parameter as a whole, or one for each element.
                        let own = min k (actual.Length - 1)
                        yield tooFar $"step {step}, {name} of p{i}[{k}]" actual[own] slot.Value (64.0 * u * slot.Size)
                    else
                        yield Some $"step {step}: p{i} has no {name}"
        }
        |> Seq.tryPick id

    let mutable expected = run.Initial |> List.map (Array.map element)
    let mutable found = None
    let mutable step = 0

    while found.IsNone && step < run.Gradients.Length do
        let gradients = run.Gradients[step]
        List.iter2 setGradient list gradients
        optimizer.Step()

        expected <-
            List.map2
                (fun elements gradient ->
                    match gradient with
                    | None -> elements
                    | Some gradient -> Array.map2 (rule referenceSettings) elements gradient)
                expected
                gradients

        found <-
            List.zip list expected
            |> Seq.indexed
            |> Seq.tryPick (fun (i, (p, elements)) -> compare step i p elements)

        step <- step + 1

    found

/// Generated runs go as the reference under their settings; the first number that does not is told.
let agrees cases name runs (complete: 'run -> Settings) (disagreement: 'run -> Settings -> string option) =
    testPropertyWithConfig
        (drawn cases)
        name
        (Prop.forAll runs (fun run ->
            match disagreement run (complete run) with
            | Some difference -> failtestf "%s" difference
            | None -> ()))

/// The judge must be able to convict: with any option of the reference a little off, some run disagrees.
let notices
    cases
    name
    run
    options
    (off: string -> Setting -> Setting)
    (complete: 'run -> Settings)
    (disagreement: 'run -> Settings -> string option)
    =
    testCase name (fun () ->
        let runs = Gen.sampleWithSeed (Rnd 3UL) 50 cases run

        for name in options do
            let convicts run =
                let settings = complete run

                disagreement run (settings |> Map.add name (off name settings[name]))
                |> Option.isSome

            if not (runs |> Array.exists convicts) then
                failtestf "%s a little off went unnoticed in %d runs" name runs.Length)

let private off rule name =
    match Map.find name Constructors.defaults[rule] with
    | Flag _ -> fun value -> if value = Flag true then Flag false else Flag true
    | _ ->
        function
        | Number number -> Number(0.999 * number)
        | Pair(first, second) -> Pair(0.999 * first, 0.999 * second)
        | other -> other

[<Tests>]
let tests =
    testList
        "reference"
        [
            for KeyValue(rule, _) in Reference.rules do
                for dtype in [ DType.Float64; DType.Float32 ] do
                    let complete (run: Run) = Constructors.settings rule run.Given

                    agrees
                        60
                        $"{rule} {DTypes.Name dtype}: every slot within 64 u of the reference, parameters within 64 u of the largest step"
                        (Arb.fromGenShrink (run rule dtype, shrink))
                        complete
                        disagreement

                    notices
                        400
                        $"{rule} {DTypes.Name dtype}: a reference with any option off by a thousandth disagrees"
                        (run rule dtype)
                        (List.map fst settings[rule])
                        (off rule)
                        complete
                        disagreement

            testCase "every option that changes what comes out is drawn" (fun () ->
                for KeyValue(name, drawn) in settings do
                    // How a step runs is no matter of the reference, and AdamW's decay is decoupled.
                    let fixed' =
                        set
                            [
                                "foreach"
                                "fused"
                                "capturable"
                                "differentiable"
                                if name = "AdamW" then
                                    "decoupled_weight_decay"
                            ]

                    let names = Set.ofSeq (rule name).OptionNames - fixed'
                    Expect.equal (Set.ofList (List.map fst drawn)) names name

                Expect.equal (Map.keys settings |> Set.ofSeq) (set [ for rule in denseRules -> rule.Name ]) "rules")

            testCase "agrees with PyTorch's recorded runs, in float64" (fun () ->
                for file in Golden.files "optimizers*.json" do
                    for raw in Golden.cases file do
                        let name = Golden.field "optimizer" raw |> Golden.text

                        if
                            Reference.rules.ContainsKey name
                            && (Golden.field "dtype" raw |> Golden.text) = "float64"
                        then
                            let case = Golden.case raw

                            let mutable parameters =
                                [
                                    for i, group in List.indexed case.Groups do
                                        let settings = Constructors.settings name (case.Options @ group.Options)

                                        for p in group.Parameters do
                                            i, settings, p.Initial |> Array.map element
                                ]

                            for step, gradients in List.indexed case.Gradients do
                                parameters <-
                                    [
                                        for (i, settings, elements), gradient in List.zip parameters gradients do
                                            let settings =
                                                match case.Rates with
                                                | Some rates -> settings |> Map.add "lr" (Number(rates[step][i]))
                                                | None -> settings

                                            let next =
                                                match gradient with
                                                | Some gradient -> Array.map2 (Reference.rules[name] settings) elements gradient
                                                | None -> elements

                                            i, settings, next
                                    ]

                                for (_, _, elements), expected in List.zip parameters case.Expected[step] do
                                    for x, expected in Array.zip elements expected do
                                        if not (abs (x.Theta.Value - expected) <= Golden.allowed case expected) then
                                            failtestf
                                                "%s %A, step %d: %s, PyTorch %s"
                                                name
                                                case.Options
                                                step
                                                (text x.Theta.Value)
                                                (text expected))
        ]
