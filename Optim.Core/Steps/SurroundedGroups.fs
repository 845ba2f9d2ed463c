namespace Optim.Core

open System
open Optim.Kernels

/// Steps of one or several groups of parameters with what surrounds them: Step.run is this for one, and Attach of the shell for the groups of
/// an optimizer. One look at all gradients, where clipping or scaling asks for it, and then the steps. It can be used again for every step.
[<Sealed>]
type internal SurroundedGroups() =
    let survey = GradientSurvey()
    /// What was found where the gradients lie.
    let mutable found: DeviceSurvey | null = null
    /// Whether gradients become zero by themselves, behind steps that may be left out.
    let mutable zeroes = false

    /// The device whose kernels make the steps of all groups; null where somebody else takes part.
    let deviceOf (prepared: PreparedStep array) : ProgramDevice | null =
        let mutable device: ProgramDevice | null = null
        let mutable isOne = true

        for step in prepared do
            match box step with
            | :? IGuardedStep as step when step.IsIdle -> ()
            | :? IGuardedStep as step ->
                match step.Device with
                | null -> isOne <- false
                | other ->
                    isOne <- isOne && (isNull device || obj.ReferenceEquals(device, other))
                    device <- other
            | _ -> isOne <- false

        if isOne then device else null

    /// Where a graph is being captured: refuses what that cannot repeat.
    let refuseCapture (prepared: PreparedStep array) what =
        match deviceOf prepared with
        | null -> ()
        | device when device.IsCapturing ->
            raise (
                NotSupportedException
                    $"a graph is being captured on {device.Name}, and it cannot repeat {what}: leave that to the program around the graph"
            )
        | _ -> ()

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
        found <- null
        survey.Clear()

        for list in gradients do
            survey.Add list

    /// Where a graph is being captured: refuses what surrounds steps and is the processor's.
    member _.RefuseCapture(prepared: PreparedStep array, scales: bool, averages: bool, isMean: bool, raises: bool) =
        if scales then
            refuseCapture prepared "a loss scale, which the processor adapts"

        if averages then
            refuseCapture prepared "averages, which the processor counts"

        if isMean then
            refuseCapture prepared "the mean of several calls, which the processor counts"

        if raises then
            refuseCapture prepared "an error for norms that are not finite (errorIfNonfinite)"

    /// Looks at the gradients that were taken where they lie, and waits for nothing: steps that are left out if one of them is not finite, and clip
    /// their norm by what was found, say so when they have been launched. False where that is not possible, and then nothing was done.
    member _.LookThere(prepared: PreparedStep array, order: double, factor: double, most: Nullable<double>) =
        match deviceOf prepared with
        | null -> false
        | device ->
            found <- survey.LookOn(device, order, factor, most)

            if isNull found then
                refuseCapture prepared "clipping by a norm that is not worked out on the device"

            not (isNull found)

    /// By what clipping to this norm multiplies the gradients that were looked at.
    member _.ClipTo(maxNorm: double) =
        Clipping.coefficient maxNorm survey.Total

    /// Makes the steps of all groups ready, each with what surrounds it: what is refused is refused before the first one runs, and leaves
    /// everything as it was.
    member _.Surround(prepared: PreparedStep array, around: StepSurroundings array) =
        zeroes <- false

        for group in 0 .. prepared.Length - 1 do
            match box prepared[group] with
            | :? IGuardedStep as step -> step.Survey <- found
            | _ -> ()

            let mutable own = around[group]

            if not (isNull found) && own.Zeroes then
                zeroes <- true
                own <- { own with Zeroes = false }

            prepared[group].Surround own

        match found with
        | null -> ()
        | there ->
            if zeroes then
                there.PrepareZero()

    /// Launches the steps that devices make by what was found in the gradients there; where nobody looked there, nothing is done, and they are made
    /// when they are completed.
    member _.Launch(prepared: PreparedStep array) =
        match found with
        | null -> ()
        | there ->
            for step in prepared do
                (box step :?> IGuardedStep).Launch()

            if zeroes then
                there.Zero()

            there.Fetch()

    /// Whether it is not known yet if the steps were made.
    member _.IsOpen = not (isNull found)

    /// Waits for what was found; false where a gradient was not finite, and then nothing has moved.
    member _.IsMade(prepared: PreparedStep array) =
        match found with
        | null -> true
        | there ->
            let struct (isFinite, norm, _) = there.Read()
            survey.Take(norm, isFinite)

            if not isFinite then
                for step in prepared do
                    (box step :?> IGuardedStep).Abandon()

            isFinite

    /// Completes a step, or makes the whole of it; returns the state after it.
    member _.Complete(prepared: PreparedStep) =
        match found with
        | null -> prepared.Run()
        | _ -> (box prepared :?> IGuardedStep).Complete()
