namespace Optim.Core

open Optim
open Optim.Kernels

/// The options of Adagrad. InitialAccumulatorValue is where the sums start, and matters only when the state is made.
type AdagradOptions =
    {
        Lr: double
        LrDecay: double
        WeightDecay: double
        InitialAccumulatorValue: double
        Eps: double
        Maximize: bool
        Execution: Execution
        StateStorage: StateStorage
    }

    interface IOptimizerOptions

/// Adagrad (Duchi, Hazan and Singer, JMLR 12, 2011): s = s + g^2, x = x - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps).
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Adagrad =
    /// PyTorch's.
    let defaults =
        {
            Lr = 1e-2
            LrDecay = 0.0
            WeightDecay = 0.0
            InitialAccumulatorValue = 0.0
            Eps = 1e-10
            Maximize = false
            Execution = Execution.Default
            StateStorage = StateStorage.Float32
        }

    let private execution =
        ExecutionFields<AdagradOptions>(_.Execution, (fun o v -> { o with Execution = v }))

    let private options =
        [
            Field.number "lr" (Interval.atLeast 0.0) _.Lr (fun o v -> { o with Lr = v })
            Field.number "lr_decay" (Interval.atLeast 0.0) _.LrDecay (fun o v -> { o with LrDecay = v })
            Field.number "eps" (Interval.atLeast 0.0) _.Eps (fun o v -> { o with Eps = v })
            |> Field.keepingDivisor _.Eps
            Field.number "weight_decay" (Interval.atLeast 0.0) _.WeightDecay (fun o v -> { o with WeightDecay = v })
            Field.number "initial_accumulator_value" (Interval.atLeast 0.0) _.InitialAccumulatorValue (fun o v ->
                { o with InitialAccumulatorValue = v })
            execution.Foreach
            Field.flag "maximize" _.Maximize (fun o v -> { o with Maximize = v })
            execution.Differentiable
            execution.Fused
            yield! Field.stateStorage _.StateStorage (fun o v -> { o with StateStorage = v })
        ]

    let private arithmetic =
        { new Arithmetic<AdagradOptions>() with
            member _.Switches o =
                Switch.bit AdagradFormula.Maximize o.Maximize
                ||| Switch.bit AdagradFormula.L2 (o.WeightDecay <> 0.0)

            // Weight decay would move rows that no gradient has.
            member _.Sparse o =
                if o.WeightDecay <> 0.0 then
                    SparseGradients.RefusedByWeightDecay
                else
                    SparseGradients.Rows

            member _.Coefficients(read, o, step) =
                let lr, lrDecay = read.Of("lr", o.Lr), read.Of("lr_decay", o.LrDecay)
                AdagradFormula.Coefficients(lr, lrDecay, read.Of("eps", o.Eps), read.Of("weight_decay", o.WeightDecay), step)
        }

    /// The rule. PyTorch makes the sums in the constructor.
    let rule =
        Rule.elementWise<AdagradOptions, AdagradFormula>
            "Adagrad"
            defaults
            options
            [
                startingFrom "initial_accumulator_value" _.InitialAccumulatorValue "sum" always
                |> nonNegative
                |> atOnce
            ]
            arithmetic
        |> Rule.declare
            [
                Declaration.stepBound (fun o step -> o.Lr / (1.0 + double (step - 1L) * o.LrDecay))
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
