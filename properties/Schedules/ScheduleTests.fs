/// Schedulers by name: the catalogue and the checks of settings.
module ScheduleTests

open System
open System.Reflection
open Expecto
open Optim
open Optim.Core
open Reference
open Kit

let private sgd lr =
    optimizer "SGD" [ "lr", Number lr; "momentum", Number 0.9 ] [ vector "w" [ 0.0 ] ]

let private refusal =
    [
        "linear", [ "start_factor", Number 0.0 ], [ "start_factor"; "0"; "(0, 1]" ]
        "LinearLR", [ "end_factor", Number 2.0 ], [ "end_factor"; "2"; "[0, 1]" ]
        "constant", [ "factor", Number 2.0 ], [ "factor"; "2"; "[0, 1]" ]
        "cosine", [], [ "T_max"; "whole number" ]
        "cosine", [ "T_max", Number 0.0 ], [ "T_max"; "0"; "at least 1" ]
        "cosine", [ "t_max", Number 5.0 ], [ "t_max"; "did you mean 'T_max'" ]
        "step", [ "step_size", Number 2.5 ], [ "step_size"; "2.5"; "whole number" ]
        "exponential", [ "gamma", Flag true ], [ "gamma"; "True" ]
        "cosin", [], [ "scheduler"; "did you mean 'cosine'"; "CosineAnnealingLR" ]
    ]

[<Tests>]
let tests =
    testList
        "schedulers by name"
        [
            test "names in any case, short or PyTorch's, make the same scheduler" {
                for name in
                    [
                        "CosineAnnealingLR"
                        "cosine"
                        "COSINE"
                        "cosine_annealing"
                        "cosine-annealing-lr"
                    ] do
                    let scheduler =
                        Schedulers.Create(name, sgd 0.1, [ struct ("T_max", option (Number 4.0)) ])

                    Expect.equal (scheduler.GetType()) typeof<CosineAnnealingLR> name
            }

            test "what is wrong is refused, and the message names the setting, its value and what is allowed" {
                for name, settings, words in refusal do
                    refuses<OptionException> name words (fun () -> Schedulers.Create(name, sgd 0.1, options settings) |> ignore)
            }

            test "the defaults of constructors are those of the catalogue" {
                for kind in Schedulers.All do
                    let face = typeof<LRScheduler>.Assembly.GetType("Optim." + kind.Name) |> nonNull

                    let constructor =
                        face.GetConstructors(BindingFlags.Public ||| BindingFlags.Instance)[0]

                    let bare (name: string) =
                        name.Replace("_", "").ToLowerInvariant()

                    let parameters =
                        constructor.GetParameters()[1..] |> Array.filter (fun p -> p.Name <> "scaleFn") // no value of a setting

                    Expect.sequenceEqual
                        [ for p in parameters -> bare (nonNull p.Name) ]
                        [ for setting in kind.Settings -> bare setting.Name ]
                        kind.Name

                    for p, setting in Seq.zip parameters kind.Settings do
                        let what = $"{kind.Name} {setting.Name}"

                        match p.DefaultValue with
                        | :? DBNull -> Expect.isNull (box setting.Default) what
                        | :? double as number -> Expect.equal setting.Default (OptionValue.Float number) what
                        | :? int as number -> Expect.equal setting.Default (OptionValue.Int(int64 number)) what
                        | :? bool as flag -> Expect.equal setting.Default (OptionValue.Bool flag) what
                        | null when p.ParameterType = typeof<PerGroup> -> Expect.equal setting.Default (OptionValue.Float 0.0) what
                        // Null stands for None, or for the default that the catalogue says and the constructor's docs.
                        | null -> Expect.isNotNull (box setting.Default) what
                        | choice ->
                            // The first of an enumeration is the first of the choices, but for annealing, whose texts are its own.
                            let text =
                                match choice with
                                | :? Anneal as anneal -> if anneal = Anneal.Cosine then "cos" else "linear"
                                | _ -> (string setting.Default)

                            Expect.equal setting.Default (OptionValue.Text text) what

                            if not (choice :? Anneal) then
                                Expect.equal (Convert.ToInt32 choice) 0 what
            }

            test "OneCycleLR and CyclicLR begin as their defaults say" {
                let optimizer = sgd 0.1

                OneCycleLR(optimizer, PerGroup.op_Implicit 1.0, totalSteps = Nullable 10)
                |> ignore

                let values: float list =
                    [
                        for key in [ "base_momentum"; "max_momentum" ] -> OptionValue.op_Explicit optimizer.ParamGroups[0].[key]
                    ]

                Expect.equal values [ 0.85; 0.95 ] "OneCycleLR"
                let optimizer = sgd 0.1

                CyclicLR(optimizer, PerGroup.op_Implicit 0.1, PerGroup.op_Implicit 1.0)
                |> ignore

                let values: float list =
                    [
                        for key in [ "base_momentum"; "max_momentum" ] -> OptionValue.op_Explicit optimizer.ParamGroups[0].[key]
                    ]

                Expect.equal values [ 0.8; 0.9 ] "CyclicLR"
            }
        ]
