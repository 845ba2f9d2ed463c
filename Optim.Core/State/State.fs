// Long, because state, what is kept between steps and who steps name each other.
namespace Optim.Core

open System
open System.Collections.Immutable
open Optim
open Optim.Kernels

/// What is said of a state that a step has consumed.
module internal Spent =
    let error rule copy : exn =
        SpentStateException
            $"this state of {rule} was consumed by a later step, which changed its memory in place; use the state which that step returned, or fork one with {copy} before the step"

/// The state of a rule that keeps rows: how many steps each parameter has taken, and named columns. The record is immutable,
/// the rows' elements are not: a step changes them in place, returns the next record and leaves this one spent: reading a spent one is a
/// SpentStateException, as using it is. (Columns and rows that were read before the step show what the step made of them.) Compared by content.
[<Sealed>]
type State
    internal
    (rule: string, rows: int, scalarNames: ImmutableArray<string>, counts: Counts, columns: ImmutableArray<Column>, lineage: Lineage) =
    let stamp = lineage.Stamp

    let live () =
        if stamp <> lineage.Stamp then
            raise (Spent.error rule "State.copy")

    /// The counts; where steps are counted on a device, as they are there now.
    let known () : Counts =
        live ()
        lineage.Settled counts

    /// The rule whose state it is.
    member _.Rule = rule
    /// The number of parameters.
    member _.RowCount = rows

    /// How many steps each parameter has taken. PyTorch's state dicts do not tell of those of SGD and Muon: after loading one, parameters that
    /// have a momentum count from 1, and others from 0.
    member _.Counts = known ()

    /// The counts as the processor has them, which knows nothing of steps that a graph has repeated on a device.
    member internal _.CountsHere =
        live ()
        counts

    /// Steps that the parameter of a row has taken; see Counts.
    member _.Count(row: int) =
        live ()
        Argument.index "row" row rows
        (known ())[row]

    /// The names of the numbers that the rule keeps for each parameter as a whole.
    member _.ScalarNames = scalarNames

    /// A number that the rule keeps for the parameter of a row, such as mu_product; NaN before its first step.
    member state.Scalar(name: string, row: int) =
        live ()
        Argument.notNull "name" name
        Argument.index "row" row rows
        let counts = known ()
        let scalars = counts.Scalars row

        match scalarNames.IndexOf name with
        | -1 ->
            let known = String.Join(", ", scalarNames)
            raise (Collections.Generic.KeyNotFoundException $"{rule} keeps no number '{name}'; it keeps: {known}")
        | _ when counts[row] = 0L -> nan
        | index -> scalars[index].Value

    /// All columns, in the rule's order; those that no parameter has yet have absent rows only.
    member _.Columns =
        live ()
        columns

    /// The names of the columns.
    member _.ColumnNames = columns |> Seq.map _.Name |> Seq.toArray
    /// Whether a step has consumed it.
    member _.IsSpent = stamp <> lineage.Stamp
    member internal _.Lineage = lineage

    /// The column of a name; a KeyNotFoundException when the rule has none of it.
    member state.Item
        with get (name: string) =
            live ()

            match columns |> Seq.tryFind (fun column -> column.Name = name) with
            | Some column -> column
            | None ->
                let known = String.Join(", ", state.ColumnNames)
                raise (Collections.Generic.KeyNotFoundException $"{rule} keeps no '{name}'; it keeps: {known}")

    member internal _.Live() = live ()

    /// The rule, and for each parameter its steps, and dtypes, shapes and first numbers of its columns.
    override state.ToString() =
        if state.IsSpent then
            $"state of {rule} for {rows} parameters, which a later step has consumed"
        else
            let counts = known ()

            Printed.lines $"state of {rule} for {rows} parameters" rows (fun row ->
                String.Join(
                    "; ",
                    [
                        $"parameter {row}: {counts[row]} steps"

                        if counts[row] > 0L then
                            for name in scalarNames do
                                $"{name} {OptionValue.Float(state.Scalar(name, row))}"

                        for column in columns do
                            if not column[row].IsAbsent then
                                $"{column.Name} {column.Printed row}"
                    ]
                ))

    /// Whether both hold the same; see State.contentEquals. A SpentStateException when one of them is spent.
    override state.Equals other =
        match other with
        | :? State as other ->
            state.Live()
            other.Live()

            let counts, others = known (), other.Counts

            obj.ReferenceEquals(state, other)
            || rule = other.Rule
               && rows = other.RowCount
               && Seq.forall
                   (fun row ->
                       counts[row] = others[row]
                       && (counts[row] = 0L || counts.Scalars row = others.Scalars row))
                   (seq { 0 .. rows - 1 })
               && Seq.forall2 (fun (a: Column) (b: Column) -> a.Equals b) columns other.Columns
        | _ -> false

    override _.GetHashCode() = HashCode.Combine(rule, rows)

/// What successive states share from step to step: the stamp that tells the live one, and what is kept between steps so
/// that a step need not make it again.
and [<Sealed>] internal Lineage() =
    /// Counts the steps.
    member val Stamp = 0L with get, set
    member val Table = SliceTable()
    /// The flat table's slice of each row; -1 for rows that do not step, or are empty.
    member val Slices: int array = [||] with get, set

    /// The slice of a row; -1 for none.
    member lineage.SliceOf(row: int) =
        if row < lineage.Slices.Length then
            lineage.Slices[row]
        else
            -1

    /// The layouts of parameters and gradients (null: no gradient) that the table was made for.
    member val ParameterLayouts: (Layout | null) array = [||] with get, set
    member val GradientLayouts: (Layout | null) array = [||] with get, set
    member val Segments: Segment array = [||] with get, set
    /// Which classes of Counts step.
    member val Steps: bool array = [||] with get, set
    /// Of which kind the rows of each class are.
    member val ClassKinds: int array = [||] with get, set
    /// What spreads need of each slice.
    member val Spread: SpreadSlice array = [||] with get, set
    member val Strided: Strided array = [||] with get, set
    /// The rows with a sparse gradient, and their slices, which are others in each step.
    member val Sparse: Sparse array = [||] with get, set
    member val SparseTable = SliceTable()
    member val SparseSegments: Segment array = [||] with get, set
    /// The rows that are stepped as whole tensors, by somebody else than our kernels.
    member val TensorRows: TensorRow array = [||] with get, set
    /// Who had been asked for when the table was made.
    member val Executor: (Executor | null) = null with get, set
    /// The kinds of gradients that the table was made for.
    member val Kinds: GradientKind array = [||] with get, set
    /// The next numbers of each class, worked out by a step.
    member val NextScalars: Scalars<Real> array = [||] with get, set
    /// The columns, with the rows that the step made.
    member val Columns: ImmutableArray<Column> = ImmutableArray.Empty with get, set
    /// The counts before the step, in the classes of the table.
    member val NextCounts = Counts.Zero with get, set
    /// The loop that the table was made for.
    member val Loop: ColumnUses voption = ValueNone with get, set
    /// How state is kept, as the table was made for it.
    member val Storage = StateStorage.Float32 with get, set
    /// How the columns of each slice are kept.
    member val Narrow = NarrowTable()

    /// The same, of the slices of a segment; null where all of their columns are wide.
    member lineage.NarrowOf(segment: Segment) : NarrowTable | null =
        if segment.IsNarrow then lineage.Narrow else null

    /// Whether what a step writes is memory of its own.
    member val Watch = MemoryWatch()
    /// The averages that move with the steps, as they were laid into the table; none after the table was made anew.
    member val Averages: TensorView array array = [||] with get, set
    /// Whether every slice has all averages, so that the kernels move them.
    member val AveragesMove = false with get, set
    /// Those that do not lie in the order of their slices.
    member val AverageCopies: AverageCopy array = [||] with get, set
    /// The averages that no kernel moves: of rows that take no step, or another one. Absent where one does.
    member val AveragesLeft: TensorView array array = [||] with get, set
    /// Whether there are any.
    member val LeavesAverages = false with get, set
    /// Whether averages are memory of their own.
    member val AverageWatch = MemoryWatch()
    /// Steps that a device counts; null where the processor does.
    member val There: StepsThere = null with get, set

    /// The counts, which the processor has known, as they are now.
    member lineage.Settled(counts: Counts) : Counts =
        match lineage.There with
        | null -> counts
        | there when there.IsAhead -> there.Counts()
        | _ -> counts

    /// The step that is made anew each time in the same place.
    member val Prepared: PreparedStep voption = ValueNone with get, set

/// Steps whole tensors that no kernel of ours reaches, by the formula of their rule: registered for a kind of device, or asked for
/// as the executor of some parameters.
and [<AbstractClass>] TensorExecutor() =
    inherit Executor()

    static let kinds =
        System.Collections.Concurrent.ConcurrentDictionary<string, TensorExecutor>(StringComparer.Ordinal)

    /// Whoever is registered last for a kind of device, such as cuda, steps what lies there.
    static member Register(kind: string, executor: TensorExecutor) =
        Argument.notNull "kind" kind
        Argument.notNull "executor" executor
        kinds[kind] <- executor

    /// Who steps what lies on a device; none when nobody does.
    static member internal Find(device: Device) =
        match kinds.TryGetValue device.Kind with
        | true, executor -> ValueSome executor
        | _ -> ValueNone

    /// Who runs kernels where this executor is named: our team where nobody is, or somebody who runs none.
    static member internal OrTeam(executor: Executor | null) : Executor =
        match executor with
        | null -> Executor.Team
        | :? TensorExecutor -> Executor.Team
        | executor when executor.IsOfDevice -> Executor.Team
        | executor -> executor

    /// What a device is refused with on which nobody steps, or nobody of some kind.
    static member internal KnownOf(takes: TensorExecutor -> bool) =
        let known = kinds |> Seq.filter (fun entry -> takes entry.Value) |> Seq.map _.Key
        String.Join(", ", Seq.append [ "cpu" ] known)

    /// Steps one parameter in place.
    abstract Step: update: TensorUpdate -> unit

    /// Runs an update that only reads, on lanes that are whole tensors (RunWhole), of a parameter whose gradient is dense. It is asked for by rules
    /// that make numbers of all parameters together, before these are stepped.
    abstract Look: update: TensorUpdate -> unit

    default executor.Look update =
        ignore update

        raise (
            NotSupportedException $"{executor.Name} only steps tensors, and a number of all parameters together needs a look at them first"
        )

    /// Whether its lanes are whole tensors (IWhole) and it calls RunWhole, so that it steps the rules that look at whole tensors, too.
    abstract HasWholeLanes: bool
    default _.HasWholeLanes = false

/// One step of one parameter as a whole tensor: what it is made of, and the formula to run on lanes.
and [<AbstractClass>] TensorUpdate internal (parameter: TensorView, gradient: Gradient, sparse: SparseGradients, columns: TensorView array)
    =
    /// The parameter, which is changed in place.
    member _.Parameter = parameter
    /// Its gradient, dense or sparse.
    member _.Gradient = gradient
    /// What the rule makes of sparse gradients.
    member _.Sparse = sparse
    /// Its state, which is changed in place; absent rows are not used.
    member _.Columns = columns

    /// Runs the formula: parameter, gradient and room for six state columns, which become those after the step.
    abstract Run<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> ILane<'v> and 'v :> ITakes<'v, Real>> :
        row: 'v array -> unit

    /// The same on lanes that are whole tensors: any rule's formula.
    abstract RunWhole<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>> : row: 'v array -> unit

    default update.RunWhole<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>>(row: 'v array) =
        update.Run<'v> row

/// A step of which everything is checked: Run writes, and cannot fail. It is valid until its state takes another step.
and [<AbstractClass>] PreparedStep internal () =
    /// The second half: every element changes, and the next state is returned.
    abstract Run: unit -> State
    /// Who runs it.
    abstract Executor: Executor
    /// How many threads took part, once it has run.
    abstract Threads: int

    /// Has the step do what surrounds it, too: checks it, and writes to no tensor. Without it a step has nothing around it.
    abstract Surround: surroundings: StepSurroundings -> unit

/// Neighbouring slices of one dtype, one step count and one device.
and [<Struct; NoComparison>] internal Segment =
    {
        DType: DType
        Class: int
        First: int
        Count: int
        /// Who runs programs where they lie; null for the memory of the processor.
        On: ProgramDevice | null
        /// Whether some of their columns are narrow.
        IsNarrow: bool
    }

/// A row that is stepped as a whole tensor.
and [<Struct>] internal TensorRow =
    {
        Row: int
        Executor: TensorExecutor
        /// Rows of state; absent for those that are not used.
        State: TensorView array
    }

/// A row whose parameter or gradient does not lie in the order of its state: it is stepped on a copy.
and [<Struct>] internal Strided =
    {
        Row: int
        Parameter: TensorView
        Gradient: TensorView
    }

/// An average that does not lie in the order of its slice: a copy of it moves.
and [<Struct>] internal AverageCopy =
    {
        /// Which of the averages.
        Average: int
        Row: int
        Copy: TensorView
    }

/// A row with a sparse gradient.
and [<Struct>] internal Sparse =
    {
        Row: int
        Gradient: SparseRows
        /// The order in which its state lies, and its parameter or the copy of it.
        Order: Layout
        Copy: TensorView
        /// Addresses of its columns; 0 for those that are not used.
        Columns: nativeint array
    }

/// What can be done with a state without a rule.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module State =
    /// The same state in memory of its own, to go on from twice.
    let copy (state: State) =
        Argument.notNull "state" state
        state.Live()

        let columns =
            state.Columns
            |> Seq.map (fun column ->
                let present = column.Rows |> Seq.filter (fun row -> not row.IsAbsent) |> Seq.toArray
                let layouts = present |> Array.map _.Layout
                let copies = TensorView.Slab(ReadOnlySpan layouts, false)
                let mutable next = -1

                let rows =
                    column.Rows
                    |> Seq.map (fun row ->
                        if row.IsAbsent then
                            row
                        else
                            next <- next + 1
                            copies[next].CopyFrom row
                            copies[next])

                let narrow =
                    column.Narrow
                    |> Seq.map (fun row ->
                        { row with
                            Scales =
                                if row.Scales.IsAbsent then
                                    row.Scales
                                else
                                    row.Scales.Copy()
                        })

                Column(column.Name, rows.ToImmutableArray(), narrow.ToImmutableArray()))

        State(state.Rule, state.RowCount, state.ScalarNames, state.Counts, columns.ToImmutableArray(), Lineage())

    /// Whether two states hold the same: counts, columns, shapes, dtypes and every bit (zeros of either sign and all NaN are their own bits).
    let contentEquals (a: State) (b: State) =
        Argument.notNull "a" a
        Argument.notNull "b" b
        a.Equals b
