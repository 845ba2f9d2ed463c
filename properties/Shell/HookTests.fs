/// The five kinds of hooks and the two global ones: order, removal, what they may change, and what happens when they throw (law W4).
module HookTests

open System
open System.Collections.Generic
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit

type private Broken() =
    inherit Exception "the hook broke"

/// An optimizer with one parameter that has a gradient, and a list to write a trace to.
let private setting () =
    let p = vector "w" [ 1.0; 2.0 ]
    setGradient p (Some [| 1.0; -1.0 |])
    let optimizer = new Adam(parameters [ p ], lr = 0.1)
    p, optimizer :> Optimizer, List<string>()

let private expectTrace (trace: List<string>) expected what =
    Expect.equal (List.ofSeq trace) expected what

let private stepHooks =
    testList
        "step"
        [
            testCase "pre hooks in the order of registration, the step, post hooks" (fun () ->
                let p, optimizer, trace = setting ()

                let note (word: string) =
                    let first = Array.head (values p)
                    trace.Add $"{word} {text first}"

                optimizer.RegisterStepPostHook(fun _ -> note "post 1") |> ignore
                optimizer.RegisterStepPreHook(fun _ -> note "pre 1") |> ignore
                optimizer.RegisterStepPreHook(fun _ -> note "pre 2") |> ignore
                optimizer.RegisterStepPostHook(fun _ -> note "post 2") |> ignore
                optimizer.Step()
                let after = text (Array.head (values p))
                Expect.notEqual after "1" "the step moved it"
                expectTrace trace [ "pre 1 1"; "pre 2 1"; $"post 1 {after}"; $"post 2 {after}" ] "trace")

            testCase "a removed hook does not fire, and removing twice is no error" (fun () ->
                let _, optimizer, trace = setting ()
                let first = optimizer.RegisterStepPreHook(fun _ -> trace.Add "first")
                optimizer.RegisterStepPreHook(fun _ -> trace.Add "second") |> ignore
                let post = optimizer.RegisterStepPostHook(fun _ -> trace.Add "post")
                optimizer.Step()
                first.Dispose()
                first.Dispose()
                post.Dispose()
                optimizer.Step()
                expectTrace trace [ "first"; "second"; "post"; "second" ] "trace")

            testCase "a hook that removes itself, or adds one, does not disturb the others" (fun () ->
                let _, optimizer, trace = setting ()
                let mutable handle: IDisposable = null

                handle <-
                    optimizer.RegisterStepPreHook(fun _ ->
                        trace.Add "once"
                        handle.Dispose()
                        optimizer.RegisterStepPreHook(fun _ -> trace.Add "added") |> ignore)

                optimizer.RegisterStepPreHook(fun _ -> trace.Add "always") |> ignore
                optimizer.Step()
                trace.Clear()
                optimizer.Step()
                expectTrace trace [ "always"; "added" ] "the second step")

            testCase "global hooks come first and last, for every optimizer" (fun () ->
                let _, first, trace = setting ()
                let _, second, _ = setting ()

                // Other tests step other optimizers meanwhile.
                let mine (optimizer: Optimizer) word =
                    if Object.ReferenceEquals(optimizer, first) then
                        trace.Add $"{word} of the first"
                    elif Object.ReferenceEquals(optimizer, second) then
                        trace.Add $"{word} of the second"

                first.RegisterStepPreHook(fun _ -> trace.Add "pre") |> ignore
                first.RegisterStepPostHook(fun _ -> trace.Add "post") |> ignore

                let handles =
                    [
                        Optimizer.RegisterOptimizerStepPreHook(fun call -> mine call.Optimizer "global pre")
                        Optimizer.RegisterOptimizerStepPostHook(fun optimizer -> mine optimizer "global post")
                    ]

                try
                    first.Step(
                        Func<float>(fun () ->
                            trace.Add "closure"
                            0.0)
                    )
                    |> ignore

                    second.Step()
                finally
                    for handle in handles do
                        handle.Dispose()

                first.Step()

                expectTrace
                    trace
                    [
                        "global pre of the first"
                        "pre"
                        "closure"
                        "post"
                        "global post of the first"
                        "global pre of the second"
                        "global post of the second"
                        "pre"
                        "post"
                    ]
                    "trace")

            testCase "a pre hook may replace the closure" (fun () ->
                let p, optimizer, trace = setting ()

                optimizer.RegisterStepPreHook(fun call ->
                    let given = nonNull (call.GetClosure<float>())

                    call.SetClosure<float>(fun () ->
                        trace.Add "mine"
                        10.0 + given.Invoke()))
                |> ignore

                let loss =
                    optimizer.Step(
                        Func<float>(fun () ->
                            trace.Add "given"
                            0.5)
                    )

                expectTrace trace [ "mine"; "given" ] "closures"
                Expect.equal loss 10.5 "loss"
                Expect.notEqual (values p) [| 1.0; 2.0 |] "the step went on")

            testCase "a pre hook that throws stops the step, and nothing has moved" (fun () ->
                for isGlobal in [ false; true ] do
                    let p, optimizer, trace = setting ()

                    let handle =
                        if isGlobal then
                            Optimizer.RegisterOptimizerStepPreHook(fun call ->
                                if Object.ReferenceEquals(call.Optimizer, optimizer) then
                                    raise (Broken()))
                        else
                            optimizer.RegisterStepPreHook(fun _ -> raise (Broken()))

                    optimizer.RegisterStepPreHook(fun _ -> trace.Add "later") |> ignore
                    optimizer.RegisterStepPostHook(fun _ -> trace.Add "post") |> ignore
                    let before = describe (optimizer.StateDict())

                    try
                        refuses<Broken> "the step" [] (fun () -> optimizer.Step())
                    finally
                        handle.Dispose()

                    expectSameBits (values p) [| 1.0; 2.0 |] "parameters"
                    Expect.equal (describe (optimizer.StateDict())) before "state"
                    expectTrace trace [] "later hooks"
                    optimizer.Step()
                    expectTrace trace [ "later"; "post" ] "without it the step runs")

            testCase "when a post hook throws the step stands, and later hooks do not run" (fun () ->
                let p, optimizer, trace = setting ()
                let q, twin, _ = setting ()
                let handle = optimizer.RegisterStepPostHook(fun _ -> raise (Broken()))
                optimizer.RegisterStepPostHook(fun _ -> trace.Add "later") |> ignore
                refuses<Broken> "the step" [] (fun () -> optimizer.Step())
                twin.Step()
                expectSameBits (values p) (values q) "parameters"
                Expect.equal (describe (optimizer.StateDict())) (describe (twin.StateDict())) "state"
                expectTrace trace [] "later hooks"
                handle.Dispose()
                optimizer.Step()
                twin.Step()
                expectSameBits (values p) (values q) "parameters after the next step"
                expectTrace trace [ "later" ] "hooks of the next step")
        ]

let private dictHooks =
    testList
        "state_dict"
        [
            testCase "pre hooks, then post hooks, which may replace the dict; prepend puts a hook first" (fun () ->
                let _, optimizer, trace = setting ()
                optimizer.Step()
                let own = describe (optimizer.StateDict())
                optimizer.RegisterStateDictPreHook(fun _ -> trace.Add "pre 1") |> ignore

                optimizer.RegisterStateDictPreHook((fun _ -> trace.Add "pre 0"), prepend = true)
                |> ignore

                optimizer.RegisterStateDictPostHook(fun _ dict ->
                    trace.Add "post 1"
                    dict.ParamGroups[0]["lr"] <- option (Number 0.5)
                    null)
                |> ignore

                let replaced =
                    optimizer.RegisterStateDictPostHook(fun _ dict ->
                        trace.Add "post 2"
                        let other = dict.Clone()
                        other.State.Clear()
                        other)

                optimizer.RegisterStateDictPostHook(
                    (fun _ dict ->
                        trace.Add "post 0"
                        Expect.equal (describe dict) own "the first post hook sees the dict as it is"
                        null),
                    prepend = true
                )
                |> ignore

                let dict = optimizer.StateDict()
                expectTrace trace [ "pre 0"; "pre 1"; "post 0"; "post 1"; "post 2" ] "trace"
                Expect.isEmpty dict.State "the replacement"
                Expect.equal (dict.ParamGroups[0]["lr"]) (option (Number 0.5)) "lr that a hook wrote"
                Expect.equal (optimizer.ParamGroups[0]["lr"]) (option (Number 0.1)) "the optimizer's own lr"
                replaced.Dispose()
                Expect.isNonEmpty (optimizer.StateDict().State) "without the replacement")

            testCase "load: pre hooks may change or replace the dict, post hooks see it loaded; the caller's dict stays" (fun () ->
                let _, source, _ = setting ()
                source.Step()
                let dict = source.StateDict()
                let before = describe dict
                let p, target, trace = setting ()

                target.RegisterLoadStateDictPreHook(fun _ dict ->
                    trace.Add "pre 1"
                    dict.ParamGroups[0]["lr"] <- option (Number 0.5)
                    dict.State.Remove 99 |> ignore
                    null)
                |> ignore

                target.RegisterLoadStateDictPreHook(
                    (fun _ dict ->
                        trace.Add "pre 0"
                        let other = dict.Clone()
                        other.State[0]["step"] <- Tree.Tensor(tensor DType.Float32 [||] [| 7.0 |])
                        other),
                    prepend = true
                )
                |> ignore

                target.RegisterLoadStateDictPostHook(fun _ ->
                    let step = Array.head (column target p "step")
                    trace.Add $"post 1 {text step}")
                |> ignore

                let post =
                    target.RegisterLoadStateDictPostHook((fun _ -> trace.Add "post 0"), prepend = true)

                target.LoadStateDict dict |> ignore
                expectTrace trace [ "pre 0"; "pre 1"; "post 0"; "post 1 7" ] "trace"
                Expect.equal (target.ParamGroups[0]["lr"]) (option (Number 0.5)) "lr"
                Expect.equal (describe dict) before "the caller's dict"
                post.Dispose()
                trace.Clear()
                target.LoadStateDict dict |> ignore
                expectTrace trace [ "pre 0"; "pre 1"; "post 1 7" ] "trace after removal")

            testCase "a load hook that throws leaves the optimizer as it was" (fun () ->
                let _, source, _ = setting ()
                source.Step()
                let p, target, _ = setting ()
                let before = describe (target.StateDict())
                target.RegisterLoadStateDictPreHook(fun _ _ -> raise (Broken())) |> ignore
                refuses<Broken> "the load" [] (fun () -> target.LoadStateDict(source.StateDict()) |> ignore)
                Expect.equal (describe (target.StateDict())) before "the target"
                expectSameBits (values p) [| 1.0; 2.0 |] "parameters")
        ]

/// The three recipes of PyTorch's manual for hooks that adapt a loaded state dict.
let private recipes =
    let linear prefix =
        [ vector $"{prefix}.weight" [ 1.0; 2.0; 3.0 ]; vector $"{prefix}.bias" [ 0.5 ] ]

    let trained (list: Param list) =
        let optimizer = new SGD(parameters list, lr = 0.01, momentum = 0.9)

        for k in 0..2 do
            for i, p in List.indexed list do
                setGradient p (Some(noise (k + 10 * i) (values p).Length))

            optimizer.Step()

        optimizer

    let buffer (optimizer: Optimizer) (p: Param) = column optimizer p "momentum_buffer"

    /// The optimizer's own dict, with the loaded options, and for each parameter the state of the one that `lookup` names.
    let adapt (lookup: string -> string option) (optimizer: Optimizer) (loaded: StateDict) =
        let adapted = optimizer.StateDict().Clone()

        for g in 0 .. loaded.ParamGroups.Count - 1 do
            let from, into = loaded.ParamGroups[g], adapted.ParamGroups[g]

            for KeyValue(key, value) in List.ofSeq from do
                into[key] <- value

            for id, name in Seq.zip into.Params into.ParamNames do
                match lookup name with
                | Some name ->
                    let id' = from.Params[from.ParamNames.IndexOf name]

                    match loaded.State.TryGetValue id' with
                    | true, state -> adapted.State[id] <- state.Clone()
                    | _ -> ()
                | None -> ()

        adapted

    testList
        "recipes of the manual"
        [
            testCase "one layer's state for two layers" (fun () ->
                let source = linear "fc"
                let dict = (trained source).StateDict()
                let list = linear "fc1" @ linear "fc2"
                let target = new SGD(parameters list, lr = 0.5)

                let lookup (name: string) =
                    Some("fc" + name.Substring(name.IndexOf '.'))

                target.RegisterLoadStateDictPreHook(fun optimizer loaded -> adapt lookup optimizer loaded)
                |> ignore

                // The dict has fewer parameters than the optimizer: only the hook makes it fit.
                target.LoadStateDict dict |> ignore
                Expect.equal (target.ParamGroups[0]["lr"]) (option (Number 0.01)) "lr"
                Expect.equal (target.ParamGroups[0]["momentum"]) (option (Number 0.9)) "momentum"
                let original = trained source

                for i, p in List.indexed list do
                    expectSameBits (buffer target p) (slot dict (i % 2) "momentum_buffer") "state"

                ignore original
                setGradient list[0] (Some [| 1.0; 1.0; 1.0 |])
                target.Step()
                Expect.notEqual (buffer target list[0]) (buffer target list[2]) "the copies are independent")

            testCase "a new layer starts from scratch" (fun () ->
                let source = linear "fc"
                let dict = (trained source).StateDict()
                let bypass = vector "bypass.weight" [ 1.0; 0.0 ]
                let list = linear "fc" @ [ bypass ]
                let target = new SGD(parameters list, lr = 0.5)

                let lookup name =
                    if name = "bypass.weight" then None else Some name

                target.RegisterLoadStateDictPreHook(fun optimizer loaded -> adapt lookup optimizer loaded)
                |> ignore

                target.LoadStateDict dict |> ignore

                for i in 0..1 do
                    expectSameBits (buffer target list[i]) (slot dict i "momentum_buffer") "fc"

                Expect.equal (List.ofSeq (target.StateDict().State.Keys)) [ 0; 1 ] "the bypass has no state"
                setGradient bypass (Some [| 1.0; 2.0 |])
                target.Step()
                expectSameBits (buffer target bypass) [| 1.0; 2.0 |] "its first step is a first step")

            testCase "state by names instead of order" (fun () ->
                let source = linear "fc" @ linear "head"
                let dict = (trained source).StateDict()
                let list = List.rev (linear "fc" @ linear "head")
                let target = new SGD(parameters list, lr = 0.5)

                target.RegisterLoadStateDictPreHook(fun optimizer loaded -> adapt Some optimizer loaded)
                |> ignore
                // By order, so that it is the hook that matches names.
                target.LoadStateDict(dict, matchBy = MatchBy.Order) |> ignore

                for i, p in List.indexed (List.rev list) do
                    expectSameBits (buffer target p) (slot dict i "momentum_buffer") "state")
        ]

[<Tests>]
let tests = testSequenced (testList "hooks" [ stepHooks; dictHooks; recipes ])
