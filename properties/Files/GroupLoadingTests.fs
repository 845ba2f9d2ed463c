/// State dicts by name: options follow the names of parameters, whatever the groups are, and a load that comes too late is refused.
module GroupLoadingTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit
open GroupKit

let private decayOf (optimizer: Optimizer) group : float =
    OptionValue.op_Explicit (optimizer.ParamGroups[group]["weight_decay"])

/// Names dealt to groups, some groups without any.
let private dealt (names: string list) count =
    gen {
        let! places = Gen.listOfLength names.Length (Gen.choose (0, count - 1))
        let dealt = List.zip names places

        return
            [
                for group in 0 .. count - 1 -> dealt |> List.filter (fun (_, place) -> place = group) |> List.map fst
            ]
    }

type private Regrouping =
    {
        Saved: (string list * float) list
        Own: (string list * float) list
    }

let private regroupings =
    gen {
        let! savedNames = Gen.subListOf [ "a"; "b"; "c"; "d" ]

        let! ownNames =
            Gen.oneof [ Gen.constant savedNames; Gen.subListOf [ "a"; "b"; "c"; "d"; "e" ] ]

        let! savedCount = Gen.choose (1, 3)
        let! ownCount = Gen.oneof [ Gen.constant savedCount; Gen.choose (1, 3) ]
        let! saved = dealt (List.ofSeq savedNames) savedCount
        let! shuffled = Gen.shuffle (Array.ofSeq ownNames)
        let! own = dealt (List.ofArray shuffled) ownCount
        // Few rates, so that groups often agree.
        let! rates = Gen.listOfLength savedCount (Gen.elements [ 0.1; 0.2 ])

        return
            {
                Saved = List.zip saved rates
                Own = own |> List.mapi (fun i names -> names, 0.5 + float i)
            }
    }

/// What each own group's rate is after a load that is not strict: the saved one, or its own where its names come from none or from
/// groups that differ. Groups without names are left out: they go by their order.
let private expected case =
    let rateOf name =
        case.Saved
        |> List.tryPick (fun (names, lr) -> if List.contains name names then Some lr else None)

    [
        for i, (names, own) in List.indexed case.Own do
            if not names.IsEmpty then
                match names |> List.choose rateOf |> List.distinct with
                | [ lr ] -> i, lr, true
                | _ -> i, own, false
    ]

let private followNames =
    testPropertyWithConfig
        (drawn 300)
        "options go with the names, however they are grouped on either side; the report tells of each group"
        (Prop.forAll (Arb.fromGen regroupings) (fun case ->
            let source = adam case.Saved

            let names groupsOf =
                groupsOf |> List.collect fst |> List.sort

            let isStrict =
                names case.Saved = names case.Own
                && case.Saved.Length = case.Own.Length
                && expected case |> List.forall (fun (_, _, isLoaded) -> isLoaded)

            let check strict =
                let target = adam case.Own
                let report = target.LoadStateDict(source.StateDict(), strict = strict)

                for i, lr, isLoaded in expected case do
                    Expect.equal (lrOf target i) lr $"rate of group {i}"
                    Expect.equal report.Groups[i].IsLoaded isLoaded $"what is reported of group {i}"
                    Expect.equal (List.ofSeq report.Groups[i].Parameters) (fst case.Own[i]) "its names"

            check false

            if isStrict then
                check true
            else
                let target = adam case.Own
                let before = describe (target.StateDict())
                refuses<ArgumentException> "strict" [ "strict: false" ] (fun () -> target.LoadStateDict(source.StateDict()) |> ignore)
                Expect.equal (describe (target.StateDict())) before "nothing has changed"))

/// The law S3 for groups: another order of groups and of parameters trains on as the straight one.
let private trainOn (name, given) =
    testCase $"{name}: groups in another order train on with the same bits" (fun () ->
        let make isTurned =
            let own names settings =
                group [ for n in names -> vector n [ 1.0; -2.0 ] ] settings

            let first, second =
                [ "lr", Number 0.02; "weight_decay", Number 0.25 ]
                |> List.filter (fun (o, _) -> (rule name).Has o),
                [ "lr", Number 0.07 ]

            let list =
                if isTurned then
                    [ own [ "b" ] []; own [ "w2"; "w1" ] [] ]
                else
                    [ own [ "w1"; "w2" ] first; own [ "b" ] second ]

            new RuleOptimizer(rule name, groups list, options given)

        let all (optimizer: Optimizer) =
            [
                for g in optimizer.ParamGroups do
                    for p in g.Parameters -> p :?> Param
            ]
            |> List.sortBy _.Name

        let run (optimizer: Optimizer) k =
            for i, p in List.indexed (all optimizer) do
                setGradient p (Some(noise (10 * k + i) 2))

            optimizer.Step()

        let source, target = make false, make true
        run source 1

        inFolder (fun within ->
            Checkpoint.Save(within "run.pt", struct ("optimizer", box source))
            Checkpoint.Load(within "run.pt", struct ("optimizer", box target)) |> ignore)

        for p, q in List.zip (all source) (all target) do
            q.View.CopyFrom p.View

        for k in 2..4 do
            run source k
            run target k

        for p, q in List.zip (all source) (all target) do
            expectSameBits (values q) (values p) $"{name} {p.Name}")

let private tuning =
    testCase
        "a new head beside a known backbone: the backbone has its saved options, the head its own, and the report names both"
        (fun () ->
            let source = adam [ [ "backbone" ], 1e-4; [ "old_head" ], 1e-2 ]
            stepAll source 1
            let target = adam [ [ "new_head" ], 3e-3; [ "backbone" ], 5e-3 ]
            let report = target.LoadStateDict(source.StateDict(), strict = false)
            Expect.equal (lrOf target 0, lrOf target 1) (3e-3, 1e-4) "rates"
            let told = string report

            for words in
                [
                    "matched: backbone"
                    "missing: new_head"
                    "unexpected: old_head"
                    "group 0 (new_head): keeps its own options"
                    "group 1 (backbone): options of saved group 0"
                ] do
                Expect.stringContains told words "report"

            Expect.equal (slot (target.StateDict()) 1 "step") [| 1.0 |] "its state"
            stepAll target 2)

let private many =
    testCase "a report says how many names there are where it leaves some out" (fun () ->
        let report = LoadReport([| for i in 0..99 -> $"p{i}" |], [||], [| "x" |], [||])

        Expect.equal
            (string report)
            ("matched: "
             + String.Join(", ", [ for i in 0..19 -> $"p{i}" ])
             + " and 80 more\nmissing: none\nunexpected: x\nconverted: none")
            "text")

/// Nothing that the library shows prints the name of a .NET collection.
let private printed =
    testCase "what is public and has lists prints what is in them" (fun () ->
        let optimizer = adam [ [ "a" ], 0.1 ]
        stepAll optimizer 1

        for thing in
            [
                box (optimizer.LoadStateDict(optimizer.StateDict()))
                box (optimizer.Prepare(optimizer.StateDict()))
                box LoadReport.Empty
                box optimizer.ParamGroups[0].Custom
                box (optimizer.StateDict())
                box (optimizer.StateDict().ParamGroups[0])
                box (optimizer.State(optimizer.ParamGroups[0].Parameters[0]))
            ] do
            Expect.isFalse
                ((string thing).Contains '`'
                 || (string thing).Contains "System."
                 || (string thing).Contains "Optim.")
                (string thing))

let private late =
    testList
        "prepared loads"
        [
            testCase "one that comes after a group was added is refused in words" (fun () ->
                let source, target = adam [ [ "a" ], 0.1 ], adam [ [ "a" ], 0.2 ]
                let load = target.Prepare(source.StateDict())
                target.AddParamGroup(group [ vector "b" [ 1.0 ] ] [])
                let before = describe (target.StateDict())

                refuses<InvalidOperationException> "late" [ "1 parameter groups"; "2 now"; "prepare it again" ] (fun () ->
                    load.Run() |> ignore)

                Expect.equal (describe (target.StateDict())) before "nothing has changed"
                target.Prepare(source.StateDict(), strict = false).Run() |> ignore
                Expect.equal (lrOf target 0) 0.1 "prepared again")

            testCase "a second run is refused, for whatever is loaded" (fun () ->
                let optimizer = adam [ [ "a" ], 0.1 ]
                let parameters = [ vector "w" [ 1.0; 2.0 ] ]

                let things: IStateful list =
                    [
                        optimizer
                        StepLR(optimizer, 3)
                        new GradScaler()
                        ParametersState(parameters |> Seq.map (fun p -> p :> IParameter))
                        new AveragedParameters(parameters |> Seq.map (fun p -> p :> IParameter))
                    ]

                for thing in things do
                    let load = thing.PrepareLoad(thing.SaveState())
                    load.Run() |> ignore
                    refuses<InvalidOperationException> (thing.GetType().Name) [ "prepare it again" ] (fun () -> load.Run() |> ignore))

            testCase "one that keeps the state of some is refused once they have stepped; one that replaces all goes back" (fun () ->
                let source = adam [ [ "a" ], 0.1 ]
                stepAll source 1
                let target = adam [ [ "a"; "b" ], 0.1 ]
                let load = target.Prepare(source.StateDict(), strict = false)
                stepAll target 2
                refuses<InvalidOperationException> "late" [ "have stepped" ] (fun () -> load.Run() |> ignore)
                let whole = adam [ [ "a" ], 0.1 ]
                let back = whole.Prepare(source.StateDict().Clone())
                stepAll whole 3
                stepAll whole 4
                back.Run() |> ignore
                Expect.equal (slot (whole.StateDict()) 0 "step") [| 1.0 |] "step")
        ]

let private schedules =
    testList
        "schedulers over groups that were loaded by name"
        [
            testCase "one whose state has other rates for other groups is refused, in either order; equal ones go on" (fun () ->
                let run rates =
                    let source = adam [ [ "a" ], fst rates; [ "b" ], snd rates ]
                    let schedule = StepLR(source, 1, 0.5)
                    stepAll source 1
                    schedule.Step()
                    source.StateDict().Clone(), schedule.StateDict()

                let fresh () =
                    let target = adam [ [ "b" ], 0.3; [ "a" ], 0.3 ]
                    target, StepLR(target, 1, 0.5)

                let words = [ "StepLR"; "base_lrs"; "saved as group" ]
                let dict, state = run (0.1, 0.2)
                let target, schedule = fresh ()
                target.LoadStateDict dict |> ignore
                refuses<ArgumentException> "optimizer first" words (fun () -> schedule.LoadStateDict state |> ignore)
                let target, schedule = fresh ()
                schedule.LoadStateDict state |> ignore
                target.LoadStateDict dict |> ignore
                stepAll target 1
                refuses<InvalidOperationException> "scheduler first" words (fun () -> schedule.Step())

                let outer = ChainedScheduler [ schedule ]
                refuses<InvalidOperationException> "inside of another" words (fun () -> outer.Step())

                let dict, state = run (0.1, 0.1)
                let target, schedule = fresh ()
                target.LoadStateDict dict |> ignore
                schedule.LoadStateDict state |> ignore
                stepAll target 1
                schedule.Step()
                Expect.equal (lrOf target 0, lrOf target 1) (0.025, 0.025) "rates")
        ]

let private capturable =
    testCase "a checkpoint of capturable steps says at the first step which option to set to what" (fun () ->
        for name, given in everyRule do
            for flag in
                [ "capturable"; "differentiable" ]
                |> List.filter (fun flag -> (rule name).Has flag) do
                let p = vector "a" [ 1.0 ]
                let optimizer = optimizer name given [ p ]
                let dict = optimizer.StateDict()
                dict.ParamGroups[0][flag] <- OptionValue.Bool true
                optimizer.LoadStateDict dict |> ignore
                setGradient p (Some [| 1.0 |])
                refuses<NotSupportedException> name [ name; $"{flag} is True"; $"set {flag} to False" ] (fun () -> optimizer.Step())
                optimizer.ParamGroups[0][flag] <- OptionValue.Bool false
                optimizer.Step())

[<Tests>]
let tests =
    testList
        "loading by name"
        [
            followNames
            testList "groups in another order" (List.map trainOn everyRule)
            tuning
            many
            printed
            late
            schedules
            CustomKeyTests.tests
            capturable
        ]
