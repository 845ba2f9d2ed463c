namespace Optim.Core

open System

/// Factors as functions of the step number, which may be a fraction and is at least 0: the arithmetic of all schedules.
module internal Curve =
    /// From start to finish in so many steps, and then finish.
    let linear (start: double) (finish: double) (steps: double) (step: double) =
        if step >= steps then
            finish
        else
            start + (finish - start) * step / steps

    /// (1 - step / steps)^power, and then 0; over 0 steps always 1, as in PyTorch.
    let polynomial (steps: double) (power: double) (step: double) =
        if steps = 0.0 then
            1.0
        else
            Math.Pow(1.0 - min steps step / steps, power)

    /// How many of the intervals are over.
    let intervals (size: double) (step: double) = Math.Floor(step / size)

    /// How many of the milestones are reached.
    let reached (milestones: double array) (step: double) =
        let mutable count = 0

        for milestone in milestones do
            if milestone <= step then
                count <- count + 1

        double count

    /// Half a cosine from 1 to 0, which goes up again after that many steps. Whole periods are taken off exactly, so that
    /// the zeros are zeros.
    let cosine (steps: double) (step: double) =
        let phase = step % (2.0 * steps)

        if phase = steps then
            0.0
        else
            (1.0 + Math.Cos(Math.PI * phase / steps)) / 2.0

    /// A way from 1 to 0 in [0, 1]: linear or half a cosine.
    let anneal (cosine: bool) (way: double) =
        if cosine then
            (1.0 + Math.Cos(Math.PI * way)) / 2.0
        else
            1.0 - way

    /// Where a step lies when periods grow by a factor: in which step of a period of which length. In whole numbers where the
    /// step is whole: a logarithm is off by one at some restarts.
    let restart (first: double) (growth: double) (step: double) =
        if growth = 1.0 then
            struct (step % first, first)
        else
            let mutable start, length = 0.0, first

            while step >= start + length do
                start <- start + length
                length <- length * growth

            struct (step - start, length)

    /// Where a step lies in cycles of which each is so many times as long as the one before: in which step of a cycle of which length
    /// and number, from 0. Borders are sums of lengths and not logarithms, which are off by one at some. From the cycle `limit` on, and
    /// where lengths shrink so fast that their sum is never reached, the number is the limit.
    let cycle (first: double) (growth: double) (limit: int) (step: double) =
        let once = Math.Floor(step / first)

        if growth = 1.0 then
            struct (step - first * once, first, (if once >= double limit then limit else int once))
        else
            let mutable start, length, number = 0.0, first, 0

            while number < limit && step >= start + length do
                if start + length = start then
                    number <- limit
                else
                    start <- start + length
                    length <- length * growth
                    number <- number + 1

            struct (step - start, length, number)

    /// A triangle from 0 up to 1, which it reaches in this part of its period, and down again, and the number of the period, from 1.
    let triangle (period: double) (ratio: double) (step: double) =
        let cycle = Math.Floor(1.0 + step / period)
        let way = 1.0 + step / period - cycle

        if way <= ratio then
            struct (way / ratio, cycle)
        else
            struct ((way - 1.0) / (ratio - 1.0), cycle)

    /// One stretch of a curve: until which step, from which value to which.
    [<Struct>]
    type Phase =
        {
            End: double
            From: double
            To: double
        }

    let phase stop first last = { End = stop; From = first; To = last }

    /// Phases one after another, and then the last value.
    let phases (cosine: bool) (phases: Phase array) (step: double) =
        let mutable i = 0

        while i < phases.Length - 1 && step > phases[i].End do
            i <- i + 1

        let phase = phases[i]
        let start = if i = 0 then 0.0 else phases[i - 1].End

        // A phase of no length is over at once.
        let way =
            if phase.End > start then
                min 1.0 ((step - start) / (phase.End - start))
            else
                1.0

        if cosine then
            phase.To + (phase.From - phase.To) / 2.0 * (Math.Cos(Math.PI * way) + 1.0)
        else
            (phase.To - phase.From) * way + phase.From

    /// Up in a straight line, along 1, down on a curve, and then the last value.
    let warmupStableDecay cosine (start: double) (warmup: double) (stable: double) (finish: double) (decay: double) (step: double) =
        if step < warmup then
            linear start 1.0 warmup step
        elif step < warmup + stable then
            1.0
        elif step >= warmup + stable + decay then
            finish
        else
            finish + (1.0 - finish) * anneal cosine ((step - warmup - stable) / decay)

    /// Up in a straight line, and then down with the root of the step number.
    let inverseSqrt (start: double) (steps: double) (step: double) =
        if step < steps then
            linear start 1.0 steps step
        else
            Math.Sqrt(steps / step)
