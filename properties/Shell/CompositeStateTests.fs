/// State dicts and checkpoints of one optimizer of several rules.
module CompositeStateTests

open System
open Expecto
open Optim
open Optim.Core
open Kit
open CompositeKit

[<Tests>]
let tests =
    testList
        "an optimizer of several rules"
        [
            test "under each name is a state dict that an optimizer of that rule loads, and the other way round" {
                let list, other = fresh (), fresh ()
                let one = composite list
                steps one list 0 3
                let dict = one.StateDict().Clone()
                Expect.equal [ for name in dict.Members.Keys -> name ] [ "matrices"; "rest" ] "members"
                let tree = dict.ToTree()
                Expect.equal (describe (StateDict.FromTree tree).Members["rest"]) (describe dict.Members["rest"]) "as a tree"
                Expect.equal (describe (StateDict.FromTree tree["rest"])) (describe dict.Members["rest"]) "one member of the tree"

                for p, q in List.zip list other do
                    copy p q

                let two = apart other

                for optimizer, name in List.zip two [ "matrices"; "rest" ] do
                    optimizer.LoadStateDict dict.Members[name] |> ignore

                let third = fresh ()

                for p, q in List.zip list third do
                    copy p q

                let back = composite third
                let joined = StateDict()

                for optimizer, name in List.zip two [ "matrices"; "rest" ] do
                    joined.Members[name] <- optimizer.StateDict().Clone()

                back.LoadStateDict joined |> ignore
                steps one list 3 3
                steps back third 3 3

                stepsApart two other 3 3
                expectSameBits (all other) (all list) "apart"
                expectSameBits (all third) (all list) "joined again"
            }

            test "a checkpoint restores it with its schedule and what was added up, bit for bit" {
                inFolder (fun file ->
                    let make () =
                        let list = fresh ()
                        let one = composite list
                        one.Attach(ClipGradNorm 1.0, accumulate = 2)
                        list, one, HuggingFaceLR.Linear(one, 2, 10)

                    let run (list: Param list, one: CompositeOptimizer, schedule: HuggingFaceLR) from count =
                        for step in from .. from + count - 1 do
                            setGradients step list
                            one.Step()
                            schedule.Step()

                    let list, one, schedule = make ()
                    run (list, one, schedule) 0 5
                    Expect.isTrue one.IsAccumulating "in the middle of a step"

                    Checkpoint.Save(
                        file "run.pt",
                        [|
                            struct ("model", box (ParametersState(asParameters list)))
                            struct ("optimizer", box one)
                            struct ("schedule", box schedule)
                        |]
                    )

                    let other, two, second = make ()

                    Checkpoint.Load(
                        file "run.pt",
                        [|
                            struct ("model", box (ParametersState(asParameters other)))
                            struct ("optimizer", box two)
                            struct ("schedule", box second)
                        |]
                    )
                    |> ignore

                    run (list, one, schedule) 5 4
                    run (other, two, second) 5 4
                    expectSameBits (all other) (all list) "parameters"
                    Expect.equal [ for g in two.ParamGroups -> rate g ] [ for g in one.ParamGroups -> rate g ] "rates")
            }

            test "state dicts of one optimizer and of several are not taken for each other" {
                let list = fresh ()
                let one = composite list
                let sgd = optimizer "SGD" [] list
                refuses<ArgumentException> "one for several" [ "matrices"; "rest" ] (fun () -> one.LoadStateDict(sgd.StateDict()) |> ignore)

                refuses<ArgumentException> "several for one" [ "matrices"; "Members" ] (fun () ->
                    sgd.LoadStateDict(one.StateDict()) |> ignore)

                let dict = one.StateDict()
                dict.Members["other"] <- dict.Members["rest"]
                dict.Members.Remove "rest" |> ignore
                refuses<ArgumentException> "other names" [ "other"; "rest"; "strict" ] (fun () -> one.LoadStateDict dict |> ignore)
                let report = one.LoadStateDict(dict, strict = false)
                Expect.exists report.Unexpected (fun text -> text.Contains "other") "reported"
            }

            test "a load of which one member fails changes none" {
                let list = fresh ()
                let one = composite list
                steps one list 0 2
                let dict = one.StateDict().Clone()
                steps one list 2 1
                let before = describe (one.StateDict().Members["matrices"])
                dict.Members["rest"].ParamGroups[0].["lr"] <- OptionValue.Float -1.0
                refuses<OptionException> "a wrong option" [ "rest"; "lr" ] (fun () -> one.LoadStateDict dict |> ignore)
                Expect.equal (describe (one.StateDict().Members["matrices"])) before "nothing has changed"
            }
        ]
