namespace Optim.Core

open System

/// The schedules of Hugging Face's transformers, by the names of get_scheduler: factors of the base value, over steps of which the first
/// `warmup` rise from 0 (t / warmup). `training` is the number of all steps, and q = (t - warmup) / (training - warmup) the part of the
/// way behind the warm-up. Steps may go past the end.
/// <code>HuggingFace.cosine 0.5 100.0 1000.0</code>
[<RequireQualifiedAccess>]
module HuggingFace =
    let private warmedUp warmup (main: double -> double) =
        Schedule.checkSteps "warmup" warmup

        Schedule.ofFactor (fun step -> if step < warmup then step / max 1.0 warmup else main step)

    let private way warmup training step =
        (step - warmup) / max 1.0 (training - warmup)

    /// So many periods of a cosine over the way from 0 to 1.
    let private wave cycles way =
        (1.0 + Math.Cos(2.0 * Math.PI * cycles * way)) / 2.0

    let private checkTraining (training: double) = Schedule.checkSteps "training" training

    /// 1 from the first step on.
    [<CompiledName("Constant")>]
    let constant = Schedule.keep

    /// Up, and then 1.
    [<CompiledName("ConstantWithWarmup")>]
    let constantWithWarmup (warmup: double) = warmedUp warmup (fun _ -> 1.0)

    /// Up, and down to 0 in a straight line: max(0, (training - t) / (training - warmup)).
    [<CompiledName("Linear")>]
    let linear (warmup: double) (training: double) =
        checkTraining training
        warmedUp warmup (fun step -> max 0.0 ((training - step) / max 1.0 (training - warmup)))

    /// Up, and along so many periods of a cosine (0.5: once down to 0): (1 + cos(2 pi cycles q)) / 2. It goes on along the cosine after the
    /// last step, and so up again; `Schedule.hold` keeps it down.
    [<CompiledName("Cosine")>]
    let cosine (cycles: double) (warmup: double) (training: double) =
        checkTraining training
        warmedUp warmup (way warmup training >> wave cycles >> max 0.0)

    /// Up, and so many times along half a cosine down to 0, back at 1 each time: (1 + cos(pi frac(cycles q))) / 2, and 0 from the last
    /// step on.
    [<CompiledName("CosineWithRestarts")>]
    let cosineWithRestarts (cycles: double) (warmup: double) (training: double) =
        checkTraining training

        warmedUp warmup (fun step ->
            match way warmup training step with
            | way when way >= 1.0 -> 0.0
            | way -> Curve.anneal true (cycles * way - Math.Floor(cycles * way)))

    /// Up, and down to a factor along a power of the way that is left: finish + (1 - finish) (1 - q)^power, and then the factor.
    [<CompiledName("Polynomial")>]
    let polynomial (finish: double) (power: double) (warmup: double) (training: double) =
        checkTraining training

        warmedUp warmup (fun step ->
            if step >= training then
                finish
            else
                finish
                + (1.0 - finish) * Math.Pow(1.0 - (step - warmup) / (training - warmup), power))

    /// Up, and down with the root of the step: sqrt(timescale / (t - warmup + timescale)). A timescale of `warmup` makes it sqrt(warmup / t).
    [<CompiledName("InverseSqrt")>]
    let inverseSqrt (timescale: double) (warmup: double) =
        Schedule.checkLength "timescale" timescale
        warmedUp warmup (fun step -> Math.Sqrt(timescale / (step - warmup + timescale)))

    /// Up, and along so many periods of a cosine (0.5: once) down to a factor, and on along it.
    [<CompiledName("CosineWithMinLr")>]
    let cosineWithMinLr (least: double) (cycles: double) (warmup: double) (training: double) =
        checkTraining training
        warmedUp warmup (fun step -> max 0.0 (least + (1.0 - least) * wave cycles (way warmup training step)))

    /// The same from a factor `start` at the first step up to 1 one step before `warmup`, and everything behind it a step earlier: the
    /// factor `least` is reached at step training - 1. transformers starts at 1 / warmup when it is given no start.
    [<CompiledName("CosineWarmupWithMinLr")>]
    let cosineWarmupWithMinLr (start: double) (least: double) (cycles: double) (warmup: double) (training: double) =
        Schedule.checkSteps "warmup" warmup
        checkTraining training

        Schedule.ofFactor (fun step ->
            if step < warmup then
                start + (1.0 - start) * step / max 1.0 (warmup - 1.0)
            else
                max 0.0 (least + (1.0 - least) * wave cycles (way warmup training (step + 1.0))))

    /// Up from a factor, so many steps at 1, and down to that factor again in so many. The cosine of the way down has so many periods
    /// (0.5: once down). With a negative number of stable steps, which transformers comes to when there are too few steps in all, the way
    /// down is entered part-way.
    [<CompiledName("WarmupStableDecay")>]
    let warmupStableDecay (up: Descent) (down: Descent) (least: double) (cycles: double) (warmup: double) (stable: double) (decay: double) =
        Schedule.checkSteps "warmup" warmup
        Schedule.checkSteps "decay" decay

        let descent name (curve: Descent) cycles =
            match curve with
            | Descent.Linear -> fun way -> 1.0 - way
            | Descent.Cosine -> wave cycles
            | Descent.OneMinusSqrt -> fun way -> 1.0 - Math.Sqrt way
            | _ -> raise (OptionException($"{name} is {curve}; it must be Linear, Cosine or OneMinusSqrt", name))

        let rise, fall = descent "up" up 0.5, descent "down" down cycles
        let between factor = least + (1.0 - least) * factor

        Schedule.ofFactor (fun step ->
            if step < warmup then
                between (rise (1.0 - step / max 1.0 warmup))
            elif step < warmup + stable then
                1.0
            elif step < warmup + stable + decay then
                max 0.0 (between (fall ((step - warmup - stable) / max 1.0 decay)))
            else
                least)
