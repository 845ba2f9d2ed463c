/// The schedules of transformers and timm, as they were recorded: golden/beyond/schedules_*.json.
module ScheduleBeyond

open System
open System.Collections.Generic
open System.IO
open System.Text.Json
open System.Text.RegularExpressions
open Expecto
open Optim
open Optim.Core
open Reference
open Golden
open Kit
open ScheduleKit

let close = 1e-12

/// An optimizer with a group for each rate, some of which have an lr_scale.
let optimizerOf (lr: float) (rates: float list) (scales: float option list) =
    let all =
        [
            for i, (rate, scale) in List.indexed (List.zip rates scales) do
                let group = group [ vector $"w{i}" [ 0.0 ] ] [ "lr", Number rate ]

                scale
                |> Option.iter (fun scale -> group.Custom["lr_scale"] <- OptionValue.Float scale)

                group
        ]

    new RuleOptimizer(rule "SGD", groups all, options [ "lr", Number lr ]) :> Optimizer

let private settingsOf (element: JsonElement) =
    [| for name, value in pairs id element -> struct (name, optionOf value) |]

/// What is repeated: an optimizer, its scheduler, and the k-th step.
type private Run =
    {
        Make: unit -> Optimizer * LRScheduler
        Step: LRScheduler -> int -> unit
        Rows: float list list
    }

let private repeat (run: Run) () =
    let optimizer, scheduler = run.Make()
    let half = run.Rows.Length / 2
    let mutable middle = None

    for k, row in List.indexed run.Rows do
        if k > 0 then
            run.Step scheduler k

        expectNear close (rates optimizer) row $"row {k}"
        expectNear close (List.ofSeq (scheduler.GetLastLr())) row $"row {k}, the last rates"

        if k = half then
            middle <- Some(optimizer.StateDict().Clone(), scheduler.StateDict())

    // Restored in the middle, it ends with the same bits.
    let fresh, restored = run.Make()
    let saved, state = middle.Value
    fresh.LoadStateDict saved |> ignore
    restored.LoadStateDict state |> ignore

    for k in half + 1 .. run.Rows.Length - 1 do
        run.Step restored k

    Expect.equal (rates fresh) (rates optimizer) "resumed"

let private huggingFace (case: JsonElement) =
    let count name =
        tryField name case |> Option.map (number >> int) |> Option.toNullable

    let lrs = field "lrs" case |> list number
    let metrics = tryField "metrics" case |> Option.map numbers

    {
        Make =
            fun () ->
                let optimizer =
                    optimizerOf (field "default_lr" case |> number) lrs [ for _ in lrs -> None ]

                optimizer,
                Schedulers.HuggingFace(
                    field "name" case |> Golden.text,
                    optimizer,
                    count "num_warmup_steps",
                    count "num_training_steps",
                    settingsOf (field "scheduler_specific_kwargs" case)
                )
        Step =
            fun scheduler k ->
                match metrics with
                | Some metrics -> scheduler.Step metrics[k - 1]
                | None -> scheduler.Step()
        Rows = field "rows" case |> list (list number)
    }

let private timm (case: JsonElement) =
    let lrs = field "lrs" case |> list number
    let inEpochs = (field "t_in_epochs" case).GetBoolean()

    let name =
        (field "scheduler" case |> Golden.text).Replace("LRScheduler", "").ToLowerInvariant()

    let scale (value: JsonElement) =
        if value.ValueKind = JsonValueKind.Null then
            None
        else
            Some(number value)

    {
        Make =
            fun () ->
                let optimizer =
                    optimizerOf lrs.Head lrs [ for value in (field "lr_scale" case).EnumerateArray() -> scale value ]

                let settings =
                    Array.append (settingsOf (field "options" case)) [| struct ("t_in_epochs", OptionValue.Bool inEpochs) |]

                optimizer, Schedulers.Timm(name, optimizer, settings)
        Step =
            fun scheduler k ->
                let scheduler = scheduler :?> TimmLR

                if inEpochs then
                    scheduler.StepEpoch(float k)
                    scheduler.StepUpdate(float (100 * k))
                else
                    scheduler.StepUpdate(float k)
                    scheduler.StepEpoch(float (100 * k))
        Rows = field "rows" case |> list (list number)
    }

/// What a recorded refusal is about: names with a _ in them, and what stands in quotes.
let private wordsOf (refusal: string) =
    [
        for found in Regex.Matches(refusal, "'([^']+)'|\\b[a-z]+(?:_[a-z]+)+\\b") do
            let word = found.Value.Trim '\''

            if
                not (word.StartsWith("get_", StringComparison.Ordinal))
                && word <> "lr_scheduler_kwargs"
            then
                word
    ]

let private refusal (case: JsonElement) () =
    let args = field "args" case |> list id

    let count (value: JsonElement) =
        if value.ValueKind = JsonValueKind.Null then
            Nullable()
        else
            Nullable(int (number value))

    let create () =
        Schedulers.HuggingFace(Golden.text args[0], optimizerOf 0.1 [ 0.1 ] [ None ], count args[1], count args[2], settingsOf args[3])
        |> ignore

    match tryField "refused" case with
    | Some refused -> refuses<OptionException> (Golden.text refused) (wordsOf (Golden.text refused)) create
    | None -> create ()

let private label (case: JsonElement) =
    let parts =
        [
            "name"
            "scheduler"
            "num_warmup_steps"
            "num_training_steps"
            "scheduler_specific_kwargs"
            "options"
        ]
        |> List.choose (fun name -> tryField name case |> Option.map _.GetRawText().Replace("\"", ""))

    let updates =
        match tryField "t_in_epochs" case with
        | Some flag when not (flag.GetBoolean()) -> [ "updates" ]
        | _ -> []

    String.Join(" ", parts @ updates)

let private ofFile _ root =
    let reader =
        match tryField "transformers" root, tryField "timm" root with
        | Some _, _ -> huggingFace
        | _, Some _ -> timm
        | _ -> raise (FormatException "it says neither transformers nor timm")

    [
        for i, case in field "schedules" root |> list id |> List.indexed do
            testCase $"#{i} {label case}" (repeat (reader case))

        for case in tryField "refusals" root |> Option.map (list id) |> Option.defaultValue [] do
            let args = field "args" case
            testCase $"refused: {args.GetRawText()}" (refusal case)
    ]

[<Tests>]
let tests = testList "beyond schedules" (recorded "beyond/schedules_*.json" ofFile)
