namespace Optim.Core

open Optim
open Optim.Kernels

/// The options of RAdam.
type RAdamOptions =
    {
        Lr: double
        Betas: struct (double * double)
        Eps: double
        WeightDecay: double
        Maximize: bool
        DecoupledWeightDecay: bool
        Execution: Execution
        StateStorage: StateStorage
    }

    interface IOptimizerOptions

/// RAdam (Liu et al., arXiv:1908.03265) as PyTorch has it: Adam's means; x = x - lr m / (1 - b1^t) while the variance of the rate is not
/// tractable, and x = x - lr m / (1 - b1^t) r sqrt(1 - b2^t) / (sqrt(v) + eps) as soon as it is, with the rectification r of the paper.
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module RAdam =
    /// PyTorch's.
    let defaults =
        {
            Lr = 1e-3
            Betas = struct (0.9, 0.999)
            Eps = 1e-8
            WeightDecay = 0.0
            Maximize = false
            DecoupledWeightDecay = false
            Execution = Execution.Default
            StateStorage = StateStorage.Float32
        }

    let private execution =
        ExecutionFields<RAdamOptions>(_.Execution, (fun o v -> { o with Execution = v }))

    let internal options =
        [
            Field.number "lr" (Interval.atLeast 0.0) _.Lr (fun o v -> { o with Lr = v })
            Field.pair "betas" (Interval.upTo 0.0 1.0) (Interval.upTo 0.0 1.0) _.Betas (fun o v -> { o with Betas = v })
            Field.number "eps" (Interval.atLeast 0.0) _.Eps (fun o v -> { o with Eps = v })
            |> Field.keepingDivisor _.Eps
            Field.number "weight_decay" (Interval.atLeast 0.0) _.WeightDecay (fun o v -> { o with WeightDecay = v })
            Field.flag "maximize" _.Maximize (fun o v -> { o with Maximize = v })
            execution.Foreach
            execution.Capturable
            Field.flag "decoupled_weight_decay" _.DecoupledWeightDecay (fun o v -> { o with DecoupledWeightDecay = v })
            execution.Differentiable
            execution.Fused |> Field.beyondPyTorch
            yield! Field.stateStorage _.StateStorage (fun o v -> { o with StateStorage = v })
        ]

    let private rectifies o step =
        let struct (_, beta2) = o.Betas
        RAdamFormula.Rectifies(beta2, step)

    let internal columns: ColumnSpec<RAdamOptions> list =
        [ zeros "exp_avg" always; zeros "exp_avg_sq" always |> nonNegative ]

    let internal arithmetic =
        { new Arithmetic<RAdamOptions>() with
            member _.Switches o =
                Switch.bit RAdamFormula.Maximize o.Maximize
                ||| Switch.bit RAdamFormula.L2 (o.WeightDecay <> 0.0 && not o.DecoupledWeightDecay)
                ||| Switch.bit RAdamFormula.Decoupled (o.WeightDecay <> 0.0 && o.DecoupledWeightDecay)
                ||| Switch.bit RAdamFormula.SlowMean (let struct (beta1, _) = o.Betas in beta1 > 0.5)

            member arithmetic.Switches(o, step) =
                arithmetic.Switches o ||| Switch.bit RAdamFormula.Rectified (rectifies o step)

            member _.HasPhases = true

            member _.Phase(read, o, step) =
                let struct (_, beta2) = o.Betas
                RAdamFormula.Tractable(read.Of("beta2", beta2), step)

            member _.WithBothPhases o =
                let struct (beta1, _) = o.Betas
                { o with Betas = struct (beta1, 0.999) }

            member _.Coefficients(read, o, step) =
                let struct (beta1, beta2) = o.Betas
                let lr, decay = read.Of("lr", o.Lr), read.Of("weight_decay", o.WeightDecay)
                let beta1, beta2 = read.Of("beta1", beta1), read.Of("beta2", beta2)
                RAdamFormula.Coefficients(lr, beta1, beta2, read.Of("eps", o.Eps), decay, rectifies o step.Count, step)
        }

    /// The rule.
    let rule =
        Rule.elementWise<RAdamOptions, RAdamFormula> "RAdam" defaults options columns arithmetic
        |> Rule.declare
            [
                Declaration.optOut "U5" "steps jump where their rectification begins: before it they are not divided by a root of squares"
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
