namespace Optim.Core

open System
open System.Collections.Generic
open Optim.Kernels

/// A rule as a part of another one's definition: it declares its options and its state, and says what becomes of the parameter.
type internal InnerRule =
    {
        Name: string
        Write: RuleDefinition -> Expression
    }

module internal InnerRule =
    /// What numbers come to in a step: of options, and of kept numbers as they happen to be.
    let private valuesIn (rule: Rule) (options: IOptimizerOptions) (step: int64) : Expression -> double =
        let ofOptions =
            dict
                [
                    for number in rule.Numbers options do
                        match rule.Read(options, number.Option) with
                        | OptionValue.Float value -> number.Name, value
                        | OptionValue.Tuple(Items parts) ->
                            match parts[number.Part] with
                            | OptionValue.Float value -> number.Name, value
                            | _ -> ()
                        | _ -> ()
                ]

        let rec value (number: Expression) =
            match number.Operation with
            | Operation.Constant -> number.Value
            | Operation.Option ->
                match ofOptions.TryGetValue number.Name with
                | true, value -> value
                | _ -> nan
            | Operation.StepCount -> double step
            | Operation.Kept -> 0.7
            | operation ->
                let operands = number.Operands.ToArray() |> Array.map value

                let place index =
                    if index < operands.Length then index else -1

                StepNumbers.Evaluate(Node(operation, place 0, place 1, place 2), operands)

        value

    /// Whether the same is done to arrays and kept numbers, with the same numbers.
    let private isLike value (assignments: Assignment list, kept: KeptNumber list) (others: Assignment list, othersKept: KeptNumber list) =
        let same = HashSet<struct (Expression * Expression)>()

        let rec alike (a: Expression) (b: Expression) =
            obj.ReferenceEquals(a, b)
            || same.Contains(struct (a, b))
            || (isSame a b && same.Add(struct (a, b)))

        and isSame a b =
            if a.Scope < Scope.Element && b.Scope < Scope.Element then
                let x, y: double * double = value a, value b
                x.Equals y || abs (x - y) <= 1e-9 * (abs x + abs y)
            else
                a.Operation = b.Operation
                && a.Name = b.Name
                && a.Operands.Length = b.Operands.Length
                && Array.forall2 alike (a.Operands.ToArray()) (b.Operands.ToArray())

        assignments.Length = others.Length
        && List.forall2 (fun (a: Assignment) (b: Assignment) -> a.Array = b.Array && alike a.Value b.Value) assignments others
        && List.forall2 (fun (a: KeptNumber) (b: KeptNumber) -> alike a.Value b.Value) kept othersKept

    /// The rule of a formula, whose first step may be another one than later ones, and early ones than late ones.
    let private ofFormula (rule: Rule) (options: IOptimizerOptions) : InnerRule =
        let name = rule.Name

        let refuse (words: string) =
            raise (NotSupportedException $"{name} cannot be wrapped: {words}")

        if rule.Scope <> RuleScope.Elements then
            refuse "it does not work element by element, and only formulas and definitions become part of another rule's program"

        let phased: IPhased voption =
            match box rule with
            | :? IPhased as phased when phased.HasPhases -> ValueSome phased
            | _ -> ValueNone

        // What differs by the step is recorded under options that show it; which numbers options are does not matter.
        let telling =
            match phased with
            | ValueSome phased -> phased.WithBothPhases options
            | ValueNone -> options

        let first, later =
            Explanation.record rule telling 1L, Explanation.recordLater rule telling

        let early =
            match phased with
            | ValueSome _ -> Explanation.recordLike rule telling 2L 4L
            | ValueNone -> later

        let isLike step one =
            isLike (valuesIn rule telling step) one (Explanation.record rule telling step)

        for step in 2L .. 64L do
            if not (isLike step later || isLike step early) then
                refuse $"its formula in step {step} is another one than later"

        let isSpecial = not (isLike 1L early)
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

            let isLate =
                phased
                |> ValueOption.map (fun phased -> Condition.Greater(translate (Explanation.phase phased options), Expression.Of 0.0))

            /// What something becomes, chosen by the step among what each recording says of it.
            let next (said: Assignment list * KeptNumber list -> Expression) =
                let late = translate (said later)

                let value =
                    match isLate with
                    | ValueSome isLate -> Expression.Select(isLate, late, translate (said early))
                    | ValueNone -> late

                if isSpecial then
                    Expression.Select(isFirst, translate (said first), value)
                else
                    value

            let nextOf array =
                next (fun (assignments, _) ->
                    match assignments |> List.tryFind (fun assignment -> assignment.Array = array) with
                    | Some assignment -> assignment.Value
                    | None -> Expression.Input array)

            for column in used do
                r.Set(columns[column], nextOf column)

            for index in 0 .. rule.ScalarNames.Length - 1 do
                r.Set(keptBefore[rule.ScalarNames[index]], next (fun (_, kept) -> kept[index].Value))

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
