namespace Optim.Core

open System
open System.Collections.Immutable
open Optim.Kernels

/// A rule around one that takes its step separately: what it hands over and what it makes of the step are programs of their own.
[<NoEquality; NoComparison>]
type internal WrapperPrograms =
    {
        /// The rule inside.
        Rule: Rule
        /// Fills the columns that the rule inside steps on.
        Before: DefinedRule
        /// Makes parameter and columns of what the rule inside left there.
        After: DefinedRule
        /// The number of the step of the rule inside, counted from 1.
        Step: Expression
        /// The numbers that are kept, and the columns, of the rule inside first.
        ScalarNames: ImmutableArray<string>
        ColumnNames: ImmutableArray<string>
    }

    /// The numbers that are kept for a row, of those of the rule inside and of the wrapper's.
    member wrapping.Scalars(ofInside: Counts, ofWrapper: Counts, row: int) =
        let first, second = ofInside.Scalars row, ofWrapper.Scalars row
        let inside = wrapping.Rule.ScalarNames.Length

        Scalars<Real>(
            ReadOnlySpan
                [|
                    for index in 0 .. wrapping.ScalarNames.Length - 1 do
                        if index < inside then
                            first[index]
                        else
                            second[index - inside]
                |]
        )

    /// The columns, of those of the rule inside and of the wrapper's.
    member wrapping.Columns(ofInside: State, ofWrapper: State) =
        ImmutableArray.CreateRange(
            Seq.append
                ofInside.Columns
                (ofWrapper.Columns
                 |> Seq.filter (fun column -> wrapping.ColumnNames.IndexOf column.Name >= wrapping.Rule.ColumnNames.Length))
        )

    /// How many steps the rule inside has taken, when so many were taken in all.
    member wrapping.StepsInside(taken: int64, scalar: string -> double) : int64 =
        let leaf (number: Expression) =
            if number.Operation = Operation.StepCount then
                double (taken + 1L)
            else
                scalar number.Name

        if taken = 0L then
            0L
        else
            int64 (StepRecording.valueOf leaf wrapping.Step) - 1L

/// The states of both programs and of the rule between them; columns that several use are the same memory.
[<NoEquality; NoComparison>]
type internal WrapperStates =
    {
        BeforeState: State
        InsideState: State
        AfterState: State
    }

module internal WrapperStates =
    /// The states of which that of the whole is made.
    let ofState (wrapping: WrapperPrograms) (state: State) : WrapperStates =
        let rows = state.RowCount

        let column name =
            match state.Columns |> Seq.tryFind (fun column -> column.Name = name) with
            | Some column -> column
            | None -> Column(name, ImmutableArray.CreateRange(Seq.replicate rows (TensorView())))

        let scalar row name =
            match wrapping.ScalarNames.IndexOf name with
            | -1 -> Real 0.0
            | index ->
                let scalars = state.Counts.Scalars row
                scalars[index]

        let make (rule: Rule) (taken: int -> int64) =
            let columns = ImmutableArray.CreateRange(rule.ColumnNames |> Seq.map column)

            let count row =
                let taken = taken row

                // Rules that do not always count go by whether there is state.
                if rule.KeepsStep || columns |> Seq.exists (fun column -> not column[row].IsAbsent) then
                    StepCount.Of taken
                else
                    { Taken = taken; Counted = 0L }

            let scalars row =
                Scalars<Real>(ReadOnlySpan [| for name in rule.ScalarNames -> scalar row name |])

            let counts = Counts.Of(count, scalars, (fun _ -> false), rows)
            State(rule.Name, rows, rule.ScalarNames, counts, columns, Lineage())

        let taken row = state.Counts[row]

        let inside row =
            wrapping.StepsInside(taken row, (fun name -> (scalar row name).Value))

        {
            BeforeState = make wrapping.Before taken
            InsideState = make wrapping.Rule inside
            AfterState = make wrapping.After taken
        }

/// A step of a rule around one that takes its step separately, kept between steps.
[<Sealed>]
type internal PreparedWrapping(name: string, wrapping: WrapperPrograms) =
    inherit PreparedStep()
    let before, inside, after = wrapping.Before, wrapping.Rule, wrapping.After
    let parameterAt = before.ColumnNames.IndexOf InnerRule.Parameter
    let gradientAt = before.ColumnNames.IndexOf InnerRule.Gradient
    let appliesAt = before.ScalarNames.IndexOf InnerRule.Applies
    let isOwn (column: string) = before.ColumnNames.Contains column

    /// The states of the last step; none where it failed.
    let mutable states: WrapperStates voption = ValueNone
    let mutable insideOptions = Unchecked.defaultof<IOptimizerOptions>
    let mutable whole: State voption = ValueNone
    let mutable gradients = Unchecked.defaultof<Gradients>
    let mutable stepBefore = Unchecked.defaultof<PreparedStep>
    let mutable stepInside = Unchecked.defaultof<PreparedStep>
    let mutable stepAfter = Unchecked.defaultof<PreparedStep>
    let mutable threads = 1
    // What the rule inside steps on; parameters that take no step stand for themselves.
    let mutable tensors: TensorView array = [||]
    let mutable handed: Gradient array = [||]
    let mutable ofParameters: Parameters voption = ValueNone
    let mutable standing = Unchecked.defaultof<Parameters>

    let steps row =
        gradients[row].Kind <> GradientKind.Absent

    /// The columns of the whole, where those of its parts are.
    let join (ofInside: ImmutableArray<Column>) (ofWrapper: ImmutableArray<Column>) (names: ImmutableArray<string>) =
        ImmutableArray.CreateRange(
            seq {
                for column in wrapping.ColumnNames do
                    match inside.ColumnNames.IndexOf column with
                    | -1 -> ofWrapper[names.IndexOf column]
                    | index -> ofInside[index]
            }
        )

    let prepareInside (state: State) =
        inside.Prepare(insideOptions, standing, Gradients.Over handed, state)

    /// Hands the columns over to the rule inside.
    let hand (parameters: Parameters) (columns: ImmutableArray<Column>) =
        if tensors.Length <> parameters.Count then
            tensors <- Array.zeroCreate parameters.Count
            handed <- Array.zeroCreate parameters.Count
            ofParameters <- ValueNone

        let ofParameter, ofGradient = columns[parameterAt], columns[gradientAt]

        for row in 0 .. parameters.Count - 1 do
            tensors[row] <-
                if ofParameter[row].IsAbsent then
                    parameters[row]
                else
                    ofParameter[row]

            handed[row] <-
                if steps row then
                    Gradient.Dense ofGradient[row]
                else
                    Gradient.Absent

        match ofParameters with
        | ValueSome known when obj.ReferenceEquals(known, parameters) -> ()
        | _ ->
            ofParameters <- ValueSome parameters
            standing <- Parameters.StandingFor(tensors, parameters)

    /// The state of the second program: its columns are those of the first and of the rule inside.
    let columnsAfter (parameters: Parameters) (ofBefore: ImmutableArray<Column>) (ofInside: ImmutableArray<Column>) (state: State) =
        let columns =
            ImmutableArray.CreateRange(
                seq {
                    for column in after.ColumnNames do
                        match before.ColumnNames.IndexOf column with
                        | -1 -> ofInside[inside.ColumnNames.IndexOf column]
                        | index -> ofBefore[index]
                }
            )

        for column in columns do
            if not (isOwn column.Name) then
                for row in 0 .. parameters.Count - 1 do
                    if steps row && column[row].IsAbsent then
                        raise (
                            NotSupportedException
                                $"{name}: {inside.Name} keeps no {column.Name} for {parameters.Label row}, and {name} changes it"
                        )

        if Seq.forall2 (fun (a: Column) (b: Column) -> obj.ReferenceEquals(a, b)) columns state.Columns then
            state
        else
            State(after.Name, state.RowCount, after.ScalarNames, state.Counts, columns, state.Lineage)

    /// The step of the rule inside, of the parameters of which it takes one.
    let runInside (ofBefore: State) (state: State) : State =
        let applies row =
            appliesAt < 0
            || (let scalars = ofBefore.Counts.Scalars row in scalars[appliesAt].Value <> 0.0)

        let mutable all, some = true, false
        let ranks = if inside.LooksOverAll then standing.Totals else null

        for row in 0 .. gradients.Count - 1 do
            if steps row then
                if applies row then
                    some <- true
                else
                    all <- false
                    handed[row] <- Gradient.Absent

        // Where it looks over all parameters, ranks that have none of those take part, too.
        match ranks with
        | null -> ()
        | ranks ->
            some <- ranks.IsOnAny some
            all <- all && some

        if all then
            let next = stepInside.Run()
            threads <- max threads stepInside.Threads
            next
        elif some then
            let step = prepareInside state
            let next = step.Run()
            threads <- max threads step.Threads
            next
        else
            state

    /// The options of the last step, and those of both programs under them.
    member val Options: (IOptimizerOptions | null) = null with get, set

    member val OwnOptions = Unchecked.defaultof<DefinedOptions> with get, set

    /// Checks all that a step needs, and makes room.
    member _.Prepare(ofRule: IOptimizerOptions, ownOptions: DefinedOptions, parameters: Parameters, given: Gradients, state: State) : unit =
        insideOptions <- ofRule
        gradients <- given
        whole <- ValueSome state

        let known =
            match states with
            | ValueSome known -> known
            | ValueNone -> WrapperStates.ofState wrapping state

        stepBefore <- (before :> Rule).Prepare(ownOptions, parameters, given, known.BeforeState)
        let ofBefore = known.BeforeState.Lineage.Columns
        hand parameters ofBefore
        stepInside <- prepareInside known.InsideState
        let ofInside = known.InsideState.Lineage.Columns

        let ofAfter = columnsAfter parameters ofBefore ofInside known.AfterState

        states <- ValueSome { known with AfterState = ofAfter }
        stepAfter <- (after :> Rule).Prepare(ownOptions, parameters, given, ofAfter)
        state.Lineage.Columns <- join ofInside ofBefore before.ColumnNames

    override _.Executor = stepAfter.Executor
    override _.Threads = threads

    override _.Surround surroundings =
        stepBefore.Surround
            { surroundings with
                Zeroes = false
                Averages = ImmutableArray.Empty
            }

        stepAfter.Surround surroundings

    override _.Run() =
        let state = whole.Value
        state.Live()
        let known = states.Value
        // Where it fails, the parts begin anew from what the whole is.
        states <- ValueNone
        let ofBefore = stepBefore.Run()
        threads <- stepBefore.Threads
        let ofInside = runInside ofBefore known.InsideState
        let ofAfter = stepAfter.Run()
        threads <- max threads stepAfter.Threads

        states <-
            ValueSome
                {
                    BeforeState = ofBefore
                    InsideState = ofInside
                    AfterState = ofAfter
                }

        let counts =
            if inside.ScalarNames.IsEmpty then
                ofAfter.Counts
            else
                let scalars row =
                    wrapping.Scalars(ofInside.Counts, ofAfter.Counts, row)

                Counts.Of((fun row -> ofAfter.Counts.Steps row), scalars, (fun _ -> false), state.RowCount)

        let lineage = state.Lineage
        lineage.Stamp <- lineage.Stamp + 1L
        let columns = join ofInside.Columns ofAfter.Columns after.ColumnNames
        State(state.Rule, state.RowCount, wrapping.ScalarNames, counts, columns, lineage)
