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

    let elementsOf operation dimensions (elements: Expression) =
        Argument.notNull "elements" elements

        if dimensions < 1 then
            recording.Refuse $"dimensions is {dimensions}; it must be at least 1"

        Expression.Spread(operation, dimensions, elements)

    internal new(recording) =
        RuleDefinition(recording, "", Expression.Input StepProgram.Parameter, Expression.Input StepProgram.Gradient, Expression.StepCount)

    member internal _.Recording = recording

    /// The same, with names that begin with another one.
    member internal _.Within(name: string) =
        RuleDefinition(recording, $"{path}{name}.", parameter, gradient, step)

    /// The same, of another parameter, gradient and step.
    member internal _.Of(parameter, gradient, step) =
        RuleDefinition(recording, path, parameter, gradient, step)

    /// What a definition says with an option by which it goes up the gradient: it is given the negated one.
    member internal r.EitherWay(definition: RuleDefinition -> Expression) =
        if r.Flag(DefinedOption.Maximize, false) then
            definition (r.Of(r.Parameter, -r.Gradient, r.Step))
        else
            definition r

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
                Kind = Number range
                Numbers = [ path + name ]
            }
        |> ignore

        Expression.Named(Operation.Option, path + name)

    /// A number, or a value that has formulas and columns of its own: whether it is not that value in this run of the definition, and the number.
    member internal _.NumberOr(off: OptionValue, name: string, value: OptionValue, range: Interval) : struct (bool * Expression) =
        let option =
            recording.Declare
                {
                    Name = path + name
                    Default = value
                    Kind = NumberOr(off, range)
                    Numbers = [ path + name ]
                }

        struct (recording.AlternativeOf option = 1, Expression.Named(Operation.Option, path + name))

    /// An option that is a number in a range or None: whether there is a number in this run of the definition, by which formulas and columns may
    /// differ, and the number.
    member r.NumberOrNone(name: string, value: Nullable<double>, range: Interval) : struct (bool * Expression) =
        let value =
            if value.HasValue then
                OptionValue.Float value.Value
            else
                OptionValue.None

        r.NumberOr(OptionValue.None, name, value, range)

    /// An option that is a number in a range, where 0 turns something off: whether it is another one than 0 in this run of the definition, by
    /// which formulas and columns may differ, and the number.
    member r.NumberOrZero(name: string, value: double, range: Interval) : struct (bool * Expression) =
        r.NumberOr(OptionValue.Float 0.0, name, OptionValue.Float value, range)

    /// An option that is a whole number in a range.
    member _.Whole(name: string, value: int, range: Interval) : Expression =
        recording.Declare
            {
                Name = path + name
                Default = OptionValue.Int(int64 value)
                Kind = Whole range
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
                Kind = Several [ firstRange; secondRange ]
                Numbers = [ one; two ]
            }
        |> ignore

        struct (Expression.Named(Operation.Option, one), Expression.Named(Operation.Option, two))

    /// An option that is three numbers, each in a range of its own, such as betas.
    member _.Triple
        (name: string, first: double, firstRange: Interval, second: double, secondRange: Interval, third: double, thirdRange: Interval)
        : struct (Expression * Expression * Expression) =
        let stem = path + (if name.EndsWith 's' then name[.. name.Length - 2] else name)
        let numbers = [ stem + "1"; stem + "2"; stem + "3" ]

        recording.Declare
            {
                Name = path + name
                Default = OptionValue.TupleOf [ OptionValue.Float first; OptionValue.Float second; OptionValue.Float third ]
                Kind = Several [ firstRange; secondRange; thirdRange ]
                Numbers = numbers
            }
        |> ignore

        let one = Expression.Named(Operation.Option, numbers[0])
        let two = Expression.Named(Operation.Option, numbers[1])
        struct (one, two, Expression.Named(Operation.Option, numbers[2]))

    /// One of some values, and which it is in this run of the definition.
    member private _.OneOf(name: string, value: OptionValue, values: OptionValue list) : int =
        if not (List.contains value values) then
            recording.Refuse $"option '{path + name}' is {value}, which is none of its values"

        recording.AlternativeOf(
            recording.Declare
                {
                    Name = path + name
                    Default = value
                    Kind = OneOf values
                    Numbers = []
                }
        )

    /// An option that is true or false, and its value in this run of the definition: formulas and columns may differ by it.
    member r.Flag(name: string, value: bool) : bool =
        r.OneOf(name, OptionValue.Bool value, [ OptionValue.Bool false; OptionValue.Bool true ]) = 1

    /// An option that is true or false, as a condition of formulas that are the same for both: it chooses between numbers, and costs no program
    /// of its own.
    member _.Switch(name: string, value: bool) : Condition =
        recording.Declare
            {
                Name = path + name
                Default = OptionValue.Bool value
                Kind = Switch
                Numbers = [ path + name ]
            }
        |> ignore

        Condition.Greater(Expression.Named(Operation.Option, path + name), Expression.Of 0.5)

    /// An option that is one of some names, and the name in this run of the definition: formulas and columns may differ by it.
    member r.Choice(name: string, value: string, [<ParamArray>] values: string array) : string =
        Argument.notNull "values" values
        let texts = [ for value in values -> OptionValue.Text value ]
        values[r.OneOf(name, OptionValue.Text value, texts)]

    /// An option that is a small whole number, and its value in this run of the definition: formulas and columns may differ by it.
    member r.Count(name: string, value: int, least: int, most: int) : int =
        let numbers = [ for number in least..most -> OptionValue.Int(int64 number) ]
        least + r.OneOf(name, OptionValue.Int(int64 value), numbers)

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

        Expression.Spread(Operation.Noise, 0, seed, step)

    /// Declares that a column stays in float32, whatever the storage of the state: where it must be as exact as the arithmetic, such as one of two
    /// columns whose difference counts. Which columns are never below 0, and which hold parameters and stay so for that, is found in the formulas.
    member _.KeepWide(column: Expression) =
        Argument.notNull "column" column

        if not (recording.Columns.Exists(fun known -> known.Name = column.Name)) then
            recording.Refuse $"{column} is to stay wide, and is no column"

        recording.Wide.Add column.Name |> ignore

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
