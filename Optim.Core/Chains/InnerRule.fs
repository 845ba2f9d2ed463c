// Long, because it tells how rules of each kind become a part of another one.
namespace Optim.Core

open System
open System.Collections.Generic
open Optim
open Optim.Kernels

/// A rule as a part of another one's definition: it declares its options and its state, and says what becomes of the parameter.
[<NoEquality; NoComparison>]
type internal InnerRule =
    {
        Name: string
        Write: RuleDefinition -> Expression
        /// Once that is written: the names of the columns of its momentum, which the definition around it may set anew.
        Momentum: RuleDefinition -> string list
        /// Whether it goes along the gradient, under options that stay as they are.
        Maximizes: bool
        /// The rule and its options where it takes its step separately, between two programs of the definition around it.
        Separate: struct (Rule * IOptimizerOptions) voption
    }

module internal InnerRule =
    /// What a rule that takes its step separately is given, and leaves its parameter in.
    [<Literal>]
    let Parameter = "inner.param"

    /// The gradient that it is given.
    [<Literal>]
    let Gradient = "inner.grad"

    /// 1 where it takes a step.
    [<Literal>]
    let Applies = "inner.applies"

    let private isMomentum (column: string) =
        column = "momentum_buffer"
        || column.EndsWith(".momentum_buffer", StringComparison.Ordinal)

    /// The momentum among the columns that were declared.
    let private declaredMomentum (r: RuleDefinition) =
        [
            for column in r.Recording.Columns do
                if isMomentum column.Name then
                    column.Name
        ]

    let private maximize = DefinedOption.Maximize

    /// Once a rule is written: the gradient against which it goes, which is the negated one where it maximizes.
    let descended (inner: InnerRule) (r: RuleDefinition) : Expression =
        match r.Recording.Options |> Seq.tryFind (fun option -> option.Name = maximize) with
        | Some option when option.Alternatives > 1 ->
            if r.Recording.AlternativeOf option = 1 then
                -r.Gradient
            else
                r.Gradient
        | Some _ ->
            let isOn =
                Condition.Greater(Expression.Named(Operation.Option, maximize), Expression.Of 0.5)

            Expression.Select(isOn, -r.Gradient, r.Gradient)
        | None -> if inner.Maximizes then -r.Gradient else r.Gradient

    /// A rule that takes its step separately. Its numbers are options of the definition around it, which may read them.
    let private separate (rule: Rule) (options: IOptimizerOptions) : InnerRule =
        let write (r: RuleDefinition) =
            for option in rule.OptionNames do
                match rule.Read(options, option) with
                | OptionValue.Float value -> r.Number(option, value, Interval.any) |> ignore
                | OptionValue.Bool value when option = maximize -> r.Switch(option, value) |> ignore
                | _ -> ()

            r.Recording.Handed <-
                ValueSome
                    {
                        Parameter = r.Parameter
                        Gradient = r.Gradient
                        Step = r.Step
                    }

            if r.Recording.Part = WrapperPart.After then
                let next = r.Column Parameter
                r.Set(next, next)
                next
            else
                r.Parameter

        let momentum (r: RuleDefinition) =
            let names =
                [
                    for column in rule.ColumnsUnder options do
                        if isMomentum column then
                            column
                ]

            for name in names do
                if r.Recording.Part = WrapperPart.After then
                    let column = r.Column name
                    r.Set(column, column)
                else
                    r.Recording.Sets[name] <- r.Parameter

            names

        {
            Name = rule.Name
            Write = write
            Momentum = momentum
            Maximizes = false
            Separate = ValueSome(struct (rule, options))
        }

    /// Whether options are what formulas read as numbers: one or two of them.
    let private isOfNumbers (rule: Rule) (options: IOptimizerOptions) =
        let numbers = rule.Numbers options

        numbers
        |> Seq.forall (fun number ->
            match rule.Read(options, number.Option) with
            | OptionValue.Float _ -> numbers |> Seq.filter (fun other -> other.Option = number.Option) |> Seq.length = 1
            | OptionValue.Tuple(Items [ OptionValue.Float _; OptionValue.Float _ ]) -> true
            | _ -> false)

    /// The rule of a formula, whose first step may be another one than later ones, and early ones than late ones; none where steps differ otherwise.
    let private ofFormula (rule: Rule) (options: IOptimizerOptions) : InnerRule voption =
        let starts, keptStarts = StepRecording.starts rule options
        let numbers = rule.Numbers options

        // Options are those that the formula reads; others stay as they are here, as they may choose the formula.
        let declare (r: RuleDefinition) =
            let read = Dictionary<string, Expression>(StringComparer.Ordinal)

            for option in rule.OptionNames do
                let parts =
                    numbers |> Seq.filter (fun number -> number.Option = option) |> List.ofSeq

                let holds (value: OptionValue) =
                    try
                        rule.Replace(options, option, value) |> ignore
                        true
                    with :? OptionException ->
                        false

                match rule.Read(options, option), parts with
                | _, [] -> ()
                | OptionValue.Float value, [ part ] ->
                    let range =
                        Interval.Where(rule.RangeOf option, (fun x -> holds (OptionValue.Float x)))

                    read[part.Name] <- r.Number(option, value, range)
                | OptionValue.Tuple(Items [ OptionValue.Float a; OptionValue.Float b ]), _ ->
                    let range (pair: double -> OptionValue) =
                        Interval.Where(rule.RangeOf option, (fun x -> holds (pair x)))

                    let pair (x: double) (y: double) =
                        OptionValue.TupleOf [ OptionValue.Float x; OptionValue.Float y ]

                    let struct (one, two) =
                        r.Pair(option, a, range (fun x -> pair x b), b, range (fun y -> pair a y))

                    for part in parts do
                        read[part.Name] <- (if part.Part = 0 then one else two)
                | _ -> ()

            read

        let write (assignments: Assignment list) (numbersKept: KeptNumber list) (r: RuleDefinition) =
            let read = declare r
            let known = Dictionary<Expression, Expression>(HashIdentity.Reference)
            let columns = Dictionary<string, Expression>(StringComparer.Ordinal)
            let kept = Dictionary<string, Expression>(StringComparer.Ordinal)
            let keptBefore = Dictionary<string, Expression>(StringComparer.Ordinal)
            let isFirst = TransformParts.isFirst r

            let rec translate (value: Expression) : Expression =
                match known.TryGetValue value with
                | true, found -> found
                | _ ->
                    let found =
                        match value.Operation with
                        | Operation.Input when value.Name = StepProgram.Parameter -> r.Parameter
                        | Operation.Input when value.Name = StepProgram.Gradient -> r.Gradient
                        | Operation.Input -> columns[value.Name]
                        | Operation.Option -> read[value.Name]
                        | Operation.Kept -> kept[value.Name]
                        | Operation.StepCount -> r.Step
                        | Operation.Constant -> value
                        | operation ->
                            Expression(
                                operation,
                                value.Scope,
                                [| for operand in value.Operands.ToArray() -> translate operand |],
                                value.Value,
                                value.Name
                            )

                    known.Add(value, found)
                    found

            let used = rule.ColumnsUnder options

            for index in 0 .. rule.ColumnNames.Length - 1 do
                let column = rule.ColumnNames[index]

                if used.Contains column then
                    columns[column] <- r.Column(column, translate starts[index])

            for index in 0 .. rule.ScalarNames.Length - 1 do
                let before = r.Kept(rule.ScalarNames[index], 0.0)
                kept[rule.ScalarNames[index]] <- Expression.Select(isFirst, translate keptStarts[index], before)
                keptBefore[rule.ScalarNames[index]] <- before

            let nextOf array =
                match assignments |> List.tryFind (fun assignment -> assignment.Array = array) with
                | Some(assignment: Assignment) -> translate assignment.Value
                | None -> translate (Expression.Input array)

            for column in used do
                r.Set(columns[column], nextOf column)

            for index in 0 .. rule.ScalarNames.Length - 1 do
                r.Set(keptBefore[rule.ScalarNames[index]], translate (numbersKept[index]: KeptNumber).Value)

            nextOf StepProgram.Parameter

        match StepRecording.ofAnyStep rule options with
        | ValueSome(struct (assignments, kept)) when isOfNumbers rule options ->
            ValueSome
                {
                    Name = rule.Name
                    Write = write assignments kept
                    Momentum = declaredMomentum
                    Maximizes = rule.Has maximize && rule.Read(options, maximize) = OptionValue.Bool true
                    Separate = ValueNone
                }
        | _ -> ValueNone

    /// A rule with these options: a part of the definition around it where it is a definition or a formula itself. Options of a definition keep their own
    /// defaults, so that others than these are refused.
    let ofRule (rule: Rule) (options: IOptimizerOptions) : InnerRule =
        Argument.notNull "rule" rule
        Argument.notNull "options" options

        if
            rule.Has StorageFields.format
            && (rule.OptionTable.StorageOf options).Format <> StateFormat.Float32
        then
            raise (
                NotSupportedException
                    $"{rule.Name} inside of another rule: state_storage is {rule.OptionTable.StorageOf options}; it must be float32 there, and is an option of the rule around it where that goes element by element"
            )

        match rule with
        | :? DefinedRule as defined ->
            let given = defined.Table.Options options
            defined.Table.Check given

            {
                Name = rule.Name
                Write = fun r -> r.WithDefaults(given, defined.Definition)
                Momentum = declaredMomentum
                Maximizes = false
                Separate = ValueNone
            }
        | _ ->
            let given = rule.Replace(options, [])

            let formula =
                if rule.Scope = RuleScope.Elements then
                    ofFormula rule given
                else
                    ValueNone

            match formula with
            | ValueSome formula -> formula
            | ValueNone -> separate rule given
