namespace Optim.Core

open Optim.Core.Definitions
open Optim.Kernels

/// Weight decay as an option of a rule: of the gradient (L2), or of the parameter, in proportion to the rate or as it is.
[<NoEquality; NoComparison>]
type internal WeightDecay =
    {
        Amount: Expression
        /// Whether the parameter shrinks, and not the gradient grows.
        IsDecoupled: bool
        /// Whether it shrinks by the amount alone, and not by lr times it.
        IsFixed: Condition
    }

    /// The gradient with what is added to it.
    member decay.Gradient(parameter: Expression, gradient: Expression) =
        if decay.IsDecoupled then
            gradient
        else
            fma decay.Amount parameter gradient

    /// The parameter with what is taken off it.
    member decay.Parameter(parameter: Expression, lr: Expression) =
        if decay.IsDecoupled then
            parameter * (1.0 - where decay.IsFixed decay.Amount (lr * decay.Amount))
        else
            parameter

    /// Parameter and gradient with decay, which comes first.
    member decay.Applied(r: RuleDefinition, lr: Expression) =
        decay.Parameter(r.Parameter, lr), decay.Gradient(r.Parameter, r.Gradient)

/// Rectification (Liu et al. 2019) as options of a rule.
[<NoEquality; NoComparison>]
type internal Rectification =
    {
        Threshold: Expression
        /// Whether early steps are those of momentum, and not none.
        DegeneratesToSgd: Condition
    }

    /// Of how many steps the second moment is, in the sense of its variance: in the long run, and in this step.
    member private _.Lengths(r: RuleDefinition, beta2: Expression) =
        let power = beta2 ** r.Step
        let most = 2.0 / (1.0 - beta2) - 1.0
        struct (most, most - 2.0 * r.Step * power / (1.0 - power))

    /// Whether the second moment is of too few steps.
    member rectification.IsEarly(r: RuleDefinition, beta2: Expression) =
        let struct (_, length) = rectification.Lengths(r, beta2)
        rectification.Threshold |> isAbove length

    /// What a step that is divided by the root of a second moment is multiplied by: it rises to 1, with the moment's correction in it.
    member rectification.Factor(r: RuleDefinition, beta2: Expression) =
        let struct (most, length) = rectification.Lengths(r, beta2)

        sqrt (
            (1.0 - beta2 ** r.Step)
            * ((length - 4.0) / (most - 4.0)
               * ((length - 2.0) / length)
               * (most / (most - 2.0)))
        )

    /// The step: what is divided by the root of a second moment, times its factor, or plain momentum as long as the second moment is of too few
    /// steps.
    member rectification.Step(r: RuleDefinition, beta2: Expression, adaptive: Expression, momentum: Expression) =
        let early =
            where rectification.DegeneratesToSgd (Expression.Of 1.0) (Expression.Of 0.0)

        let isEarly = rectification.IsEarly(r, beta2)
        let factor = where isEarly (Expression.Of 0.0) (rectification.Factor(r, beta2))
        where isEarly (early * momentum) (factor * adaptive)

/// What the catalogue's rules are made of, beside what transforms are: TransformParts.
module internal Parts =
    /// A condition that does not hold.
    let never = Condition.Greater(Expression.Of 0.0, Expression.Of 0.0)

    /// Why the law of continuity does not hold.
    let jumps = "a step is of a sign, which jumps"

    /// Why the law of the order of hooks does not hold, which looks at the first step.
    let movesLater = "its first steps move nothing"

    let learningRate (r: RuleDefinition) (value: double) =
        r.Number("lr", value, Interval.atLeast 0.0)

    let betas (r: RuleDefinition) (first: double) (second: double) =
        r.Pair("betas", first, TransformParts.fraction, second, TransformParts.fraction)

    let threeBetas (r: RuleDefinition) (first: double) (second: double) (third: double) =
        let fraction = TransformParts.fraction
        r.Triple("betas", first, fraction, second, fraction, third, fraction)

    let epsilon (r: RuleDefinition) (value: double) =
        r.Number("eps", value, Interval.atLeast 0.0)

    /// Options weight_decay, weight_decouple and fixed_decay.
    let weightDecay (r: RuleDefinition) (amount: double) (isDecoupled: bool) : WeightDecay =
        {
            Amount = r.Number("weight_decay", amount, Interval.atLeast 0.0)
            IsDecoupled = r.Flag("weight_decouple", isDecoupled)
            IsFixed = r.Switch("fixed_decay", false)
        }

    /// Options weight_decay and weight_decouple.
    let weightDecayOf (r: RuleDefinition) (amount: double) (isDecoupled: bool) : WeightDecay =
        {
            Amount = r.Number("weight_decay", amount, Interval.atLeast 0.0)
            IsDecoupled = r.Flag("weight_decouple", isDecoupled)
            IsFixed = never
        }

    /// Options n_sma_threshold and degenerated_to_sgd.
    let rectificationOf (r: RuleDefinition) (degenerates: bool) : Rectification =
        r.OptOut("U5", "rectification begins at a step, which betas decide")

        {
            Threshold = r.Number("n_sma_threshold", 5.0, Interval.above 4.0)
            DegeneratesToSgd = r.Switch("degenerated_to_sgd", degenerates)
        }

    /// Options rectify, n_sma_threshold and degenerated_to_sgd; none where it is off.
    let rectification (r: RuleDefinition) (isOn: bool) (degenerates: bool) : Rectification voption =
        let isOn = r.Flag("rectify", isOn)
        let rectification = rectificationOf r degenerates
        if isOn then ValueSome rectification else ValueNone

    /// By what the first moment is divided: 1 with the option adam_debias, which leaves the step without that correction.
    let firstCorrection (r: RuleDefinition) (beta: Expression) =
        let isLeftOut = r.Switch("adam_debias", false)
        where isLeftOut (Expression.Of 1.0) (TransformParts.correction r beta)

    /// A column that keeps the largest of what it is given, where a flag asks for it.
    let largestSoFar (r: RuleDefinition) (isOn: bool) (column: string) (value: Expression) =
        if isOn then
            let most = r.Column column
            let next = larger most value
            r.Set(most, next)
            next
        else
            value

    /// What is kept in a column: the value, from this step on.
    let kept (r: RuleDefinition) (column: Expression) (value: Expression) =
        r.Set(column, value)
        value

    /// lr as it was when it was first above 0, kept for each parameter as a whole.
    let firstRate (r: RuleDefinition) (lr: Expression) =
        let before = r.Kept("init_lr", 0.0)
        kept r before (where (before |> isAbove (Expression.Of 0.0)) before lr)

    /// A column that starts at what it is given in the first step.
    let startingAt (r: RuleDefinition) (name: string) (start: Expression) =
        let column = r.Column name
        struct (column, where (TransformParts.isFirst r) start column)

    /// The denominator of pytorch_optimizer: sqrt(v + 1e-15) + eps, by the largest v so far with ams_bound.
    let denominator (r: RuleDefinition) (isBound: bool) (column: string) (eps: Expression) (moment: Expression) =
        sqrt (largestSoFar r isBound column moment + 1e-15) + eps

    /// The momentum of Xie et al. 2021: that of this step's parity, which takes the gradient, against that of the other one. Columns
    /// are those of odd steps and of even ones.
    let positiveNegativeMomentum (r: RuleDefinition) odd even (beta1: Expression) (beta0: Expression) (gradient: Expression) =
        let odd, even = r.Column odd, r.Column even
        let isOdd = r.Step |> isAbove (2.0 * Expression.Floor(r.Step / 2.0))
        let positive = TransformParts.moved (beta1 * beta1) (where isOdd odd even) gradient
        let negative = where isOdd even odd
        r.Set(odd, where isOdd positive odd)
        r.Set(even, where isOdd even positive)
        let size = sqrt ((1.0 + beta0) * (1.0 + beta0) + beta0 * beta0)
        ((1.0 + beta0) / size) * positive - (beta0 / size) * negative

    /// For each element the sum of those with the same first index.
    let rowSum (r: RuleDefinition) (elements: Expression) =
        r.RowMean elements * (Expression.ElementCount / Expression.LeadingCount 1)

    /// Whether a parameter has rows: two dimensions or more.
    let hasRows (r: RuleDefinition) =
        r.Asks("has rows", (fun parameter -> parameter.Shape.Length > 1))

    /// The projection of Heo et al. 2020: what takes the part along the parameter off an update, row by row or as a whole, where the gradient is nearly
    /// orthogonal to the parameter, and leaves it elsewhere; and the factor of the decay.
    let projection (r: RuleDefinition) (delta: Expression) (ratio: Expression) (eps: Expression) (gradient: Expression) =
        if not (hasRows r) then
            struct (id, Expression.Of 1.0)
        else
            let x, count = r.Parameter, Expression.ElementCount
            let length = count / Expression.LeadingCount 1
            let size, whole = r.RowNorm x, norm x

            let cosines =
                abs (rowSum r (gradient * x))
                / (larger size eps * larger (r.RowNorm gradient) eps)

            let cosine =
                abs (Expression.Sum(gradient * x))
                / (larger whole eps * larger (norm gradient) eps)

            let ofRows = delta / sqrt length |> isAbove (Expression.Largest cosines)
            let ofWhole = delta / sqrt count |> isAbove cosine
            let unit = x / (size + eps)

            let project (update: Expression) =
                let byRows = update - unit * (rowSum r (x * update) / (size + eps))
                let along = Expression.Sum(x * update) / ((whole + eps) * (whole + eps))
                where ofRows byRows (where ofWhole (update - along * x) update)

            struct (project, where ofRows ratio (where ofWhole ratio (Expression.Of 1.0)))

    /// Elements divided by the norm of all that differ from them in the first index only.
    let ofUnitColumns (r: RuleDefinition) (elements: Expression) =
        // Of a tensor of one dimension all elements are one column.
        let size =
            if hasRows r then
                r.ColumnNorm(elements, 1)
            else
                norm elements

        // The inverse is worked out once for each column.
        elements * (1.0 / larger size (Expression.Of 1e-12))

    /// How many elements there are in all parameters of a group.
    let countOverAll (r: RuleDefinition) (elements: Expression) =
        let one = Expression.Of 1.0
        larger (r.SumOverAll(where (Condition.IsNaN elements) (Expression.Of 1.0) one)) one

    /// The momentum of torch.optim's SGD, which starts at the first gradient; the gradient itself where it is off.
    let torchMomentum
        (r: RuleDefinition)
        struct (isOn: bool, momentum: Expression)
        (dampening: Expression)
        (isNesterov: Condition)
        gradient
        =
        if isOn then
            let buffer = r.Column "momentum_buffer"
            let later = momentum * buffer + (1.0 - dampening) * gradient
            let next = kept r buffer (where (TransformParts.isFirst r) gradient later)
            where isNesterov (gradient + momentum * next) next
        else
            gradient
