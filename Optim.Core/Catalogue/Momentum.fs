/// Rules of the catalogue that average gradients.
module internal Optim.Core.MomentumFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts
open Optim.Kernels

let private rule = define RuleFamily.Momentum

let private accSGD =
    rule
        "AccSGD"
        "Jain, Kakade, Kidambi, Netrapalli, Sidford 2017, arXiv:1704.08227"
        "Accelerated SGD: a short step and a long one, whose running average it leans to."
        [ "pytorch_optimizer.AccSGD" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let kappa = r.Number("kappa", 1000.0, positive)
            let xi = r.Number("xi", 10.0, nonNegative)
            let constant = r.Number("constant", 0.7, positive)
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let beta = xi * constant * constant / kappa
            let zeta = constant / (constant + beta)
            let x = r.Parameter
            let g = fma decay x r.Gradient
            let struct (column, average) = startingAt r "momentum_buffer" x
            // Each from where it is: what stands still stays as it is, to the bit.
            let average' =
                kept r column (average + beta * ((x - lr * kappa / constant * g) - average))

            x - zeta * lr * g + (1.0 - zeta) * (average' - x))

let private aggMo =
    rule
        "AggMo"
        "Lucas, Sun, Zemel, Grosse 2018, arXiv:1804.00325"
        "The mean of steps by three momenta, of which the quick ones damp what the slow ones make swing."
        [ "pytorch_optimizer.AggMo" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2, beta3) = threeBetas r 0.0 0.9 0.99
            let decay = weightDecay r 0.0 false
            let x, g = decay.Applied(r, lr)

            let sum =
                [ beta1; beta2; beta3 ]
                |> List.mapi (fun index beta ->
                    let buffer = r.Column $"momentum_buffer{index + 1}"
                    kept r buffer (fma beta buffer g))
                |> List.reduce (+)

            x - lr / 3.0 * sum)
    |> differs "there are three momenta; the paper takes any number"

let private msvag =
    rule
        "MSVAG"
        "Balles, Hennig 2017, arXiv:1705.07774"
        "Momentum that is shorter where gradients vary much, by the factor of least variance."
        [ "pytorch_optimizer.MSVAG" ]
        (fun r ->
            let lr = learningRate r 1e-2
            let beta = r.Number("beta", 0.9, fraction)
            let correction = correction r beta
            let m = firstMoment r beta r.Gradient / correction
            let v = secondMoment r beta r.Gradient / correction
            // (1 - beta^2t) (1 - beta)^2 / ((1 - beta^2) (1 - beta^t)^2)
            let spread = (1.0 + beta ** r.Step) * (1.0 - beta) / ((1.0 + beta) * correction)
            let rho = smaller (Expression.Of 0.9999) spread
            let variance = (v - m * m) / (1.0 - rho)
            let share = m * m / (rho * variance + m * m)
            let share = smaller (larger (where (Condition.IsNaN share) zero share) zero) one
            r.Parameter - lr * share * m)
    |> differs "the share of steps that counts as independent is at most 0.9999, and not 1 at the first step"

let private pid =
    rule
        "PID"
        "An et al. 2018, CVPR"
        "A controller: the gradient, the average of gradients and that of their differences."
        [ "pytorch_optimizer.PID" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (hasMomentum, momentum) = r.NumberOrZero("momentum", 0.0, fraction)
            let dampening = r.Number("dampening", 0.0, nonNegative)
            let derivative = r.Number("derivative", 10.0, nonNegative)
            let integral = r.Number("integral", 5.0, nonNegative)
            r.OptOut("U5", "momentum 0 leaves integral and derivative out")
            let decay = weightDecay r 0.0 false
            let x, g = decay.Applied(r, lr)

            if hasMomentum then
                let before, i, d = r.Column "grad_buffer", r.Column "i_buffer", r.Column "d_buffer"
                r.Set(before, g)
                let change = where (isFirst r) zero (g - before)
                let i' = kept r i (momentum * i + (1.0 - dampening) * g)
                let d' = kept r d (momentum * d + (1.0 - momentum) * change)
                x - lr * (g + integral * i' + derivative * d')
            else
                x - lr * g)
    |> differs "momentum 0, the default, leaves integral and derivative out"

let private pnm =
    rule
        "PNM"
        "Xie, Yuan, Zhu, Sugiyama 2021, arXiv:2103.17182"
        "The difference of two momenta, of odd and of even steps, which makes its noise larger."
        [ "pytorch_optimizer.PNM" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = r.Pair("betas", 0.9, fraction, 1.0, nonNegative)
            r.OptOut("G3", "the second beta weighs the other momentum, and may be 1 and more")
            let decay = weightDecay r 0.0 true
            let x, g = decay.Applied(r, lr)
            x - lr * positiveNegativeMomentum r "pos_momentum" "neg_momentum" beta1 beta2 g)

let private qhm =
    rule
        "QHM"
        "Ma, Yarats 2018, arXiv:1810.06801"
        "The weighted mean of the gradient and of its average."
        [ "pytorch_optimizer.QHM" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let momentum = r.Number("momentum", 0.0, fraction)
            let nu = r.Number("nu", 1.0, nonNegative)
            let decay = weightDecay r 0.0 false
            let x, g = decay.Applied(r, lr)
            let buffer = r.Column "momentum_buffer"
            let m = kept r buffer (moved momentum buffer g)
            x - lr * (nu * m + (1.0 - nu) * g))

let private sgdp =
    rule
        "SGDP"
        "Heo et al. 2020, arXiv:2006.08217"
        "SGD without the part of its step that only grows weights which a normalization follows."
        [ "pytorch_optimizer.SGDP" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let momentum = r.Number("momentum", 0.0, fraction)
            let dampening = r.Number("dampening", 0.0, nonNegative)
            let decay = weightDecay r 0.0 true
            let delta = r.Number("delta", 0.1, nonNegative)
            let ratio = r.Number("wd_ratio", 0.1, nonNegative)
            let isNesterov = r.Switch("nesterov", false)
            let eps = epsilon r 1e-8
            let g, buffer = decay.Gradient(r.Parameter, r.Gradient), r.Column "momentum"
            let b = kept r buffer (momentum * buffer + (1.0 - dampening) * g)
            let struct (project, share) = projection r delta ratio eps g
            let u = project (where isNesterov (momentum * b + g) b)

            let decay =
                { decay with
                    Amount = decay.Amount * share / (1.0 - momentum)
                }

            decay.Parameter(r.Parameter, lr) - lr * u)
    |> differs "weight_decouple False is L2, where the package forgets it"

let private timmSgdp =
    rule "timm.sgdp" "Heo et al. 2020, arXiv:2006.08217" "SGDP with caution, by timm's defaults." [ "timm.sgdp" ] (fun r ->
        let lr = learningRate r 1e-3
        let momentum = r.Number("momentum", 0.9, fraction)
        let dampening = r.Number("dampening", 0.0, nonNegative)
        let decay = r.Number("weight_decay", 0.0, nonNegative)
        let isNesterov = r.Switch("nesterov", true)
        let eps = epsilon r 1e-8
        let delta = r.Number("delta", 0.1, nonNegative)
        let ratio = r.Number("wd_ratio", 0.1, nonNegative)
        let x, g, buffer = r.Parameter, r.Gradient, r.Column "momentum"
        let b = kept r buffer (momentum * buffer + (1.0 - dampening) * g)
        let struct (project, share) = projection r delta ratio eps g

        let u =
            TimmParts.cautiousProjection r project g (where isNesterov (momentum * b + g) b)

        x * (1.0 - lr * decay * share / (1.0 - momentum)) - lr * u)
    |> also "timm.csgdp" [ "caution", OptionValue.Bool true ]

let private sgdSaI =
    rule
        "SGDSaI"
        "Xu et al. 2024, arXiv:2412.11768"
        "Momentum with a rate for each tensor, from the ratio of signal and noise of its first gradient."
        [ "pytorch_optimizer.SGDSaI" ]
        (fun r ->
            let lr = learningRate r 1e-2
            let struct (hasMomentum, momentum) = r.NumberOrZero("momentum", 0.9, fraction)
            let decay = weightDecayOf r 1e-2 true
            let eps = epsilon r 1e-8
            let x, g = decay.Applied(r, lr)


            let before, count, size =
                r.TensorNumber("gsnr", 0.0), Expression.ElementCount, norm r.Gradient

            let ratio =
                if r.Asks("has several rows", (fun parameter -> parameter.Shape.Length > 1 && parameter.Shape[0] > 1L)) then
                    let sum = Expression.Sum r.Gradient
                    // Both sums in one visit: the mean is not known before.
                    let deviation = sqrt (larger (size * size - sum * sum / count) zero / (count - 1.0))
                    where (deviation |> isAbove zero) (size / (deviation + eps)) size
                else
                    size

            let k = kept r before (where (isFirst r) ratio before)

            if hasMomentum then
                let buffer = r.Column "momentum_buffer"
                x - lr * k * kept r buffer (moved momentum buffer g)
            else
                x - lr * k * g)
    |> differs "weight_decouple False is L2 with momentum, too, where the package forgets it"

let private sgdw =
    rule
        "SGDW"
        "Loshchilov, Hutter 2017, arXiv:1711.05101"
        "SGD with momentum and decoupled weight decay."
        [ "pytorch_optimizer.SGDW" ]
        (fun r ->
            let lr = learningRate r 1e-4
            let momentum = r.NumberOrZero("momentum", 0.0, fraction)
            let decay = weightDecayOf r 0.0 true
            let dampening = r.Number("dampening", 0.0, nonNegative)
            let isNesterov = r.Switch("nesterov", false)
            let x, g = decay.Applied(r, lr)
            x - lr * torchMomentum r momentum dampening isNesterov g)
    |> differs "the decay is lr times weight_decay, where the paper has the schedule's factor alone"

let private timmSgdw =
    rule
        "timm.sgdw"
        "Loshchilov, Hutter 2017, arXiv:1711.05101"
        "SGD with Nesterov's momentum, decoupled weight decay and caution, by timm's defaults."
        [ "timm.sgdw"; "timm.nesterovw" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let momentum = r.NumberOrZero("momentum", 0.9, fraction)
            let dampening = r.Number("dampening", 0.0, nonNegative)
            let factor = TimmParts.decayFactor r lr
            let isNesterov = r.Switch("nesterov", true)
            let caution = TimmParts.caution r
            let g = r.Gradient

            factor * r.Parameter
            - lr * caution g (torchMomentum r momentum dampening isNesterov g))
    |> also "timm.csgdw" [ "caution", OptionValue.Bool true ]
    |> also "timm.sgdc" [ "corrected_weight_decay", OptionValue.Bool true ]
    |> differs "the decay is lr times weight_decay, where the paper has the schedule's factor alone"

let private srmm =
    rule
        "SRMM"
        "Lyu 2022, arXiv:2201.01652"
        "Regularized majorization-minimization: an average of gradients whose weights fall with the steps, and begin anew."
        [ "pytorch_optimizer.SRMM" ]
        (fun r ->
            let lr = learningRate r 1e-2
            let beta = r.Number("beta", 0.5, nonNegative)

            let struct (isBound, length) =
                r.NumberOrNone("memory_length", Nullable 100.0, Wrapping.whole 1)

            let weight =
                if isBound then
                    let past = r.Step - length * Expression.Floor(r.Step / length)
                    Expression.Pow(past + 1.0, -beta)
                else
                    one

            let gradient, parameter = r.Column "mov_avg_grad", r.Column "mov_avg_param"
            let m = kept r gradient (fma weight (r.Gradient - gradient) gradient)
            let before = where (isFirst r) r.Parameter parameter
            kept r parameter (fma weight (r.Parameter - before) before - lr * m))
    |> differs "the average of parameters starts at them, where the authors' code starts it at 0 and so shrinks them in the first step"

let private tam =
    rule
        "TAM"
        "Malviya et al. 2024, arXiv:2412.18790"
        "Momentum that takes more of gradients that point along it."
        [ "pytorch_optimizer.TAM" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let momentum = r.Number("momentum", 0.9, fraction)
            let rate = r.Number("decay_rate", 0.9, fraction)
            let decay = weightDecay r 0.0 true
            let eps = epsilon r 1e-8
            let x, g = decay.Applied(r, lr)
            let struct (buffer, b) = startingAt r "momentum_buffer" g
            let similarity = r.Column "s"

            let s =
                kept r similarity (moved rate similarity (ofUnitColumns r b * ofUnitColumns r g))

            x - lr * kept r buffer (momentum * b + ((1.0 + s) / 2.0 + eps) * g))
    |> differs "each element has a similarity of its own, in place of the tensor's cosine; the momentum starts at the first gradient"

let all =
    [
        accSGD
        aggMo
        msvag
        pid
        pnm
        qhm
        sgdp
        timmSgdp
        sgdSaI
        sgdw
        timmSgdw
        srmm
        tam
    ]
