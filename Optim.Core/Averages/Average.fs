namespace Optim.Core

open System
open System.Collections.Immutable
open Optim.Kernels

/// What successive averages share: the stamp that tells the live one, and where they were found to lie.
[<Sealed>]
type internal AverageLineage() =
    member val Stamp = 0L with get, set
    member val Watch = AverageWatch()

/// Averages of parameters: a row for each, how many updates they hold, and how many calls there were. An update changes the
/// rows in place, returns the next record and leaves this one spent: reading a spent one is a SpentStateException. Compared by content.
[<Sealed>]
type AverageState internal (rows: Parameters, averaged: int64, calls: int64, lineage: AverageLineage) =
    let stamp = lineage.Stamp

    let live () =
        if stamp <> lineage.Stamp then
            raise (
                SpentStateException
                    "this average was consumed by a later update, which changed its memory in place; use the one which that update returned, or fork one with Average.copy before it"
            )

    /// The averages, in the order of the parameters; all zero before the first update.
    member _.Rows =
        live ()
        rows

    /// Updates so far; PyTorch's n_averaged.
    member _.Averaged =
        live ()
        averaged

    /// Calls so far: more than the updates where only every so many of them count.
    member _.Calls =
        live ()
        calls

    /// Whether an update has consumed it.
    member _.IsSpent = stamp <> lineage.Stamp

    member internal _.Lineage = lineage
    member internal _.Live() = live ()

    /// The counts, and dtype, shape and first numbers of each row.
    override state.ToString() =
        if state.IsSpent then
            "an average, which a later update has consumed"
        else
            $"average of {averaged} updates in {calls} calls, of {rows}"

    /// Whether both have the same counts and rows, bit for bit. A SpentStateException when one of them is spent.
    override _.Equals other =
        match other with
        | :? AverageState as other ->
            live ()
            averaged = other.Averaged && calls = other.Calls && rows.Equals other.Rows
        | _ -> false

    override _.GetHashCode() = HashCode.Combine(averaged, calls)

    /// The same rows after a call.
    member internal _.Next(averaged, calls) =
        lineage.Stamp <- lineage.Stamp + 1L
        AverageState(rows, averaged, calls, lineage)

/// Averages of parameters as pure functions: of the parameters only their tensors are read.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Average =
    let private average = Driver<AverageFormula>.Instance

    /// Over rows that lie somewhere already.
    let over (rows: Parameters) averaged calls =
        Argument.notNull "rows" rows
        AverageState(rows, averaged, calls, AverageLineage())

    /// Before the first update: memory for the averages of these parameters, each in its parameter's order where that has no gaps.
    let init (parameters: Parameters) =
        Argument.notNull "parameters" parameters

        let layouts =
            [|
                for row in 0 .. parameters.Count - 1 do
                    let layout = parameters[row].Layout
                    (if layout.IsDense then layout else layout.ToContiguous()).WithDType(parameters[row].DType.ToStateDType())
            |]

        over (Parameters.Over(TensorView.Slab(ReadOnlySpan layouts), parameters.Names, parameters.Executor)) 0L 0L

    /// The same averages in memory of their own, to go on from twice.
    let copy (state: AverageState) =
        Argument.notNull "state" state
        state.Live()
        over (state.Rows.Copy()) state.Averaged state.Calls

    let private copying = Driver<ScaledFormula>.Instance

    /// In which dtype the average of a tensor is kept: float32 for half types, whose averages would stand still when the steps are small.
    let dtypeOf (value: TensorView) =
        Argument.present "value" value
        value.DType.ToStateDType()

    let internal checkPair (label: string) (average: TensorView) (value: TensorView) =
        if average.DType <> dtypeOf value || not (average.Layout.SameShape value.Layout) then
            raise (ArgumentException $"{label} is {value.Layout}, and its average {average.Layout}; they do not belong together")

    /// Moves averages towards values by a weight in [0, 1], in place; absent ones are passed over. Each pair must have one shape, and
    /// the average the value's dtype, or float32 for half types.
    let move (weight: double) (averages: TensorView array) (values: TensorView array) (executor: Executor) =
        Argument.notNull "averages" averages
        Argument.notNull "values" values
        Argument.notNull "executor" executor

        if averages.Length <> values.Length then
            raise (
                ArgumentException($"{averages.Length} averages were given for {values.Length} values; the numbers must agree", "averages")
            )

        let isReal (view: TensorView) =
            view.DType.IsFloatingPoint() || view.DType.IsComplex()

        let mutable whole = false

        for row in 0 .. averages.Length - 1 do
            if not averages[row].IsAbsent && not (isReal averages[row]) then
                whole <- true
                IntegerAverage.Run(averages[row], values[row], weight)

        let reals =
            if whole then
                averages
                |> Array.map (fun view -> if view.IsAbsent || isReal view then view else TensorView())
            else
                averages

        // A copy, bit for bit: the formula would lose the sign of zeros, and make NaN of infinities.
        if weight = 1.0 then
            let once = Coefficients<Real>(Real 1.0)
            Elements.Run(copying, 0, &once, ReadOnlySpan reals, ReadOnlySpan values, executor)
        else
            let coefficients = AverageFormula.Coefficients(Real weight)
            Elements.Run(average, AverageFormula.Switches weight, &coefficients, ReadOnlySpan reals, ReadOnlySpan values, executor)

    /// Takes the values of parameters in, in place; the state that is given is spent. The rows' shapes and dtypes must be the parameters'.
    let update (averaging: Averaging) (parameters: Parameters) (state: AverageState) =
        Argument.notNull "parameters" parameters
        Argument.notNull "state" state
        state.Live()
        Averaging.check averaging

        if parameters.Count <> state.Rows.Count then
            raise (
                ArgumentException $"{parameters.Count} parameters were given to the averages of {state.Rows.Count}; the numbers must agree"
            )

        for row in 0 .. parameters.Count - 1 do
            checkPair (parameters.Label row) state.Rows[row] parameters[row]

        state.Lineage.Watch.Check(Func<_, _> parameters.Label, state.Rows.Items, parameters.Items)

        if Averaging.moves averaging state.Calls then
            let executor =
                match parameters.Executor with
                | null -> Executor.Team
                | executor -> executor

            move (Averaging.weight averaging state.Averaged) state.Rows.Items parameters.Items executor
            GC.KeepAlive parameters
            state.Next(Counting.add state.Averaged 1L, Counting.add state.Calls 1L)
        else
            state.Next(state.Averaged, Counting.add state.Calls 1L)

    /// An update that touches nothing that it is given.
    let pureUpdate averaging parameters state =
        update averaging parameters (copy state)
