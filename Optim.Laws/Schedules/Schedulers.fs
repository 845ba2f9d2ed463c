namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim
open Optim.Core

/// How the laws use schedulers: every field does what its name says. A test replaces one by something defective.
[<NoComparison; NoEquality>]
type SchedulerShell =
    {
        /// A scheduler by PyTorch's name, with settings.
        Make: Optimizer -> string -> (string * OptionValue) list -> LRScheduler
        /// The next step.
        Step: LRScheduler -> unit
        /// The step to an epoch, or with a metric.
        StepTo: LRScheduler -> float -> unit
        /// One after another, each from its milestone on.
        Sequence: Optimizer -> LRScheduler list -> int list -> LRScheduler
        /// All at each step.
        Chain: LRScheduler list -> LRScheduler
        /// The state.
        Save: LRScheduler -> Tree
        /// Takes a state over.
        Load: LRScheduler -> Tree -> unit
    }

/// The schedulers as they are.
[<RequireQualifiedAccess>]
module SchedulerShell =
    /// Every field calls the method of its name.
    let real =
        {
            Make =
                fun optimizer name settings -> Schedulers.Create(name, optimizer, [ for name, value in settings -> struct (name, value) ])
            Step = fun scheduler -> scheduler.Step()
            StepTo = fun scheduler value -> scheduler.Step value
            Sequence = fun optimizer schedulers milestones -> SequentialLR(optimizer, schedulers, milestones)
            Chain = fun schedulers -> ChainedScheduler schedulers
            Save = fun scheduler -> scheduler.StateDict()
            Load = fun scheduler state -> scheduler.LoadStateDict state |> ignore
        }

/// A case of the laws of schedulers.
[<NoComparison; NoEquality>]
type ScheduleCase =
    {
        /// What is scheduled.
        Spec: ScheduleSpec
        /// Another one, to be combined with it.
        Other: ScheduleSpec
        /// The rate of each group.
        Rates: float list
        /// How many steps.
        Steps: int
        /// For what else is drawn.
        Seed: int
    }

    /// As one writes it.
    override case.ToString() =
        $"{case.Spec} (and {case.Other}), rates {case.Rates}, {case.Steps} steps, {case.Seed}"

/// Drawing schedules, and running them.
[<RequireQualifiedAccess>]
module ScheduleCase =
    /// Schedules of transformers and timm.
    let published random = ScheduleSpecs.published random

    /// Schedules that act on the current rate.
    let spec random = ScheduleSpecs.spec random

    /// Schedules of all kinds.
    let wide random = ScheduleSpecs.wide random

    /// A schedule of one of these names.
    let named names random = ScheduleSpecs.named names random

    /// A case whose schedule is drawn so.
    let drawing (draw: Random -> ScheduleSpec) =
        Gen.choose (0, Int32.MaxValue - 1)
        |> Gen.map (fun seed ->
            let random = Random seed

            let rate () =
                Math.Pow(10.0, -3.0 * random.NextDouble())

            {
                Spec = draw random
                Other = spec random
                Rates = [ rate (); rate () ]
                Steps = random.Next(3, 40)
                Seed = seed
            })

    /// Any case.
    let any = drawing spec

    /// An optimizer with a group for each rate, and with an lr_scale if there is one.
    let openScaled (scale: float option) (subject: Subject) (rates: float list) =
        let group i (rate: float) =
            let group =
                ParameterGroup
                    [
                        Param.Of($"w{i}", Tensor.ofFloats Kernels.DType.Float64 [| 1.0 |]) :> IParameter
                    ]

            group["lr"] <- OptionValue.Float rate

            scale
            |> Option.iter (fun scale -> group.Custom["lr_scale"] <- OptionValue.Float scale)

            group

        let momentum =
            [
                if subject.Rule.Name = "SGD" then
                    "momentum", OptionValue.Float 0.9
            ]

        subject.Shell.Open subject.Rule momentum (List.mapi group rates)

    /// An optimizer with a group for each rate.
    let openWith (subject: Subject) (rates: float list) = openScaled None subject rates

    /// The rates in the groups.
    let rates (optimizer: Optimizer) : float list =
        [ for group in optimizer.ParamGroups -> OptionValue.op_Explicit group["lr"] ]

    /// The rates after construction and after each of so many steps.
    let run (shell: SchedulerShell) (optimizer: Optimizer) (scheduler: LRScheduler) (steps: int) =
        [
            rates optimizer

            for _ in 1..steps do
                shell.Step scheduler
                rates optimizer
        ]

    /// The same of one scheduler over an optimizer of its own.
    let alone (shell: SchedulerShell) (subject: Subject) (rates: float list) (spec: ScheduleSpec) steps =
        let optimizer = openWith subject rates
        run shell optimizer (shell.Make optimizer spec.Name spec.Settings) steps
