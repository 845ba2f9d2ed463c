/// Rules of the catalogue with rectification (Liu et al. 2019): they wait until the second moment is of enough steps.
module internal Optim.Core.RectifiedMomentsFamily

open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts
open Optim.Kernels

let private rule = define RuleFamily.AdaptiveMoments

let private rAdam =
    rule
        "pytorch_optimizer.RAdam"
        "Liu et al. 2019, arXiv:1908.03265"
        "RAdam that does not move until the second moment is of enough steps."
        [ "pytorch_optimizer.RAdam" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 0.0 true
            let rectification = rectificationOf r false
            let eps = epsilon r 1e-8
            let correction1 = firstCorrection r beta1
            r.OptOut("W4", movesLater)
            let x, g = decay.Applied(r, lr)
            let m, v = firstMoment r beta1 g, secondMoment r beta2 g
            let step = rectification.Step(r, beta2, m / (sqrt v + eps), m)
            let moves = rectification.DegeneratesToSgd ||| ~~~(rectification.IsEarly(r, beta2))
            where moves (x - lr / correction1 * step) r.Parameter)
    |> differs
        "the threshold is 5, where the paper has 4, and below it nothing moves, by default; weight_decouple False is L2, where the package forgets it"

let private timmRAdamW =
    rule "timm.radamw" "Liu et al. 2019, arXiv:1908.03265" "torch.optim's RAdam with decoupled weight decay." [ "timm.radamw" ] (fun r ->
        let lr = learningRate r 1e-3
        let struct (beta1, beta2) = betas r 0.9 0.999
        let eps = epsilon r 1e-8

        let decay =
            {
                Amount = r.Number("weight_decay", 0.0, nonNegative)
                IsDecoupled = r.Flag("decoupled_weight_decay", true)
                IsFixed = never
            }

        let rectification =
            {
                Threshold = Expression.Of 5.0
                DegeneratesToSgd = ~~~never
            }

        let x, g = decay.Applied(r, lr)
        let m, v = firstMoment r beta1 g, secondMoment r beta2 g

        x
        - lr / correction r beta1 * rectification.Step(r, beta2, m / (sqrt v + eps), m))
    |> differs "the threshold is 5, where the paper has 4"

let private timmAdaBelief =
    rule "timm.adabelief" "Zhuang et al. 2020, arXiv:2010.07468" "AdaBelief by timm's options." [ "timm.adabelief" ] (fun r ->
        let lr = learningRate r 1e-3
        let struct (beta1, beta2) = betas r 0.9 0.999
        let eps = epsilon r 1e-16

        let decay =
            {
                Amount = r.Number("weight_decay", 0.0, nonNegative)
                IsDecoupled = r.Flag("decoupled_decay", true)
                IsFixed = r.Switch("fixed_decay", false)
            }

        let isBound = r.Flag("amsgrad", false)
        let isRectified = r.Flag("rectify", false)

        let rectification =
            {
                Threshold = Expression.Of 5.0
                DegeneratesToSgd = r.Switch("degenerated_to_sgd", true)
            }

        let x, g = decay.Applied(r, lr)
        let m, variance = firstMoment r beta1 g, r.Column "exp_avg_var"
        let s = kept r variance (movedSquare beta2 variance (g - m) + eps)
        let root = sqrt (largestSoFar r isBound "max_exp_avg_var" s)

        let step =
            if isRectified then
                rectification.Step(r, beta2, m / (root + eps), m)
            else
                m / (root / sqrt (correction r beta2) + eps)

        x - lr / correction r beta1 * step)
    |> also "timm.radabelief" [ "rectify", OptionValue.Bool true ]
    |> differs "amsgrad acts with rectify, too, where the package forgets it"

let private ranger =
    rule
        "Ranger"
        "Wright 2019, github.com/lessw2020/Ranger-Deep-Learning-Optimizer"
        "RAdam with Lookahead and gradients from which the mean of each row is taken off."
        [ "pytorch_optimizer.Ranger" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.95 0.999
            let alpha = r.Number("alpha", 0.5, Interval.within 0.0 1.0)
            let k = r.Whole("k", 6, Interval.atLeast 1.0)
            let rectification = rectificationOf r false
            let decay = weightDecay r 0.0 true
            let isCentered = r.Flag("use_gc", true)
            let isOfKernels = r.Flag("gc_conv_only", false)
            let eps = epsilon r 1e-5

            r.OptOut("W4", movesLater)
            r.OptOut("U1", "use_gc leaves the mean of each row where it is")

            let hasRows =
                if isOfKernels then
                    r.Asks("is a kernel", (fun parameter -> parameter.Shape.Length > 3))
                else
                    hasRows r

            let gradient =
                if isCentered && hasRows then
                    r.Gradient - r.RowMean r.Gradient
                else
                    r.Gradient

            let x = decay.Parameter(r.Parameter, lr)
            let g = decay.Gradient(r.Parameter, gradient)
            let m, v = firstMoment r beta1 g, secondMoment r beta2 g
            let step = rectification.Step(r, beta2, m / (sqrt v + eps), m)
            let fast = x - lr / correction r beta1 * step
            let struct (column, slow) = startingAt r "slow_buffer" r.Parameter
            let isDue = Expression.Of 0.5 |> isAbove (r.Step - k * Expression.Floor(r.Step / k))
            let slow' = kept r column (where isDue (fma alpha (fast - slow) slow) slow)
            where isDue slow' fast)
    |> differs
        "nothing but the decay moves until the second moment is of enough steps, unless degenerated_to_sgd asks for momentum; the package climbs along the gradient there"

let all = [ rAdam; timmRAdamW; timmAdaBelief; ranger ]
