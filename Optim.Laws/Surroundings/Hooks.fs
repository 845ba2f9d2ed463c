namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim
open Optim.Core
open Optim.Kernels

/// What a user of hooks does.
[<RequireQualifiedAccess>]
[<NoComparison>]
type HookAction =
    /// Registers another hook.
    | Add of Hook
    /// Removes one of those registered, counted round.
    | Remove of int
    /// A step.
    | Step

/// W: hooks and closures.
[<RequireQualifiedAccess>]
module Hooks =
    let private everyRule (_: Rule) = true

    let private small rule =
        { Recipe.one rule with
            Steps = 1, 4
            Length = Gen.choose (1, 5)
        }

    let private action =
        Gen.frequency
            [
                4,
                Gen.elements [ Hook.Pre; Hook.Post; Hook.EveryPre; Hook.EveryPost ]
                |> Gen.map HookAction.Add
                2, Gen.choose (0, 9) |> Gen.map HookAction.Remove
                4, Gen.constant HookAction.Step
            ]

    /// What the hooks that are registered, in order, write when there is a step.
    let private events (registered: (int * Hook) list) =
        let of' kind =
            registered
            |> List.filter (fun (_, hook) -> hook = kind)
            |> List.map (fun (id, hook) -> sprintf "%A %d" hook id)

        List.collect of' [ Hook.EveryPre; Hook.Pre ]
        @ [ "step" ]
        @ List.collect of' [ Hook.Post; Hook.EveryPost ]

    /// W4: the order of hooks.
    let order =
        Statement.forAll
            "W4"
            "hooks run in PyTorch's order: global before local ones, the step, local before global ones; removed ones do not run"
            everyRule
            (fun _ -> Gen.listOfLength 12 action)
            (fun _ actions -> List.indexed actions |> Seq.map (fun (i, _) -> List.removeAt i actions))
            (fun subject actions ->
                let parameter =
                    Param.Of("w", Shapes.suit subject.Rule (Tensor.ofFloats DType.Float64 [| 1.0 |]))

                parameter.SetGradient<float>(ReadOnlySpan [| 0.5 |])
                let optimizer = Host.optimizer subject subject.Rule.Defaults [ parameter ]
                let trace = ResizeArray<string>()
                let expected = ResizeArray<string>()
                let mutable registered: (int * Hook * IDisposable) list = []
                let mutable last = Host.theta parameter

                // Between pre and post hooks the parameter moves; whichever post hook comes first sees it.
                let see (name: string) =
                    let now = Host.theta parameter

                    if now <> last then
                        trace.Add "step"
                        last <- now

                    trace.Add name

                try
                    actions
                    |> List.iteri (fun id action ->
                        match action with
                        | HookAction.Add hook ->
                            let write (whose: Optimizer) =
                                if obj.ReferenceEquals(whose, optimizer) then
                                    see (sprintf "%A %d" hook id)

                            registered <- registered @ [ id, hook, subject.Shell.Register hook optimizer write ]
                        | HookAction.Remove _ when registered.IsEmpty -> ()
                        | HookAction.Remove which ->
                            let at = which % registered.Length
                            let _, _, handle = registered[at]
                            handle.Dispose()
                            registered <- List.removeAt at registered
                        | HookAction.Step ->
                            expected.AddRange(events (registered |> List.map (fun (id, hook, _) -> id, hook)))
                            subject.Shell.Step optimizer
                            see "after"
                            expected.Add "after")
                finally
                    for _, _, handle in registered do
                        handle.Dispose()

                Seq.toList trace = Seq.toList expected
                |> Verdict.require (fun () -> sprintf "%s\ninstead of %s" (String.Join(", ", trace)) (String.Join(", ", expected)))
                |> Verdict.tellingIf (expected.Count > 4))
        |> Statement.alone

    /// W5: closures.
    let closure =
        Statement.about
            "W5"
            "a closure is called once for each step, before it, and its loss is handed on"
            everyRule
            small
            (fun subject s ->
                let parameters = Host.parameters s
                let optimizer = Host.optimizer subject s.Options parameters
                let mutable calls = 0

                let losses =
                    s.History
                    |> Array.map (fun row ->
                        subject.Shell.StepWith optimizer (fun () ->
                            calls <- calls + 1
                            Host.give s.DType parameters row
                            float calls * 0.25))

                Verdict.all
                    [
                        calls = s.History.Length
                        |> Verdict.require (fun () -> sprintf "%d calls in %d steps" calls s.History.Length)
                        losses = Array.init s.History.Length (fun i -> float (i + 1) * 0.25)
                        |> Verdict.require (fun () -> sprintf "losses %A" losses)
                        Snapshot.compare Comparator.bit (Host.final subject s) (Host.read s.DType optimizer parameters)
                    ])

    /// The laws of this family.
    let all = [ order; closure ]
