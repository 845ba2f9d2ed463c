// Long, because what a definition declares is checked where it is recorded.
namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim
open Optim.Kernels

/// The options of a rule by definition. Immutable and compared by content; read and replaced by name, as those of any rule.
[<Sealed>]
type DefinedOptions internal (names: ImmutableArray<string>, values: ImmutableArray<OptionValue>, storage: StateStorage) =
    internal new(names, values) = DefinedOptions(names, values, StateStorage.Float32)
    /// How state is kept.
    member _.StateStorage = storage
    member internal _.Names = names
    member internal _.Values = values

    member internal _.With(index: int, value: OptionValue) =
        DefinedOptions(names, values.SetItem(index, value), storage)

    member internal _.WithStorage(storage: StateStorage) = DefinedOptions(names, values, storage)

    override _.Equals other =
        match other with
        | :? DefinedOptions as other ->
            Seq.forall2 (fun (a: string) b -> a = b) names other.Names
            && Seq.forall2 (fun (a: OptionValue) (b: OptionValue) -> a.Equals b) values other.Values
            && storage.Equals other.StateStorage
        | _ -> false

    override _.GetHashCode() =
        values
        |> Seq.fold (fun code value -> HashCode.Combine(code, value.GetHashCode())) 0

    /// The options by their names, as a record is printed.
    override _.ToString() =
        "{ "
        + String.Join(
            "; ",
            [
                yield! Seq.map2 (fun name (value: OptionValue) -> $"{name} = {value}") names values

                if not (storage.Equals StateStorage.Float32) then
                    $"state_storage = {storage}"
            ]
        )
        + " }"

    interface IOptimizerOptions

/// What the value of an option may be.
[<NoEquality; NoComparison>]
type internal DefinedOptionKind =
    | Number of Interval
    /// A number, or a value that turns something off: None or 0. Formulas and columns may differ by whether it is that value.
    | NumberOr of off: OptionValue * Interval
    | Whole of Interval
    /// Two or three numbers.
    | Several of Interval list
    /// Two numbers, or None.
    | SeveralOrNone of Interval list
    /// True or False, which formulas read as 1 or 0.
    | Switch
    /// One of some values, by which formulas and columns may differ: flags, names, small whole numbers.
    | OneOf of OptionValue list

/// An option that a definition declares.
[<NoEquality; NoComparison>]
type internal DefinedOption =
    {
        Name: string
        Default: OptionValue
        Kind: DefinedOptionKind
        /// What its numbers are called in formulas: its own name, or beta1 and beta2 for betas.
        Numbers: string list
    }

    /// How many formulas there may be by its value.
    member option.Alternatives =
        match option.Kind with
        | OneOf values -> values.Length
        | NumberOr _ -> 2
        | _ -> 1

    /// Which of them a value has.
    /// Adds an option to others. Which way a rule goes is declared around a definition, and comes last.
    static member Add(options: List<DefinedOption>, option: DefinedOption) =
        let last = options.Count - 1

        if last >= 0 && options[last].Name = DefinedOption.Maximize then
            options.Insert(last, option)
        else
            options.Add option

    /// The option of a rule that can go up the gradient.
    static member Maximize = "maximize"

    member option.AlternativeOf(value: OptionValue) =
        match option.Kind with
        | OneOf values -> values |> List.findIndex (fun one -> one = value)
        | NumberOr(off, _) -> if value = off then 0 else 1
        | _ -> 0

    /// Whether a step may be taken the derivative of by its numbers.
    member option.IsContinuous =
        match option.Kind with
        | Number _
        | NumberOr _
        | Several _ -> true
        | _ -> false

/// A state column that a definition declares: where it starts, and by which option, if by one, and whether it holds one number for each parameter
/// instead of its elements.
type internal DefinedColumn =
    {
        Name: string
        Start: double
        StartOption: string
        IsTensorNumber: bool
    }

    /// What it is before the step.
    member column.Before =
        if column.IsTensorNumber then
            Expression.TensorNumber column.Name
        else
            Expression.Input column.Name

/// A number that a definition keeps for each parameter as a whole.
type internal DefinedNumber = { Name: string; Start: double }

/// A parameter, for what is decided by it: how it is stepped, and which state it has.
[<NoComparison>]
type ParameterDescription =
    {
        /// Its name; empty where parameters have none.
        Name: string
        /// The lengths of its dimensions; none for a number.
        Shape: ImmutableArray<int64>
        /// Its dtype.
        DType: DType
    }

    /// The parameter of a row.
    static member internal Of(parameters: Parameters, row: int) =
        {
            Name =
                if parameters.Names.IsDefaultOrEmpty then
                    ""
                else
                    parameters.Names[row]
            Shape =
                match parameters.Totals with
                | null -> parameters[row].Layout.Shape
                | ranks -> (ranks.LayoutOf row).Shape
            DType = parameters.DTypeOf row
        }

/// What a definition asks of each parameter: one of some alternatives. Questions of the same key are the same.
[<NoEquality; NoComparison>]
type internal Question =
    {
        Key: string
        Alternatives: int
        Decide: ParameterDescription -> int
    }

/// What a definition says under some setting of its flags, for parameters about which its questions have some answers.
[<NoEquality; NoComparison>]
type internal RecordedDefinition =
    {
        Options: DefinedOption list
        Columns: DefinedColumn list
        Numbers: DefinedNumber list
        /// What becomes of parameter and columns, and of the numbers.
        Assignments: Assignment list
        Kept: KeptNumber list
        /// Numbers that are functions of the step, by their names.
        Functions: (string * (int64 -> double)) list
        /// Whether columns lie in row-major order, however their parameters do.
        InRowMajorOrder: bool
        /// Laws that do not hold for the rule, and why.
        OptOuts: (string * string) list
        /// Columns that stay as wide as the arithmetic.
        Wide: string list
    }

/// What is recorded of a rule around another one.
type internal WrapperPart =
    /// All of it, with the other one, which is a part of the same program.
    | All = 0
    /// What it hands to a rule that takes its step separately.
    | Before = 1
    /// What it makes of that step.
    | After = 2

/// What a rule that takes its step separately is given.
[<NoEquality; NoComparison>]
type internal HandedStep =
    {
        Parameter: Expression
        Gradient: Expression
        /// The number of its step, counted from 1.
        Step: Expression
    }

/// What a run of a definition has declared so far.
[<Sealed>]
type internal DefinitionRecording(rule: string, alternatives: IReadOnlyDictionary<string, int>, answer: Question -> int) =
    /// More would not be told apart by a word of bits.
    let mostColumns = 48

    member val Options = List<DefinedOption>()
    member val Columns = List<DefinedColumn>()
    member val Numbers = List<DefinedNumber>()
    member val Functions = List<string * (int64 -> double)>()
    /// How many reductions over all there are under each path.
    member val Shared = Dictionary<string, int>()
    member val Sets = Dictionary<string, Expression>()
    member val OptOuts = List<string * string>()
    /// Columns that stay as wide as the arithmetic.
    member val Wide = HashSet<string>(StringComparer.Ordinal)
    /// Which part of a rule around another one is recorded.
    member val Part = WrapperPart.All with get, set
    /// What the other one is given, where it takes its step separately.
    member val Handed: HandedStep voption = ValueNone with get, set
    /// When it takes a step, if not always.
    member val Applies: Condition voption = ValueNone with get, set
    /// Defaults that stand in for those that are declared.
    member val Defaults: DefinedOptions voption = ValueNone with get, set

    member _.Refuse<'a>(words: string) : 'a =
        raise (ArgumentException $"{rule}: {words}")

    member _.Ask question = answer question

    /// Which of its alternatives an option has in this run.
    member _.AlternativeOf(option: DefinedOption) =
        match alternatives.TryGetValue option.Name with
        | true, set -> set
        | _ -> option.AlternativeOf option.Default

    member recording.Declare(option: DefinedOption) =
        let option =
            match recording.Defaults with
            | ValueSome given when given.Names.Contains option.Name ->
                { option with
                    Default = given.Values[given.Names.IndexOf option.Name]
                }
            | _ -> option

        for known in recording.Options do
            if known.Name = option.Name then
                recording.Refuse $"option '{option.Name}' is declared twice"

            for number in option.Numbers do
                if List.contains number known.Numbers then
                    recording.Refuse $"options '{known.Name}' and '{option.Name}' both have a number '{number}'"

        DefinedOption.Add(recording.Options, option)
        option

    member recording.Free(name: string) =
        if name = StepProgram.Parameter || name = StepProgram.Gradient then
            recording.Refuse $"'{name}' is the name of the parameter or the gradient; a column or a number needs another one"

        if
            recording.Columns.Exists(fun column -> column.Name = name)
            || recording.Numbers.Exists(fun number -> number.Name = name)
        then
            recording.Refuse $"'{name}' is declared twice"

    member recording.AddColumn(name, start, startOption, isTensorNumber) =
        recording.Free name

        if recording.Columns.Count = mostColumns then
            recording.Refuse $"'{name}' is one column too many; a rule keeps {mostColumns} at most"

        let column =
            {
                Name = name
                Start = start
                StartOption = startOption
                IsTensorNumber = isTensorNumber
            }

        recording.Columns.Add column
        column.Before

    member recording.Set(target: Expression, value: Expression) =
        let isColumn =
            target.Operation = Operation.Input
            && recording.Columns.Exists(fun known -> known.Name = target.Name)

        let isTensorNumber =
            target.Operation = Operation.TensorNumber
            && recording.Columns.Exists(fun known -> known.Name = target.Name)

        let isNumber =
            target.Operation = Operation.Kept
            && recording.Numbers.Exists(fun known -> known.Name = target.Name)

        if not (isColumn || isTensorNumber || isNumber) then
            recording.Refuse $"{target} is set, and is no column and no number that the rule keeps"

        if not (recording.Sets.TryAdd(target.Name, value)) then
            recording.Refuse $"'{target.Name}' is set twice"

        if isColumn && value.Scope <> Scope.Element then
            recording.Refuse $"column '{target.Name}' holds elements, and is set to {value}, which is one number"

        if isTensorNumber && value.Scope = Scope.Element then
            recording.Refuse $"'{target.Name}' is a number of each tensor, and is set to {value}, which is of elements"

        if isNumber && value.Scope > Scope.AllTensors then
            recording.Refuse $"'{target.Name}' is a number of the step, and is set to {value}, which depends on elements"

    member recording.Finish(next: Expression) : RecordedDefinition =
        if isNull (box next) then
            recording.Refuse "the definition returns null; it returns the parameter after the step"

        if next.Scope <> Scope.Element then
            recording.Refuse $"the parameter becomes {next}, which is one number; it must be of elements"

        let set what name =
            match recording.Sets.TryGetValue name with
            | true, value -> value
            | _ -> recording.Refuse $"{what} '{name}' is declared and never set"

        // What stays as it is is not stored.
        let stays (name: string) (value: Expression) =
            (value.Operation = Operation.Input || value.Operation = Operation.TensorNumber)
            && value.Name = name

        {
            OptOuts = List.ofSeq recording.OptOuts
            Wide = List.ofSeq recording.Wide
            Options = List.ofSeq recording.Options
            Columns = List.ofSeq recording.Columns
            Numbers = List.ofSeq recording.Numbers
            Functions = List.ofSeq recording.Functions
            InRowMajorOrder = recording.Part <> WrapperPart.All
            Assignments =
                [
                    if not (stays StepProgram.Parameter next) then
                        Assignment(StepProgram.Parameter, next)

                    for column in recording.Columns do
                        let value = set "column" column.Name

                        if not (stays column.Name value) then
                            Assignment(column.Name, value, column.IsTensorNumber)
                ]
            Kept =
                [
                    for number in recording.Numbers do
                        KeptNumber(number.Name, set "the kept number" number.Name)
                ]
        }
