namespace Optim.Core

open Optim.Kernels

/// The options of Adadelta.
type AdadeltaOptions =
    {
        Lr: double
        Rho: double
        Eps: double
        WeightDecay: double
        Maximize: bool
        Execution: Execution
    }

    interface IOptimizerOptions

/// Adadelta (Zeiler, arXiv:1212.5701): v = rho v + (1 - rho) g^2, d = sqrt(a + eps) / sqrt(v + eps) g,
/// a = rho a + (1 - rho) d^2, x = x - lr d.
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Adadelta =
    /// PyTorch's.
    let defaults =
        {
            Lr = 1.0
            Rho = 0.9
            Eps = 1e-6
            WeightDecay = 0.0
            Maximize = false
            Execution = Execution.Default
        }

    let private execution =
        ExecutionFields<AdadeltaOptions>(_.Execution, (fun o v -> { o with Execution = v }))

    let private options =
        [
            Field.number "lr" (Interval.atLeast 0.0) _.Lr (fun o v -> { o with Lr = v })
            Field.number "rho" (Interval.within 0.0 1.0) _.Rho (fun o v -> { o with Rho = v })
            Field.number "eps" (Interval.atLeast 0.0) _.Eps (fun o v -> { o with Eps = v })
            |> Field.keepingDivisor _.Eps
            Field.number "weight_decay" (Interval.atLeast 0.0) _.WeightDecay (fun o v -> { o with WeightDecay = v })
            Field.flag "maximize" _.Maximize (fun o v -> { o with Maximize = v })
            execution.Capturable
            execution.Foreach
            execution.Differentiable
            execution.Fused |> Field.beyondPyTorch
        ]

    let private arithmetic =
        { new Arithmetic<AdadeltaOptions>() with
            member _.Switches o =
                Switch.bit AdadeltaFormula.Maximize o.Maximize
                ||| Switch.bit AdadeltaFormula.L2 (o.WeightDecay <> 0.0)

            member _.Coefficients(read, o, _) =
                let lr, rho = read.Of("lr", o.Lr), read.Of("rho", o.Rho)
                AdadeltaFormula.Coefficients(lr, rho, read.Of("eps", o.Eps), read.Of("weight_decay", o.WeightDecay))
        }

    /// The rule.
    let rule =
        Rule.elementWise<AdadeltaOptions, AdadeltaFormula>
            "Adadelta"
            defaults
            options
            [ zeros "square_avg" always; zeros "acc_delta" always ]
            arithmetic

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
