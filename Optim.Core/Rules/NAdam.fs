namespace Optim.Core

open System.Collections.Immutable
open Optim
open Optim.Kernels

/// The options of NAdam.
type NAdamOptions =
    {
        Lr: double
        Betas: struct (double * double)
        Eps: double
        WeightDecay: double
        MomentumDecay: double
        Maximize: bool
        DecoupledWeightDecay: bool
        Execution: Execution
        StateStorage: StateStorage
    }

    interface IOptimizerOptions

/// NAdam (Dozat, 2016) as PyTorch has it: Adam's means m and v, mu_t = b1 (1 - 0.96^(t psi) / 2) and P their product up to t;
/// x = x - lr ((1 - mu_t) / (1 - P_t) g + mu_(t+1) / (1 - P_(t+1)) m) / (sqrt(v / (1 - b2^t)) + eps).
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module NAdam =
    /// PyTorch's.
    let defaults =
        {
            Lr = 2e-3
            Betas = struct (0.9, 0.999)
            Eps = 1e-8
            WeightDecay = 0.0
            MomentumDecay = 4e-3
            Maximize = false
            DecoupledWeightDecay = false
            Execution = Execution.Default
            StateStorage = StateStorage.Float32
        }

    let private execution =
        ExecutionFields<NAdamOptions>(_.Execution, (fun o v -> { o with Execution = v }))

    let internal options =
        [
            Field.number "lr" (Interval.atLeast 0.0) _.Lr (fun o v -> { o with Lr = v })
            Field.pair "betas" (Interval.upTo 0.0 1.0) (Interval.upTo 0.0 1.0) _.Betas (fun o v -> { o with Betas = v })
            Field.number "eps" (Interval.atLeast 0.0) _.Eps (fun o v -> { o with Eps = v })
            |> Field.keepingDivisor _.Eps
            Field.number "weight_decay" (Interval.atLeast 0.0) _.WeightDecay (fun o v -> { o with WeightDecay = v })
            Field.number "momentum_decay" (Interval.atLeast 0.0) _.MomentumDecay (fun o v -> { o with MomentumDecay = v })
            Field.flag "decoupled_weight_decay" _.DecoupledWeightDecay (fun o v -> { o with DecoupledWeightDecay = v })
            Field.flag "maximize" _.Maximize (fun o v -> { o with Maximize = v })
            execution.Foreach
            execution.Capturable
            execution.Differentiable
            execution.Fused |> Field.beyondPyTorch
            yield! Field.stateStorage _.StateStorage (fun o v -> { o with StateStorage = v })
        ]

    let internal columns: ColumnSpec<NAdamOptions> list =
        [ zeros "exp_avg" always; zeros "exp_avg_sq" always |> nonNegative ]

    // mu_product is a float32 number in PyTorch, whatever the parameter; here it is a double.
    let internal arithmetic =
        { new Arithmetic<NAdamOptions>() with
            member _.Switches o =
                Switch.bit NAdamFormula.Maximize o.Maximize
                ||| Switch.bit NAdamFormula.L2 (o.WeightDecay <> 0.0 && not o.DecoupledWeightDecay)
                ||| Switch.bit NAdamFormula.Decoupled (o.WeightDecay <> 0.0 && o.DecoupledWeightDecay)
                ||| Switch.bit NAdamFormula.SlowMean (let struct (beta1, _) = o.Betas in beta1 > 0.5)

            member arithmetic.Coefficients(read, o, step) =
                arithmetic.Coefficients(read, o, step, arithmetic.Start(read, o))

            member _.Scalars = ImmutableArray.Create "mu_product"
            member _.Start(_, _) = NAdamFormula.Start()

            member _.Next(read, o, step, before) =
                let struct (beta1, _) = o.Betas

                let beta1, decay =
                    read.Of("beta1", beta1), read.Of("momentum_decay", o.MomentumDecay)

                NAdamFormula.Next(before.First, beta1, decay, step)

            member _.Coefficients(read, o, step, before) =
                let struct (beta1, beta2) = o.Betas

                let lr, eps, decay =
                    read.Of("lr", o.Lr), read.Of("eps", o.Eps), read.Of("weight_decay", o.WeightDecay)

                let beta1, beta2 = read.Of("beta1", beta1), read.Of("beta2", beta2)
                let momentumDecay = read.Of("momentum_decay", o.MomentumDecay)
                NAdamFormula.Coefficients(lr, beta1, beta2, eps, decay, momentumDecay, before.First, step)
        }

    /// The rule.
    let rule =
        Rule.elementWise<NAdamOptions, NAdamFormula> "NAdam" defaults options columns arithmetic

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
