namespace Optim.Core

open System
open System.Collections.Immutable
open Optim.Kernels

/// Steps with what surrounds them.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module StepAround =
    /// Runs a prepared step and what surrounds it, over the parameters and gradients that it was prepared with.
    let run (around: StepAround) (prepared: PreparedStep) (parameters: Parameters) (gradients: Gradients) =
        Argument.notNull "around" around
        Argument.notNull "prepared" prepared
        Argument.notNull "parameters" parameters
        Argument.notNull "gradients" gradients

        if around.IsNothing then
            prepared.Run()
        else
            around.Fit parameters.Count

            if around.Weight > 0.0 then
                around.Watch.Begin()

                around.Watch.Add
                    {
                        Parameters = parameters
                        Gradients = gradients
                        State = ImmutableArray.Empty
                        Averages = around.Averages
                    }

                around.Watch.Check "averages"

            around.Begin parameters.Count
            let inside = prepared.Surround around

            let executor = TensorExecutor.OrTeam prepared.Executor

            if not inside then
                around.Before(gradients, executor)
                prepared.Refresh()

            let state = prepared.Run()
            around.After(parameters, gradients, around.Zeroes && not inside, executor)
            GC.KeepAlive parameters
            GC.KeepAlive gradients
            state

    /// A step of a rule and what surrounds it, in place.
    let step (rule: Rule) (options: IOptimizerOptions) (around: StepAround) (parameters: Parameters) (gradients: Gradients) (state: State) =
        Argument.notNull "rule" rule
        Argument.notNull "around" around
        run around (rule.Prepare(options, parameters, gradients, state)) parameters gradients
