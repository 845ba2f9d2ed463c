namespace Optim.Laws

open System
open Optim.Core

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

/// Schedules to try, drawn at random.
[<RequireQualifiedAccess>]
module internal ScheduleSpecs =
    let number (x: float) = OptionValue.Float x
    let whole (n: int) = OptionValue.Int(int64 n)

    /// A factor of the rate, above 0 for so many steps.
    let private factor name settings (closed: int -> float) pure' length =
        {
            Name = name
            Settings = settings
            Closed = fun rate t -> rate * closed t
            Pure = pure'
            Floor = 0.0
            Length = length
        }

    let private exponential (random: Random) =
        let gamma = 0.5 + 0.5 * random.NextDouble()
        factor "ExponentialLR" [ "gamma", number gamma ] (fun t -> Math.Pow(gamma, float t)) (Schedule.exponential gamma) 1000

    let private step (random: Random) =
        let size, gamma = random.Next(1, 9), 0.1 + 0.9 * random.NextDouble()

        factor
            "StepLR"
            [ "step_size", whole size; "gamma", number gamma ]
            (fun t -> Math.Pow(gamma, float (t / size)))
            (Schedule.step (float size) gamma)
            1000

    let private multiStep (random: Random) =
        let milestones = [ for _ in 1 .. random.Next(1, 5) -> random.Next(1, 30) ]
        let gamma = 0.1 + 0.9 * random.NextDouble()

        let passed t =
            milestones |> List.filter (fun milestone -> milestone <= t) |> List.length

        factor
            "MultiStepLR"
            [
                "milestones", OptionValue.TupleOf(List.map whole milestones)
                "gamma", number gamma
            ]
            (fun t -> Math.Pow(gamma, float (passed t)))
            (Schedule.multiStep (Seq.map float milestones) gamma)
            1000

    let private constant (random: Random) =
        let part, steps = 0.1 + 0.9 * random.NextDouble(), random.Next(1, 20)

        factor
            "ConstantLR"
            [ "factor", number part; "total_iters", whole steps ]
            (fun t -> if t < steps then part else 1.0)
            (Schedule.keep
             |> Schedule.scale part
             |> Schedule.thenAt (float steps) Schedule.keep)
            1000

    let private linear (random: Random) =
        let first, last, steps =
            0.05 + 0.95 * random.NextDouble(), 0.05 + 0.95 * random.NextDouble(), random.Next(1, 20)

        let way t = float (min t steps) / float steps

        factor
            "LinearLR"
            [
                "start_factor", number first
                "end_factor", number last
                "total_iters", whole steps
            ]
            (fun t -> first * (1.0 - way t) + last * way t)
            (Schedule.linear first last (float steps))
            1000

    let private polynomial (random: Random) =
        let steps, power = random.Next(2, 40), 0.5 + 2.0 * random.NextDouble()

        factor
            "PolynomialLR"
            [ "total_iters", whole steps; "power", number power ]
            (fun t -> Math.Pow(float (max 0 (steps - t)) / float steps, power))
            (Schedule.polynomial power (float steps))
            (steps - 1)

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
        factor ("hf:" + name) settings (float >> closed) pure' 0

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
