/// What is said of names that are not known: options, rules, schedules.
module NameTests

open System
open Expecto
open Optim
open Optim.Core
open Reference
open Kit

let private names =
    testCase
        "names that are not known: the nearest is suggested where one is near, also another library's, and what there is is listed"
        (fun () ->
            let sgd () =
                optimizer "SGD" [] [ vector "w" [ 1.0 ] ]

            let suggests given (wanted: string option) (action: unit -> unit) =
                let message = (thrown given action).Message

                match wanted with
                | Some wanted -> Expect.stringContains message $"did you mean '{wanted}'?" given
                | None -> Expect.isFalse (message.Contains "did you mean") message

            for given, wanted in
                [
                    "learning_rate", Some "lr"
                    "learningRate", Some "lr"
                    "weightDecay", Some "weight_decay"
                    "wd", Some "weight_decay"
                    "Momentum", Some "momentum"
                    "momentun", Some "momentum"
                    "gradient_clipping", None
                    "x", None
                    "", None
                ] do
                suggests given wanted (fun () -> (sgd ()).ParamGroups[0][given] <- OptionValue.Float 0.1)

                refuses<OptionException> given [ "It has: lr, momentum" ] (fun () ->
                    (sgd ()).ParamGroups[0][given] <- OptionValue.Float 0.1)

            suggests "beta1" (Some "betas") (fun () -> optimizer "Adam" [ "beta1", Number 0.9 ] [ vector "w" [ 1.0 ] ] |> ignore)
            suggests "epsilon" (Some "eps") (fun () -> optimizer "Adam" [ "epsilon", Number 0.9 ] [ vector "w" [ 1.0 ] ] |> ignore)

            for given, wanted in
                [
                    "adamm", Some "Adam"
                    "rmspropp", Some "RMSprop"
                    "lbfg", Some "LBFGS"
                    "l-bfg", Some "LBFGS"
                    "nosuchrule", None
                ] do
                suggests given wanted (fun () -> Algorithms.Find given |> ignore)
                suggests given wanted (fun () -> Rules.Find given |> ignore)
                refuses<ArgumentException> given [ "There are: Adadelta" ] (fun () -> Rules.Find given |> ignore)

            refuses<ArgumentException> "lbfgs" [ "LBFGS"; "Algorithms.Find" ] (fun () -> Rules.Find "lbfgs" |> ignore)
            suggests "nosuchschedule" None (fun () -> Schedulers.Find "nosuchschedule" |> ignore)
            suggests "cosineaneling" (Some "CosineAnnealingLR") (fun () -> Schedulers.Find "cosineanneling" |> ignore))

[<Tests>]
let tests = testList "unknown names" [ names ]
