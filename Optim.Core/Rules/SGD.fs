namespace Optim.Core

open Optim
open Optim.Kernels

/// The options of SGD.
type SGDOptions =
    {
        Lr: double
        Momentum: double
        Dampening: double
        WeightDecay: double
        Nesterov: bool
        Maximize: bool
        Execution: Execution
        StateStorage: StateStorage
    }

    interface IOptimizerOptions

/// Stochastic gradient descent with momentum as PyTorch has it: b = mu b + (1 - dampening) g, the first b is g itself;
/// x = x - lr b, or with nesterov x = x - lr (g + mu b).
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module SGD =
    /// PyTorch's.
    let defaults =
        {
            Lr = 1e-3
            Momentum = 0.0
            Dampening = 0.0
            WeightDecay = 0.0
            Nesterov = false
            Maximize = false
            Execution = Execution.Default
            StateStorage = StateStorage.Float32
        }

    let private execution =
        ExecutionFields<SGDOptions>(_.Execution, (fun o v -> { o with Execution = v }))

    let private options =
        [
            Field.number "lr" (Interval.atLeast 0.0) _.Lr (fun o v -> { o with Lr = v })
            Field.number "momentum" (Interval.atLeast 0.0) _.Momentum (fun o v -> { o with Momentum = v })
            Field.number "dampening" Interval.any _.Dampening (fun o v -> { o with Dampening = v })
            Field.number "weight_decay" (Interval.atLeast 0.0) _.WeightDecay (fun o v -> { o with WeightDecay = v })
            Field.flag "nesterov" _.Nesterov (fun o v -> { o with Nesterov = v })
            |> Field.requiring "nesterov momentum requires a momentum above 0 and a dampening of 0" (fun o ->
                not o.Nesterov || (o.Momentum > 0.0 && o.Dampening = 0.0))
            Field.flag "maximize" _.Maximize (fun o v -> { o with Maximize = v })
            execution.Foreach
            execution.Differentiable
            execution.Fused
            yield! Field.stateStorage _.StateStorage (fun o v -> { o with StateStorage = v })
        ]

    let private arithmetic =
        { new Arithmetic<SGDOptions>() with
            member _.Switches o =
                Switch.bit SGDFormula.Maximize o.Maximize
                ||| Switch.bit SGDFormula.L2 (o.WeightDecay <> 0.0)
                ||| Switch.bit SGDFormula.Momentum (o.Momentum <> 0.0)
                ||| Switch.bit SGDFormula.Nesterov o.Nesterov

            member _.Coefficients(read, o, step) =
                let lr, momentum, dampening =
                    read.Of("lr", o.Lr), read.Of("momentum", o.Momentum), read.Of("dampening", o.Dampening)

                SGDFormula.Coefficients(lr, momentum, dampening, read.Of("weight_decay", o.WeightDecay), step)

            // Momentum carries rows of earlier gradients on; weight decay would move rows that no gradient has.
            member _.Sparse o =
                if o.WeightDecay <> 0.0 then
                    SparseGradients.RefusedByWeightDecay
                elif o.Momentum <> 0.0 then
                    SparseGradients.RowsSoFar
                else
                    SparseGradients.Rows

            // Steps matter only to tell the first momentum; without momentum there is no state.
            member _.Counts o = o.Momentum <> 0.0
        }

    /// The rule.
    let rule =
        Rule.elementWise<SGDOptions, SGDFormula> "SGD" defaults options [ zeros "momentum_buffer" (fun o -> o.Momentum <> 0.0) ] arithmetic

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
