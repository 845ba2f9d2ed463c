/// PyTorch's recorded schedules, repeated: values, PyTorch's own tests as events, plateaus, state dicts. Names begin with "golden".
module ScheduleGolden

open System
open System.IO
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Reference
open Golden
open Kit
open ScheduleKit

let private close = 1e-12

let private recordedOptimizer name rates =
    match name with
    | "SGD" -> optimizerOf "SGD" [ "momentum", Number 0.9 ] rates
    | "Adam" -> optimizerOf "Adam" [ "betas", Pair(0.9, 0.99) ] rates
    | other -> failtestf "no recorded schedule has the optimizer %s" other

/// A row's momentum: a number for each group, or both of betas.
let private momentaOf (element: JsonElement) =
    element
    |> list (fun value ->
        match value.ValueKind with
        | JsonValueKind.Array -> list number value
        | _ -> [ number value ])

let private compareRow what (optimizer: Optimizer) (scheduler: LRScheduler) (row: JsonElement) relative =
    expectNear relative (rates optimizer) (field "lr" row |> list number) $"{what}: lr"

    tryField "momentum" row
    |> Option.iter (fun expected ->
        for actual, expected in List.zip (momenta optimizer) (momentaOf expected) do
            expectNear relative actual expected $"{what}: momentum")

    tryField "last_lr" row
    |> Option.iter (fun expected -> expectNear relative (List.ofSeq (scheduler.GetLastLr())) (list number expected) $"{what}: last_lr")

/// The recorded state, and PyTorch's own loaded into a new scheduler and saved again.
let private compareState make (scheduler: LRScheduler) (recorded: JsonElement) =
    let expected = treeOf recorded
    compareTrees "state" (scheduler.StateDict()) expected
    let fresh: LRScheduler = make ()
    let report = fresh.LoadStateDict expected
    Expect.isEmpty report.Unexpected "all keys are known"
    compareTrees "state, loaded and saved" (fresh.StateDict()) expected

let private schedule (case: JsonElement) () =
    let make () =
        let optimizer =
            recordedOptimizer (field "optimizer" case |> Golden.text) (field "lrs" case |> list number)

        optimizer, ofSpec optimizer (field "spec" case)

    let optimizer, scheduler = make ()

    tryField "rows" case
    |> Option.iter (fun rows ->
        for i, row in rows.EnumerateArray() |> Seq.indexed do
            if i > 0 then
                optimizer.Step()
                scheduler.Step()

            compareRow $"row {i}" optimizer scheduler row close)

    tryField "fractional" case
    |> Option.iter (fun rows ->
        for row in rows.EnumerateArray() do
            let epoch = field "epoch" row |> number
            scheduler.Step epoch
            expectNear close (rates optimizer) [ field "lr" row |> number ] $"epoch {epoch}")

    tryField "state_dict" case |> Option.iter (compareState (make >> snd) scheduler)

let private metrics (case: JsonElement) () =
    let optimizer = recordedOptimizer "SGD" (field "lrs" case |> list number)

    let scheduler =
        ScheduleKit.scheduler optimizer "ReduceLROnPlateau" (field "args" case |> pairs id) [] :?> ReduceLROnPlateau

    for i, row in (field "rows" case).EnumerateArray() |> Seq.indexed do
        scheduler.Step(field "metric" row |> number)
        compareRow $"row {i}" optimizer scheduler row close
        Expect.equal scheduler.NumBadEpochs (field "num_bad_epochs" row |> number |> int64) $"row {i}: num_bad_epochs"
        Expect.equal scheduler.CooldownCounter (field "cooldown_counter" row |> number |> int64) $"row {i}: cooldown_counter"
        Expect.equal scheduler.Best (field "best" row |> number) $"row {i}: best"

/// One of PyTorch's own tests, event by event.
let private events (case: JsonElement) () =
    let relative =
        if (field "test" case |> Golden.text).StartsWith "test_constant_initial_" then
            3e-7
        else
            close

    let mutable optimizers: Map<int, Optimizer> = Map.empty
    let mutable schedulers: Map<int, LRScheduler> = Map.empty
    let mutable told = 0

    let create (optimizer: Optimizer) (event: JsonElement) =
        let args =
            event |> tryField "args" |> Option.map (pairs id) |> Option.defaultValue []

        let inside =
            match List.tryFind (fun (name, _) -> name = "schedulers") args with
            | Some(_, value) -> value |> list (fun one -> schedulers[field "scheduler" one |> number |> int])
            | None -> []

        let args = args |> List.filter (fun (name, _) -> name <> "schedulers")

        if
            args
            |> List.exists (fun (name, value) -> name = "last_epoch" && number value >= 0.0)
        then
            // As in PyTorch's tests; what belongs to schedulers comes into groups with a loaded state.
            let dict = optimizer.StateDict()

            for group in dict.ParamGroups do
                if not (group.ContainsKey "initial_lr") then
                    group["initial_lr"] <- group["lr"]

            optimizer.LoadStateDict dict |> ignore

        ScheduleKit.scheduler optimizer (field "class" event |> Golden.text) args inside

    for i, event in (field "events" case).EnumerateArray() |> Seq.indexed do
        let what = $"event {i}"

        match tryField "create" event, tryField "step" event, tryField "set" event, tryField "groups" event with
        | Some id, _, _, _ ->
            let optimizer = optimizers[field "optimizer" event |> number |> int]

            match tryField "refused" event with
            | Some _ -> refuses<ArgumentException> what [] (fun () -> create optimizer event |> ignore)
            | None ->
                let scheduler = create optimizer event
                schedulers <- schedulers.Add(int (number id), scheduler)

                if (tryField "lr" event).IsSome then
                    compareRow what optimizer scheduler event relative
        | _, Some id, _, _ ->
            let scheduler = schedulers[int (number id)]

            match tryField "arg" event with
            | Some value -> scheduler.Step(number value)
            | None -> scheduler.Step()

            compareRow what scheduler.Optimizer scheduler event relative
            told <- told + 1
        | _, _, Some id, _ ->
            let optimizer = optimizers[int (number id)]

            for k, lr in field "lr" event |> list number |> List.indexed do
                if k < optimizer.ParamGroups.Count then
                    optimizer.ParamGroups[k]["lr"] <- option (Number lr)
                else
                    optimizer.AddParamGroup(group [ vector $"later{k}" [ 0.0 ] ] [ "lr", Number lr ])
        | _, _, _, Some groups ->
            let id = field "optimizer" event |> number |> int
            let rates = groups |> list (field "lr" >> number)

            let settings =
                match groups.EnumerateArray() |> Seq.tryHead with
                | None -> []
                | Some first ->
                    match tryField "momentum" first, tryField "betas" first with
                    | _, Some betas -> [ "betas", setting betas ]
                    | Some momentum, _ -> [ "momentum", setting momentum ]
                    | _ -> []

            optimizers <- optimizers.Add(id, optimizerOf (field "class" event |> Golden.text) settings rates)
        | _ -> raise (FormatException $"event {i} is of no known kind: {event.GetRawText()}")

let private label (case: JsonElement) i =
    match tryField "test" case, tryField "spec" case, tryField "args" case with
    | Some test, _, _ -> $"#{i} {Golden.text test}"
    | _, Some spec, _ -> $"#{i} " + spec.GetRawText().Replace("\"", "")
    | _, _, Some args -> $"#{i} " + args.GetRawText().Replace("\"", "")
    | _ -> $"#{i}"

let private ofFile check _ (root: JsonElement) =
    let cases =
        match root.ValueKind with
        | JsonValueKind.Object -> field "tests" root |> list id
        | _ -> list id root

    [ for i, case in List.indexed cases -> testCase (label case i) (check case) ]

[<Tests>]
let tests =
    testList
        "schedules"
        [
            for pattern, check in
                [
                    "schedulers*.json", schedule
                    "scheduler_events*.json", events
                    "plateau*.json", metrics
                ] do
                yield! recorded pattern (ofFile check)
        ]
