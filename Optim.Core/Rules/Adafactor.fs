namespace Optim.Core

open System
open Optim.Kernels

/// The options of Adafactor.
type AdafactorOptions =
    {
        Lr: double
        Beta2Decay: double
        Eps: struct (Nullable<double> * double)
        D: double
        WeightDecay: double
        Maximize: bool
        Execution: Execution
    }

    interface IOptimizerOptions

/// Adafactor (Shazeer and Stern, arXiv:1804.04235), as PyTorch has it. Of a matrix, the last two dimensions, it keeps means of squares of rows R and columns C
/// only, which move by t^beta2_decay: V = R C / max(mean R, eps1), u = g / max(sqrt V, eps1), and
/// x = x (1 - lr weight_decay) - max(eps2, RMS x) min(lr, 1 / sqrt t) u / max(1, RMS u / d). Of a vector V itself is kept.
/// An infinite lr, without weight decay, leaves the rate to the step count.
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Adafactor =
    /// PyTorch's. Where the first eps is not given it is the distance from 1 to the next number of the parameter's own dtype.
    let defaults =
        {
            Lr = 1e-2
            Beta2Decay = -0.8
            Eps = struct (Nullable(), 1e-3)
            D = 1.0
            WeightDecay = 0.0
            Maximize = false
            Execution = Execution.Default
        }

    let private options =
        [
            Field.number "lr" (Interval.atLeast 0.0) _.Lr (fun o v -> { o with Lr = v })
            Field.number "beta2_decay" (Interval.atMost 0.0) _.Beta2Decay (fun o v -> { o with Beta2Decay = v })
            Field.pairOrNone "eps" (Interval.atLeast 0.0) (Interval.atLeast 0.0) _.Eps (fun o v -> { o with Eps = v })
            |> Field.keepingDivisor (fun o ->
                let struct (eps1, _) = o.Eps
                eps1.GetValueOrDefault())
            Field.number "d" (Interval.atLeast 1.0) _.D (fun o v -> { o with D = v })
            Field.number "weight_decay" (Interval.atLeast 0.0) _.WeightDecay (fun o v -> { o with WeightDecay = v })
            |> Field.requiring "there is no decay with an infinite lr, by which it is multiplied" (fun o ->
                o.WeightDecay = 0.0 || not (Double.IsInfinity o.Lr))
            ExecutionFields<AdafactorOptions>(_.Execution, (fun o v -> { o with Execution = v })).Foreach
            Field.flag "maximize" _.Maximize (fun o v -> { o with Maximize = v })
        ]

    /// Rows and columns of a parameter's matrices; none for a vector.
    let private matrix (parameter: Layout) =
        match parameter.Shape.Length with
        | 0
        | 1 -> struct (0n, 0n)
        | rank -> struct (nativeint parameter.Shape[rank - 2], nativeint parameter.Shape[rank - 1])

    let private numbers o (step: int64) (dtype: DType) =
        let struct (eps1, eps2) = o.Eps
        let rate = min o.Lr (1.0 / sqrt (double step))

        AdafactorNumbers(
            Math.Pow(double step, o.Beta2Decay),
            (if eps1.HasValue then eps1.Value else dtype.Epsilon()),
            eps2,
            (if o.Maximize then -rate else rate),
            o.D,
            (if o.WeightDecay = 0.0 then
                 1.0
             else
                 1.0 - o.Lr * o.WeightDecay)
        )

    /// The shape of a column, if a parameter has it.
    let private shape column (parameter: Layout) : Layout | null =
        let shape = parameter.Shape.AsSpan().ToArray()
        let rank = shape.Length

        let keep =
            match column with
            | 0 when rank > 1 ->
                shape[rank - 1] <- 1L
                true
            | 1 when rank > 1 ->
                shape[rank - 2] <- 1L
                true
            | column -> column = 2 && rank < 2

        if keep then
            (Layout.Contiguous(parameter.DType.ToStateDType(), ReadOnlySpan shape)).On parameter.Device
        else
            null

    /// A parameter as its matrices, with its gradient and its state, wherever they lie.
    let private tensorOf (tensors: StepTensors) =
        let struct (rows, columns) = matrix tensors.Parameter.Layout

        AdafactorTensor(
            tensors.Parameter.DType,
            tensors.Parameter.Count,
            rows,
            columns,
            tensors.Parameter.Address,
            tensors.Gradient.Address,
            tensors.Address(if tensors.Parameter.Shape.Length < 2 then 2 else 0),
            tensors.Address 1
        )

    let private arithmetic =
        { new TensorArithmetic<AdafactorOptions>() with
            member _.Scope = RuleScope.Tensors
            member _.Counts = true
            member _.Columns = [ "row_var"; "col_var"; "variance" ]
            member _.Refuse _ = ""

            member _.Shape(_, column, parameter) = shape column parameter
            member _.Restored(column, parameter, _) = shape column parameter

            member _.Step(o, step, dtype, tensors, workspace, executor) =
                AdafactorPass.Run(tensorOf tensors, numbers o step dtype, workspace, executor)

            member _.KernelsOf device =
                let programs = AdafactorPrograms device

                ValueSome
                    { new TensorKernels<AdafactorOptions>() with
                        member _.Takes _ = true
                        member _.IsAlone = true

                        member _.Prepare(o, step, dtype, rows, survey) =
                            let numbers = numbers o step dtype
                            programs.Prepare(ReadOnlySpan(Array.map tensorOf rows), &numbers, survey)

                        member _.Step(o, step, dtype, rows, _, survey) =
                            let numbers = numbers o step dtype
                            programs.Run(ReadOnlySpan(Array.map tensorOf rows), &numbers, survey)

                            for row in rows do
                                GC.KeepAlive row.Parameter.Owner
                                GC.KeepAlive row.Gradient.Owner
                    }

            member _.StepTensorRow<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>>
                (o, step, parameter, row: 'v array)
                =
                AdafactorWhole<'v>.Run(row, parameter.Shape.Length < 2, numbers o step parameter.DType, parameter.Count)
        }

    /// The rule.
    let rule: Rule<AdafactorOptions> =
        TensorRule<AdafactorOptions>("Adafactor", defaults, options, arithmetic)

    /// The options, or all that is wrong with them.
    let validate options = Rule.validate rule options

    /// The state before the first step.
    let init options parameters = Rule.init rule options parameters

    /// A step in place.
    let step options parameters gradients state =
        Rule.step rule options parameters gradients state

    /// A step that touches nothing that it is given.
    let pureStep options parameters gradients state =
        Rule.pureStep rule options parameters gradients state
