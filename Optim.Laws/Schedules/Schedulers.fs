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

/// A schedule to try: a scheduler's name and settings, and what it does in formulas of its own.
[<NoComparison; NoEquality>]
type ScheduleSpec =
    {
        /// PyTorch's name.
        Name: string
        /// By PyTorch's names.
        Settings: (string * OptionValue) list
        /// The rate without a schedule, the epoch, and the rate: written down from PyTorch's documentation.
        Closed: float -> int -> float
        /// The same with the combinators of the core.
        Pure: Schedule
        /// Where it leads when the factor is 0.
        Floor: float
        /// Until when factors are above 0 and it acts on the current rate.
        Length: int
    }

    /// As one writes it.
    override spec.ToString() =
        spec.Name
        + "("
        + String.Join(", ", spec.Settings |> List.map (fun (name, value) -> $"{name}={value}"))
        + ")"

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
    let private number (x: float) = OptionValue.Float x
    let private whole (n: int) = OptionValue.Int(int64 n)

    let private exponential (random: Random) =
        let gamma = 0.5 + 0.5 * random.NextDouble()

        {
            Name = "ExponentialLR"
            Settings = [ "gamma", number gamma ]
            Closed = fun rate t -> rate * Math.Pow(gamma, float t)
            Pure = Schedule.exponential gamma
            Floor = 0.0
            Length = 1000
        }

    let private step (random: Random) =
        let size, gamma = random.Next(1, 9), 0.1 + 0.9 * random.NextDouble()

        {
            Name = "StepLR"
            Settings = [ "step_size", whole size; "gamma", number gamma ]
            Closed = fun rate t -> rate * Math.Pow(gamma, float (t / size))
            Pure = Schedule.step (float size) gamma
            Floor = 0.0
            Length = 1000
        }

    let private multiStep (random: Random) =
        let milestones = [ for _ in 1 .. random.Next(1, 5) -> random.Next(1, 30) ]
        let gamma = 0.1 + 0.9 * random.NextDouble()

        {
            Name = "MultiStepLR"
            Settings =
                [
                    "milestones", OptionValue.TupleOf(List.map whole milestones)
                    "gamma", number gamma
                ]
            Closed =
                fun rate t ->
                    let passed = milestones |> List.filter (fun milestone -> milestone <= t)
                    rate * Math.Pow(gamma, float passed.Length)
            Pure = Schedule.multiStep (Seq.map float milestones) gamma
            Floor = 0.0
            Length = 1000
        }

    let private constant (random: Random) =
        let factor, steps = 0.1 + 0.9 * random.NextDouble(), random.Next(1, 20)

        {
            Name = "ConstantLR"
            Settings = [ "factor", number factor; "total_iters", whole steps ]
            Closed = fun rate t -> if t < steps then rate * factor else rate
            Pure =
                Schedule.keep
                |> Schedule.scale factor
                |> Schedule.thenAt (float steps) Schedule.keep
            Floor = 0.0
            Length = 1000
        }

    let private linear (random: Random) =
        let first, last, steps =
            0.05 + 0.95 * random.NextDouble(), 0.05 + 0.95 * random.NextDouble(), random.Next(1, 20)

        {
            Name = "LinearLR"
            Settings =
                [
                    "start_factor", number first
                    "end_factor", number last
                    "total_iters", whole steps
                ]
            Closed =
                fun rate t ->
                    let way = float (min t steps) / float steps
                    rate * (first * (1.0 - way) + last * way)
            Pure = Schedule.linear first last (float steps)
            Floor = 0.0
            Length = 1000
        }

    let private polynomial (random: Random) =
        let steps, power = random.Next(2, 40), 0.5 + 2.0 * random.NextDouble()

        {
            Name = "PolynomialLR"
            Settings = [ "total_iters", whole steps; "power", number power ]
            Closed = fun rate t -> rate * Math.Pow(float (max 0 (steps - t)) / float steps, power)
            Pure = Schedule.polynomial power (float steps)
            Floor = 0.0
            Length = steps - 1
        }

    let private cosine (random: Random) =
        let steps, floor =
            random.Next(2, 40), 1e-5 * float (random.Next 2) * random.NextDouble()

        {
            Name = "CosineAnnealingLR"
            Settings = [ "T_max", whole steps; "eta_min", number floor ]
            Closed =
                fun rate t ->
                    floor
                    + (rate - floor)
                      * Math.Pow(Math.Cos(Math.PI * float (t % (2 * steps)) / float (2 * steps)), 2.0)
            Pure = Schedule.cosine (float steps) |> Schedule.toward floor
            Floor = floor
            Length = steps - 1
        }

    let private hf (name: string) settings closed pure' =
        {
            Name = "hf:" + name
            Settings = settings
            Closed = fun rate t -> rate * closed (float t)
            Pure = pure'
            Floor = 0.0
            Length = 0
        }

    /// Those of transformers, each from 0 in a few steps.
    let private huggingFace (random: Random) =
        let w, d = random.Next(0, 8), random.Next(2, 30)
        let least, cycles = 0.5 * random.NextDouble(), 0.25 * float (random.Next(1, 8))
        let up, all = float w, float (w + d)
        let counts = [ "num_warmup_steps", whole w; "num_training_steps", whole (w + d) ]

        // Written down anew, in another order than the schedules themselves.
        let warmed main t =
            if t < up then t / up else main ((t - up) / float d)

        let wave way =
            Math.Pow(Math.Cos(Math.PI * cycles * way), 2.0)

        match random.Next 7 with
        | 0 -> hf "linear" counts (warmed (fun way -> 1.0 - min 1.0 way)) (HuggingFace.linear up all)
        | 1 -> hf "cosine" (("num_cycles", number cycles) :: counts) (warmed wave) (HuggingFace.cosine cycles up all)
        | 2 ->
            hf
                "polynomial"
                (("lr_end", number 0.0) :: ("power", number 2.0) :: counts)
                (warmed (fun way -> (1.0 - min 1.0 way) * (1.0 - min 1.0 way)))
                (HuggingFace.polynomial 0.0 2.0 up all)
        | 3 ->
            hf
                "cosine_with_min_lr"
                (("min_lr_rate", number least) :: ("num_cycles", number cycles) :: counts)
                (warmed (fun way -> least * (1.0 - wave way) + wave way))
                (HuggingFace.cosineWithMinLr least cycles up all)
        | 4 ->
            hf
                "inverse_sqrt"
                [ "num_warmup_steps", whole w; "timescale", whole d ]
                (warmed (fun way -> 1.0 / Math.Sqrt(1.0 + way)))
                (HuggingFace.inverseSqrt (float d) up)
        | 5 ->
            hf
                "warmup_stable_decay"
                [
                    "num_warmup_steps", whole w
                    "num_decay_steps", whole d
                    "num_stable_steps", whole 3
                    "min_lr_ratio", number least
                    "decay_type", OptionValue.Text "1-sqrt"
                ]
                (fun t ->
                    if t < up then
                        least + (1.0 - least) * t / up
                    else
                        1.0 - (1.0 - least) * Math.Sqrt(Math.Clamp((t - up - 3.0) / float d, 0.0, 1.0)))
                (HuggingFace.warmupStableDecay Descent.Linear Descent.OneMinusSqrt least 0.5 up 3.0 (float d))
        | _ ->
            hf
                "constant_with_warmup"
                [ "num_warmup_steps", whole w ]
                (fun t -> if t < up then t / up else 1.0)
                (HuggingFace.constantWithWarmup up)

    /// Those of timm, with a warm-up and cycles.
    let private timm (random: Random) =
        let length, limit = random.Next(3, 12), random.Next(1, 4)
        let decay, power = 0.25 + 0.5 * random.NextDouble(), 0.5 + random.NextDouble()
        let warmup, start = random.Next(0, 5), 1e-4 * random.NextDouble()

        let cycles =
            { Timm.cycles (float length) with
                Decay = decay
                Limit = limit
            }

        let make name settings isPrefix (closed: float -> int -> float) (schedule: Schedule) =
            {
                Name = "timm:" + name
                Settings = [ "warmup_t", whole warmup; "warmup_lr_init", number start ] @ settings
                Closed =
                    fun rate t ->
                        if t < warmup then
                            (start * float (warmup - t) + rate * float t) / float warmup
                        else
                            closed rate (if isPrefix then t - warmup else t)
                Pure =
                    match warmup with
                    | 0 -> schedule
                    | warmup when isPrefix -> schedule |> Timm.warmUpFirst (float warmup) start
                    | warmup -> schedule |> Timm.warmUp (float warmup) start
                Floor = 0.0
                Length = 0
            }

        let cyclic name settings shape schedule =
            make
                name
                ([
                    "t_initial", whole length
                    "cycle_decay", number decay
                    "cycle_limit", whole limit
                 ]
                 @ settings)
                false
                (fun rate t ->
                    if t >= length * limit then
                        0.0
                    else
                        rate
                        * Math.Pow(decay, float (t / length))
                        * shape (float (t % length) / float length))
                schedule

        match random.Next 4 with
        | 0 -> cyclic "cosine" [] (fun way -> Math.Pow(Math.Cos(Math.PI * way / 2.0), 2.0)) (Timm.cosine 0.0 1.0 cycles)
        | 1 -> cyclic "poly" [ "power", number power ] (fun way -> Math.Pow(1.0 - way, power)) (Timm.polynomial 0.0 power 1.0 cycles)
        | 2 ->
            make
                "step"
                [ "decay_t", whole length; "decay_rate", number decay ]
                true
                (fun rate t -> rate * Math.Pow(decay, float (t / length)))
                (Timm.step (float length) decay)
        | _ ->
            let over = random.Next(1, length + 1)

            make
                "wsd"
                [
                    "t_initial", whole length
                    "decay_t", whole over
                    "decay_fn", OptionValue.Text "linear"
                ]
                true
                (fun rate t -> rate * Math.Clamp(float (length - t) / float over, 0.0, 1.0))
                (Timm.stableDecay 0.0 Schedule.keep (Schedule.ofFactor (fun way -> 1.0 - way)) (float over) (float length))

    /// Schedules of transformers and timm.
    let published (random: Random) =
        if random.Next 2 = 0 then
            huggingFace random
        else
            timm random

    let private chainable =
        [| exponential; step; multiStep; constant; linear; polynomial; cosine |]

    /// Schedules that act on the current rate.
    let spec (random: Random) =
        chainable[random.Next chainable.Length] random

    /// Schedules of all kinds.
    let wide (random: Random) =
        if random.Next 2 = 0 then spec random else published random

    /// A schedule of one of these names.
    let rec named (names: string list) (random: Random) =
        let drawn = spec random

        if List.contains drawn.Name names then
            drawn
        else
            named names random

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

            group["lr"] <- number rate

            scale |> Option.iter (fun scale -> group.Custom["lr_scale"] <- number scale)

            group

        let momentum =
            [
                if subject.Rule.Name = "SGD" then
                    "momentum", number 0.9
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
