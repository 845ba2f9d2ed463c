/// state_dict and load_state_dict in memory: what is matched, by name and by order, and training that goes on bit for bit.
module StateDictTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit

let private saving =
    testList
        "saving"
        [
            testCase "saving changes nothing, and twice gives the same" (fun () ->
                for name, given in everyRule do
                    let list, twin = abc (), abc ()
                    let optimizer, other = optimizer name given list, optimizer name given twin

                    for k in 0..3 do
                        let first = describe (optimizer.StateDict())
                        Expect.equal (describe (optimizer.StateDict())) first $"{name}: the second"
                        stepOnNoise optimizer k list
                        stepOnNoise other k twin

                    Expect.equal (describe (optimizer.StateDict())) (describe (other.StateDict())) name)

            testCase "a dict does not change when training goes on, nor training when the dict is changed" (fun () ->
                for name, given in everyRule do
                    let list, twin = abc (), abc ()
                    let optimizer, other = optimizer name given list, optimizer name given twin
                    stepOnNoise optimizer 1 list
                    stepOnNoise other 1 twin
                    let dict = optimizer.StateDict().Clone()
                    let before = describe dict
                    stepOnNoise optimizer 2 list
                    stepOnNoise other 2 twin
                    Expect.equal (describe dict) before $"{name}: the clone after a further step"

                    for KeyValue(_, state) in dict.State do
                        for KeyValue(_, value) in state do
                            value.AsTensor().Clear()

                    dict.ParamGroups[0]["lr"] <- option (Number 9.0)
                    stepOnNoise optimizer 3 list
                    stepOnNoise other 3 twin
                    Expect.equal (describe (optimizer.StateDict())) (describe (other.StateDict())) name)
        ]

/// The law S2, at every step of a history in which gradients are missing.
let private resume name given =
    let history =
        gen {
            let! seed = Gen.choose (0, 10000)
            let! missing = Gen.arrayOfLength 24 (Gen.elements [ false; false; true ])
            let! dtype = Gen.elements [ DType.Float32; DType.Float64 ]
            return seed, missing, dtype
        }

    testPropertyWithConfig
        (drawn 10)
        $"{name}: stopping after any step and going on from the dict gives the same bits"
        (Prop.forAll (Arb.fromGen history) (fun (seed, missing, dtype) ->
            let fresh () =
                [
                    param "a" dtype [| 5L |] (noise seed 5)
                    param "b" dtype [| 2L; 2L |] (noise (seed + 1) 4)
                    param "c" dtype [||] [| 0.5 |]
                ]

            let step (optimizer: Optimizer) k list =
                for i, p in List.indexed list do
                    setGradient
                        p
                        (if missing[3 * k + i] then
                             None
                         else
                             Some(noise (seed + 7 * k + i) (values p).Length))

                optimizer.Step()

            let whole = fresh ()
            let straight = optimizer name given whole

            let snapshots =
                [
                    for k in 0..7 do
                        [ for p in whole -> values p ], straight.StateDict().Clone()
                        step straight k whole
                ]

            let final = describe (straight.StateDict())

            for k, (saved, dict) in List.indexed snapshots do
                let again = fresh ()

                for p, saved in List.zip again saved do
                    p.View.CopyFrom(tensor dtype (Array.ofSeq p.View.Shape) saved)

                // Everything but lr must come from the dict.
                let resumed = optimizer name [ "lr", Number 0.77 ] again
                resumed.LoadStateDict dict |> ignore

                for j in k..7 do
                    step resumed j again

                for i, (a, b) in List.indexed (List.zip again whole) do
                    expectSameBits (values a) (values b) $"resumed at {k}, parameter {i}"

                Expect.equal (describe (resumed.StateDict())) final $"resumed at {k}"))

let private matching =
    let trained list =
        let optimizer = optimizer "Adam" [ "lr", Number 0.01 ] list
        stepOnNoise optimizer 1 list
        optimizer

    let row (optimizer: Optimizer) (p: Param) = column optimizer p "exp_avg"

    testList
        "matching"
        [
            testCase "by name when both sides have names, whatever the order" (fun () ->
                let list = abc ()
                let source = trained list
                let other = abc () |> List.rev
                let target = optimizer "Adam" [] other
                let report = target.LoadStateDict(source.StateDict())

                for p, q in List.zip list (List.rev other) do
                    expectSameBits (row target q) (row source p) "state"

                Expect.equal (Set.ofSeq report.Matched) (set [ "a"; "b"; "c" ]) "matched"
                Expect.isEmpty report.Missing "missing"
                Expect.isEmpty report.Unexpected "unexpected")

            testCase "a permuted load trains on as the straight one (S3)" (fun () ->
                for name, given in everyRule do
                    let list, permuted = abc (), abc ()
                    let source = optimizer name given list
                    stepOnNoise source 1 list

                    for p, q in List.zip list permuted do
                        q.View.CopyFrom p.View

                    let target = optimizer name given (List.rev permuted)
                    target.LoadStateDict(source.StateDict()) |> ignore

                    for k in 2..4 do
                        stepOnNoise source k list
                        stepOnNoise target k permuted

                    for p, q in List.zip list permuted do
                        expectSameBits (values q) (values p) name)

            testCase "by order when asked to, names ignored, and when a side has none" (fun () ->
                let list = [ vector "a" [ 1.0; 2.0 ]; vector "b" [ 3.0; 4.0 ] ]
                let source = trained list
                let dict = source.StateDict()

                for names, matchBy in
                    [
                        [ "b"; "a" ], MatchBy.Order
                        [ "x"; "y" ], MatchBy.Order
                        [ null; null ], MatchBy.Automatic
                    ] do
                    let other = [ for name in names -> vector name [ 0.0; 0.0 ] ]
                    let target = optimizer "Adam" [] other
                    target.LoadStateDict(dict, matchBy = matchBy) |> ignore

                    for p, q in List.zip list other do
                        expectSameBits (row target q) (row source p) $"{names} by {matchBy}")

            testCase "strict: names missing or left over are an error that says what to do, and nothing has changed" (fun () ->
                let source = trained (abc ())

                let other =
                    [
                        vector "a" [ 1.0; 2.0 ]
                        vector "new" [ 3.0 ]
                        vector "c" [ -1.0; 0.5; 0.25 ]
                    ]

                let target = optimizer "Adam" [ "lr", Number 0.5 ] other
                stepOnNoise target 5 other
                let before = describe (target.StateDict())

                refuses<ArgumentException> "strict" [ "new"; "b"; "strict"; "matchBy"; "Order" ] (fun () ->
                    target.LoadStateDict(source.StateDict()) |> ignore)

                Expect.equal (describe (target.StateDict())) before "the target")

            testCase "not strict: what both sides have is loaded, the rest reported" (fun () ->
                let list = abc ()
                let source = trained list

                let other =
                    [
                        vector "a" [ 1.0; 2.0 ]
                        vector "new" [ 3.0 ]
                        vector "c" [ -1.0; 0.5; 0.25 ]
                    ]

                let target = optimizer "Adam" [] other
                let report = target.LoadStateDict(source.StateDict(), strict = false)
                Expect.equal (Set.ofSeq report.Matched) (set [ "a"; "c" ]) "matched"
                Expect.equal (List.ofSeq report.Missing) [ "new" ] "missing"
                Expect.equal (List.ofSeq report.Unexpected) [ "b" ] "unexpected"
                expectSameBits (row target other[0]) (row source list[0]) "a"
                expectSameBits (row target other[2]) (row source list[2]) "c"
                Expect.equal (List.ofSeq (target.StateDict().State.Keys)) [ 0; 2 ] "ids with state")

            testCase "another number or size of groups is refused, by name and by order, and nothing has changed" (fun () ->
                let source = trained (abc ())
                let dict = source.StateDict()

                let targets: (string * Optimizer) list =
                    [
                        "groups",
                        new Adam(
                            groups
                                [
                                    group [ vector "a" [ 1.0; 2.0 ]; vector "b" [ 3.0 ] ] []
                                    group [ vector "c" [ -1.0; 0.5; 0.25 ] ] []
                                ]
                        )
                        :> Optimizer
                        "parameters", (new Adam(parameters [ vector "a" [ 1.0; 2.0 ]; vector "b" [ 3.0 ] ]) :> Optimizer)
                    ]

                for what, target in targets do
                    for matchBy in [ MatchBy.Automatic; MatchBy.Order ] do
                        let before = describe (target.StateDict())

                        refuses<ArgumentException> $"{what}, {matchBy}" [] (fun () ->
                            target.LoadStateDict(dict, matchBy = matchBy) |> ignore)

                        Expect.equal (describe (target.StateDict())) before what)

            testCase "loading is all or nothing" (fun () ->
                for name, given in everyRule do
                    let list = abc ()
                    let source = optimizer name given list
                    stepOnNoise source 1 list

                    let spoiled: (string * (StateDict -> unit)) list =
                        [
                            "a wrong shape in the last row",
                            (fun dict ->
                                let state = dict.State[2]
                                let key = StateDictLayoutTests.stateKeys[name] |> List.last
                                state[key] <- Tree.Tensor(tensor DType.Float64 [| 4L |] (Array.zeroCreate 4)))
                            "an option out of range", (fun dict -> dict.ParamGroups[0]["lr"] <- option (Number -1.0))
                            "an option of another kind", (fun dict -> dict.ParamGroups[0]["lr"] <- option (Flag true))
                        ]

                    for what, spoil in spoiled do
                        let other = abc ()
                        let target = optimizer name given other
                        stepOnNoise target 5 other
                        let before = describe (target.StateDict())
                        let dict = source.StateDict().Clone()
                        spoil dict

                        refuses<ArgumentException> $"{name}: {what}" [] (fun () -> target.LoadStateDict dict |> ignore)

                        Expect.equal (describe (target.StateDict())) before $"{name}: {what}")

            testCase "options are loaded group by group" (fun () ->
                let both lr =
                    groups
                        [
                            group [ vector "a" [ 1.0 ] ] [ "lr", Number lr ]
                            group [ vector "b" [ 1.0 ] ] [ "lr", Number(2.0 * lr); "weight_decay", Number 0.5 ]
                        ]

                let source = new AdamW(both 0.1, eps = 1e-3)
                let target = new AdamW(both 0.3)
                target.LoadStateDict(source.StateDict()) |> ignore
                Expect.equal (describe (target.StateDict())) (describe (source.StateDict())) "as the source"
                Expect.equal (target.ParamGroups[1]["lr"]) (option (Number 0.2)) "lr of the second group"
                Expect.equal (target.ParamGroups[0]["eps"]) (option (Number 1e-3)) "eps of the first group")

            testCase "an Adam dict loaded into AdamW leaves it AdamW" (fun () ->
                let list, other = abc (), abc ()
                let source = optimizer "Adam" [ "weight_decay", Number 0.1 ] list
                stepOnNoise source 1 list
                let target = new AdamW(parameters other)
                target.LoadStateDict(source.StateDict()) |> ignore

                Expect.equal (target.StateDict().ParamGroups[0]["decoupled_weight_decay"]) (option (Flag true)) "decoupled_weight_decay")

            testCase "keys that schedulers add are known in a loaded dict, but not options to set" (fun () ->
                let list = abc ()
                let source = trained list
                let dict = source.StateDict().Clone()
                dict.ParamGroups[0]["initial_lr"] <- option (Number 0.5)
                let target = optimizer "Adam" [] (abc ())
                target.LoadStateDict dict |> ignore

                refuses<OptionException> "setting it" [ "initial_lr" ] (fun () ->
                    Kit.optimizer "Adam" [ "initial_lr", Number 0.5 ] (abc ()) |> ignore))

            testCase "state is converted to the parameter's dtype, and reported" (fun () ->
                for name, given in everyRule do
                    let wide = vector "w" [ 1.0; 2.0 ]
                    let source = optimizer name given [ wide ]
                    stepOnNoise source 1 [ wide ]
                    let narrow = param "w" DType.Float32 [| 2L |] [| 1.0; 2.0 |]
                    let target = optimizer name given [ narrow ]
                    let report = target.LoadStateDict(source.StateDict())
                    Expect.isNonEmpty report.Converted $"{name}: converted"

                    for KeyValue(key, value) in source.StateDict().State[0] do
                        let state = target.State narrow
                        let loaded = state[key].AsTensor()

                        if (rule name).ScalarNames.Contains key then
                            expectSameBits (loaded.ToDoubles()) (value.ToDoubles()) $"{name} {key} stays wide"
                        elif key <> "step" then
                            Expect.equal loaded.DType DType.Float32 $"{name} {key}"

                            expectSameBits (loaded.ToDoubles()) (value.ToDoubles() |> Array.map (float32 >> float)) $"{name} {key}")
        ]

[<Tests>]
let tests =
    testList
        "state_dict"
        [
            StateDictLayoutTests.tests
            saving
            testList "resuming" [ for name, given in everyRule -> resume name given ]
            matching
        ]
