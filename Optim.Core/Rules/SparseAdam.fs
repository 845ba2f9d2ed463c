namespace Optim.Core

open Optim.Kernels

/// The options of SparseAdam.
type SparseAdamOptions =
    {
        Lr: double
        Betas: struct (double * double)
        Eps: double
        Maximize: bool
        Execution: Execution
    }

    interface IOptimizerOptions

/// Adam for sparse gradients, as PyTorch has it (after Kingma and Ba, arXiv:1412.6980): only rows that the gradient has are stepped, and the
/// means of the others wait: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, x = x - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps).
/// Steps are counted for the parameter as a whole.
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module SparseAdam =
    /// PyTorch's.
    let defaults =
        {
            Lr = 1e-3
            Betas = struct (0.9, 0.999)
            Eps = 1e-8
            Maximize = false
            Execution = Execution.Default
        }

    let private execution =
        ExecutionFields<SparseAdamOptions>(_.Execution, (fun o v -> { o with Execution = v }))

    let private options =
        [
            Field.number "lr" (Interval.above 0.0) _.Lr (fun o v -> { o with Lr = v })
            Field.pair "betas" (Interval.upTo 0.0 1.0) (Interval.upTo 0.0 1.0) _.Betas (fun o v -> { o with Betas = v })
            Field.number "eps" (Interval.above 0.0) _.Eps (fun o v -> { o with Eps = v })
            |> Field.keepingDivisor _.Eps
            Field.flag "maximize" _.Maximize (fun o v -> { o with Maximize = v })
            execution.Foreach |> Field.beyondPyTorch
            execution.Fused |> Field.beyondPyTorch
        ]

    let private columns: ColumnSpec<SparseAdamOptions> list =
        [ zeros "exp_avg" always; zeros "exp_avg_sq" always ]

    let private arithmetic =
        { new Arithmetic<SparseAdamOptions>() with
            member _.Switches o =
                Switch.bit SparseAdamFormula.Maximize o.Maximize
                ||| Switch.bit SparseAdamFormula.SlowMean (let struct (beta1, _) = o.Betas in beta1 > 0.5)

            member _.Sparse _ = SparseGradients.Required
            member _.StepsAreWhole = true
            member _.Complex = false

            member _.Coefficients(read, o, step) =
                let struct (beta1, beta2) = o.Betas
                let lr, eps = read.Of("lr", o.Lr), read.Of("eps", o.Eps)
                SparseAdamFormula.Coefficients(lr, read.Of("beta1", beta1), read.Of("beta2", beta2), eps, step)
        }

    /// The rule.
    let rule =
        Rule.elementWise<SparseAdamOptions, SparseAdamFormula> "SparseAdam" defaults options columns arithmetic
        |> Rule.declare
            [
                Declaration.stepBound (fun o step -> Adam.longestStep o.Lr o.Betas step)
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
