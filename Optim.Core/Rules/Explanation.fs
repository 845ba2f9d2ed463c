namespace Optim.Core

open System
open System.Collections.Immutable
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
    }

/// A step of a rule, to be recorded.
[<Sealed>]
type internal RuleRecording(rule: Rule, options: IOptimizerOptions, step: int64) =
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
        (read: Reader<'n>, scalars: Scalars<'n>, row: 'v array)
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

    /// Far enough that nothing is special about the first steps, and apart, to tell what depends on the step.
    let private steps = [| 1_000_003L; 2_000_029L |]

    /// The step of a rule as a program whose numbers are made of its options; none where it does not work element by element.
    let internal program (rule: Rule) (options: IOptimizerOptions) : StepProgram voption =
        let columns = rule.ColumnNames |> Seq.toList
        let arrays = StepProgram.Parameter :: StepProgram.Gradient :: columns

        let record step =
            let row = Array.zeroCreate<Recorder> 8
            arrays |> List.iteri (fun i name -> row[i] <- Recorder(Expression.Input name))
            let before = row |> Array.map _.Expression

            let kept index =
                if index < rule.ScalarNames.Length then
                    RecordedNumber(Expression.Named(Operation.Kept, rule.ScalarNames[index]))
                else
                    RecordedNumber()

            let scalars =
                RuleRecording(rule, options, step).Record(reader, Scalars<RecordedNumber>(kept 0, kept 1), row)

            row, before, [| scalars.First.Expression; scalars.Second.Expression |]

        match rule with
        | :? DefinedRule as rule -> ValueSome(rule.Program(rule.Table.Options options))
        | _ when rule.Scope <> RuleScope.Elements -> ValueNone
        | _ ->
            let row, before, kept = record steps[0]
            let later, _, keptLater = record steps[1]

            let merge a b =
                RecordedNumber.Merge(a, b, double steps[0], double steps[1])

            let assignments =
                arrays
                |> List.indexed
                |> List.filter (fun (i, _) -> i <> 1 && not (obj.ReferenceEquals(row[i].Expression, before[i])))
                |> List.map (fun (i, name) -> Assignment(name, merge row[i].Expression later[i].Expression))

            let numbers =
                rule.ScalarNames
                |> Seq.mapi (fun i name -> KeptNumber(name, merge kept[i] keptLater[i]))

            ValueSome(StepProgram(ResizeArray arrays, assignments, Seq.toArray numbers))

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
            Columns = rule.ColumnsUnder options
            Numbers = rule.ScalarNames
            Formula = program |> ValueOption.map string |> ValueOption.defaultValue ""
            Latex =
                program
                |> ValueOption.map (fun program -> ProgramLatex.Of(program: StepProgram))
                |> ValueOption.defaultValue ""
            Visits =
                program
                |> ValueOption.map visits
                |> ValueOption.defaultValue ImmutableArray<ExplainedVisit>.Empty
        }
