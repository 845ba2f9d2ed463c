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

/// What rules do, recorded from their own formulas: any rule's, of this library or of one's own.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Explanation =
    /// The step of a rule as a program whose numbers are made of its options; none where it does not work element by element.
    let internal program (rule: Rule) (options: IOptimizerOptions) : StepProgram voption =
        match rule with
        | :? DefinedRule as rule -> ValueSome(rule.Program(rule.Table.Options options))
        | _ when rule.Scope <> RuleScope.Elements -> ValueNone
        | _ ->
            let assignments, kept = StepRecording.later rule options
            ValueSome(StepProgram(ResizeArray(StepRecording.arraysOf rule), assignments, kept))

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
