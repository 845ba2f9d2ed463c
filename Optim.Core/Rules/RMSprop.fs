namespace Optim.Core

open Optim
open Optim.Kernels

/// The options of RMSprop.
type RMSpropOptions =
    {
        Lr: double
        Alpha: double
        Eps: double
        WeightDecay: double
        Momentum: double
        Centered: bool
        Maximize: bool
        Execution: Execution
        StateStorage: StateStorage
    }

    interface IOptimizerOptions

/// RMSprop (Hinton's lecture; centered: Graves, arXiv:1308.0850): v = alpha v + (1 - alpha) g^2, x = x - lr g / (sqrt(v) + eps);
/// centered takes the square of the mean gradient off v, momentum sums the quotients up.
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module RMSprop =
    /// PyTorch's.
    let defaults =
        {
            Lr = 1e-2
            Alpha = 0.99
            Eps = 1e-8
            WeightDecay = 0.0
            Momentum = 0.0
            Centered = false
            Maximize = false
            Execution = Execution.Default
            StateStorage = StateStorage.Float32
        }

    let private execution =
        ExecutionFields<RMSpropOptions>(_.Execution, (fun o v -> { o with Execution = v }))

    let private options =
        [
            Field.number "lr" (Interval.atLeast 0.0) _.Lr (fun o v -> { o with Lr = v })
            Field.number "momentum" (Interval.atLeast 0.0) _.Momentum (fun o v -> { o with Momentum = v })
            Field.number "alpha" (Interval.atLeast 0.0) _.Alpha (fun o v -> { o with Alpha = v })
            Field.number "eps" (Interval.atLeast 0.0) _.Eps (fun o v -> { o with Eps = v })
            |> Field.keepingDivisor _.Eps
            Field.flag "centered" _.Centered (fun o v -> { o with Centered = v })
            Field.number "weight_decay" (Interval.atLeast 0.0) _.WeightDecay (fun o v -> { o with WeightDecay = v })
            execution.Capturable
            execution.Foreach
            Field.flag "maximize" _.Maximize (fun o v -> { o with Maximize = v })
            execution.Differentiable
            execution.Fused |> Field.beyondPyTorch
            yield! Field.stateStorage _.StateStorage (fun o v -> { o with StateStorage = v })
        ]

    let private columns: ColumnSpec<RMSpropOptions> list =
        [
            // Centered it is a difference of two columns, which must be as exact as these.
            zeros "square_avg" always |> nonNegative |> wideWhen _.Centered
            zeros "momentum_buffer" (fun o -> o.Momentum > 0.0)
            zeros "grad_avg" _.Centered |> wideWhen always
        ]

    let private arithmetic =
        { new Arithmetic<RMSpropOptions>() with
            member _.Switches o =
                Switch.bit RMSpropFormula.Maximize o.Maximize
                ||| Switch.bit RMSpropFormula.L2 (o.WeightDecay <> 0.0)
                ||| Switch.bit RMSpropFormula.Momentum (o.Momentum > 0.0)
                ||| Switch.bit RMSpropFormula.Centered o.Centered
                ||| Switch.bit RMSpropFormula.SlowMean (o.Centered && o.Alpha > 0.5)

            member _.Coefficients(read, o, _) =
                let lr, alpha, eps =
                    read.Of("lr", o.Lr), read.Of("alpha", o.Alpha), read.Of("eps", o.Eps)

                RMSpropFormula.Coefficients(lr, alpha, eps, read.Of("weight_decay", o.WeightDecay), read.Of("momentum", o.Momentum))
        }

    /// The rule.
    let rule =
        Rule.elementWise<RMSpropOptions, RMSpropFormula> "RMSprop" defaults options columns arithmetic
        |> Rule.declare
            [
                // What is centered may be divided by any little.
                Declaration.stepBound (fun o step ->
                    if o.Centered then
                        infinity
                    else
                        o.Lr / sqrt (1.0 - o.Alpha) * Declared.geometricSum o.Momentum step)
            ]

    /// The options, or all that is wrong with them.
    let validate options = Rule.validate rule options

    /// The state before the first step.
    let init options parameters = Rule.init rule options parameters

    /// A step in place; the state that is given is spent.
    let step options parameters gradients state =
        Rule.step rule options parameters gradients state

    /// A step that touches nothing that it is given.
    let pureStep options parameters gradients state =
        Rule.pureStep rule options parameters gradients state
