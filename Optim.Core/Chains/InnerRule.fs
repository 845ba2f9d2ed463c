namespace Optim.Core

open System
open System.Collections.Generic
open System.Text.RegularExpressions
open Optim.Kernels

/// A rule as a part of another one's definition: it declares its options and its state, and says what becomes of the parameter.
type internal InnerRule =
    {
        Name: string
        Write: RuleDefinition -> Expression
    }

module internal InnerRule =
    /// The rule of a formula, whose first step may be another one than later ones.
    let private ofFormula (rule: Rule) (options: IOptimizerOptions) : InnerRule =
        let name = rule.Name

        let refuse (words: string) =
            raise (NotSupportedException $"{name} cannot be wrapped: {words}")

        if rule.Scope <> RuleScope.Elements then
            refuse "it does not work element by element, and only formulas and definitions become part of another rule's program"

        let text (assignments: Assignment list, kept: KeptNumber list) =
            let lines =
                [
                    for assignment in assignments do
                        $"{assignment.Array} = {assignment.Value}"

                    for number in kept do
                        $"{number.Name} = {number.Value}"
                ]

            // Steps and what is made of them differ from step to step; what is done does not.
            Regex.Replace(String.Join("\n", lines), "[0-9]+(\\.[0-9]+)?(E[+-]?[0-9]+)?", "#")

        let first, later =
            Explanation.record rule options 1L, Explanation.recordLater rule options

        let far = text (Explanation.record rule options 1_000_003L)

        for step in 2L .. 64L do
            if text (Explanation.record rule options step) <> far then
                refuse $"its formula in step {step} is another one than later"

        let isSpecial = text first <> far
        let starts, keptStarts = Explanation.starts rule options
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
                | value, _ -> refuse $"its option {option} is {value}, which is no number"

            read

        let write (r: RuleDefinition) =
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

            let assignments, keptLater = later
            let special, keptFirst = first

            let valueOf (first: Expression voption) (later: Expression) =
                match first with
                | ValueSome first when isSpecial -> Expression.Select(isFirst, translate first, translate later)
                | _ -> translate later

            let nextOf array =
                let among (assignments: Assignment list) =
                    match assignments |> List.tryFind (fun assignment -> assignment.Array = array) with
                    | Some assignment -> assignment.Value
                    | None -> Expression.Input array

                valueOf (ValueSome(among special)) (among assignments)

            for column in used do
                r.Set(columns[column], nextOf column)

            for index in 0 .. keptLater.Length - 1 do
                let number = keptLater[index]
                r.Set(keptBefore[number.Name], valueOf (ValueSome keptFirst[index].Value) number.Value)

            nextOf StepProgram.Parameter

        { Name = name; Write = write }

    /// A rule with these options. Options of a definition keep their own defaults, so that others than these are refused.
    let ofRule (rule: Rule) (options: IOptimizerOptions) : InnerRule =
        Argument.notNull "rule" rule
        Argument.notNull "options" options

        match rule with
        | :? DefinedRule as defined ->
            let given = defined.Table.Options options
            defined.Table.Check given

            {
                Name = rule.Name
                Write = fun r -> r.WithDefaults(given, defined.Definition)
            }
        | _ -> ofFormula rule (rule.Replace(options, []))
