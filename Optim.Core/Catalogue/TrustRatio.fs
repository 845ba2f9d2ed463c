/// Rules of the catalogue whose steps are in proportion to a norm of the parameter.
module internal Optim.Core.TrustRatioFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts
open Optim.Kernels

let private rule = define RuleFamily.TrustRatio

let private fromage =
    rule
        "Fromage"
        "Bernstein, Vahdat, Yue, Liu 2020, arXiv:2002.03432"
        "A step of lr times the parameter's norm along the gradient, scaled back so that norms do not grow."
        [ "pytorch_optimizer.Fromage" ]
        (fun r ->
            let lr = learningRate r 1e-2
            let struct (isBound, bound) = r.NumberOrNone("p_bound", Nullable(), nonNegative)
            r.OptOut("U4", "a parameter that is longer than p_bound is scaled back, whatever the rate is")
            r.OptOut("U3", "parameters shrink beside their step")
            r.OptOut("G1", "parameters shrink without a gradient, too")
            let x, g = r.Parameter, r.Gradient
            let size, steepness = norm x, norm g
            let both = (size |> isAbove zero) &&& (steepness |> isAbove zero)
            let ratio = where both (size / steepness) one
            let next = (x - lr * ratio * g) / sqrt (1.0 + lr * lr)

            if isBound then
                let before = r.TensorNumber("max", 0.0)
                let most = kept r before (where (isFirst r) (bound * size) before)
                let reached = norm next
                where (reached |> isAbove most) (most / reached) one * next
            else
                next)

let private lars =
    rule
        "LARS"
        "You, Gitman, Ginsburg 2017, arXiv:1708.03888"
        "Momentum of gradients whose length is in proportion to that of their parameter; vectors are stepped by SGD."
        [ "pytorch_optimizer.LARS" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let struct (hasMomentum, momentum) = r.NumberOrZero("momentum", 0.9, fraction)
            let dampening = r.Number("dampening", 0.0, nonNegative)
            let trust = r.Number("trust_coefficient", 1e-3, nonNegative)
            let isNesterov = r.Switch("nesterov", false)
            let x = r.Parameter

            let g =
                if hasRows r then
                    let size, steepness = norm x, norm r.Gradient
                    let both = fma decay size steepness
                    let isAny = (size |> isAbove zero) &&& (both |> isAbove zero)
                    where isAny (trust * size / both) one * fma decay x r.Gradient
                else
                    r.Gradient

            if hasMomentum then
                let buffer = r.Column "momentum_buffer"
                let b = kept r buffer (momentum * buffer + (1.0 - dampening) * g)
                x - lr * where isNesterov (g + momentum * b) b
            else
                x - lr * g)
    |> differs "lr multiplies the momentum, and not what it takes in; vectors are neither scaled nor decayed"

let private timmLars =
    rule
        "timm.lars"
        "You, Gitman, Ginsburg 2017, arXiv:1708.03888"
        "LARS, and LARC with trust_clip: gradients are scaled where there is weight decay."
        [ "timm.lars" ]
        (fun r ->
            r.OptOut("U5", "without weight decay there is no ratio of norms")
            let lr = learningRate r 1.0
            let momentum = r.NumberOrZero("momentum", 0.9, fraction)
            let dampening = r.Number("dampening", 0.0, nonNegative)
            let struct (isDecayed, decay) = r.NumberOrZero("weight_decay", 0.0, nonNegative)
            let isNesterov = r.Switch("nesterov", false)
            let trust = r.Number("trust_coeff", 1e-3, nonNegative)
            let eps = epsilon r 1e-8
            let isClipped = r.Switch("trust_clip", false)
            let isAlways = r.Flag("always_adapt", false)
            let x = r.Parameter

            let g =
                if isDecayed || isAlways then
                    let size, steepness = norm x, norm r.Gradient
                    let both = (size |> isAbove zero) &&& (steepness |> isAbove zero)
                    let ratio = where both (trust * size / (steepness + decay * size + eps)) one
                    let limited = where (lr |> isAbove zero) (smaller (ratio / lr) one) one
                    where isClipped limited ratio * fma decay x r.Gradient
                else
                    r.Gradient

            x - lr * torchMomentum r momentum dampening isNesterov g)
    |> also "timm.larc" [ "trust_clip", OptionValue.Bool true ]
    |> also "timm.nlars" [ "nesterov", OptionValue.Bool true ]
    |> also "timm.nlarc" [ "trust_clip", OptionValue.Bool true; "nesterov", OptionValue.Bool true ]
    |> differs "without weight decay nothing is scaled, unless always_adapt asks for it"

let private lamb =
    rule
        "Lamb"
        "You et al. 2019, arXiv:1904.00962"
        "Adam's direction, made as long as its parameter."
        [ "pytorch_optimizer.Lamb" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 0.0 true
            let averages = r.Switch("grad_averaging", true)
            let most = r.Number("max_grad_norm", 1.0, positive)
            let isPlain = r.Flag("adam", false)
            let isClipped = r.Flag("pre_norm", false)
            let eps = epsilon r 1e-6
            let isUncorrected = r.Switch("adam_debias", true)

            let g =
                if isClipped then
                    smaller one (most / (r.NormOverAll r.Gradient + eps)) * r.Gradient
                else
                    r.Gradient

            let x, m = decay.Parameter(r.Parameter, lr), r.Column "exp_avg"
            let m' = kept r m (beta1 * m + where averages (1.0 - beta1) one * g)
            let v = secondMoment r beta2 g
            let direction = m' / (sqrt v + eps)

            let u =
                if decay.IsDecoupled then
                    direction
                else
                    fma decay.Amount r.Parameter direction

            let rate = lr / where isUncorrected one (correction r beta1)

            if isPlain then
                x - rate * u
            else
                let size, length = norm x, norm u
                let both = (size |> isAbove zero) &&& (length |> isAbove zero)

                x
                - rate * where both (smaller size (Expression.Of 10.0) / (length + eps)) one * u)
    |> differs
        "norms of parameters count as 10 at most, decay is decoupled by default, and moments are not corrected; adam_debias False divides the step by 1 - beta1^t, as the package does: ten times too long in the first step"

let private timmLamb =
    rule
        "timm.lamb"
        "You et al. 2019, arXiv:1904.00962"
        "Adam's direction by gradients clipped over all parameters, made as long as its parameter where there is weight decay."
        [ "timm.lamb" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let isCorrected = r.Switch("bias_correction", true)
            let struct (beta1, beta2) = betas r 0.9 0.999
            let eps = epsilon r 1e-6
            let struct (isDecayed, decay) = r.NumberOrZero("weight_decay", 0.0, nonNegative)
            let averages = r.Switch("grad_averaging", true)

            let struct (isClipped, most) =
                r.NumberOrNone("max_grad_norm", Nullable 1.0, positive)

            let isTrustClipped = r.Switch("trust_clip", false)
            let isAlways = r.Flag("always_adapt", false)
            let caution = TimmParts.caution r
            let isDecoupled = r.Switch("decoupled_decay", false)
            let rate = TimmParts.decayRate r lr

            let g =
                if isClipped then
                    r.Gradient / larger one (r.NormOverAll r.Gradient / most)
                else
                    r.Gradient

            let m = r.Column "exp_avg"
            let m' = kept r m (beta1 * m + where averages (1.0 - beta1) one * g)
            let v = secondMoment r beta2 g

            let corrected beta =
                where isCorrected (correction r beta) one

            let u = caution g (m' / corrected beta1 / (sqrt v / sqrt (corrected beta2) + eps))
            let x = r.Parameter * (1.0 - where isDecoupled (rate * decay) zero)

            let u =
                if isDecayed then
                    fma (where isDecoupled zero decay) r.Parameter u
                else
                    u

            if isDecayed || isAlways then
                let size, length = norm x, norm u
                let both = (size |> isAbove zero) &&& (length |> isAbove zero)
                let ratio = where both (size / length) one
                x - lr * where isTrustClipped (smaller ratio one) ratio * u
            else
                x - lr * u)
    |> also "timm.lambc" [ "trust_clip", OptionValue.Bool true ]
    |> also "timm.lambw" [ "decoupled_decay", OptionValue.Bool true ]
    |> also
        "timm.lambcw"
        [
            "trust_clip", OptionValue.Bool true
            "decoupled_decay", OptionValue.Bool true
        ]
    |> also "timm.clamb" [ "caution", OptionValue.Bool true ]
    |> differs "gradients are clipped over all parameters, and without weight decay no step is scaled, unless always_adapt asks for it"

let all = [ fromage; lamb; timmLamb; lars; timmLars ]
