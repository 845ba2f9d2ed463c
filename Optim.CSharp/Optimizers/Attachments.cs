using System.Collections.Immutable;
using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// What surrounds the steps of an optimizer, by PyTorch's names: Step.around of the core over several groups. Gradients are looked at
/// once, where clipping or scaling asks for it; all the rest goes along with the step's own visit of memory.
/// </summary>
internal sealed class Attachments(
    Optimizer optimizer,
    GradientClip? clip,
    GradScaler? scaler,
    AveragedParameters? average,
    bool zeroGrad,
    int accumulate
)
{
    private readonly SurroundedGroups surrounded = new();
    private StepSurroundings[] around = [];
    private PreparedStep[] launched = [];
    private bool averagesMove;
    private readonly List<int[]> averageRows = [];
    private readonly List<TensorView[]> averages = [];
    private bool[] averaged = [];

    /// <summary>Nothing attached: what a scaler needs for a step.</summary>
    public static Attachments None(Optimizer optimizer) => new(optimizer, null, null, null, false, 1);

    public GradientClip? Clip => clip;

    public GradScaler? Scaler => scaler;

    public AveragedParameters? Average => average;

    /// <summary>How many calls make a step.</summary>
    public int Accumulate => accumulate;

    /// <summary>What no call may begin with, whether it steps or adds up; returns the loss scale of its gradients.</summary>
    public double Begin(GradScaler? scaler)
    {
        average?.RefuseApplied("Step");
        return scaler is null || scaler.Begin(optimizer).Overflow is not null ? 1 : scaler.GetScale();
    }

    /// <summary>Refuses gradients that cannot be unscaled.</summary>
    public static void RefuseFloat16(IReadOnlyList<ParameterGroup> groups, Gradients[] gradients)
    {
        for (var i = 0; i < gradients.Length; i++)
            SurroundedGroups.RefuseFloat16(groups[i].List, gradients[i]);
    }

    /// <summary>Steps what is prepared, and what surrounds it; false when a gradient is not finite, and then nothing has moved.</summary>
    /// <param name="groups">The groups.</param>
    /// <param name="prepared">Their steps.</param>
    /// <param name="gradients">Their gradients.</param>
    /// <param name="scaler">By which they were scaled; null for none.</param>
    /// <param name="areMeans">Whether they are means, and not the parameters' own.</param>
    /// <param name="mustKnow">Whether it must be known at once if the step was made; else <see cref="IsOpen"/> may hold, and <see cref="Settle"/> tells.</param>
    public bool Run(
        IReadOnlyList<ParameterGroup> groups,
        PreparedStep[] prepared,
        Gradients[] gradients,
        GradScaler? scaler,
        bool areMeans,
        bool mustKnow
    )
    {
        IsOpen = false;
        double? unscale = null,
            factor = null;
        bool? overflow = false;
        var raises = clip is ClipGradNorm { ErrorIfNonfinite: true };
        surrounded.RefuseCapture(prepared, scaler is not null, average is not null, areMeans, raises);
        if (scaler is not null)
            (unscale, overflow) = scaler.Begin(optimizer);
        if (scaler is not null)
            RefuseUnscalable(groups, gradients);
        var isLookedAt = overflow is null || clip is ClipGradNorm;
        Take(isLookedAt ? gradients : []);
        if (isLookedAt && overflow != true && LookThere(prepared, unscale ?? 1))
        {
            // Where the device has looked, it has the factor; the step says what was found.
            overflow = false;
            factor = clip is ClipGradNorm ? 1 : null;
        }
        else if (isLookedAt)
        {
            var executor = TensorExecutor.OrTeam(prepared.Length > 0 ? prepared[0].Executor : null);
            factor = Look(groups, unscale ?? 1, executor);
            overflow = overflow == true || !surrounded.Survey.IsFinite;
        }
        // Whatever else goes by whether the step was made asks for it at once.
        var staysOpen = !mustKnow && scaler is null && !raises;
        if (overflow == false)
            overflow = !Step(groups, prepared, gradients, unscale, factor, areMeans, staysOpen);
        if (overflow == true)
        {
            if (scaler is null && clip is ClipGradNorm { ErrorIfNonfinite: true } norm)
                throw Nonfinite(groups, norm);
            Zero(groups);
        }
        scaler?.End(optimizer, overflow != false);
        return overflow == false;
    }

    /// <summary>The gradients that are looked at next.</summary>
    private void Take(Gradients[] gradients)
    {
        surrounded.Survey.Across = optimizer.Ranks?.Slices;
        surrounded.Take(gradients);
    }

    /// <summary>Looks by the device where the gradients lie, without waiting; false where that is not possible.</summary>
    private bool LookThere(PreparedStep[] prepared, double unscale)
    {
        var norm = clip as ClipGradNorm;
        return surrounded.LookThere(prepared, norm?.NormType ?? 2, unscale, norm?.MaxNorm);
    }

    /// <summary>The norm and finiteness of all gradients in one look, and by what clipping multiplies them; null where it does not.</summary>
    private double? Look(IReadOnlyList<ParameterGroup> groups, double unscale, Executor executor)
    {
        var norm = clip as ClipGradNorm;
        if (norm?.NormType < 0)
            RefuseOrder(groups, norm);
        surrounded.Survey.Run(norm?.NormType ?? 2, unscale, executor);
        return norm is null ? null : surrounded.ClipTo(norm.MaxNorm);
    }

    // Apart, so that steps which need no words make no objects for them.
    private InvalidOperationException Nonfinite(IReadOnlyList<ParameterGroup> groups, ClipGradNorm norm) =>
        ClipGrad.Nonfinite(norm.NormType, surrounded.Survey.Nonfinite.Select(place => groups[place.Item1].List.Label(place.Item2)));

    private void RefuseOrder(IReadOnlyList<ParameterGroup> groups, ClipGradNorm norm) =>
        surrounded.Survey.RefuseOrder(norm.NormType, (list, row) => $"the gradient of {groups[list].List.Label(row)}");

    // False where a device has found a gradient that is not finite, and then nothing has moved.
    private bool Step(
        IReadOnlyList<ParameterGroup> groups,
        PreparedStep[] prepared,
        Gradients[] gradients,
        double? unscale,
        double? factor,
        bool areMeans,
        bool staysOpen
    )
    {
        var weight = average?.BeginStep() ?? 0;
        // Where ranks have slices, the average takes the parameters in when they are whole again.
        if (optimizer.Ranks is not null)
            weight = 0;
        if (weight > 0)
            MatchAverages(groups);
        if (around.Length != groups.Count)
            around = new StepSurroundings[groups.Count];
        for (var i = 0; i < groups.Count; i++)
            around[i] = AroundGroup(i, unscale, factor, weight, areMeans);
        surrounded.Surround(prepared, around);
        surrounded.Launch(prepared);
        IsOpen = staysOpen && surrounded.IsOpen && average is not { MovesByItself: true };
        if (IsOpen)
        {
            (launched, averagesMove) = (prepared, weight > 0);
            foreach (var group in groups)
                group.AfterStep();
            return true;
        }
        if (!surrounded.IsMade(prepared))
            return false;
        for (var i = 0; i < groups.Count; i++)
        {
            groups[i].State = surrounded.Complete(prepared[i]);
            groups[i].AfterStep();
        }
        optimizer.Ranks?.Publish();
        average?.EndStep(weight > 0 ? averaged : null);
        // Providers have their own zero of a sparse gradient.
        if (zeroGrad && (areMeans || optimizer.Ranks is not null || gradients.Any(HasSparse)))
            Zero(groups);
        return true;
    }

    /// <summary>Whether the last step was handed to a device, and nobody has asked yet if it was made.</summary>
    public bool IsOpen { get; private set; }

    /// <summary>Waits for the last step where that is so; false when it was left out, as a gradient was not finite.</summary>
    public bool Settle(IReadOnlyList<ParameterGroup> groups)
    {
        IsOpen = false;
        if (!surrounded.IsMade(launched))
            return false;
        for (var i = 0; i < launched.Length; i++)
            groups[i].State = surrounded.Complete(launched[i]);
        average?.EndStep(averagesMove ? averaged : null);
        return true;
    }

    private StepSurroundings AroundGroup(int group, double? unscale, double? factor, double weight, bool areMeans)
    {
        ImmutableArray<MovingAverage> moving = [];
        if (weight > 0)
        {
            for (var row = 0; row < averages[group].Length; row++)
                averages[group][row] = averageRows[group][row] is >= 0 and var at ? average!.Row(at) : default;
            moving = [new(weight, averages[group])];
        }
        return new(unscale, factor, (clip as ClipGradValue)?.Value, zeroGrad && !areMeans && optimizer.Ranks is null, moving);
    }

    private static bool HasSparse(Gradients gradients)
    {
        for (var row = 0; row < gradients.Count; row++)
            if (gradients[row].Kind == GradientKind.Sparse)
                return true;
        return false;
    }

    /// <summary>Which row of the average belongs to which parameter; new when a group was added.</summary>
    private void MatchAverages(IReadOnlyList<ParameterGroup> groups)
    {
        if (averageRows.Count == groups.Count)
            return;
        averaged = new bool[average!.Names.Count];
        averageRows.Clear();
        averages.Clear();
        foreach (var group in groups)
        {
            int[] rows = [.. group.Parameters.Select(average.RowOf)];
            foreach (var row in rows.Where(row => row >= 0))
                averaged[row] = true;
            averageRows.Add(rows);
            averages.Add(new TensorView[rows.Length]);
        }
    }

    /// <summary>Sets gradients to zero, where that is asked for.</summary>
    public void Zero(IReadOnlyList<ParameterGroup> groups)
    {
        if (!zeroGrad)
            return;
        foreach (var group in groups)
        foreach (var parameter in group.Parameters)
            parameter.ZeroGradient(setToNone: false);
    }

    private void RefuseUnscalable(IReadOnlyList<ParameterGroup> groups, Gradients[] gradients)
    {
        RefuseFloat16(groups, gradients);
        if (optimizer.Ranks is { HasGradients: true })
            return;
        foreach (var list in gradients)
            for (var row = 0; row < list.Count; row++)
                if (list[row].Kind != GradientKind.Absent)
                    return;
        throw new InvalidOperationException("No inf checks were recorded for this optimizer: it has no gradients.");
    }

    /// <summary>Unscales gradients in place; says whether all of them are finite.</summary>
    public bool Unscale(IReadOnlyList<ParameterGroup> groups, double factor)
    {
        Gradients[] gradients = [.. groups.Select(group => group.Refresh())];
        RefuseUnscalable(groups, gradients);
        Take(gradients);
        Look(groups, 1, Executor.Team);
        foreach (var (group, list) in groups.Zip(gradients))
            ClippingModule.scale(factor, list, group.List.Executor ?? Executor.Team);
        return surrounded.Survey.IsFinite;
    }
}
