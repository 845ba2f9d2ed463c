/// timm's rules of adaptive moments.
module internal Optim.Core.TimmMomentsFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TimmParts
open Optim.Core.TransformParts
open Optim.Kernels

let private rule = define RuleFamily.AdaptiveMoments
let private on = OptionValue.Bool true

/// The root of a second moment, by an option larger where the gradient exceeds it (Wortsman et al. 2023, arXiv:2304.13013).
let private clippedRoot (r: RuleDefinition) struct (isClipped: bool, threshold: Expression) (root: Expression) =
    if isClipped then
        root * larger one (rootMeanSquare (r.Gradient / root) / threshold)
    else
        root

/// Option clipping_threshold.
let private clipping (r: RuleDefinition) =
    r.NumberOrNone("clipping_threshold", Nullable(), positive)

let private adamW =
    rule
        "timm.adamwlegacy"
        "Loshchilov, Hutter 2017, arXiv:1711.05101"
        "AdamW with caution, corrected weight decay and clipping by the second moment."
        [ "timm.adamwlegacy" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let eps, factor = epsilon r 1e-8, decayFactor r lr
            let isBound, caution, clipping = r.Flag("amsgrad", false), caution r, clipping r
            let m, v = firstMoment r beta1 r.Gradient, secondMoment r beta2 r.Gradient
            let v = largestSoFar r isBound "max_exp_avg_sq" v
            let root = clippedRoot r clipping (sqrt v / sqrt (correction r beta2) + eps)
            factor * r.Parameter - lr / correction r beta1 * caution r.Gradient m / root)
    |> also "timm.adamc" [ "corrected_weight_decay", on ]
    |> also "timm.cadamw" [ "caution", on ]

let private nAdamW =
    rule "timm.nadamw" "Choi et al. 2019, arXiv:1910.05446" "AdamW that steps by the momentum of the next step." [ "timm.nadamw" ] (fun r ->
        let lr = learningRate r 1e-3
        let struct (beta1, beta2) = betas r 0.9 0.999
        let eps, factor = epsilon r 1e-8, decayFactor r lr
        let caution, clipping, g = caution r, clipping r, r.Gradient
        let m, v = firstMoment r beta1 g, secondMoment r beta2 g
        let root = clippedRoot r clipping (sqrt v / sqrt (correction r beta2) + eps)

        factor * r.Parameter
        - lr / correction r beta1 * caution g (moved beta1 m g) / root)
    |> also "timm.cnadamw" [ "caution", on ]
    |> also "timm.nadamc" [ "corrected_weight_decay", on ]

let private nAdam =
    rule "timm.nadamlegacy" "Dozat 2015, Stanford CS229" "torch.optim's NAdam by timm's names." [ "timm.nadamlegacy" ] (fun r ->
        let lr = learningRate r 2e-3
        let struct (beta1, beta2) = betas r 0.9 0.999
        let eps = epsilon r 1e-8
        let decay = r.Number("weight_decay", 0.0, nonNegative)
        let schedule = r.Number("schedule_decay", 4e-3, nonNegative)
        let g = fma decay r.Parameter r.Gradient

        let momentum (step: Expression) =
            beta1 * (1.0 - 0.5 * Expression.Pow(Expression.Of 0.96, step * schedule))

        let now, next = momentum r.Step, momentum (r.Step + 1.0)
        let before = r.Kept("m_schedule", 1.0)
        let product = kept r before (before * now)
        let m, v = firstMoment r beta1 g, secondMoment r beta2 g

        let direction =
            (1.0 - now) / (1.0 - product) * g + next / (1.0 - product * next) * m

        r.Parameter - lr * direction / (sqrt v / sqrt (correction r beta2) + eps))

let private adamP =
    rule "timm.adamp" "Heo et al. 2020, arXiv:2006.08217" "AdamP with caution, by timm's defaults." [ "timm.adamp" ] (fun r ->
        let lr = learningRate r 1e-3
        let struct (beta1, beta2) = betas r 0.9 0.999
        let eps = epsilon r 1e-8
        let decay = r.Number("weight_decay", 0.0, nonNegative)
        let delta = r.Number("delta", 0.1, nonNegative)
        let ratio = r.Number("wd_ratio", 0.01, nonNegative)
        let isNesterov, g = r.Flag("nesterov", true), r.Gradient
        let m, v = firstMoment r beta1 g, secondMoment r beta2 g
        let n = if isNesterov then moved beta1 m g else m
        let struct (project, share) = projection r delta ratio eps g

        let u =
            cautiousProjection r project g (n / (sqrt v / sqrt (correction r beta2) + eps))

        r.Parameter * (1.0 - lr * decay * share) - lr / correction r beta1 * u)
    |> also "timm.cadamp" [ "caution", on ]

let private adan =
    rule "timm.adan" "Xie, Zhou, Li, Lin, Yan 2022, arXiv:2208.06677" "Adan with caution, by timm's options." [ "timm.adan" ] (fun r ->
        let lr = learningRate r 1e-3
        let struct (beta1, beta2, beta3) = threeBetas r 0.98 0.92 0.99
        let eps = epsilon r 1e-8
        let decay = r.Number("weight_decay", 0.0, nonNegative)
        let isOutside, caution, g = r.Flag("no_prox", false), caution r, r.Gradient
        let before, change = r.Column "neg_pre_grad", r.Column "exp_avg_diff"
        r.Set(before, -g)
        let difference = where (isFirst r) zero (g + before)
        let m = firstMoment r beta1 g
        let d = kept r change (moved beta2 change difference)

        let root =
            sqrt (secondMoment r beta3 (fma beta2 difference g)) / sqrt (correction r beta3)
            + eps

        let u = 1.0 / correction r beta1 * caution g m + beta2 / correction r beta2 * d

        if isOutside then
            r.Parameter * (1.0 - lr * decay) - lr * u / root
        else
            (r.Parameter - lr * u / root) / (1.0 + lr * decay))
    |> also "timm.adanw" [ "no_prox", on ]
    |> also "timm.cadan" [ "caution", on ]
    |> also "timm.cadanw" [ "caution", on; "no_prox", on ]
    |> differs "averages are corrected for their start at 0; caution leaves the average of differences as it is"

let private adopt =
    rule "timm.adopt" "Taniguchi et al. 2024, arXiv:2411.02853" "ADOPT with caution, by timm's options." [ "timm.adopt" ] (fun r ->
        let lr = learningRate r 1e-3
        let struct (beta1, beta2) = betas r 0.9 0.9999
        let eps = epsilon r 1e-6

        let struct (isClipped, power) =
            r.NumberOrNone("clip_exp", Nullable 0.333, nonNegative)

        let x, g = decayed r "decoupled" lr
        let caution, isFirst = caution r, isFirst r
        r.OptOut("W4", movesLater)
        let m, v = r.Column "exp_avg", r.Column "exp_avg_sq"
        let u = g / larger (sqrt v) eps

        let u =
            if isClipped then
                let bound = Expression.Pow(larger one (r.Step - 1.0), power)
                smaller (larger u -bound) bound
            else
                u

        let m' = kept r m (where isFirst m (moved beta1 m u))
        r.Set(v, where isFirst (g * g) (movedSquare beta2 v g))
        where isFirst r.Parameter (x - lr * caution g m'))
    |> also "timm.adoptw" [ "decoupled", on ]
    |> also "timm.cadopt" [ "caution", on ]
    |> also "timm.cadoptw" [ "caution", on; "decoupled", on ]
    |> also "timm.adoptc" [ "decoupled", on; "corrected_weight_decay", on ]
    |> differs "steps are clipped by the power 0.333, where the authors have 0.25"

let private rmsprop =
    rule
        "timm.rmsproptf"
        "Hinton 2012, Coursera lecture 6, as in TensorFlow"
        "RMSprop with eps inside the root, a second moment that starts at 1 and the rate inside the momentum."
        [ "timm.rmsproptf" ]
        (fun r ->
            let lr = learningRate r 1e-2
            let alpha = r.Number("alpha", 0.9, fraction)
            let eps = epsilon r 1e-10
            let struct (hasMomentum, momentum) = r.NumberOrZero("momentum", 0.9, fraction)
            let isCentered = r.Flag("centered", false)
            let x, g = decayed r "decoupled_decay" lr
            let isInside, caution = r.Switch("lr_in_momentum", true), caution r
            let square = r.Column("square_avg", 1.0)
            let v = kept r square (movedSquare alpha square g)

            let w =
                if isCentered then
                    let average = r.Column "grad_avg"
                    // Their difference counts.
                    r.KeepWide square
                    r.KeepWide average
                    let a = kept r average (moved alpha average g)
                    v - a * a
                else
                    v

            let u = g / sqrt (w + eps)

            if hasMomentum then
                let buffer = r.Column "momentum_buffer"
                let b = kept r buffer (fma momentum buffer (where isInside lr one * u))
                x - where isInside one lr * caution g b
            else
                x - lr * u)
    |> also "timm.rmsproptfw" [ "decoupled_decay", on ]
    |> also "timm.crmsproptf" [ "caution", on ]

let all = [ adamW; nAdamW; nAdam; adamP; adan; adopt; rmsprop ]
