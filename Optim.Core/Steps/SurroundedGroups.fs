namespace Optim.Core

open System
open Optim.Kernels

/// Steps of one or several groups of parameters with what surrounds them: Step.run is this for one, and Attach of the shell for the groups of
/// an optimizer. One look at all gradients, where clipping or scaling asks for it, and then the steps. It can be used again for every step.
[<Sealed>]
type internal SurroundedGroups() =
    let survey = GradientSurvey()

    /// Looks at what was taken, and says what it found.
    member _.Survey = survey

    /// Refuses gradients in float16: their scale is undone in that dtype, where it would lose them.
    static member RefuseFloat16(parameters: Parameters, gradients: Gradients) =
        for row in 0 .. gradients.Count - 1 do
            if
                gradients[row].Kind <> GradientKind.Absent
                && gradients[row].Values.DType = DType.Float16
            then
                raise (
                    ArgumentException
                        $"Attempting to unscale FP16 gradients: that of {parameters.Label row} is float16; keep parameters in float32"
                )

    /// Takes the gradients of all groups, for the survey to look at.
    member _.Take(gradients: Gradients array) =
        survey.Clear()

        for list in gradients do
            survey.Add list

    /// By what clipping to this norm multiplies the gradients that were looked at.
    member _.ClipTo(maxNorm: double) =
        Clipping.coefficient maxNorm survey.Total

    /// Makes the steps of all groups ready, each with what surrounds it: what is refused is refused before the first one runs, and leaves
    /// everything as it was.
    member _.Surround(prepared: PreparedStep array, around: StepSurroundings array) =
        for group in 0 .. prepared.Length - 1 do
            prepared[group].Surround around[group]
