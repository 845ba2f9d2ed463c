namespace Optim.Core

open Optim
open Optim.Kernels

/// The options of Rprop. Lr is where the step sizes start, and matters only then.
type RpropOptions =
    {
        Lr: double
        Etas: struct (double * double)
        StepSizes: struct (double * double)
        Maximize: bool
        Execution: Execution
        StateStorage: StateStorage
    }

    interface IOptimizerOptions

/// Resilient backpropagation (Riedmiller and Braun, 1993): each element has a step size of its own, which grows by eta+ while the
/// gradient keeps its sign and shrinks by eta- when it turns; x = x - sign(g) size. A gradient that turned is passed over once.
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Rprop =
    /// PyTorch's.
    let defaults =
        {
            Lr = 1e-2
            Etas = struct (0.5, 1.2)
            StepSizes = struct (1e-6, 50.0)
            Maximize = false
            Execution = Execution.Default
            StateStorage = StateStorage.Float32
        }

    let private execution =
        ExecutionFields<RpropOptions>(_.Execution, (fun o v -> { o with Execution = v }))

    let private options =
        [
            Field.number "lr" (Interval.atLeast 0.0) _.Lr (fun o v -> { o with Lr = v })
            Field.pair "etas" (Interval.between 0.0 1.0) (Interval.above 1.0) _.Etas (fun o v -> { o with Etas = v })
            Field.pair "step_sizes" (Interval.atLeast 0.0) (Interval.atLeast 0.0) _.StepSizes (fun o v -> { o with StepSizes = v })
            |> Field.requiring "the first must be at most the second" (fun o ->
                let struct (smallest, largest) = o.StepSizes
                smallest <= largest)
            execution.Foreach
            Field.flag "maximize" _.Maximize (fun o v -> { o with Maximize = v })
            execution.Differentiable
            execution.Capturable
            execution.Fused |> Field.beyondPyTorch
            yield! Field.stateStorage _.StateStorage (fun o v -> { o with StateStorage = v })
        ]

    let private arithmetic =
        { new Arithmetic<RpropOptions>() with
            member _.Switches o =
                Switch.bit RpropFormula.Maximize o.Maximize

            member _.Coefficients(read, o, _) =
                let struct (etaMinus, etaPlus) = o.Etas
                let struct (smallest, largest) = o.StepSizes
                let etaMinus, etaPlus = read.Of("eta_minus", etaMinus), read.Of("eta_plus", etaPlus)
                RpropFormula.Coefficients(etaMinus, etaPlus, read.Of("step_size_min", smallest), read.Of("step_size_max", largest))
        }

    /// The rule.
    let rule =
        Rule.elementWise<RpropOptions, RpropFormula>
            "Rprop"
            defaults
            options
            [
                zeros "prev" always
                startingFrom "lr" _.Lr "step_size" always |> wideWhen always
            ]
            arithmetic
        |> Rule.declare
            [
                Declaration.stepBound (fun o _ -> let struct (_, largest) = o.StepSizes in largest)
                Declaration.optOut "U4" "lr is only where step sizes begin, and these have a least size of their own"
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
