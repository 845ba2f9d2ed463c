namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim
open Optim.Core

/// W1: what surrounds a step and adds nothing.
[<RequireQualifiedAccess>]
module Onlookers =
    /// What surrounds a step and is to change nothing, and whether it is there.
    [<NoComparison>]
    type Onlookers =
        {
            Schedule: bool
            Options: bool
            Hooks: bool
            Attached: bool
            Closure: bool
        }

        member this.Any =
            this.Schedule || this.Options || this.Hooks || this.Attached || this.Closure

    let private onlookers =
        Gen.choose (0, 31)
        |> Gen.map (fun bits ->
            let on bit = bits >>> bit &&& 1 = 1

            {
                Schedule = on 0
                Options = on 1
                Hooks = on 2
                Attached = on 3
                Closure = on 4
            })

    /// W1: wrappers that add nothing.
    let identity =
        Statement.withDraw
            "W1"
            "a constant schedule, options set to what they are, hooks and closures that look on, a scale of 1 and a limit beyond all gradients change no bit"
            Surroundings.everyRule
            Surroundings.moderate
            onlookers
            (fun subject there s ->
                let s = Surroundings.stepsAlways s
                let parameters = Host.parameters s
                let optimizer = Host.optimizer subject s.Options parameters

                if there.Attached then
                    subject.Shell.Attach
                        optimizer
                        { Attached.None with
                            Clip = Some(ClipGradNorm 1e9)
                            Scaler = Some(GradScaler(1.0, growthInterval = Int64.MaxValue))
                        }

                let handles =
                    if there.Hooks then
                        [
                            for hook in [ Hook.Pre; Hook.Post ] -> subject.Shell.Register hook optimizer ignore
                        ]
                    else
                        []

                let scheduler =
                    if there.Schedule && Options.has "lr" subject.Rule then
                        [
                            Schedulers.Create("ConstantLR", optimizer, [ struct ("factor", Options.ofNumber 1.0) ])
                        ]
                    else
                        []

                for row in s.History do
                    if there.Options then
                        for group in optimizer.ParamGroups do
                            for name in subject.Rule.OptionNames do
                                subject.Shell.SetOption group name group[name]

                    Host.give s.DType parameters row

                    if there.Closure && not there.Attached then
                        subject.Shell.StepWith optimizer (fun () -> 0.5) |> ignore
                    else
                        subject.Shell.Step optimizer

                    for scheduler in scheduler do
                        scheduler.Step()

                for handle in handles do
                    handle.Dispose()

                let expected = Host.final subject s

                Snapshot.compare Comparator.bit expected (Host.read s.DType optimizer parameters)
                |> Verdict.tellingIf (there.Any && expected.Theta <> s.Start))

    /// The laws of this family.
    let all: Statement list = [ identity ]
