namespace Optim.Core

open System
open Optim.Kernels

/// What rules around rules are made of.
module internal Wrapping =
    open TransformParts

    /// The rule of a wrapper around another one.
    let define (name: string) (inner: InnerRule) (write: RuleDefinition -> Expression) : Rule =
        let name = $"{name}({inner.Name})"

        match inner.Separate with
        | ValueSome(struct (rule, options)) -> WrappedRule.Make(name, rule, options, write)
        | ValueNone -> DefinedRule.Define(name, Func<_, _> write)

    /// What a part sets takes place under a condition only: otherwise it stays.
    let guarded (r: RuleDefinition) (condition: Condition) (write: unit -> Expression) : Expression =
        let sets = r.Recording.Sets
        let before = set sets.Keys
        let next = write ()
        // A rule that takes its step separately takes none.
        r.Recording.Applies <- ValueSome condition

        for name in List.ofSeq sets.Keys do
            if r.Recording.Part = WrapperPart.All && not (before.Contains name) then
                let old =
                    match r.Recording.Columns |> Seq.tryFind (fun column -> column.Name = name) with
                    | Some column -> column.Before
                    | None -> Expression.Named(Operation.Kept, name)

                sets[name] <- Expression.Select(condition, sets[name], old)

        Expression.Select(condition, next, r.Parameter)

    /// From one to the other by a weight in [0, 1]: at 0 and 1 the one and the other, bit for bit.
    let between (weight: Expression) (old: Expression) (fresh: Expression) =
        Expression.Select(
            Condition.Greater(weight, Expression.Of 0.5),
            Expression.Fma(1.0 - weight, old - fresh, fresh),
            Expression.Fma(weight, fresh - old, old)
        )

    /// A whole number among the options.
    let whole least =
        Interval.Where($"a whole number of at least {least}", (fun x -> x >= double least && Math.Floor x = x && not (Double.IsInfinity x)))

    /// The number among the options that is the rate of an inner rule: its lr, or the step size at the end of a chain.
    let rateOf (inner: InnerRule) =
        let trial =
            DefinitionRecording(inner.Name, dict [] |> Collections.Generic.Dictionary, (fun _ -> 0))

        inner.Write(RuleDefinition trial) |> ignore

        let last (ending: string) =
            trial.Options
            |> Seq.collect _.Numbers
            |> Seq.tryFindBack (fun number -> number = ending || number.EndsWith("." + ending, StringComparison.Ordinal))

        match last "lr", last "step_size" with
        | Some lr, _ -> Expression.Named(Operation.Option, lr)
        | None, Some size -> Expression.Abs(Expression.Named(Operation.Option, size))
        | None, None -> raise (ArgumentException $"{inner.Name} has no lr, and no scale whose step_size is one")

    /// The gradient without its part along the parameter, as long as before.
    let orthogonal (r: RuleDefinition) (update: Expression) =
        let p = r.Parameter
        let along = Expression.Sum(p * update) / (Expression.Sum(p * p) + 1e-30)
        let rest = Expression.Fma(-along, p, update)
        let length, left = Expression.Norm update, Expression.Norm rest

        // What is left of a parallel gradient is rounding.
        let rounding =
            if r.Asks("is double", (fun parameter -> parameter.DType = DType.Float64 || parameter.DType = DType.Complex128)) then
                4.0 * Math.ScaleB(1.0, -52)
            else
                4.0 * Math.ScaleB(1.0, -23)

        Expression.Select(Condition.Greater(left, rounding * length), length / (left + 1e-30), zero)
        * rest
