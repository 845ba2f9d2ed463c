namespace Optim.Core

open Optim
open Optim.Kernels

/// The options of Adam and AdamW.
type AdamOptions =
    {
        Lr: double
        Betas: struct (double * double)
        Eps: double
        WeightDecay: double
        Amsgrad: bool
        Maximize: bool
        DecoupledWeightDecay: bool
        Execution: Execution
        StateStorage: StateStorage
    }

    interface IOptimizerOptions

/// Adam (Kingma and Ba, arXiv:1412.6980), with amsgrad (Reddi et al.) as PyTorch has it:
/// m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, x = x - lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps).
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Adam =
    /// PyTorch's.
    let defaults =
        {
            Lr = 1e-3
            Betas = struct (0.9, 0.999)
            Eps = 1e-8
            WeightDecay = 0.0
            Amsgrad = false
            Maximize = false
            DecoupledWeightDecay = false
            Execution = Execution.Default
            StateStorage = StateStorage.Float32
        }

    let private execution =
        ExecutionFields<AdamOptions>(_.Execution, (fun o v -> { o with Execution = v }))

    let internal options =
        [
            Field.number "lr" (Interval.atLeast 0.0) _.Lr (fun o v -> { o with Lr = v })
            Field.pair "betas" (Interval.upTo 0.0 1.0) (Interval.upTo 0.0 1.0) _.Betas (fun o v -> { o with Betas = v })
            Field.number "eps" (Interval.atLeast 0.0) _.Eps (fun o v -> { o with Eps = v })
            |> Field.keepingDivisor _.Eps
            Field.number "weight_decay" (Interval.atLeast 0.0) _.WeightDecay (fun o v -> { o with WeightDecay = v })
            Field.flag "amsgrad" _.Amsgrad (fun o v -> { o with Amsgrad = v })
            Field.flag "maximize" _.Maximize (fun o v -> { o with Maximize = v })
            execution.Foreach
            execution.Capturable
            execution.Differentiable
            execution.Fused
            Field.flag "decoupled_weight_decay" _.DecoupledWeightDecay (fun o v -> { o with DecoupledWeightDecay = v })
            yield! Field.stateStorage _.StateStorage (fun o v -> { o with StateStorage = v })
        ]

    let internal columns: ColumnSpec<AdamOptions> list =
        [
            zeros "exp_avg" always
            zeros "exp_avg_sq" always |> nonNegative
            zeros "max_exp_avg_sq" _.Amsgrad |> nonNegative
        ]

    let internal arithmetic =
        { new Arithmetic<AdamOptions>() with
            member _.Switches o =
                Switch.bit AdamFormula.Maximize o.Maximize
                ||| Switch.bit AdamFormula.L2 (o.WeightDecay <> 0.0 && not o.DecoupledWeightDecay)
                ||| Switch.bit AdamFormula.Decoupled (o.WeightDecay <> 0.0 && o.DecoupledWeightDecay)
                ||| Switch.bit AdamFormula.Amsgrad o.Amsgrad
                ||| Switch.bit AdamFormula.SlowMean (let struct (beta1, _) = o.Betas in beta1 > 0.5)

            member _.Coefficients(read, o, step) =
                let struct (beta1, beta2) = o.Betas
                let lr, decay = read.Of("lr", o.Lr), read.Of("weight_decay", o.WeightDecay)
                AdamFormula.Coefficients(lr, read.Of("beta1", beta1), read.Of("beta2", beta2), read.Of("eps", o.Eps), decay, step)
        }

    /// By Cauchy and Schwarz |m| is at most so many sqrt(v): gradients that grow by b2 / b1 in each step reach it.
    let internal longestStep lr (struct (beta1, beta2)) step =
        let mean = (1.0 - beta1) / Declared.approach beta1 step
        let square = (1.0 - beta2) / Declared.approach beta2 step

        lr
        * mean
        * sqrt (Declared.geometricSum (Declared.ratio (beta1 * beta1) beta2) step / square)

    let internal declarations: Declaration<AdamOptions> list =
        [
            Declaration.stepBound (fun o step -> longestStep o.Lr o.Betas step)
            Declaration.biasCorrected always
        ]

    /// The rule.
    let rule =
        Rule.elementWise<AdamOptions, AdamFormula> "Adam" defaults options columns arithmetic
        |> Rule.declare declarations

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
