/// Rules of the catalogue that keep second moments of rows and columns in place of elements: Adafactor, as four packages have it, and CAME.
module internal Optim.Core.AdafactorFamily

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
            r.Require("caution", betas.HasValue || not isCautious, "it masks the first moment, which there is with betas only")

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
                if betas.HasValue then
                    let struct (beta1, _) = betas.Value
                    let m = firstMoment r beta1 u
                    if isCautious then timmCautious m g else m
                else
                    u

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
            r.OptOut("U5", "the first moment is rounded to bfloat16")
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

let all = [ adaFactor; bigVision; came; huggingFace; optax; timm ]
