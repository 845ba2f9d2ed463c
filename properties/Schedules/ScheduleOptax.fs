/// optax's schedules, expressed with our combinators: golden/beyond/optax*.json. Names begin with "golden".
module ScheduleOptax

open System
open System.IO
open System.Text.Json
open Expecto
open Optim.Core
open Golden

let private held steps =
    Schedule.cosine steps |> Schedule.hold steps

let private halves = Schedule.exponential 0.5 |> Schedule.stretch 5.0

/// By optax's name for it: a schedule with base value 1.
let private expressed =
    Map
        [
            "constant 0.1", Schedule.constant 0.1
            "linear 1 -> 0.1 over 10 from 3", Schedule.linear 1.0 0.1 10.0 |> Schedule.delay 3.0
            "polynomial 1 -> 0.1 power 2 over 10", Schedule.polynomial 2.0 10.0 |> Schedule.toward 0.1
            "exponential 1 every 5 by 0.5", halves
            "exponential staircase", halves |> Schedule.every 5.0
            "exponential from 3 end 0.3", halves |> Schedule.delay 3.0 |> Schedule.atLeast 0.3
            "cosine 1 over 10 alpha 0.1", held 10.0 |> Schedule.toward 0.1
            "cosine exponent 2", held 10.0 |> Schedule.map (fun value -> value * value)
            "warmup_cosine 0 -> 1 in 5, total 20, end 0.1", held 15.0 |> Schedule.toward 0.1 |> Schedule.warmUp 5.0 0.0
            "warmup_exponential", halves |> Schedule.delay 2.0 |> Schedule.warmUp 5.0 0.0
            "warmup_constant", Schedule.keep |> Schedule.warmUp 5.0 0.0
            "piecewise_constant",
            Schedule.sequence
                Schedule.keep
                [
                    struct (5.0, Schedule.keep |> Schedule.scale 0.5)
                    struct (10.0, Schedule.keep |> Schedule.scale 0.05)
                ]
            "piecewise_interpolate linear", Schedule.through Anneal.Linear [ struct (0.0, 1.0); struct (5.0, 0.5); struct (10.0, 0.05) ]
            "piecewise_interpolate cosine", Schedule.through Anneal.Cosine [ struct (0.0, 1.0); struct (5.0, 0.5); struct (10.0, 0.05) ]
            "cosine_onecycle", Schedule.through Anneal.Cosine [ struct (0.0, 0.04); struct (6.0, 1.0); struct (20.0, 4e-6) ]
            "linear_onecycle",
            Schedule.through
                Anneal.Linear
                [
                    struct (0.0, 0.04)
                    struct (6.0, 1.0)
                    struct (17.0, 0.04)
                    struct (20.0, 4e-6)
                ]
            "join constant 1 then exponential at 6", Schedule.keep |> Schedule.thenAt 6.0 (Schedule.exponential 0.9)
            "sgdr",
            held 6.0
            |> Schedule.toward 0.1
            |> Schedule.warmUp 2.0 0.0
            |> Schedule.thenAt 8.0 (held 10.0 |> Schedule.warmUp 2.0 0.2 |> Schedule.scale 0.5)
        ]

let private check (schedule: Schedule) (values: float list) () =
    for step, (actual, expected) in
        List.zip (List.ofArray (Schedule.values values.Length 1.0 schedule)) values
        |> List.indexed do
        if not (abs (actual - expected) <= 1e-12 * abs expected + 1e-16) then
            failtestf "step %d: %.17g, optax %.17g" step actual expected

let private ofFile _ root =
    [
        for case in tryField "schedules" root |> Option.map (list id) |> Option.defaultValue [] do
            let name = field "schedule" case |> text

            match Map.tryFind name expressed with
            | Some schedule -> testCase name (check schedule (field "values" case |> list number))
            | None -> ptestCase name ignore
    ]

[<Tests>]
let tests = testList "schedules of optax" (recorded "beyond/optax*.json" ofFile)
