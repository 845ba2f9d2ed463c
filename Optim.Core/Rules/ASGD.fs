namespace Optim.Core

open System.Collections.Immutable
open Optim.Kernels

/// The options of ASGD. Lr is the rate of the first step; later ones were worked out from the lr of the step before.
type ASGDOptions =
    {
        Lr: double
        Lambd: double
        Alpha: double
        T0: double
        WeightDecay: double
        Maximize: bool
        Execution: Execution
    }

    interface IOptimizerOptions

/// Averaged stochastic gradient descent (Polyak and Juditsky, 1992) as PyTorch has it: x = x (1 - lambd eta) - eta g,
/// ax = x while mu is 1, else ax + mu (x - ax); then eta = lr / (1 + lambd lr t)^alpha and mu = 1 / max(1, t - t0) for the next step.
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module ASGD =
    /// PyTorch's.
    let defaults =
        {
            Lr = 1e-2
            Lambd = 1e-4
            Alpha = 0.75
            T0 = 1e6
            WeightDecay = 0.0
            Maximize = false
            Execution = Execution.Default
        }

    let private execution =
        ExecutionFields<ASGDOptions>(_.Execution, (fun o v -> { o with Execution = v }))

    let private options =
        [
            Field.number "lr" (Interval.atLeast 0.0) _.Lr (fun o v -> { o with Lr = v })
            Field.number "lambd" (Interval.atLeast 0.0) _.Lambd (fun o v -> { o with Lambd = v })
            Field.number "alpha" (Interval.atLeast 0.0) _.Alpha (fun o v -> { o with Alpha = v })
            Field.number "t0" Interval.any _.T0 (fun o v -> { o with T0 = v })
            Field.number "weight_decay" (Interval.atLeast 0.0) _.WeightDecay (fun o v -> { o with WeightDecay = v })
            execution.Foreach
            Field.flag "maximize" _.Maximize (fun o v -> { o with Maximize = v })
            execution.Differentiable
            execution.Capturable
            execution.Fused |> Field.beyondPyTorch
        ]

    // eta and mu are float32 numbers in PyTorch, whatever the parameter; here they are doubles.
    let private arithmetic =
        { new Arithmetic<ASGDOptions>() with
            member _.Switches o =
                Switch.bit ASGDFormula.Maximize o.Maximize
                ||| Switch.bit ASGDFormula.L2 (o.WeightDecay <> 0.0)

            member _.HasPhases = true

            member _.Phase(read, o, step) =
                ASGDFormula.Averages(read.Of("t0", o.T0), step)

            member _.WithBothPhases o = { o with T0 = 10.0 }

            member arithmetic.Coefficients(read, o, step) =
                arithmetic.Coefficients(read, o, step, arithmetic.Start(read, o))

            member _.Scalars = ImmutableArray.Create("eta", "mu")

            member _.Start(read, o) = ASGDFormula.Start(read.Of("lr", o.Lr))

            member _.Next(read, o, step, _) =
                let lr, lambd, alpha =
                    read.Of("lr", o.Lr), read.Of("lambd", o.Lambd), read.Of("alpha", o.Alpha)

                ASGDFormula.Next(
                    lr,
                    lambd,
                    alpha,
                    read.Of("t0", o.T0),
                    ASGDFormula.Averages(Real o.T0, StepNumber<Real> step.Count).Value > 0.0,
                    step
                )

            member _.Coefficients(read, o, _, before) =
                ASGDFormula.Coefficients(before.First, before.Second, read.Of("lambd", o.Lambd), read.Of("weight_decay", o.WeightDecay))
        }

    /// The rule.
    let rule =
        Rule.elementWise<ASGDOptions, ASGDFormula> "ASGD" defaults options [ zeros "ax" always ] arithmetic

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
