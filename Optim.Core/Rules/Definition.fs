namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// The options of a rule by definition. Immutable and compared by content; read and replaced by name, as those of any rule.
[<Sealed>]
type DefinedOptions internal (names: ImmutableArray<string>, values: ImmutableArray<OptionValue>) =
    member internal _.Names = names
    member internal _.Values = values

    member internal _.With(index: int, value: OptionValue) =
        DefinedOptions(names, values.SetItem(index, value))

    override _.Equals other =
        match other with
        | :? DefinedOptions as other ->
            Seq.forall2 (fun (a: string) b -> a = b) names other.Names
            && Seq.forall2 (fun (a: OptionValue) (b: OptionValue) -> a.Equals b) values other.Values
        | _ -> false

    override _.GetHashCode() =
        values
        |> Seq.fold (fun code value -> HashCode.Combine(code, value.GetHashCode())) 0

    /// The options by their names, as a record is printed.
    override _.ToString() =
        "{ "
        + String.Join("; ", Seq.map2 (fun name (value: OptionValue) -> $"{name} = {value}") names values)
        + " }"

    interface IOptimizerOptions

/// An option that a definition declares: a flag, a number with its range, or a pair of them.
type internal DefinedOption =
    {
        Name: string
        Default: OptionValue
        Ranges: Interval list
        /// What its numbers are called in formulas: its own name, or beta1 and beta2 for betas.
        Numbers: string list
    }

/// A state column that a definition declares: where it starts, and by which option, if by one.
type internal DefinedColumn =
    {
        Name: string
        Start: double
        StartOption: string
    }

/// A number that a definition keeps for each parameter as a whole.
type internal DefinedNumber = { Name: string; Start: double }

/// What a definition says under some setting of its flags.
type internal RecordedDefinition =
    {
        Options: DefinedOption list
        Columns: DefinedColumn list
        Numbers: DefinedNumber list
        /// What becomes of parameter and columns, and of the numbers.
        Assignments: Assignment list
        Kept: KeptNumber list
        /// Laws that do not hold for the rule, and why.
        OptOuts: (string * string) list
    }

/// What a rule's definition is written with: it declares options and state, and hands out the expressions that formulas are made of.
/// The definition returns the parameter after the step. It is run once for each setting of its flags, when the rule is made.
[<Sealed>]
type RuleDefinition internal (rule: string, flags: IReadOnlyDictionary<string, bool>) =
    // Members that were this short would be inlined into assemblies that may not call what they call.
    let parameter, gradient, step =
        Expression.Input StepProgram.Parameter, Expression.Input StepProgram.Gradient, Expression.StepCount

    let options = List<DefinedOption>()
    let columns = List<DefinedColumn>()
    let numbers = List<DefinedNumber>()
    let sets = Dictionary<string, Expression>()
    let optOuts = List<string * string>()

    let refuse (words: string) =
        raise (ArgumentException $"{rule}: {words}")

    let declare (option: DefinedOption) =
        for known in options do
            if known.Name = option.Name then
                refuse $"option '{option.Name}' is declared twice"

            for number in option.Numbers do
                if List.contains number known.Numbers then
                    refuse $"options '{known.Name}' and '{option.Name}' both have a number '{number}'"

        options.Add option

    let free (name: string) =
        if name = StepProgram.Parameter || name = StepProgram.Gradient then
            refuse $"'{name}' is the name of the parameter or the gradient; a column or a number needs another one"

        if
            columns.Exists(fun column -> column.Name = name)
            || numbers.Exists(fun number -> number.Name = name)
        then
            refuse $"'{name}' is declared twice"

    let addColumn name start startOption =
        free name

        // Lanes of whole tensors have room for six.
        if columns.Count = 6 then
            refuse $"'{name}' is the seventh column; a rule keeps six at most"

        columns.Add
            {
                Name = name
                Start = start
                StartOption = startOption
            }

        Expression.Input name

    /// An option that is a number in a range.
    member _.Number(name: string, value: double, range: Interval) : Expression =
        declare
            {
                Name = name
                Default = OptionValue.Float value
                Ranges = [ range ]
                Numbers = [ name ]
            }

        Expression.Named(Operation.Option, name)

    /// An option that is two numbers, each in a range of its own, such as betas.
    member _.Pair
        (name: string, first: double, firstRange: Interval, second: double, secondRange: Interval)
        : struct (Expression * Expression) =
        let stem = if name.EndsWith 's' then name[.. name.Length - 2] else name
        let one, two = stem + "1", stem + "2"

        declare
            {
                Name = name
                Default = OptionValue.TupleOf [ OptionValue.Float first; OptionValue.Float second ]
                Ranges = [ firstRange; secondRange ]
                Numbers = [ one; two ]
            }

        struct (Expression.Named(Operation.Option, one), Expression.Named(Operation.Option, two))

    /// An option that is true or false, and its value in this run of the definition: formulas may differ by it.
    member _.Flag(name: string, value: bool) : bool =
        declare
            {
                Name = name
                Default = OptionValue.Bool value
                Ranges = []
                Numbers = []
            }

        match flags.TryGetValue name with
        | true, set -> set
        | _ -> value

    /// The parameter before the step.
    member _.Parameter: Expression = parameter
    /// Its gradient.
    member _.Gradient: Expression = gradient
    /// The step, counted from 1 for each parameter by itself.
    member _.Step: Expression = step

    /// A state column, in the dtype of the state: its elements before the step, 0 before the first one.
    member _.Column(name: string) : Expression = addColumn name 0.0 ""

    /// A state column whose elements are a number before the first step.
    member _.Column(name: string, start: double) : Expression = addColumn name start ""

    /// A state column whose elements are the value of an option before the first step.
    member _.Column(name: string, start: Expression) : Expression =
        match start.Operation with
        | Operation.Constant -> addColumn name start.Value ""
        | Operation.Option -> addColumn name 0.0 start.Name
        | _ -> refuse $"column '{name}' starts at {start}; it can start at a constant or at an option"

    /// A number that is kept for each parameter as a whole, as NAdam keeps mu_product: its value before the step, at first the start.
    member _.Kept(name: string, start: double) : Expression =
        free name

        if numbers.Count = 2 then
            refuse $"'{name}' is the third number that is kept; a rule keeps two at most"

        numbers.Add { Name = name; Start = start }
        Expression.Named(Operation.Kept, name)

    /// What becomes of a column, or of a number that is kept. Its expression stands for the value before the step, before and after this.
    member _.Set(column: Expression, value: Expression) =
        let isColumn =
            column.Operation = Operation.Input
            && columns.Exists(fun known -> known.Name = column.Name)

        let isNumber =
            column.Operation = Operation.Kept
            && numbers.Exists(fun known -> known.Name = column.Name)

        if not (isColumn || isNumber) then
            refuse $"{column} is set, and is no column and no number that the rule keeps"

        if not (sets.TryAdd(column.Name, value)) then
            refuse $"'{column.Name}' is set twice"

        if isColumn && value.Scope <> Scope.Element then
            refuse $"column '{column.Name}' holds elements, and is set to {value}, which is one number"

        if isNumber && value.Scope <> Scope.Step then
            refuse $"'{column.Name}' is a number of the step, and is set to {value}, which depends on elements"

    /// Declares that a law of Optim.Laws does not hold for the rule, by its id, and why: the reason is printed.
    member _.OptOut(law: string, reason: string) = optOuts.Add(law, reason)

    member internal _.Record(next: Expression) =
        if isNull (box next) then
            refuse "the definition returns null; it returns the parameter after the step"

        if next.Scope <> Scope.Element then
            refuse $"the parameter becomes {next}, which is one number; it must be of elements"

        let set what name =
            match sets.TryGetValue name with
            | true, value -> value
            | _ -> refuse $"{what} '{name}' is declared and never set"

        {
            OptOuts = List.ofSeq optOuts
            Options = List.ofSeq options
            Columns = List.ofSeq columns
            Numbers = List.ofSeq numbers
            Assignments =
                Assignment(StepProgram.Parameter, next)
                :: [
                    for column in columns do
                        Assignment(column.Name, set "column" column.Name)
                ]
            Kept =
                [
                    for number in numbers do
                        KeptNumber(number.Name, set "the kept number" number.Name)
                ]
        }

/// Functions of expressions, for definitions in F#: open it where a rule is defined. Operators, sqrt and abs are the usual ones.
module Definitions =
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
