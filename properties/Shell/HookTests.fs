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

[<Tests>]
let tests =
    testSequenced (testList "hooks" [ stepHooks; dictHooks; HookRecipeTests.tests ])
