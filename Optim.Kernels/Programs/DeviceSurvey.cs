namespace Optim.Kernels;

/// <summary>
/// What was found in the gradients of a step where these lie: whether all of them are finite, their norm, and the factor that clips it. Nobody has
/// waited for it: kernels of the step look there, and do nothing where a gradient is not finite.
/// </summary>
internal abstract class DeviceSurvey
{
    /// <summary>Where it is.</summary>
    public abstract ProgramDevice Device { get; }

    /// <summary>Makes what <see cref="Zero"/> needs, so that it cannot fail.</summary>
    public abstract void PrepareZero();

    /// <summary>Sets the gradients to zero that were looked at, behind what was launched so far, whatever was found.</summary>
    public abstract void Zero();

    /// <summary>Begins to bring what was found to the processor, behind what was launched so far: reading it waits for no more than that.</summary>
    public abstract void Fetch();

    /// <summary>Waits for what was found: whether all are finite, the norm, and the factor.</summary>
    public abstract (bool IsFinite, double Norm, double Factor) Read();
}

/// <summary>What guards a visit of a step.</summary>
/// <param name="Survey">What was found in the gradients.</param>
/// <param name="ClipAt">Which of the visit's numbers is the factor that clips them; -1 for none.</param>
internal readonly record struct StepGuard(DeviceSurvey Survey, int ClipAt)
{
    /// <summary>The guard of a visit; null where nothing was looked for.</summary>
    public static StepGuard? Of(DeviceSurvey? survey, StepProgram program, Visit visit) =>
        survey is null
            ? null
            : new(
                survey,
                Array.FindIndex(visit.Numbers, number => program.Nodes[number] is { Operation: Operation.Given, Name: Surroundings.Clip })
            );
}
