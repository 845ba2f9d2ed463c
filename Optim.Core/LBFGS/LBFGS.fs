namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// The optimizer: options, and steps of an objective.
[<Sealed>]
type LBFGSAlgorithm internal (table: OptionTable<LBFGSOptions>) =
    inherit Algorithm("LBFGS", table)

    let check (parameters: Parameters) (gradients: Gradients) =
        if isNull (box gradients) then
            raise (InvalidOperationException "LBFGS: the objective returned null in place of the gradients")

        if gradients.Count <> parameters.Count then
            raise (
                ArgumentException $"LBFGS was given {gradients.Count} gradients for {parameters.Count} parameters; the numbers must agree"
            )

        for row in 0 .. parameters.Count - 1 do
            if gradients[row].Kind <> GradientKind.Absent then
                Checks.gradient "LBFGS" SparseGradients.Rows parameters row gradients[row]

    let fit (parameters: Parameters) (state: LBFGSState) =
        let lineage = state.Lineage

        if not (lineage.Flat.Takes parameters) then
            Checks.parametersAnywhere "LBFGS" true parameters
            Checks.disjoint "LBFGS" parameters
            let flat = FlatParameters parameters

            if
                state.Memory.HasIterated
                && not (flat.Layout.Equals(lineage.Flat.Layout.On flat.Layout.Device))
            then
                raise (
                    ArgumentException
                        $"LBFGS was given a state over {lineage.Flat.Layout}, and the parameters are {flat.Layout} in all; the state belongs to other parameters"
                )

            lineage.Flat <- flat

        lineage.Flat

    /// The state before the first step; checks the options and the parameters' dtypes, devices and layouts.
    member _.Init(options: LBFGSOptions, parameters: Parameters) =
        Argument.notNull "parameters" parameters
        table.Check options
        Checks.parametersAnywhere "LBFGS" true parameters
        Checks.disjoint "LBFGS" parameters
        LBFGSState(LBFGSMemory.Empty, LBFGSLineage(FlatParameters parameters))

    /// The names of the entries of its state in PyTorch's state dicts, in order.
    member _.StateNames = ImmutableArray.CreateRange LBFGSTree.keys

    /// The entries of a state in PyTorch's state dicts, where they stand on the first parameter; none before the first step. The
    /// tensors are the state's own.
    member _.Save(state: LBFGSState) =
        Argument.notNull "state" state
        state.Live()
        LBFGSTree.write state.Memory state.Lineage.Flat.Layout.DType |> Seq.ofList

    /// A state from such entries, whose tensors are copied and converted. Its vectors may be of the same parameters in another order:
    /// `order` has the row of each parameter there. An ArgumentException says which entry does not fit.
    member _.Restore(parameters: Parameters, order: IReadOnlyList<int>, entries: IReadOnlyDictionary<string, Tree>) =
        Argument.notNull "parameters" parameters
        Argument.notNull "order" order
        Argument.notNull "entries" entries
        Checks.parametersAnywhere "LBFGS" true parameters
        Checks.disjoint "LBFGS" parameters
        let flat = FlatParameters parameters

        let memory =
            if entries.Count = 0 then
                LBFGSMemory.Empty
            else
                LBFGSTree.restore flat (fun saved target -> flat.Rearrange(order, saved, target)) entries

        flat.Settle(Seq.empty, memory.Vectors)
        LBFGSState(memory, LBFGSLineage flat)

    member internal _.Errors(options: LBFGSOptions) = table.Errors options

    /// The default options.
    member _.Defaults: LBFGSOptions = table.Default

    /// The options with other values, by their names, checked together; an OptionException names what is wrong.
    member _.Replace(options: LBFGSOptions, values: KeyValuePair<string, OptionValue> seq) : LBFGSOptions =
        table.Options(table.Replace(options, values))

    /// The same state in memory of its own, to go on from twice.
    member _.Copy(state: LBFGSState) =
        Argument.notNull "state" state
        state.Live()
        LBFGSState(state.Memory.MapVectors _.Copy(), LBFGSLineage(state.Lineage.Flat.Fork()))

    /// A step in place: the objective is asked for loss and gradients at the parameters as they are, as often as is needed; the
    /// parameters change, the state that was given is spent, and the first loss and the next state are returned. When the
    /// objective throws, parameters and state are as before.
    member _.Step
        (options: LBFGSOptions, parameters: Parameters, objective: Func<Parameters, struct (float * Gradients)>, state: LBFGSState)
        =
        Argument.notNull "parameters" parameters
        Argument.notNull "objective" objective
        Argument.notNull "state" state
        table.Check options
        state.Live()
        let lineage = state.Lineage

        if lineage.IsStepping then
            raise (InvalidOperationException "the objective of a step of LBFGS began another step of the same state")

        let flat = fit parameters state
        let sign = if options.Maximize then -1.0 else 1.0

        let evaluate target =
            let struct (loss, gradients) = objective.Invoke parameters
            check parameters gradients
            lineage.Watch.Check("LBFGS", parameters, gradients, ImmutableArray.Empty)
            flat.Gather(gradients, sign, target)
            loss

        lineage.IsStepping <- true
        flat.Threads <- 1

        try
            // Where the parameters have moved to another device, the vectors follow.
            let struct (loss, memory) =
                LBFGSStep(options, flat, evaluate, state.Memory.MapVectors flat.Placed).Run()

            lineage.Stamp <- lineage.Stamp + 1L
            struct (loss, LBFGSState(memory, lineage))
        finally
            lineage.IsStepping <- false
            GC.KeepAlive parameters

    /// A step that touches nothing that it is given: the objective is asked about a copy of the parameters. It returns the parameters and
    /// the state after the step, and the first loss.
    member algorithm.PureStep
        (options: LBFGSOptions, parameters: Parameters, objective: Func<Parameters, struct (float * Gradients)>, state: LBFGSState)
        =
        Argument.notNull "parameters" parameters
        Argument.notNull "objective" objective
        Argument.notNull "state" state
        Checks.disjoint "LBFGS" parameters
        let parameters = parameters.Copy()

        let struct (loss, next) =
            algorithm.Step(options, parameters, objective, algorithm.Copy state)

        struct (parameters, next, loss)

/// Limited-memory BFGS (Nocedal, Mathematics of Computation 35, 1980) as PyTorch has it: each iteration moves along d = -H g, where H
/// is the inverse Hessian that the last history_size moves s and changes of the gradient y tell of, by lr or by a line search.
/// A step takes up to max_iter iterations, and asks for loss and gradients itself.
/// Where the first loss or gradient is not finite, a step moves nothing; a later point at which they are not is turned back from:
/// the line search shortens the move, and without one the move is taken back and the step ends.
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module LBFGS =
    /// PyTorch's.
    let defaults =
        {
            Lr = 1.0
            MaxIter = 20
            MaxEval = Nullable()
            ToleranceGrad = 1e-7
            ToleranceChange = 1e-9
            HistorySize = 100
            LineSearchFn = LineSearch.None
            Maximize = false
        }

    let private options =
        [
            Field.number "lr" (Interval.atLeast 0.0) _.Lr (fun o v -> { o with Lr = v })
            Field.whole "max_iter" (Interval.atLeast 1.0) _.MaxIter (fun o v -> { o with MaxIter = v })
            Field.wholeOrNone "max_eval" (Interval.atLeast 1.0) _.MostEvals (fun o v -> { o with MaxEval = v })
            Field.number "tolerance_grad" Interval.any _.ToleranceGrad (fun o v -> { o with ToleranceGrad = v })
            Field.number "tolerance_change" Interval.any _.ToleranceChange (fun o v -> { o with ToleranceChange = v })
            Field.whole "history_size" (Interval.atLeast 1.0) _.HistorySize (fun o v -> { o with HistorySize = v })
            Field.oneOf "line_search_fn" [ "", LineSearch.None; "strong_wolfe", LineSearch.StrongWolfe ] _.LineSearchFn (fun o v ->
                { o with LineSearchFn = v })
            Field.flag "maximize" _.Maximize (fun o v -> { o with Maximize = v })
        ]

    /// The optimizer, for those who hand on objectives as delegates.
    let algorithm =
        LBFGSAlgorithm(OptionTable<LBFGSOptions>("LBFGS", defaults, options))

    /// The options, or all that is wrong with them.
    let validate (options: LBFGSOptions) : Result<LBFGSOptions, OptionError list> =
        match algorithm.Errors options with
        | [] -> Ok options
        | errors -> Error errors

    /// The state before the first step.
    let init options parameters = algorithm.Init(options, parameters)

    /// A step in place: `evaluate` says loss and gradients where the parameters are. It returns the first loss and the next state; the
    /// state that is given is spent.
    let step options parameters (evaluate: Parameters -> struct (float * Gradients)) state =
        Argument.notNull "evaluate" evaluate
        algorithm.Step(options, parameters, Func<_, _> evaluate, state)

    /// The same state in memory of its own, to go on from twice.
    let copy (state: LBFGSState) = algorithm.Copy state

    /// A step that touches nothing that it is given: `evaluate` is asked about a copy of the parameters. It returns the parameters and
    /// the state after the step, and the first loss.
    let pureStep options (parameters: Parameters) (evaluate: Parameters -> struct (float * Gradients)) state =
        Argument.notNull "evaluate" evaluate
        algorithm.PureStep(options, parameters, Func<_, _> evaluate, state)

    /// The state as PyTorch has it in state dicts, on the entry of the first parameter: an empty dict before the first step. Its tensors are
    /// the state's own: Tree.Copy keeps them as they are.
    let toTree (state: LBFGSState) =
        Tree.Dict [| for entry in algorithm.Save state -> struct (entry.Key, entry.Value) |]

    /// The state of these parameters from such a tree; an ArgumentException says what does not fit.
    let ofTree (parameters: Parameters) (tree: Tree) =
        Argument.notNull "parameters" parameters
        Argument.notNull "tree" tree
        let entries = Dictionary<string, Tree>()

        for entry in tree.AsMap() do
            match entry.Key with
            | TreeKey.Text key -> entries[key] <- entry.Value
            | key -> raise (ArgumentException $"LBFGS: the state has the key {key}; keys must be texts")

        algorithm.Restore(parameters, [| 0 .. parameters.Count - 1 |], entries)
