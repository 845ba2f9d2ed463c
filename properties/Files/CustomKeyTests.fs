/// Keys of one's own in parameter groups: kept, saved and loaded beside the options.
module CustomKeyTests

open System.Collections.Generic
open Expecto
open Optim
open Optim.Core
open Reference
open Kit
open GroupKit

let tests =
    let own () =
        let first = group [ vector "a" [ 1.0 ] ] [ "lr", Number 0.1 ]
        first.Custom["name"] <- OptionValue.Text "decay"
        first.Custom["lr_scale"] <- OptionValue.Float 0.5
        let second = group [ vector "b" [ 1.0 ] ] []
        second.Custom["name"] <- OptionValue.Text "rest"
        [ first; second ]

    testList
        "keys of one's own"
        [
            testCase "are kept with a group, saved among its keys and loaded with them, in files, too" (fun () ->
                let source = new Adam(groups (own ()))
                source.ParamGroups[0].Custom[ "lr_scale" ] <- OptionValue.Float 0.25
                let dict = source.StateDict()
                Expect.equal (List.ofSeq dict.ParamGroups[0].Keys |> List.take 4) [ "lr"; "name"; "lr_scale"; "betas" ] "keys"
                Expect.equal dict.ParamGroups[0].OwnOptions 3 "those before param_names"
                let given = own ()
                let target = new Adam(groups (List.rev given))

                inFolder (fun within ->
                    Checkpoint.Save(within "run.pt", struct ("optimizer", box source))
                    Checkpoint.Load(within "run.pt", struct ("optimizer", box target)) |> ignore)

                Expect.equal (target.ParamGroups[1].Custom["lr_scale"]) (OptionValue.Float 0.25) "went with its names"
                Expect.equal (target.ParamGroups[0].Custom["name"]) (OptionValue.Text "rest") "the other's"
                Expect.equal given[0].Custom["lr_scale"] (OptionValue.Float 0.5) "the caller's group is as it was"
                Expect.stringContains (string target) "name: decay" "printed")

            testCase "are no room for options, entries of schedulers and the keys of state dicts" (fun () ->
                let given = group [ vector "a" [ 1.0 ] ] []
                given.Custom["lr"] <- OptionValue.Float 0.5
                refuses<OptionException> "an option, given" [ "'lr'"; "option of Adam" ] (fun () -> new Adam(groups [ given ]) |> ignore)
                let optimizer = adam [ [ "a" ], 0.1 ]

                for key in [ "eps"; "params"; "param_names"; "initial_lr" ] do
                    refuses<OptionException> key [ key ] (fun () -> optimizer.ParamGroups[0].Custom[ key ] <- OptionValue.Int 1L)

                refuses<KeyNotFoundException> "reading" [ "'name'" ] (fun () -> optimizer.ParamGroups[0].Custom["name"] |> ignore)

                refuses<OptionException> "options stay apart" [ "lr_scale" ] (fun () ->
                    optimizer.ParamGroups[0]["lr_scale"] <- OptionValue.Int 1L))

            testCase "that the group does not have are refused, or reported" (fun () ->
                let source = new Adam(groups (own ()))
                let plain () = adam [ [ "a" ], 0.1; [ "b" ], 0.1 ]
                refuses<OptionException> "strict" [ "'name'"; "Custom" ] (fun () -> plain().LoadStateDict(source.StateDict()) |> ignore)
                let report = plain().LoadStateDict(source.StateDict(), strict = false)
                Expect.equal (Set.ofSeq report.Unexpected) (set [ "name"; "lr_scale" ]) "reported"
                // What the file lacks stays.
                let target = new Adam(groups (own ()))
                target.LoadStateDict(plain().StateDict()) |> ignore
                Expect.equal (target.ParamGroups[0].Custom["lr_scale"]) (OptionValue.Float 0.5) "its own")

            testCase "initial_lr can be given to a group, so that a schedule goes on from an epoch" (fun () ->
                let given =
                    group [ vector "a" [ 1.0 ] ] [ "lr", Number 0.25; "initial_lr", Number 1.0 ]

                let optimizer = new SGD(groups [ given ])
                let schedule = StepLR(optimizer, 1, 0.5, lastEpoch = 2)
                Expect.equal (List.ofSeq schedule.BaseLrs, lrOf optimizer 0) ([ 1.0 ], 0.125) "base and rate"
                Expect.equal (optimizer.StateDict().ParamGroups[0]["initial_lr"]) (OptionValue.Float 1.0) "saved"
                optimizer.AddParamGroup(group [ vector "b" [ 1.0 ] ] [ "initial_lr", Number 3.0 ])
                stepAll optimizer 1
                schedule.Step()
                Expect.equal (List.ofSeq schedule.BaseLrs) [ 1.0; 3.0 ] "of a group that came later"
                let later = new SGD(parameters [ vector "a" [ 1.0 ] ], lr = 0.25)
                later.ParamGroups[0]["initial_lr"] <- OptionValue.Float 1.0
                Expect.equal (List.ofSeq (StepLR(later, 1, 0.5, lastEpoch = 2)).BaseLrs) [ 1.0 ] "set in the optimizer's own group"

                for bad in [ Flag true; Number nan; Text "x" ] do
                    refuses<OptionException> $"{bad}" [ "initial_lr"; "number" ] (fun () ->
                        group [ vector "a" [ 1.0 ] ] [ "initial_lr", bad ] |> ignore))
        ]
