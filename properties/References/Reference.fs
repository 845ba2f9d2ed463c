/// The rules once more, straight from their papers, for one number at a time and in double precision.
/// Nothing here knows the product: it is the judge.
module Reference

open System
open ErrorBounds

/// An option's value, as golden/ and the generators give it.
type Setting =
    | Number of float
    | Flag of bool
    | Pair of float * float
    | Several of Setting list
    | Text of string
    | Unset

    override this.ToString() =
        let text (number: float) =
            number.ToString("R", Globalization.CultureInfo.InvariantCulture)

        match this with
        | Number number -> text number
        | Flag flag -> if flag then "True" else "False"
        | Pair(first, second) -> $"({text first}, {text second})"
        | Several settings -> "(" + String.Join(", ", settings) + ")"
        | Text text -> text
        | Unset -> "None"

type Settings = Map<string, Setting>

/// One element of a parameter: its value, what the rule remembers of it, and how many steps it has taken.
type Element =
    {
        Theta: Real
        Slots: Map<string, Real>
        Steps: int
        LargestStep: float
    }

let element theta =
    {
        Theta = real theta
        Slots = Map.empty
        Steps = 0
        LargestStep = 0.0
    }

let private number name (settings: Settings) =
    match settings[name] with
    | Number number -> number
    | other -> failwith $"{name} is {other}, not a number."

let private flag name (settings: Settings) = settings[name] = Flag true

let private pair name (settings: Settings) =
    match settings[name] with
    | Pair(first, second) -> struct (first, second)
    | other -> failwith $"{name} is {other}, not a pair."

let private slot name otherwise (x: Element) =
    x.Slots |> Map.tryFind name |> Option.defaultValue otherwise

let private moved slots (step: Real) (x: Element) =
    {
        Theta =
            {
                Value = x.Theta.Value - step.Value
                Size = max x.Theta.Size (abs x.Theta.Value + step.Size)
            }
        Slots = Map.ofList slots
        Steps = x.Steps + 1
        LargestStep = max x.LargestStep step.Size
    }

/// The gradient that the rule sees: negated first (maximize), then with its share of the weight.
let private seen settings decay (x: Element) gradient =
    let g = real (if flag "maximize" settings then -gradient else gradient)
    if decay = 0.0 then g else g + real decay * x.Theta

/// beta m + (1 - beta) g, as a move of m towards g: that is how it is worked out, and it rounds at the size of the larger of the two.
let private toward (beta: float) (m: Real) (g: Real) = m + real (1.0 - beta) * (g - m)

/// Sutskever et al. 2013, in the form in which lr multiplies last; the first gradient is taken whole.
let sgd (settings: Settings) (x: Element) gradient =
    let g = seen settings (number "weight_decay" settings) x gradient
    let lr, mu = real (number "lr" settings), number "momentum" settings

    if mu = 0.0 then
        x |> moved [] (lr * g)
    else
        let buffer =
            match x.Slots |> Map.tryFind "momentum_buffer" with
            | None -> g
            | Some before -> real mu * before + real (1.0 - number "dampening" settings) * g

        let direction =
            if flag "nesterov" settings then
                g + real mu * buffer
            else
                buffer

        x |> moved [ "momentum_buffer", buffer ] (lr * direction)

/// Kingma and Ba 2015, algorithm 1; with amsgrad (Reddi et al. 2018) the largest second moment so far, before its correction.
/// `decoupled`: Loshchilov and Hutter 2019, algorithm 2.
let private adamOf decoupled (settings: Settings) (x: Element) gradient =
    let lr, decay = number "lr" settings, number "weight_decay" settings
    let struct (beta1, beta2) = pair "betas" settings
    let t = float (x.Steps + 1)
    let g = seen settings (if decoupled then 0.0 else decay) x gradient
    let m = toward beta1 (slot "exp_avg" (real 0.0) x) g
    let v = real beta2 * slot "exp_avg_sq" (real 0.0) x + real (1.0 - beta2) * g * g
    let largest = slot "max_exp_avg_sq" (real 0.0) x
    let largest = if v.Value <= largest.Value then largest else v // NaN spreads
    let amsgrad = flag "amsgrad" settings
    let first = m / real (1.0 - Math.Pow(beta1, t))
    let second = (if amsgrad then largest else v) / real (1.0 - Math.Pow(beta2, t))
    let step = real lr * first / (sqrt second + real (number "eps" settings))

    let slots =
        [
            "exp_avg", m
            "exp_avg_sq", v
            if amsgrad then
                "max_exp_avg_sq", largest
        ]

    x |> moved slots (step + real (if decoupled then lr * decay else 0.0) * x.Theta)

let adam settings x gradient =
    adamOf (flag "decoupled_weight_decay" settings) settings x gradient

let adamW settings x gradient = adamOf true settings x gradient

/// Tieleman and Hinton 2012; centered: Graves 2013, equations 38 to 45. The variance that rounding made negative is zero.
let rmsProp (settings: Settings) (x: Element) gradient =
    let g = seen settings (number "weight_decay" settings) x gradient
    let alpha, mu = number "alpha" settings, number "momentum" settings

    let square =
        real alpha * slot "square_avg" (real 0.0) x + real (1.0 - alpha) * g * g

    let centered = flag "centered" settings
    let mean = toward alpha (slot "grad_avg" (real 0.0) x) g
    let variance = if centered then square - mean * mean else square

    let variance =
        { variance with
            Value = max 0.0 variance.Value
        }

    let scaled = g / (sqrt variance + real (number "eps" settings))
    let buffer = real mu * slot "momentum_buffer" (real 0.0) x + scaled

    let slots =
        [
            "square_avg", square
            if mu > 0.0 then
                "momentum_buffer", buffer
            if centered then
                "grad_avg", mean
        ]

    x
    |> moved slots (real (number "lr" settings) * (if mu > 0.0 then buffer else scaled))

/// Riedmiller and Braun 1993, without going back: after a change of sign the element rests for a step.
let rprop (settings: Settings) (x: Element) gradient =
    let struct (shrink, grow) = pair "etas" settings
    let struct (smallest, largest) = pair "step_sizes" settings
    let g = seen settings 0.0 x gradient
    let before = slot "prev" (real 0.0) x
    let size = slot "step_size" (real (number "lr" settings)) x
    let turned = sign g.Value * sign before.Value

    let factor =
        if turned > 0 then grow
        elif turned < 0 then shrink
        else 1.0

    let size = real (min largest (max smallest (factor * size.Value)))
    let g = if turned < 0 then real 0.0 else g

    x |> moved [ "prev", g; "step_size", size ] (real (float (sign g.Value)) * size)

/// Duchi, Hazan and Singer 2011, the diagonal form, with a rate that falls with the steps before.
let adagrad (settings: Settings) (x: Element) gradient =
    let g = seen settings (number "weight_decay" settings) x gradient

    let sum = slot "sum" (real (number "initial_accumulator_value" settings)) x + g * g

    let rate = number "lr" settings / (1.0 + float x.Steps * number "lr_decay" settings)

    x
    |> moved [ "sum", sum ] (real rate * (g / (sqrt sum + real (number "eps" settings))))

/// Zeiler 2012, algorithm 1, with a rate before the step.
let adadelta (settings: Settings) (x: Element) gradient =
    let g = seen settings (number "weight_decay" settings) x gradient
    let rho, eps = number "rho" settings, real (number "eps" settings)

    let average name (x: Element) (value: Real) =
        real rho * slot name (real 0.0) x + real (1.0 - rho) * value * value

    let square = average "square_avg" x g
    let delta = sqrt (slot "acc_delta" (real 0.0) x + eps) / sqrt (square + eps) * g

    x
    |> moved [ "square_avg", square; "acc_delta", average "acc_delta" x delta ] (real (number "lr" settings) * delta)

/// Kingma and Ba 2015, algorithm 2; eps is added to each gradient's magnitude.
let adamax (settings: Settings) (x: Element) gradient =
    let g = seen settings (number "weight_decay" settings) x gradient
    let struct (beta1, beta2) = pair "betas" settings
    let m = toward beta1 (slot "exp_avg" (real 0.0) x) g
    let magnitude = { g with Value = abs g.Value } + real (number "eps" settings)
    let norm = Real.Max(real beta2 * slot "exp_inf" (real 0.0) x, magnitude)
    let rate = number "lr" settings / (1.0 - Math.Pow(beta1, float (x.Steps + 1)))
    x |> moved [ "exp_avg", m; "exp_inf", norm ] (real rate * (m / norm))

/// Adam's means, which later rules share.
let private means (settings: Settings) (x: Element) g =
    let struct (beta1, beta2) = pair "betas" settings
    let m = toward beta1 (slot "exp_avg" (real 0.0) x) g
    struct (m, real beta2 * slot "exp_avg_sq" (real 0.0) x + real (1.0 - beta2) * g * g)

/// What decoupled decay takes off, and how much of the decay is in the gradient.
let private decays (settings: Settings) (x: Element) =
    let decay = number "weight_decay" settings

    if flag "decoupled_weight_decay" settings then
        struct (real (number "lr" settings * decay) * x.Theta, 0.0)
    else
        struct (real 0.0, decay)

/// Dozat 2016, with the momentum schedule of Sutskever et al. 2013 as PyTorch has it.
let nAdam (settings: Settings) (x: Element) gradient =
    let struct (shrinks, decay) = decays settings x
    let g = seen settings decay x gradient
    let struct (beta1, beta2) = pair "betas" settings
    let struct (m, v) = means settings x g
    let t = float (x.Steps + 1)

    let mu t =
        real (beta1 * (1.0 - 0.5 * Math.Pow(0.96, t * number "momentum_decay" settings)))

    let one, lr = real 1.0, real (number "lr" settings)
    let product = slot "mu_product" one x * mu t

    let denominator =
        sqrt (v / real (1.0 - Math.Pow(beta2, t))) + real (number "eps" settings)

    let ofGradient = lr * (one - mu t) / (one - product) * g / denominator
    let ofMean = lr * mu (t + 1.0) / (one - product * mu (t + 1.0)) * m / denominator

    x
    |> moved [ "mu_product", product; "exp_avg", m; "exp_avg_sq", v ] (shrinks + ofGradient + ofMean)

/// Liu et al. 2019, algorithm 2; eps as PyTorch has it.
let rAdam (settings: Settings) (x: Element) gradient =
    let struct (shrinks, decay) = decays settings x
    let g = seen settings decay x gradient
    let struct (beta1, beta2) = pair "betas" settings
    let struct (m, v) = means settings x g
    let t = float (x.Steps + 1)
    let power = Math.Pow(beta2, t)
    let longest = 2.0 / (1.0 - beta2) - 1.0
    let length = longest - 2.0 * t * power / (1.0 - power)
    let first = m / real (1.0 - Math.Pow(beta1, t))

    let adaptive =
        if length > 5.0 then
            let r =
                sqrt (
                    (length - 4.0) * (length - 2.0) * longest
                    / ((longest - 4.0) * (longest - 2.0) * length)
                )

            real (r * sqrt (1.0 - power)) / (sqrt v + real (number "eps" settings))
        else
            real 1.0

    x
    |> moved [ "exp_avg", m; "exp_avg_sq", v ] (shrinks + real (number "lr" settings) * first * adaptive)

/// Polyak and Juditsky 1992, with the rates of Bottou's SGD as PyTorch has them: those of a step are from the end of the one before.
let asgd (settings: Settings) (x: Element) gradient =
    let g = seen settings (number "weight_decay" settings) x gradient
    let lr, lambd = number "lr" settings, number "lambd" settings
    let eta, mu = slot "eta" (real lr) x, slot "mu" (real 1.0) x
    let t = float (x.Steps + 1)
    let next = x |> moved [] (real lambd * eta * x.Theta + eta * g)

    let ax =
        if mu.Value = 1.0 then
            next.Theta
        else
            let before = slot "ax" (real 0.0) x
            before + mu * (next.Theta - before)

    let slots =
        [
            "eta", real (lr / Math.Pow(1.0 + lambd * lr * t, number "alpha" settings))
            "mu", real (1.0 / max 1.0 (t - number "t0" settings))
            "ax", ax
        ]

    { next with Slots = Map.ofList slots }

/// Adam as PyTorch's SparseAdam has it: only elements whose rows have a gradient move, eps stands beside the uncorrected root, and steps are
/// counted for the whole parameter.
let sparseAdam (settings: Settings) (x: Element) (gradient: float option) =
    match gradient with
    | None -> { x with Steps = x.Steps + 1 }
    | Some gradient ->
        let g = seen settings 0.0 x gradient
        let struct (beta1, beta2) = pair "betas" settings
        let struct (m, v) = means settings x g
        let t = float (x.Steps + 1)

        let lr =
            number "lr" settings * sqrt (1.0 - Math.Pow(beta2, t))
            / (1.0 - Math.Pow(beta1, t))

        x
        |> moved [ "exp_avg", m; "exp_avg_sq", v ] (real lr * (m / (sqrt v + real (number "eps" settings))))

/// Whether PyTorch's state_dict has a `step` among the rule's state.
let countsSteps rule = rule <> "SGD"

let rules =
    Map
        [
            "SGD", sgd
            "Adadelta", adadelta
            "Adagrad", adagrad
            "Adam", adam
            "AdamW", adamW
            "Adamax", adamax
            "ASGD", asgd
            "NAdam", nAdam
            "RAdam", rAdam
            "RMSprop", rmsProp
            "Rprop", rprop
        ]
