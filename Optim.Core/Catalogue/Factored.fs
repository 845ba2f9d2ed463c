/// Rules of the catalogue that keep second moments of rows and columns, or other numbers of them, in place of elements.
module internal Optim.Core.FactoredFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.TransformParts
open Optim.Core.WholeParts
open Optim.Core.Wholes
open Optim.Kernels

let private rule = defineWhole RuleFamily.Factored

/// The root of a second moment: of a matrix' rows and columns, its last two dimensions, or of a vector's elements.
let private factoredRoot (r: WholeDefinition) (prefix: string) kept (squares: WholeTensor) =
    if r.Rank < 2 then
        sqrt (average r prefix kept squares)
    else
        let rows = averageAlong r (prefix + "_row") -1 kept squares
        let columns = averageAlong r (prefix + "_col") -2 kept squares
        sqrt (rows / rows.Mean(-2, -2)) * sqrt columns

/// The rate by the step's number alone, as Shazeer and Stern have it.
let private relativeStep (r: WholeDefinition) (warmsUp: bool) =
    min (if warmsUp then 1e-6 * double r.Step else 1e-2) (1.0 / sqrt (double r.Step))

/// A first moment that is kept in bfloat16: what is moved is rounded to it before and after.
let private narrowMoment (r: WholeDefinition) beta (update: WholeTensor) =
    let old, fresh =
        (r.Column "exp_avg").To DType.Float32, update.To(DType.BFloat16).To DType.Float32

    let next = (old + (1.0 - beta) * (fresh - old)).Rounded().To update.DType
    r.Set("exp_avg", next)
    next

let private adaFactor =
    rule
        "pytorch_optimizer.AdaFactor"
        "Shazeer and Stern 2018, arXiv:1804.04235; Zhai et al. 2021, arXiv:2106.04560"
        "Adafactor with a first moment, which is kept in bfloat16."
        [ "pytorch_optimizer.AdaFactor" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decayRate = r.Number("decay_rate", -0.8, Interval.atMost 0.0)
            let decay = weightDecay r 0.0 true
            let limit = r.Number("clip_threshold", 1.0, positive)
            let isBound = r.Flag("ams_bound", false)
            let isScaled = r.Flag("scale_parameter", true)
            let isRelative = r.Flag("relative_step", true)
            let warmsUp = r.Flag("warmup_init", false)
            let eps1 = r.Number("eps1", 1e-30, nonNegative)
            let eps2 = r.Number("eps2", 1e-3, nonNegative)
            let isNarrow = r.Choice("momentum_dtype", "bfloat16", "bfloat16", "") = "bfloat16"
            let isCautious = r.Flag("cautious", false)
            r.OptOut("U4", "with relative_step the rate is that of the step's number, whatever lr is")
            r.OptOut("U5", "the first moment is rounded to bfloat16")
            let rate = if isRelative then relativeStep r warmsUp else lr

            let rate =
                if isScaled then
                    rate * (rms r.Parameter |> atLeast eps2)
                else
                    r.Parameter.Constant rate

            let x = decay.Parameter(r.Parameter, rate)
            let g = decay.Gradient(r.Parameter, r.Gradient)
            let kept = min beta2 (1.0 - double r.Step ** decayRate)

            let root =
                factoredRoot r "exp_avg_sq" kept (g * g + eps1)
                |> largestSoFar r isBound "exp_avg_sq_hat"

            let u = rate * clipped limit (g / root)

            let m =
                if beta1 = 0.0 then u
                elif isNarrow then narrowMoment r beta1 u
                else firstMoment r beta1 u

            x - (if isCautious then cautious m g else m))
    |> differs
        "The first moment is of the scaled update, with the rate in it. Every matrix is factored, however small. ams_bound keeps the largest root of the second moment, where the package takes a second root of it."

let private came =
    rule
        "CAME"
        "Luo et al. 2023, ACL 2023, arXiv:2307.02047"
        "Adafactor with a first moment, which is trusted by how far updates keep from it."
        [ "pytorch_optimizer.CAME" ]
        (fun r ->
            let lr = learningRate r 2e-4

            let struct (beta1, beta2, beta3) =
                r.Triple("betas", 0.9, fraction, 0.999, fraction, 0.9999, fraction)

            let decay = weightDecay r 0.0 true
            let limit = r.Number("clip_threshold", 1.0, positive)
            let isBound = r.Flag("ams_bound", false)
            let eps1 = r.Number("eps1", 1e-30, nonNegative)
            let eps2 = r.Number("eps2", 1e-16, nonNegative)
            let x, g = decay.Applied(r, lr)

            let root =
                factoredRoot r "exp_avg_sq" beta2 (g * g + eps1)
                |> largestSoFar r isBound "exp_avg_sq_hat"

            let u = clipped limit (g / root)
            let m = firstMoment r beta1 u

            if r.Rank < 2 then
                x - lr * m
            else
                let surprise = (u - m) * (u - m) + eps2
                x - lr * m / factoredRoot r "exp_avg_res" beta3 surprise)
    |> differs "ams_bound keeps the largest root of the second moment, where the package takes a second root of it."

let private huggingFace =
    rule
        "transformers.Adafactor"
        "Shazeer and Stern 2018, arXiv:1804.04235"
        "Adafactor as Hugging Face has it: the rate by the step's number, or a given one, in proportion to the parameter."
        [ "transformers.Adafactor" ]
        (fun r ->
            let lr = r.NumberOrNone("lr", Nullable(), nonNegative)
            let struct (eps1, eps2) = r.Pair("eps", 1e-30, nonNegative, 1e-3, nonNegative)
            let limit = r.Number("clip_threshold", 1.0, positive)
            let decayRate = r.Number("decay_rate", -0.8, Interval.atMost 0.0)
            let beta1 = r.NumberOrNone("beta1", Nullable(), fraction)
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let isScaled = r.Flag("scale_parameter", true)
            let isRelative = r.Flag("relative_step", true)
            let warmsUp = r.Flag("warmup_init", false)
            r.Require("lr", lr.HasValue <> isRelative, "it is given where relative_step is False, and only there")
            r.Require("warmup_init", isRelative || not warmsUp, "there is a warm-up with relative_step only")

            let rate =
                if isRelative then
                    relativeStep r warmsUp
                else
                    lr.GetValueOrDefault()

            let rate =
                if isScaled then
                    rate * (rms r.Parameter |> atLeast eps2)
                else
                    r.Parameter.Constant rate

            let g = r.Gradient
            let kept = 1.0 - double r.Step ** decayRate
            let u = rate * clipped limit (g / factoredRoot r "exp_avg_sq" kept (g * g + eps1))
            let u = if beta1.HasValue then firstMoment r beta1.Value u else u
            r.Parameter * (1.0 - decay * rate) - u)
    |> differs "The rate is inside the first moment."

/// The root of a second moment of which two dimensions are factored: R of means along the second of them, C along the first.
let private rootAlong (r: WholeDefinition) (rows: string) (columns: string) (struct (c, d)) kept (squares: WholeTensor) =
    let overD = averageAlong r rows d kept squares
    let overC = averageAlong r columns c kept squares
    sqrt (overD / overD.Mean(c, c)) * sqrt overC

let private timm =
    rule
        "timm.adafactor"
        "Shazeer and Stern 2018, arXiv:1804.04235"
        "Adafactor as timm has it: a given rate is not in proportion to the parameter, and small matrices are not factored."
        [ "timm.adafactor" ]
        (fun r ->
            let lr = r.NumberOrNone("lr", Nullable(), nonNegative)
            let eps = r.Number("eps", 1e-30, nonNegative)
            let scale = r.Number("eps_scale", 1e-3, nonNegative)
            let limit = r.Number("clip_threshold", 1.0, positive)
            let decayRate = r.Number("decay_rate", -0.8, Interval.atMost 0.0)
            let betas = r.PairOrNone("betas", fraction, fraction)
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let isScaled = r.Flag("scale_parameter", true)
            let warmsUp = r.Flag("warmup_init", false)
            let least = int64 (r.Whole("min_dim_size_to_factor", 16, nonNegative))
            let isCautious = r.Flag("caution", false)
            r.Require("caution", betas.IsSome || not isCautious, "it masks the first moment, which there is with betas only")

            let rate =
                if lr.HasValue then
                    r.Parameter.Constant lr.Value
                elif isScaled then
                    relativeStep r warmsUp * (rms r.Parameter |> atLeast scale)
                else
                    r.Parameter.Constant(relativeStep r warmsUp)

            let g = r.Gradient
            let kept = 1.0 - double r.Step ** decayRate
            let squares = g * g + eps

            let root =
                match r.Rank with
                | rank when rank > 2 && r.Shape[0] > least && r.Shape[1] > least ->
                    rootAlong r "exp_avg_sq_row" "exp_avg_sq_col" (struct (0, 1)) kept squares
                | rank when rank > 1 && r.Shape[rank - 2] > least && r.Shape[rank - 1] > least ->
                    rootAlong r "exp_avg_sq_row" "exp_avg_sq_col" (struct (rank - 2, rank - 1)) kept squares
                | _ -> sqrt (average r "exp_avg_sq" kept squares)

            let u = rate * clipped limit (g / root)

            let u =
                match betas with
                | ValueSome(struct (beta1, _)) ->
                    let m = firstMoment r beta1 u
                    if isCautious then timmCautious m g else m
                | ValueNone -> u

            r.Parameter * (1.0 - decay * rate) - u)
    |> differs "A given lr is not scaled by the parameter's root mean square. The second of betas is not used."

let private bigVision =
    rule
        "timm.adafactorbv"
        "Zhai et al. 2021, arXiv:2106.04560"
        "Adafactor as Big Vision has it: a first moment in bfloat16, and a second one of the two largest dimensions."
        [ "timm.adafactorbv" ]
        (fun r ->
            let lr = learningRate r 1.0
            let least = int64 (r.Whole("min_dim_size_to_factor", 16, nonNegative))
            let decayRate = r.Number("decay_rate", 0.8, nonNegative)
            let offset = r.Whole("decay_offset", 0, nonNegative)
            let cap = r.Number("beta2_cap", 0.999, fraction)
            let momentum = r.NumberOrNone("momentum", Nullable 0.9, fraction)
            let isNarrow = r.Choice("momentum_dtype", "bfloat16", "bfloat16", "") = "bfloat16"
            let eps = r.NumberOrNone("eps", Nullable(), nonNegative)
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let limit = r.NumberOrNone("clipping_threshold", Nullable(), positive)
            let isUnscaled = r.Flag("unscaled_wd", false)
            let isCautious = r.Flag("caution", false)
            let isCorrected = r.Flag("corrected_weight_decay", false)
            r.Require("caution", momentum.HasValue || not isCautious, "it masks the first moment, which there is with momentum only")
            let g = r.Gradient
            let t = max 1.0 (double r.Step - double offset)
            let kept = min cap (1.0 - t ** -decayRate)
            let squares = g * g + (if eps.HasValue then eps.Value else 1e-30)
            // The two largest dimensions; of two alike the later one is the larger.
            let byLength =
                [ 0 .. r.Rank - 1 ] |> List.sortBy (fun i -> struct (-r.Shape[i], -i))

            let root =
                match byLength with
                | largest :: second :: _ when r.Shape[second] >= least ->
                    rootAlong r "exp_avg_sq_r" "exp_avg_sq_c" (struct (second, largest)) kept squares
                | _ -> sqrt (average r "exp_avg_sq" kept squares)

            let u = g / root
            let u = if limit.HasValue then clipped limit.Value u else u

            let u =
                if not momentum.HasValue then
                    u
                else
                    let m =
                        if isNarrow then
                            narrowMoment r momentum.Value u
                        else
                            firstMoment r momentum.Value u

                    if isCautious then timmCautious m g else m

            // The rate of the first step, which timm takes for the largest there will be.
            let decay =
                if isUnscaled then
                    r.Parameter.Constant decay
                elif isCorrected then
                    let first = number r "max_lr_snapshot" lr
                    r.Set("max_lr_snapshot", first)
                    lr * lr * decay / first
                else
                    r.Parameter.Constant(lr * decay)

            r.Parameter * (1.0 - decay) - lr * u)

let private optax =
    rule
        "optax.adafactor"
        "Shazeer and Stern 2018, arXiv:1804.04235"
        "Adafactor as optax has it: a given rate in proportion to the parameter, and means along the two largest dimensions."
        [ "optax.adafactor" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let least = int64 (r.Whole("min_dim_size_to_factor", 128, nonNegative))
            let decayRate = r.Number("decay_rate", 0.8, nonNegative)
            let limit = r.NumberOrNone("clipping_threshold", Nullable 1.0, positive)
            let isScaled = r.Flag("multiply_by_parameter_scale", true)
            let decay = r.Number("weight_decay_rate", 0.0, nonNegative)
            let eps = r.Number("eps", 1e-30, nonNegative)
            let g = r.Gradient
            let kept = 1.0 - double r.Step ** -decayRate
            let squares = g * g + eps

            let byLength =
                [ 0 .. r.Rank - 1 ] |> List.sortBy (fun i -> struct (-r.Shape[i], -i))

            let root =
                match byLength with
                | largest :: second :: _ when r.Shape[second] >= least ->
                    rootAlong r "v_row" "v_col" (struct (second, largest)) kept squares
                | _ -> sqrt (average r "v" kept squares)

            let u = g / root
            let u = lr * (if limit.HasValue then clipped limit.Value u else u)

            let u =
                if isScaled then
                    u * (rms r.Parameter |> atLeast 1e-3)
                else
                    u

            r.Parameter - u - decay * r.Parameter)

let private adalite =
    rule
        "Adalite"
        "the Adalite repository (VatsaDev); no paper"
        "Moments of rows and columns, weighed by softmaxes of their means, with the gradient as long as the parameter."
        [ "pytorch_optimizer.Adalite" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 0.01 true
            let least = r.Number("g_norm_min", 1e-10, positive)
            let leastRatio = r.Number("ratio_min", 1e-4, nonNegative)
            let tau = r.Number("tau", 1.0, positive)
            let eps1 = r.Number("eps1", 1e-6, nonNegative)
            let eps2 = r.Number("eps2", 1e-10, nonNegative)
            let x, g = decay.Applied(r, lr)

            let g =
                if g.Count = 1n then
                    g
                else
                    g * (norm r.Parameter / (norm g |> atLeast least) |> atLeast leastRatio)

            if r.Rank < 2 then
                let m = average r "m_avg" beta1 g
                let v = average r "v_avg" beta2 ((g - m) * (g - m))

                x - lr * (beta1 * m + (1.0 - beta1) * g) / sqrt (v / r.Correction beta2 + eps1)
            else
                let softmax (x: WholeTensor) =
                    let powers = exp (x - x.Largest(0, 1))
                    powers / powers.Sum()

                let g = g.Flattened
                let rows, columns = g.Length 0, g.Length 1

                let ofRows, ofColumns =
                    r.Column("v_avg_0", [ rows; 1L ]), r.Column("v_avg_1", [ 1L; columns ])

                let old = ofRows * ofColumns / (ofRows.Sum() |> atLeast eps2)

                let m =
                    r.Column("m_avg_c", [ rows; 1L ])
                    * r.Column("m_avg_u", [ 1L; 1L ])
                    * r.Column("m_avg_r", [ 1L; columns ])

                let m = moved beta1 m g
                let v = moved beta2 old ((g - m) * (g - m))
                let rowMeans, columnMeans = v.Mean(1, 1), v.Mean(0, 0)
                let trust = softmax rowMeans * softmax columnMeans
                let m = trust * m + (1.0 - trust) * g
                let total = v.Sum() |> atLeast eps2
                r.Set("v_avg_0", v.Sum(1, 1))
                r.Set("v_avg_1", v.Sum(0, 0) / total)
                let c = (m * softmax (columnMeans / tau)).Sum(1, 1)
                let ofColumn = (m * softmax (rowMeans / tau)).Sum(0, 0)
                r.Set("m_avg_c", c)
                r.Set("m_avg_r", ofColumn)

                let length = (c * c).Sum() * (ofColumn * ofColumn).Sum() |> atLeast eps2

                r.Set("m_avg_u", (c * m * ofColumn).Sum() / length)
                let u = beta1 * m + (1.0 - beta1) * g

                x - lr * (u / sqrt (v / r.Correction beta2 + eps1) |> shapedAs x))

let private sm3 =
    rule
        "SM3"
        "Anil et al. 2019, arXiv:1901.11150"
        "Adagrad that keeps the largest sums of squares along each dimension only."
        [ "pytorch_optimizer.SM3" ]
        (fun r ->
            let lr = learningRate r 0.1
            let momentum = r.Number("momentum", 0.0, fraction)
            let beta = r.Number("beta", 0.0, fraction)
            let eps = r.Number("eps", 1e-30, nonNegative)
            r.OptOut("U5", "with a beta of 0 squares add up, and with any other they are averaged")
            let g = r.Gradient
            let rank = max 1 r.Rank

            let along i =
                [ for j in 0 .. rank - 1 -> if j = i then g.Length i else 1L ]

            let covers = [ for i in 0 .. rank - 1 -> r.Column($"accumulator_{i}", along i) ]
            let v = covers |> List.reduce smaller

            let v = if beta = 0.0 then v + g * g else moved beta v (g * g)

            for i, cover in List.indexed covers do
                let before = if i = 0 then v else v.Largest(0, i - 1)

                let most =
                    if i = rank - 1 then
                        before
                    else
                        before.Largest(i + 1, rank - 1)

                r.Set($"accumulator_{i}", (if beta > 0.0 then larger cover most else most))

            let u = g / sqrt (v + eps)

            r.Parameter
            - lr
              * (if momentum > 0.0 then
                     average r "momentum_buffer" momentum u
                 else
                     u))
    |> differs "With beta the kept numbers never fall, so that nothing is forgotten."

let private racs =
    rule
        "RACS"
        "Gong et al. 2025, arXiv:2502.07752"
        "Gradients divided by the roots of mean squares of rows and of columns, whose norm may grow by a little only."
        [ "pytorch_optimizer.RACS" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let beta = r.Number("beta", 0.9, fraction)
            let alpha = r.Number("alpha", 0.05, nonNegative)
            let gamma = r.Number("gamma", 1.01, positive)
            let decay = weightDecay r 0.0 true
            let eps = r.Number("eps", 1e-8, nonNegative)
            let x, g = decay.Applied(r, lr)
            let g = g.Flattened
            let rows, columns = g.Length 0, g.Length 1
            let squares = g * g
            let s = moved beta (r.Column("s", [ rows ]).Reshaped(rows, 1L)) (squares.Mean(1, 1))

            let q = r.Column("q", [ columns ], (fun () -> r.Parameter.Constant 0.0 + 1.0))

            let q = if r.IsFirst then q else q.Reshaped(1L, columns)
            let q = moved beta q (squares.Mean(0, 0))
            r.Set("s", s.Reshaped rows)
            r.Set("q", q.Reshaped columns)
            let u = g / (sqrt (s + eps) * sqrt (q + eps))
            let length, before = norm u, number r "theta" 0.0

            let limit =
                if r.IsFirst then
                    u.Constant 1.0
                else
                    gamma / (length / (before + eps) |> atLeast gamma)

            r.Set("theta", (length * limit).Reshaped 1L)
            x - lr * alpha * shapedAs x (limit * u))
    |> differs "Means of squares of rows and columns are plain ones; in the paper each is weighed by the other."

let private nero =
    rule
        "Nero"
        "Liu et al. 2021, arXiv:2102.07227"
        "Each row of a matrix on a sphere of its own, and steps by the norms of its gradients."
        [ "pytorch_optimizer.Nero" ]
        (fun r ->
            let lr = learningRate r 0.01
            let beta = r.Number("beta", 0.999, fraction)
            let isConstrained = r.Flag("constraints", true)
            let eps = r.Number("eps", 1e-8, nonNegative)
            r.OptOut("U3", "rows are put back on their spheres, which moves elements whatever their gradient is")

            let rowNorm (x: WholeTensor) =
                if r.Rank < 2 then abs x else x.Norm(1, -1)

            let constrained (x: WholeTensor) =
                if isConstrained && r.Rank > 1 then
                    let x = x - x.Mean(1, -1)
                    x / (rowNorm x + eps)
                else
                    x

            let x = if r.IsFirst then constrained r.Parameter else r.Parameter

            let scale =
                r.Column(
                    "scale",
                    [],
                    (fun () ->
                        let mean = (rowNorm x).Mean()
                        WholeTensor.WhereGreater(mean, 0.0, mean, mean.Constant 0.01))
                )

            let length = rowNorm r.Gradient
            let old = r.Column("exp_avg_sq", length.Shape)
            let v = moved beta old (length * length)
            r.Set("exp_avg_sq", v)
            r.Set("scale", scale.Reshaped 1L)
            let u = r.Gradient / (sqrt (v / r.Correction beta) + eps)
            // NaN counts as 0.
            let none, lowest = u.Constant 0.0, Double.NegativeInfinity

            let u =
                WholeTensor.WhereGreater(u, lowest, u, WholeTensor.WhereGreater(-u, lowest, u, none))

            constrained (x - lr * scale * u))

let private rose =
    rule
        "ROSE"
        "Matthew K., the Rose repository; no paper"
        "Gradients divided by the range of their row, without any state."
        [ "pytorch_optimizer.ROSE" ]
        (fun r ->
            let lr = learningRate r 1e-3

            let decay =
                {
                    Amount = r.Number("weight_decay", 1e-4, nonNegative)
                    IsDecoupled = false
                    IsFixed = false
                }

            let isScheduled = r.Flag("wd_schedule", false)

            let decay =
                { decay with
                    IsDecoupled = r.Flag("weight_decouple", false)
                    IsFixed = r.Flag("fixed_decay", false)
                }

            r.Require(
                "wd_schedule",
                not isScheduled || decay.IsDecoupled && not decay.IsFixed,
                "it is for decay of the parameter in proportion to the rate"
            )

            let isCentralized = r.Flag("centralize", true)
            let isStabilized = r.Flag("stabilize", true)
            r.OptOut("U3", "the mean of a row is taken off its gradient, which turns single elements against their sign")
            let isWide = r.Choice("compute_dtype", "float64", "float64", "") = "float64"
            let dtype = r.Parameter.DType

            let wide (x: WholeTensor) =
                if isWide then x.To DType.Float64 else x

            let p, g = wide r.Parameter, wide r.Gradient
            let g = decay.Gradient(p, g)

            let p =
                if isScheduled then
                    let first = number r "initial_lr" lr
                    r.Set("initial_lr", first)
                    p * (1.0 - lr / wide first * decay.Amount)
                else
                    decay.Parameter(p, lr)

            let u =
                if r.Rank = 0 then
                    signs g
                else
                    let g = if isCentralized && r.Rank > 1 then g - g.Mean(1, -1) else g

                    let range (first: int) =
                        abs (g.Largest(first, -1)) - g.Smallest(first, -1)

                    let divisor =
                        if r.Rank = 1 then
                            range 0
                        elif not isStabilized then
                            range 1
                        else
                            let ranges = range 1
                            let mean = ranges.Mean()
                            let away = ranges - mean
                            let deviation = rms away
                            mean + mean / (deviation + mean) * away

                    let one = divisor.Constant 1.0
                    g / WholeTensor.WhereGreater(abs divisor, 0.0, divisor, one)

            (p - lr * u).To dtype)
    |> differs "Parameters of bfloat16 are rounded to the nearest, where the package rounds at random."

let private adamWSN =
    rule
        "AdamWSN"
        "Nguyen, Nguyen 2024, arXiv:2411.07120"
        "AdamW that keeps one second moment, of the norm, for each run of elements."
        [ "pytorch_optimizer.AdamWSN" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 0.0 true
            let size = r.Whole("subset_size", -1, Interval.any)
            let eps = r.Number("eps", 1e-8, nonNegative)
            let isOfSubsets = r.Flag("sn", false)

            r.Require(
                "subset_size",
                size <> 0,
                "it is a number of elements, or, where it is negative, by what the root of their number is divided"
            )

            let g = decay.Gradient(r.Parameter, r.Gradient)
            let m = firstMoment r beta1 g

            let root =
                if isOfSubsets then
                    let count = int64 g.Count

                    let most =
                        if size > 0 then
                            int64 size
                        else
                            max 1L (int64 (sqrt (double count) / double -size))

                    let length =
                        seq { min most count .. -1L .. 1L } |> Seq.find (fun k -> count % k = 0L)

                    let runs = g.Reshaped(count / length, length)
                    let old = r.Column("exp_avg_sq", [ count / length; 1L ])
                    let v = moved beta2 old ((runs * runs).Sum(1, 1))
                    r.Set("exp_avg_sq", v)
                    sqrt v
                else
                    sqrt (secondMoment r beta2 g)

            let rate = lr * sqrt (r.Correction beta2) / r.Correction beta1

            let u =
                if isOfSubsets then
                    let runs =
                        m.Reshaped(root.Length 0, m.Count / max 1n (nativeint (root.Length 0)) |> int64)

                    runs / (root + eps) |> shapedAs m
                else
                    m / (root + eps)

            decay.Parameter(r.Parameter - rate * u, lr))
    |> differs "weight_decouple False adds the decay to the gradient before it is used, where the package adds it after."

let all =
    [
        adaFactor
        adalite
        adamWSN
        came
        huggingFace
        nero
        optax
        racs
        rose
        sm3
        timm
        bigVision
    ]
