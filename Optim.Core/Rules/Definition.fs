namespace Optim.Core

open System
open Optim.Kernels

/// What a rule's definition is written with: it declares options and state, and hands out the expressions that formulas are made of.
/// The definition returns the parameter after the step. It is run once for each setting of its flags, when the rule is made, and once for each
/// kind of parameters that it tells apart.
[<Sealed>]
type RuleDefinition internal (recording: DefinitionRecording, path: string, parameter: Expression, gradient: Expression, step: Expression) =
    let nextShared () =
        let count =
            match recording.Shared.TryGetValue path with
            | true, known -> known + 1
            | _ -> 1

        recording.Shared[path] <- count
        $"{path}total{count}"

    let spread operation dimensions (operands: Expression array) =
        let prefix = path + "spread"

        let count =
            recording.Spreads
            |> Seq.filter (fun name -> name.StartsWith(prefix, StringComparison.Ordinal))
            |> Seq.length

        let name = $"{prefix}{count + 1}"
        let made = Expression.Spread(operation, name, dimensions, operands)
        recording.Free name
        recording.Spreads.Add name
        made

    let elementsOf operation dimensions (elements: Expression) =
        Argument.notNull "elements" elements

        if dimensions < 1 then
            recording.Refuse $"dimensions is {dimensions}; it must be at least 1"

        spread operation dimensions [| elements |]

    internal new(recording) =
        RuleDefinition(recording, "", Expression.Input StepProgram.Parameter, Expression.Input StepProgram.Gradient, Expression.StepCount)

    member internal _.Recording = recording

    /// The same, with names that begin with another one.
    member internal _.Within(name: string) =
        RuleDefinition(recording, $"{path}{name}.", parameter, gradient, step)

    /// The same, of another parameter, gradient and step.
    member internal _.Of(parameter, gradient, step) =
        RuleDefinition(recording, path, parameter, gradient, step)

    /// What a definition says with other defaults than its own.
    member internal r.WithDefaults(given: DefinedOptions, definition: RuleDefinition -> Expression) =
        let before = recording.Defaults
        recording.Defaults <- ValueSome given
        let next = definition r
        recording.Defaults <- before
        next

    /// An option that is a number in a range.
    member _.Number(name: string, value: double, range: Interval) : Expression =
        recording.Declare
            {
                Name = path + name
                Default = OptionValue.Float value
                Ranges = [ range ]
                Numbers = [ path + name ]
            }
        |> ignore

        Expression.Named(Operation.Option, path + name)

    /// An option that is two numbers, each in a range of its own, such as betas.
    member _.Pair
        (name: string, first: double, firstRange: Interval, second: double, secondRange: Interval)
        : struct (Expression * Expression) =
        let stem = path + (if name.EndsWith 's' then name[.. name.Length - 2] else name)
        let one, two = stem + "1", stem + "2"

        recording.Declare
            {
                Name = path + name
                Default = OptionValue.TupleOf [ OptionValue.Float first; OptionValue.Float second ]
                Ranges = [ firstRange; secondRange ]
                Numbers = [ one; two ]
            }
        |> ignore

        struct (Expression.Named(Operation.Option, one), Expression.Named(Operation.Option, two))

    /// An option that is true or false, and its value in this run of the definition: formulas may differ by it.
    member _.Flag(name: string, value: bool) : bool =
        let value =
            recording.Declare
                {
                    Name = path + name
                    Default = OptionValue.Bool value
                    Ranges = []
                    Numbers = []
                }

        recording.FlagOf(path + name, (value = OptionValue.Bool true))

    /// A question about the parameter, by its name, shape or dtype, and its answer in this run of the definition: formula and state may differ
    /// by it. The question's text tells it from others.
    member _.Asks(question: string, holds: Func<ParameterDescription, bool>) : bool =
        Argument.notNull "question" question
        Argument.notNull "holds" holds

        recording.Ask
            {
                Key = path + question
                Alternatives = 2
                Decide = fun parameter -> if holds.Invoke parameter then 0 else 1
            }
            =
            0

    /// The parameter before the step.
    member _.Parameter: Expression = parameter
    /// Its gradient.
    member _.Gradient: Expression = gradient
    /// The step, counted from 1 for each parameter by itself.
    member _.Step: Expression = step

    /// A number that a schedule makes of the steps before this one: at the first step it is the schedule's value at 0, relative to a base of 1.
    member _.Scheduled(name: string, schedule: Schedule) : Expression =
        Argument.notNull "name" name
        Argument.notNull "schedule" schedule
        recording.Free(path + name)

        if Surroundings.PlaceOf(path + name) >= 0 then
            recording.Refuse $"'{path + name}' is the name of a number of what surrounds steps; a schedule needs another one"

        recording.Functions.Add(path + name, (fun step -> schedule.At(double (step - 1L), 1.0)))
        Expression.Named(Operation.Given, path + name)

    /// A state column, in the dtype of the state: its elements before the step, 0 before the first one.
    member _.Column(name: string) : Expression =
        recording.AddColumn(path + name, 0.0, "", false)

    /// A state column whose elements are a number before the first step.
    member _.Column(name: string, start: double) : Expression =
        recording.AddColumn(path + name, start, "", false)

    /// A state column whose elements are the value of an option before the first step.
    member _.Column(name: string, start: Expression) : Expression =
        match start.Operation with
        | Operation.Constant -> recording.AddColumn(path + name, start.Value, "", false)
        | Operation.Option -> recording.AddColumn(path + name, 0.0, start.Name, false)
        | _ -> recording.Refuse $"column '{path + name}' starts at {start}; it can start at a constant or at an option"

    /// A number that is kept for each parameter, in the dtype of the state, and may be made of its elements, as a norm is: its value before the step,
    /// at first the start. In state dicts it is a tensor without dimensions.
    member _.TensorNumber(name: string, start: double) : Expression =
        recording.AddColumn(path + name, start, "", true)

    /// A number that is kept for each parameter and is made of options and the step alone, as NAdam keeps mu_product, or of all parameters together: its
    /// value before the step, at first the start.
    member _.Kept(name: string, start: double) : Expression =
        recording.Free(path + name)
        recording.Numbers.Add { Name = path + name; Start = start }
        Expression.Named(Operation.Kept, path + name)

    /// What becomes of a column, or of a number that is kept. Its expression stands for the value before the step, before and after this.
    member _.Set(column: Expression, value: Expression) =
        Argument.notNull "column" column
        Argument.notNull "value" value
        recording.Set(column, value)

    /// The sum over the elements of all parameters that step together, which are those of a group, whatever their kind.
    member _.SumOverAll(elements: Expression) =
        Expression.Shared(Operation.Sum, elements, nextShared ())

    /// The Euclidean norm of all parameters that step together, which are those of a group, whatever their kind.
    member _.NormOverAll(elements: Expression) =
        Expression.Sqrt(Expression.Shared(Operation.SumOfSquares, elements, nextShared ()))

    /// The largest magnitude in all parameters that step together, which are those of a group, whatever their kind.
    member _.LargestOverAll(elements: Expression) =
        Expression.Shared(Operation.LargestMagnitude, elements, nextShared ())

    /// For each element the mean of those with the same first index.
    member _.RowMean(elements: Expression) =
        elementsOf Operation.SumOfRow 1 elements
        / (Expression.ElementCount / Expression.LeadingCount 1)

    /// For each element the Euclidean norm of those with the same first index.
    member _.RowNorm(elements: Expression) =
        Expression.Sqrt(elementsOf Operation.SumOfSquaresOfRow 1 elements)

    /// For each element the mean of those that differ from it in the first indices only: in so many, one of a matrix.
    member _.ColumnMean(elements: Expression, dimensions: int) =
        elementsOf Operation.SumOfColumn dimensions elements
        / Expression.LeadingCount dimensions

    /// For each element the Euclidean norm of those that differ from it in the first indices only: in so many, one of a matrix.
    member _.ColumnNorm(elements: Expression, dimensions: int) =
        Expression.Sqrt(elementsOf Operation.SumOfSquaresOfColumn dimensions elements)

    /// Standard normal noise, which depends on the seed, the step, the parameter and the place of the element alone.
    member _.Noise(seed: Expression) : Expression =
        Argument.notNull "seed" seed

        if seed.Scope <> Scope.Step then
            recording.Refuse $"the seed of noise is {seed}; it must be a number of the step"

        spread Operation.Noise 0 [| seed; step |]

    /// Declares that a law of Optim.Laws does not hold for the rule, by its id, and why: the reason is printed.
    member _.OptOut(law: string, reason: string) = recording.OptOuts.Add(law, reason)

/// Functions of expressions, for definitions in F#: open it where a rule is defined. Operators, sqrt, exp, log and abs are the usual ones.
module Definitions =
    /// The cube root, of either sign.
    let cbrt (value: Expression) = Expression.Cbrt value
    /// 1, -1 or 0; 0 for NaN.
    let sign (value: Expression) = Expression.Sign value
    /// The larger one; NaN when either is.
    let larger (a: Expression) (b: Expression) = Expression.Max(a, b)
    /// The smaller one; NaN when either is.
    let smaller (a: Expression) (b: Expression) = Expression.Min(a, b)
    /// a b + c, rounded once.
    let fma (a: Expression) (b: Expression) (c: Expression) = Expression.Fma(a, b, c)
    /// Whether a is larger than b.
    let isAbove (b: Expression) (a: Expression) = Condition.Greater(a, b)
    /// One of two, by a condition.
    let where (condition: Condition) (yes: Expression) (no: Expression) = Expression.Select(condition, yes, no)
    /// The Euclidean norm of a tensor.
    let norm (value: Expression) = Expression.Norm value
    /// The Euclidean norm of all parameters that step together.
    let globalNorm (value: Expression) = Expression.NormOverAll value
    /// The mean of a tensor's elements.
    let mean (value: Expression) = Expression.Mean value
