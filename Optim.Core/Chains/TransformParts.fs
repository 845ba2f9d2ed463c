namespace Optim.Core

open Optim.Kernels

/// What transforms are made of.
module internal TransformParts =
    let nonNegative = Interval.atLeast 0.0
    let positive = Interval.above 0.0
    let fraction = Interval.upTo 0.0 1.0
    let zero, one = Expression.Of 0.0, Expression.Of 1.0

    /// Refuses an option outside of its range: what has it, its name, its value.
    let require name (option: string) (range: Interval) (value: double) =
        if not (range.Holds value) then
            raise (OptionException($"{name}: {option} is {OptionValue.Float value}; it must be {range.Words}", option))

    /// A transform whose options are numbers: names, defaults and ranges; defaults are checked at once.
    let make name (options: (string * double * Interval) list) (next: RuleDefinition -> Expression -> Expression array -> Expression) =
        for option, value, range in options do
            require name option range value

        Transform.Define(
            name,
            fun r update ->
                options
                |> List.map (fun (option, value, range) -> r.Number(option, value, range))
                |> List.toArray
                |> next r update
        )

    /// What a column moves to, of which it keeps a part: kept old + (1 - kept) fresh.
    let moved (kept: Expression) (old: Expression) (fresh: Expression) =
        Expression.Fma(1.0 - kept, fresh - old, old)

    /// The same of the square of something.
    let movedSquare (kept: Expression) (old: Expression) (fresh: Expression) =
        Expression.Fma((1.0 - kept) * fresh, fresh, kept * old)

    /// The first moment of updates, in a column.
    let firstMoment (r: RuleDefinition) beta update =
        let column = r.Column "exp_avg"
        let next = moved beta column update
        r.Set(column, next)
        next

    /// The second moment of updates, in a column.
    let secondMoment (r: RuleDefinition) beta update =
        let column = r.Column "exp_avg_sq"
        let next = movedSquare beta column update
        r.Set(column, next)
        next

    /// Whether it is the first step.
    let isFirst (r: RuleDefinition) =
        Condition.Greater(Expression.Of 1.5, r.Step)

    /// By what a moment is divided, as it began at 0.
    let correction (r: RuleDefinition) (beta: Expression) = 1.0 - Expression.Pow(beta, r.Step)

    let rootMeanSquare update =
        Expression.Norm update / Expression.Sqrt Expression.ElementCount

    /// The norm of the parameter to that of the update; 1 where one of them is 0.
    let trustRatio (r: RuleDefinition) update minNorm coefficient eps =
        let parameter = Expression.Max(Expression.Norm r.Parameter, minNorm)
        let change = Expression.Max(Expression.Norm update, minNorm)
        let both = Condition.Greater(parameter, zero) &&& Condition.Greater(change, zero)
        Expression.Select(both, coefficient * parameter / (change + eps), one)
