namespace Optim.Core

open System
open System.Collections.Immutable
open Optim.Kernels

/// Steps with what surrounds them.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module StepAround =
    /// Runs a prepared step and what surrounds it, over the parameters and gradients that it was prepared with.
    let run (around: StepAround) (prepared: PreparedStep) (parameters: Parameters) (gradients: Gradients) =
        if around.IsNothing then
            prepared.Run()
        else
            if around.Weight > 0.0 && around.Averages.Length <> parameters.Count then
                raise (
                    ArgumentException
                        $"{parameters.Count} parameters and {around.Averages.Length} averages; there must be one for each, if only an absent one"
                )

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
    let step (rule: Rule) (options: obj) (around: StepAround) (parameters: Parameters) (gradients: Gradients) (state: State) =
        run around (rule.Prepare(options, parameters, gradients, state)) parameters gradients
