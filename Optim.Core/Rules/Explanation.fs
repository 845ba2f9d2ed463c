namespace Optim.Core

open System
open System.Collections.Immutable
open Optim
open Optim.Kernels

/// An option as it is explained.
[<NoComparison>]
type ExplainedOption =
    {
        Name: string
        Value: OptionValue
        /// What it may be, in words.
        Range: string
    }

/// A visit of memory as it is explained, for float32 parameters.
[<NoComparison>]
type ExplainedVisit =
    {
        Reads: ImmutableArray<string>
        Writes: ImmutableArray<string>
        /// Operations on each element.
        Operations: int
        /// Numbers that are worked out once, in double.
        Numbers: int
        /// Bytes that are moved for each element.
        Bytes: int
    }

/// What a rule does under some options.
[<NoComparison>]
type Explanation =
    {
        Rule: string
        Options: ImmutableArray<ExplainedOption>
        /// The state columns that are kept for each element.
        Columns: ImmutableArray<string>
        /// The numbers that are kept for each parameter as a whole.
        Numbers: ImmutableArray<string>
        /// The step as a program, a line for each value: t is the step, from 1; fma(a, b, c) is a b + c, rounded once. Empty for rules
        /// that do not work element by element.
        Formula: string
        /// The same in LaTeX.
        Latex: string
        /// The visits of memory that a step takes.
        Visits: ImmutableArray<ExplainedVisit>
        /// Bytes of state for each element of a float32 parameter in the narrow formats, by their names; none where the rule has no choice.
        StorageBytes: ImmutableArray<struct (string * double)>
        /// Whether parameters are stepped by formulas of their own, by their names, shapes or dtypes: then formula and visits are those of the first
        /// kind, to which every mask applies.
        TellsParametersApart: bool
    }

/// A step of a rule, to be recorded.
[<Sealed>]
type internal RuleRecording(rule: Rule, options: IOptimizerOptions) =
    inherit FormulaRecording()

    override _.Run<'v, 'n
        when 'v: struct
        and 'v: (new: unit -> 'v)
        and 'v :> ValueType
        and 'v :> ILane<'v>
        and 'v :> ITakes<'v, 'n>
        and 'n: struct
        and 'n: (new: unit -> 'n)
        and 'n :> ValueType
        and 'n :> IScalar<'n>>
        (read: Reader<'n>, step: StepNumber<'n>, scalars: Scalars<'n>, row: 'v array)
        =
        rule.Update<'v, 'n>(options, read, step, scalars, row)

/// What rules do, recorded from their own formulas: any rule's, of this library or of one's own.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Explanation =
    /// Options by their names.
    let private reader =
        { new Reader<RecordedNumber>() with
            member _.Of(name, _) =
                RecordedNumber(Expression.Named(Operation.Option, name))
        }

    /// A step like one of some count: what depends on it is a number of the program.
    let private stepLike (count: int64) =
        StepNumber<RecordedNumber>(count, RecordedNumber Expression.StepCount)

    /// Far enough that nothing is special about the first steps.
    let private late = 1_000_003L

    let private arraysOf (rule: Rule) =
        StepProgram.Parameter :: StepProgram.Gradient :: List.ofSeq rule.ColumnNames

    let private recordStep (rule: Rule) (options: IOptimizerOptions) (step: StepNumber<RecordedNumber>) =
        let arrays = arraysOf rule
        let row = Array.zeroCreate<Recorder>(max 8 arrays.Length)
        arrays |> List.iteri (fun i name -> row[i] <- Recorder(Expression.Input name))
        let before = row |> Array.map _.Expression

        let kept =
            [|
                for name in rule.ScalarNames -> RecordedNumber(Expression.Named(Operation.Kept, name))
            |]

        let scalars =
            RuleRecording(rule, options).Record(reader, step, Scalars<RecordedNumber>(ReadOnlySpan kept), row)

        let assignments =
            [
                for i, name in List.indexed arrays do
                    if i <> 1 && not (obj.ReferenceEquals(row[i].Expression, before[i])) then
                        Assignment(name, row[i].Expression)
            ]

        assignments,
        [
            for i in 0 .. kept.Length - 1 -> KeptNumber(rule.ScalarNames[i], scalars[i].Expression)
        ]

    /// What becomes of arrays, and of the numbers that are kept, in a step of some number.
    let internal record (rule: Rule) (options: IOptimizerOptions) (step: int64) =
        recordStep rule options (StepNumber<RecordedNumber> step)

    /// The same of any step that is of one kind with another: early or late.
    let internal recordLike (rule: Rule) (options: IOptimizerOptions) (count: int64) =
        recordStep rule options (stepLike count)

    /// The same of any step but the first ones, about which something may be special.
    let internal recordLater (rule: Rule) (options: IOptimizerOptions) = recordLike rule options late

    /// A number that tells early steps from late ones, of any step.
    let internal phase (rule: IPhased) (options: IOptimizerOptions) =
        (rule.Phase<RecordedNumber>(options, reader, stepLike late)).Expression

    /// The step of a rule as a program whose numbers are made of its options; none where it does not work element by element.
    let internal program (rule: Rule) (options: IOptimizerOptions) : StepProgram voption =
        match rule with
        | :? DefinedRule as rule -> ValueSome(rule.Program(rule.Table.Options options))
        | _ when rule.Scope <> RuleScope.Elements -> ValueNone
        | _ ->
            let assignments, kept = recordLater rule options
            ValueSome(StepProgram(ResizeArray(arraysOf rule), assignments, kept))

    /// What the elements of a column are before the first step, and the kept numbers, as expressions of options.
    let internal starts (rule: Rule) (options: IOptimizerOptions) =
        let scalars = rule.StartScalars<RecordedNumber>(options, reader)

        [
            for column in 0 .. rule.ColumnNames.Length - 1 -> rule.Start<RecordedNumber>(options, column, reader).Expression
        ],
        [ for index in 0 .. rule.ScalarNames.Length - 1 -> scalars[index].Expression ]

    let private visits (program: StepProgram) =
        program.VisitsFor DType.Float32
        |> Seq.map (fun visit ->
            let code = visit.Code

            let arrays chosen =
                code.ArrayUses
                |> Seq.filter (fun use' -> use'.Array < code.Arrays && chosen use')
                |> Seq.map (fun use' -> program.Arrays[use'.Array])
                |> ImmutableArray.CreateRange

            {
                Reads = arrays _.IsRead
                Writes = arrays _.IsWritten
                Operations = code.Operations
                Numbers = code.Numbers
                Bytes = code.Bytes
            })
        |> ImmutableArray.CreateRange

    /// What a rule does under these options.
    let ofRule (rule: Rule) (options: IOptimizerOptions) : Explanation =
        Argument.notNull "rule" rule
        let program = program rule options

        let holdsNumber name =
            match rule with
            | :? DefinedRule as rule -> rule.HoldsNumber name
            | _ -> false

        {
            Rule = rule.Name
            Options =
                ImmutableArray.CreateRange
                    [
                        for name in rule.OptionNames do
                            {
                                Name = name
                                Value = rule.Read(options, name)
                                Range = rule.RangeOf name
                            }
                    ]
            Columns =
                rule.ColumnsUnder options
                |> Seq.filter (holdsNumber >> not)
                |> ImmutableArray.CreateRange
            Numbers =
                Seq.append (rule.ColumnsUnder options |> Seq.filter holdsNumber) rule.ScalarNames
                |> ImmutableArray.CreateRange
            Formula = program |> ValueOption.map string |> ValueOption.defaultValue ""
            Latex =
                program
                |> ValueOption.map (fun program -> ProgramLatex.Of(program: StepProgram))
                |> ValueOption.defaultValue ""
            Visits =
                program
                |> ValueOption.map visits
                |> ValueOption.defaultValue ImmutableArray<ExplainedVisit>.Empty
            StorageBytes =
                ImmutableArray.CreateRange
                    [
                        if rule.Has StorageFields.format then
                            for format in [ StateFormat.BFloat16; StateFormat.Blockwise8 ] do
                                struct (StateStorage.NameOf format, rule.StateBytes(options, format))
                    ]
            TellsParametersApart =
                match rule with
                | :? DefinedRule as rule -> rule.TellsParametersApart
                | _ -> false
        }
