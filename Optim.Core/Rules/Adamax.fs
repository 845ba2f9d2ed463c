namespace Optim.Core

open Optim
open Optim.Kernels

/// The options of Adamax.
type AdamaxOptions =
    {
        Lr: double
        Betas: struct (double * double)
        Eps: double
        WeightDecay: double
        Maximize: bool
        Execution: Execution
        StateStorage: StateStorage
    }

    interface IOptimizerOptions

/// Adamax (Kingma and Ba, arXiv:1412.6980, section 7.1): m = b1 m + (1 - b1) g, u = max(b2 u, |g| + eps), x = x - lr m / (1 - b1^t) / u.
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Adamax =
    /// PyTorch's.
    let defaults =
        {
            Lr = 2e-3
            Betas = struct (0.9, 0.999)
            Eps = 1e-8
            WeightDecay = 0.0
            Maximize = false
            Execution = Execution.Default
            StateStorage = StateStorage.Float32
        }

    let private execution =
        ExecutionFields<AdamaxOptions>(_.Execution, (fun o v -> { o with Execution = v }))

    let private options =
        [
            Field.number "lr" (Interval.atLeast 0.0) _.Lr (fun o v -> { o with Lr = v })
            Field.pair "betas" (Interval.upTo 0.0 1.0) (Interval.upTo 0.0 1.0) _.Betas (fun o v -> { o with Betas = v })
            Field.number "eps" (Interval.atLeast 0.0) _.Eps (fun o v -> { o with Eps = v })
            |> Field.keepingDivisor _.Eps
            Field.number "weight_decay" (Interval.atLeast 0.0) _.WeightDecay (fun o v -> { o with WeightDecay = v })
            execution.Foreach
            Field.flag "maximize" _.Maximize (fun o v -> { o with Maximize = v })
            execution.Differentiable
            execution.Capturable
            execution.Fused |> Field.beyondPyTorch
            yield! Field.stateStorage _.StateStorage (fun o v -> { o with StateStorage = v })
        ]

    let private arithmetic =
        { new Arithmetic<AdamaxOptions>() with
            member _.Switches o =
                Switch.bit AdamaxFormula.Maximize o.Maximize
                ||| Switch.bit AdamaxFormula.L2 (o.WeightDecay <> 0.0)
                ||| Switch.bit AdamaxFormula.SlowMean (let struct (beta1, _) = o.Betas in beta1 > 0.5)

            member _.Coefficients(read, o, step) =
                let struct (beta1, beta2) = o.Betas
                let lr, decay = read.Of("lr", o.Lr), read.Of("weight_decay", o.WeightDecay)
                AdamaxFormula.Coefficients(lr, read.Of("beta1", beta1), read.Of("beta2", beta2), read.Of("eps", o.Eps), decay, step)
        }

    /// The rule.
    let rule =
        Rule.elementWise<AdamaxOptions, AdamaxFormula>
            "Adamax"
            defaults
            options
            [ zeros "exp_avg" always; zeros "exp_inf" always |> nonNegative ]
            arithmetic
        |> Rule.declare
            [
                // Gradients that fall by b2 in each step reach it.
                Declaration.stepBound (fun o step ->
                    let struct (beta1, beta2) = o.Betas

                    o.Lr * (1.0 - beta1) / Declared.approach beta1 step
                    * Declared.geometricSum (Declared.ratio beta1 beta2) step)
                Declaration.biasCorrected always
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
