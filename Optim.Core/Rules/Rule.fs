namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim
open Optim.Kernels

/// What the step of an element depends on.
type RuleScope =
    /// That element's gradient and state.
    | Elements = 0
    /// The whole tensor's, of any shape.
    | Tensors = 1
    /// The whole tensor's, which must be a matrix.
    | Matrices = 2

/// An optimizer that keeps rows of state and steps them by gradients, without its types: what the shell, the files and the laws know.
[<AbstractClass>]
type Rule internal (name: string, table: OptionTable) =
    inherit Algorithm(name, table)
    /// What a rule's step of an element depends on.
    abstract Scope: RuleScope
    /// Whether PyTorch keeps a step count for the rule.
    abstract KeepsStep: bool
    /// Whether state dicts have the step as a whole number, and not as a tensor.
    abstract StepsAreWhole: bool
    /// The names of the numbers that are kept for each parameter as a whole, in PyTorch's order.
    abstract ScalarNames: ImmutableArray<string>
    /// The names of all columns, in PyTorch's order.
    abstract ColumnNames: ImmutableArray<string>
    /// The columns that are kept under these options.
    abstract ColumnsUnder: options: IOptimizerOptions -> ImmutableArray<string>
    /// What the rule makes of sparse gradients under these options.
    abstract Sparse: options: IOptimizerOptions -> SparseGradients
    /// The state before the first step; checks the options and the parameters' dtypes, devices and layouts.
    abstract Init: options: IOptimizerOptions * parameters: Parameters -> State
    /// The first half of a step: checks everything and makes room, and writes to no tensor.
    abstract Prepare: options: IOptimizerOptions * parameters: Parameters * gradients: Gradients * state: State -> PreparedStep

    /// A state with given counts and rows (absent ones as default), which are copied and converted to the dtypes of their state.
    /// Numbers kept for each parameter as a whole (ScalarNames) are given by name, NaN where there is none.
    abstract Restore:
        parameters: Parameters *
        counts: int64 array *
        scalars: KeyValuePair<string, double array> seq *
        columns: KeyValuePair<string, TensorView array> seq ->
            State

    /// Whether it has steps with a graph: PyTorch has none for LBFGS, Muon, Adafactor and SparseAdam.
    abstract IsDifferentiable: bool

    default _.IsDifferentiable = false

    /// The longest way that an element goes in a step (counted from 1), weight decay apart, as the rule declares it; infinity where
    /// it declares no bound.
    abstract StepBound: options: IOptimizerOptions * step: int64 -> double

    default _.StepBound(options, step) =
        Argument.notNull "options" options
        ignore step
        Double.PositiveInfinity

    /// Whether the rule declares a bound of its step.
    abstract HasStepBound: bool

    default _.HasStepBound = false

    /// Whether the rule declares that its first steps are as long as later ones while the gradient stays the same.
    abstract IsBiasCorrected: options: IOptimizerOptions -> bool

    default _.IsBiasCorrected options =
        Argument.notNull "options" options
        false

    /// The laws of Optim.Laws that do not hold for the rule, by their ids, with the reasons.
    abstract OptOuts: IReadOnlyDictionary<string, string>

    default _.OptOuts =
        (ImmutableSortedDictionary<string, string>.Empty :> IReadOnlyDictionary<_, _>)

    /// Whether steps are worked out by values that are whole tensors (Rule.defineWhole): these are written down anew for each parameter, which
    /// takes some kilobytes of managed memory, and formula and state depend on the parameter's shape.
    abstract StepsByValues: bool

    default _.StepsByValues = false

    /// Whether a number is made of all parameters of a group together, such as a norm over all gradients or Prodigy's d.
    abstract LooksOverAll: bool

    default _.LooksOverAll = false

    /// Whether parameters are stepped by formulas of their own, by their names, shapes or dtypes.
    abstract TellsParametersApart: bool

    default _.TellsParametersApart = false

    /// The numbers among the options that a step reads.
    abstract Numbers: options: IOptimizerOptions -> ImmutableArray<OptionNumber>

    default _.Numbers options =
        Argument.notNull "options" options
        ImmutableArray.Empty

    /// The options with a number that capturable steps read from a tensor, such as lr: of one element, float32 or float64, on the device of the
    /// parameters. A graph that was captured then takes what the tensor is. Numbers are named as Numbers has them: beta1 is the first of betas. Which
    /// formula a step has (whether weight decays at all) goes by the value in the record. An OptionException where no step reads such a number.
    member rule.WithRate(options: IOptimizerOptions, number: string, tensor: TensorView) : IOptimizerOptions =
        Argument.notNull "options" options
        Argument.notNull "number" number
        let numbers = rule.Numbers options

        if not (numbers |> Seq.exists (fun known -> known.Name = number)) then
            let known = String.Join(", ", numbers |> Seq.map _.Name)
            raise (OptionException($"{name} reads no number '{number}' in a step; it reads: {known}", number))

        table.WithRates(options, table.Rates(options).With(number, tensor))

    /// What the elements of a column are before the first step, as a number of any kind.
    abstract Start<'n when 'n: struct and 'n: (new: unit -> 'n) and 'n :> ValueType and 'n :> IScalar<'n>> :
        options: IOptimizerOptions * column: int * read: Reader<'n> -> 'n

    default rule.Start(options, column, read) =
        rule.NotElementWise(options, column, read)

    /// The numbers that are kept for a parameter as a whole, before its first step.
    abstract StartScalars<'n when 'n: struct and 'n: (new: unit -> 'n) and 'n :> ValueType and 'n :> IScalar<'n>> :
        options: IOptimizerOptions * read: Reader<'n> -> Scalars<'n>

    default rule.StartScalars(options, read) = rule.NotElementWise(options, read)

    /// A step on lanes that the caller holds, such as whole tensors: parameter, gradient and room for six state columns, which
    /// become those after the step. Switches follow `options`; the numbers are what `read` makes of them. The numbers kept for
    /// the parameter as a whole are given as they are before the step, and returned as they are after it.
    abstract Update<'v, 'n
        when 'v: struct
        and 'v: (new: unit -> 'v)
        and 'v :> ValueType
        and 'v :> ILane<'v>
        and 'v :> ITakes<'v, 'n>
        and 'n: struct
        and 'n: (new: unit -> 'n)
        and 'n :> ValueType
        and 'n :> IScalar<'n>> :
        options: IOptimizerOptions * read: Reader<'n> * step: StepNumber<'n> * scalars: Scalars<'n> * row: 'v array -> Scalars<'n>

    default rule.Update(options, read, step, scalars, row) =
        rule.NotElementWise(options, read, step, scalars, row)

    /// Bytes of state for each element of a float32 parameter with narrow state in a format (some columns may stay float32); all of them float32
    /// where the rule has no choice.
    abstract StateBytes: options: IOptimizerOptions * format: StateFormat -> double

    default rule.StateBytes(options, format) =
        ignore format
        double (rule.ColumnsUnder(options).Length * sizeof<float32>)

    /// The state as the options keep it: wide rows become narrow, and narrow ones wide, where the options say otherwise.
    abstract Stored: options: IOptimizerOptions * parameters: Parameters * state: State -> State

    default _.Stored(options, parameters, state) =
        ignore (options, parameters)
        state

    /// What is said where there is no formula on lanes, whatever was asked.
    member internal _.NotElementWise<'result>([<ParamArray>] asked: obj array) : 'result =
        ignore asked
        raise (NotSupportedException $"{name} does not work element by element: its formula does not run on lanes")

    /// The default options with other values, by name.
    member rule.With([<ParamArray>] values: struct (string * OptionValue) array) : IOptimizerOptions =
        Argument.notNull "values" values
        rule.Replace(rule.Defaults, values |> Seq.map (fun (struct (option, value)) -> KeyValuePair(option, value)))

    /// A step in place: parameters and state change, the state that was given is spent, the next one is returned.
    member rule.Step(options: IOptimizerOptions, parameters, gradients, state) =
        rule.Prepare(options, parameters, gradients, state).Run()

    /// A step that touches nothing that it was given.
    member rule.PureStep(options: IOptimizerOptions, parameters: Parameters, gradients: Gradients, state: State) =
        Rows.given parameters gradients state
        // What a step in place refuses: copies share nothing.
        MemoryWatch().Check(name, parameters, gradients, state.Columns)
        let parameters = parameters.Copy()
        struct (parameters, rule.Step(options, parameters, gradients, State.copy state))

/// A rule with the type of its options.
[<AbstractClass>]
type Rule<'o when 'o: not null and 'o: not struct and 'o :> IOptimizerOptions> internal (name, table: OptionTable<'o>) =
    inherit Rule(name, table)
    let mutable declared: Declared<'o> = Declared.nothing
    member internal _.Table = table

    /// The default options.
    member _.Defaults: 'o = table.Default

    /// The options with other values, by their names, checked together; an OptionException names what is wrong.
    member _.Replace(options: 'o, values: KeyValuePair<string, OptionValue> seq) : 'o =
        table.Options(table.Replace(options, values))

    /// One value replaced.
    member rule.Replace(options: 'o, option: string, value: OptionValue) : 'o =
        table.Options((rule :> Algorithm).Replace(options, option, value))

    /// The state before the first step; checks the options and the parameters' dtypes, devices and layouts.
    member rule.Init(options: 'o, parameters: Parameters) : State =
        (rule :> Rule).Init(options, parameters)

    /// A step in place: parameters and state change, the state that was given is spent, the next one is returned.
    member rule.Step(options: 'o, parameters: Parameters, gradients: Gradients, state: State) : State =
        (rule :> Rule).Step(options, parameters, gradients, state)

    /// A step that touches nothing that it was given.
    member rule.PureStep(options: 'o, parameters: Parameters, gradients: Gradients, state: State) =
        (rule :> Rule).PureStep(options, parameters, gradients, state)

    /// The same rule, which declares this, too. An ArgumentException where something is declared twice, or opted out of without a reason.
    member rule.Declare([<ParamArray>] declarations: Declaration<'o> array) : Rule<'o> =
        let other = rule.MemberwiseClone() :?> Rule<'o>
        other.Declared <- Array.fold (Declared.add name) declared declarations
        other

    member private _.Declared
        with set value = declared <- value

    override _.HasStepBound = declared.StepBound.IsSome

    override _.StepBound(options, step) =
        match declared.StepBound with
        | ValueSome bound -> bound (table.Options options) step
        | ValueNone -> Double.PositiveInfinity

    override _.IsBiasCorrected options =
        match declared.BiasCorrected with
        | ValueSome under -> under (table.Options options)
        | ValueNone -> false

    override _.OptOuts = (declared.OptOuts :> IReadOnlyDictionary<_, _>)

    /// How the options keep state; float32 for rules that have no choice.
    member internal _.StorageOf(options: 'o) : StateStorage = table.StorageOf options

    /// Refuses options with which no step in place is possible; whether they ask for tensor after tensor on the calling thread.
    member internal _.CheckForStep(options: 'o) : bool =
        table.Check options

        let isTrue option =
            table.Flag(option, options) = OptionValue.Bool true

        let isGiven option =
            table.Flag(option, options) <> OptionValue.None

        if isTrue "differentiable" then
            raise (
                NotSupportedException
                    $"{name}: differentiable is True, and this step writes to memory in place; steps with a graph are functions over TorchSharp tensors, Differentiable.Step in Optim.TorchSharp: set differentiable to False for this one"
            )

        (isGiven "foreach" || isGiven "fused")
        && not (isTrue "foreach" || isTrue "fused")

    /// Whether steps are to be such that a graph of a device can repeat them.
    member internal _.IsCapturable(options: 'o) : bool =
        table.Flag("capturable", options) = OptionValue.Bool true

    /// Refuses numbers that keep a divisor from 0 for the parameters that step, where they round to 0.
    member internal rule.CheckDivisors(options: 'o, parameters: Parameters, gradients: Gradients) =
        for row in 0 .. parameters.Count - 1 do
            if gradients[row].Kind <> GradientKind.Absent then
                table.CheckDivisors(options, parameters[row].DType, parameters.Label row)
