namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// What a rule that works on whole tensors does with one of them.
[<AbstractClass>]
type internal TensorArithmetic<'o>() =
    /// Whether parameters must be matrices, or may be of any shape.
    abstract Scope: RuleScope
    /// Whether steps are counted, and state dicts have a step.
    abstract Counts: bool
    /// The columns, in PyTorch's order.
    abstract Columns: string list
    /// Whether a column is kept under these options.
    abstract ColumnsUnder: options: 'o -> (string -> bool)

    default _.ColumnsUnder options =
        ignore options
        fun _ -> true

    /// The shape of a column for a parameter, row by row, of the dtype of its state; null where there is none of it.
    abstract Shape: options: 'o * column: int * parameter: Layout -> Layout | null
    /// The same for a row that is given, whatever the options are; null where no options keep one.
    abstract Restored: column: int * parameter: Layout * given: Layout -> Layout | null
    /// Whether parameters have the same columns, of the same shapes, under both.
    abstract KeepsRows: before: 'o * after: 'o -> bool

    default _.KeepsRows(before, after) =
        ignore (before, after)
        true

    /// Whether a row that other options have made may stay where these do not use it.
    abstract MayHoldMore: bool
    default _.MayHoldMore = false
    /// Why a parameter cannot be stepped, in words after its name; empty when it can be.
    abstract Refuse: parameter: Layout -> string
    /// Refuses what does not go by the table of options, before a step.
    abstract Check: options: 'o -> unit
    default _.Check _ = ()

    /// Whether a step asks for sums over all parameters, which are looked at before the first of them is stepped.
    abstract Looks: bool

    default _.Looks = false

    /// A look at a parameter before the first is stepped: workspace and tensors are those of a step, and nothing is written to these.
    abstract Look: options: 'o * step: int64 * tensors: StepTensors * workspace: Workspace * executor: Executor -> unit

    default _.Look(options, step, tensors, workspace, executor) =
        ignore (options, step, tensors, workspace, executor)

    /// One step, counted from 1, of a parameter in row-major order of the dtype of its state; the dtype that it was given in is beside it.
    /// Returns how many threads took part.
    abstract Step: options: 'o * step: int64 * dtype: DType * tensors: StepTensors * workspace: Workspace * executor: Executor -> int

    /// What steps parameters on a device that runs programs; none where whole lanes do it all.
    abstract KernelsOf: device: ProgramDevice -> TensorKernels<'o> voption

    default _.KernelsOf device =
        ignore device
        ValueNone

    /// The same on lanes: parameter, gradient and columns, which become those after the step. The parameter lies as it was given.
    abstract StepTensorRow<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>> :
        options: 'o * step: int64 * parameter: Layout * row: 'v array -> unit

/// A parameter, its gradient and its columns, where a step finds them.
and [<Struct>] internal StepTensors =
    {
        Parameter: TensorView
        Gradient: TensorView
        Row: int
        Columns: ImmutableArray<Column>
    }

    /// The address of a column's row; 0 where it has none.
    member tensors.Address(column: int) =
        let row = tensors.Columns[column].[tensors.Row]
        if row.IsAbsent then 0n else row.Address

/// Steps of parameters where they lie, by kernels of a device that runs programs and the products of whoever steps whole tensors there. Kept from step
/// to step.
and [<AbstractClass>] internal TensorKernels<'o>() =
    /// Whether it takes a step under these options.
    abstract Takes: options: 'o -> bool
    /// Whether it makes the whole step, and asks nobody for products.
    abstract IsAlone: bool
    /// Makes what a step of some parameters of one dtype needs, so that what can fail does so before anything has changed.
    abstract Prepare: options: 'o * step: int64 * dtype: DType * rows: StepTensors array * survey: (DeviceSurvey | null) -> unit

    /// Steps them, unless something was found in the gradients that is not finite.
    abstract Step:
        options: 'o * step: int64 * dtype: DType * rows: StepTensors array * executor: TensorExecutor * survey: (DeviceSurvey | null) ->
            unit

/// A step of one parameter by somebody else than our kernels.
[<Sealed>]
type internal WholeUpdate<'o when 'o: not null and 'o: not struct and 'o :> IOptimizerOptions>
    (
        name: string,
        arithmetic: TensorArithmetic<'o>,
        options: 'o,
        step: int64,
        dtype: DType,
        parameter: TensorView,
        gradient: Gradient,
        columns: TensorView array,
        around: Surroundings,
        numbers: double array
    ) =
    inherit TensorUpdate(parameter, gradient, SparseGradients.Refused, columns)

    override _.Run _ =
        raise (NotSupportedException $"{name} looks at whole tensors: its formula runs on lanes that are such (RunWhole)")

    override _.RunWhole<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>>(row: 'v array) =
        if around.ChangesGradients then
            let changed = [| row[0]; row[1] |]
            let leaves = SurroundedFormula.LeavesOf(Coefficients<Real>(), numbers)
            let tensorRow = WholeReductions<'v>(parameter.Layout)

            ProgramLanes<'v, Real>.Update(around.Before(), leaves, Span changed, tensorRow)
            |> ignore

            row[1] <- changed[0]

        arithmetic.StepTensorRow<'v>(options, step, parameter.Layout.WithDType dtype, row)
