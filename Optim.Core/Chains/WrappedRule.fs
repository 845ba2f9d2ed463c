namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// The options of a rule around one that takes its step separately.
[<NoComparison>]
type internal WrappedOptions =
    {
        Inside: IOptimizerOptions
        Own: DefinedOptions
    }

    override options.ToString() =
        $"{options.Own} around {options.Inside}"

    interface IOptimizerOptions

/// A rule around one that takes its step separately, such as one that looks at whole tensors.
[<Sealed>]
type internal WrappedRule
    (
        name: string,
        defaults: WrappedOptions,
        fields: Field<WrappedOptions> list,
        aliases: Field<WrappedOptions> list,
        wrapping: WrapperPrograms
    ) =
    inherit Rule<WrappedOptions>(name, OptionTable<WrappedOptions>(name, defaults, fields, aliases))
    let inside, before, after = wrapping.Rule, wrapping.Before, wrapping.After

    let ownColumns = wrapping.ColumnNames.RemoveRange(0, inside.ColumnNames.Length)

    let counts = inside.KeepsStep || before.KeepsStep || after.KeepsStep

    /// The options of both programs: their own, and numbers of the rule inside that they may read.
    let ownOptions (options: WrappedOptions) : DefinedOptions =
        let names = options.Own.Names

        (options.Own, seq { 0 .. names.Length - 1 })
        ||> Seq.fold (fun own index ->
            if inside.OptionNames.Contains names[index] then
                own.With(index, inside.Read(options.Inside, names[index]))
            else
                own)

    override _.Scope =
        if inside.Scope = RuleScope.Matrices then
            RuleScope.Matrices
        else
            RuleScope.Tensors

    override _.StepsByValues = inside.StepsByValues

    override _.TellsParametersApart =
        inside.TellsParametersApart
        || (before :> Rule).TellsParametersApart
        || (after :> Rule).TellsParametersApart

    override _.LooksOverAll =
        inside.LooksOverAll
        || (before :> Rule).LooksOverAll
        || (after :> Rule).LooksOverAll

    override _.KeepsStep = counts
    override _.StepsAreWhole = inside.StepsAreWhole
    override _.ScalarNames = wrapping.ScalarNames
    override _.ColumnNames = wrapping.ColumnNames

    override rule.ColumnsUnder options =
        let options = rule.Table.Options options
        let own = after.ColumnsUnder options.Own

        ImmutableArray.CreateRange
            [
                yield! inside.ColumnsUnder options.Inside

                for column in ownColumns do
                    if own.Contains column then
                        column
            ]

    override rule.Sparse options =
        rule.Table.Options options |> ignore
        SparseGradients.Refused

    override rule.Init(options, parameters) =
        Argument.notNull "parameters" parameters
        let options = rule.Table.Options options
        rule.Table.Check options
        let ofInside = inside.Init(options.Inside, parameters)
        let ofWrapper = (after :> Rule).Init(ownOptions options, parameters)

        State(name, parameters.Count, wrapping.ScalarNames, Counts.Zero, wrapping.Columns(ofInside, ofWrapper), Lineage())

    override _.Restore(parameters, stepCounts, scalars, rows) =
        Argument.notNull "parameters" parameters
        Argument.notNull "counts" stepCounts
        Argument.notNull "scalars" scalars
        Argument.notNull "columns" rows

        let those (names: ImmutableArray<string>) (given: KeyValuePair<string, 'a> seq) =
            given |> Seq.filter (fun one -> names.Contains one.Key) |> Array.ofSeq

        let ofWrapper =
            after.Restore(parameters, stepCounts, those after.ScalarNames scalars, those ownColumns rows)

        let inner row =
            let kept = ofWrapper.Counts.Scalars row
            wrapping.StepsInside(stepCounts[row], (fun name -> kept[after.ScalarNames.IndexOf name].Value))

        let ofInside =
            inside.Restore(parameters, Array.init parameters.Count inner, those inside.ScalarNames scalars, those inside.ColumnNames rows)

        let count row =
            if counts then
                StepCount.Of stepCounts[row]
            else
                {
                    Taken = max ofInside.Counts[row] ofWrapper.Counts[row]
                    Counted = 0L
                }

        let kept row =
            wrapping.Scalars(ofInside.Counts, ofWrapper.Counts, row)

        State(
            name,
            parameters.Count,
            wrapping.ScalarNames,
            Counts.Of(count, kept, (fun _ -> false), parameters.Count),
            wrapping.Columns(ofInside, ofWrapper),
            Lineage()
        )

    override rule.Prepare(options, parameters, gradients, state) =
        let options = rule.Table.Options options
        Rows.given parameters gradients state
        state.Live()
        Planning.belongs name parameters gradients state

        for row in 0 .. parameters.Count - 1 do
            if gradients[row].Kind <> GradientKind.Absent then
                Checks.gradient name SparseGradients.Refused parameters row gradients[row]

        let lineage = state.Lineage

        let prepared =
            match lineage.Prepared with
            | ValueSome(:? PreparedWrapping as prepared) -> prepared
            | _ -> PreparedWrapping(name, wrapping)

        lineage.Prepared <- ValueSome(prepared :> PreparedStep)

        if not (obj.ReferenceEquals(prepared.Options, options)) then
            prepared.OwnOptions <- ownOptions options
            prepared.Options <- options

        prepared.Prepare(options.Inside, prepared.OwnOptions, parameters, gradients, state)
        prepared :> PreparedStep

    /// The rule of a wrapper around another one with these options.
    static member Make(name: string, inside: Rule, options: IOptimizerOptions, write: RuleDefinition -> Expression) : Rule =
        let handed: HandedStep voption ref = ref ValueNone

        let elements (r: RuleDefinition) (value: Expression) =
            if value.Scope = Scope.Element then
                value
            else
                // The same number for each of them.
                Expression.Select(Condition.IsNaN r.Parameter, value + 0.0, value)

        let before =
            DefinedRule.Define(
                name,
                fun r ->
                    let recording = r.Recording
                    recording.Part <- WrapperPart.Before
                    write r |> ignore
                    handed.Value <- recording.Handed
                    let step = recording.Handed.Value

                    // The other program moves them.
                    for column in recording.Columns do
                        recording.Sets[column.Name] <- column.Before

                    r.Set(r.Column InnerRule.Parameter, elements r step.Parameter)
                    r.Set(r.Column InnerRule.Gradient, elements r step.Gradient)

                    match recording.Applies with
                    | ValueSome applies ->
                        r.Set(r.Kept(InnerRule.Applies, 1.0), Expression.Select(applies, Expression.Of 1.0, Expression.Of 0.0))
                    | ValueNone -> ()

                    r.Parameter
            )

        let after =
            DefinedRule.Define(
                name,
                fun r ->
                    r.Recording.Part <- WrapperPart.After
                    write r
            )

        let isOwn (column: string) =
            column <> InnerRule.Parameter && not (inside.ColumnNames.Contains column)

        let wrapping =
            {
                Rule = inside
                Before = before
                After = after
                Step = handed.Value.Value.Step
                ScalarNames = inside.ScalarNames.AddRange after.ScalarNames
                ColumnNames = inside.ColumnNames.AddRange(after.ColumnNames |> Seq.filter isOwn)
            }

        let ofInside option =
            inside.OptionTable.RowWithin(option, _.Inside, (fun options replaced -> { options with Inside = replaced }))

        let own option =
            (after :> Rule)
                .OptionTable.RowWithin(
                    option,
                    (fun options -> options.Own :> IOptimizerOptions),
                    (fun options replaced ->
                        { options with
                            Own = after.Table.Options replaced
                        })
                )

        let fields =
            [
                for option in inside.OptionNames do
                    ofInside option

                for option in after.OptionNames do
                    if not (inside.OptionNames.Contains option) then
                        own option
            ]

        // What schedulers write as lr, where it is another option.
        let aliases =
            if inside.Has "lr" && not (inside.OptionNames.Contains "lr") then
                [ ofInside "lr" ]
            else
                []

        let rule =
            WrappedRule(
                name,
                {
                    Inside = options
                    Own = after.Defaults
                },
                fields,
                aliases,
                wrapping
            )

        rule.Table.Check rule.Defaults

        let optOuts =
            Seq.concat
                [
                    inside.OptOuts :> KeyValuePair<string, string> seq
                    before.OptOuts
                    after.OptOuts
                ]
            |> Seq.distinctBy _.Key
            |> Seq.filter (fun optOut -> optOut.Key <> "F8")

        rule.Declare
            [|
                for KeyValue(law, reason) in optOuts do
                    Declaration.optOut law reason

                Declaration.optOut
                    "F8"
                    "a step is made of three, each with a state of its own: some kilobytes, however many parameters there are"
            |]
