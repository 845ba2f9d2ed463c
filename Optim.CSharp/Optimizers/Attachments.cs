using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// What surrounds the steps of an optimizer. Gradients are looked at once, where clipping or scaling asks for it; all the rest goes
/// along with the step's own visit of memory.
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
    private readonly GradientSurvey survey = new();
    private readonly List<StepAround> around = [];
    private readonly List<GradientSum> sums = [];
    private readonly List<int[]> averageRows = [];
    private bool[] averaged = [];

    /// <summary>Nothing attached: what a scaler needs for a step.</summary>
    public static Attachments None(Optimizer optimizer) => new(optimizer, null, null, null, false, 1);

    public GradientClip? Clip => clip;

    public GradScaler? Scaler => scaler;

    public AveragedParameters? Average => average;

    /// <summary>Whether batches were added up that no step has taken.</summary>
    public bool IsAccumulating => sums.Count > 0 && sums[0].Count > 0;

    /// <summary>Adds the gradients of a batch up; false while more batches belong to the step.</summary>
    public bool Accumulate(IReadOnlyList<ParameterGroup> groups)
    {
        if (accumulate == 1)
            return true;
        while (sums.Count < groups.Count)
            sums.Add(new(groups[sums.Count].Parameters.Count));
        for (var i = 0; i < groups.Count; i++)
            sums[i].Add(groups[i].Refresh());
        if (sums[0].Count == accumulate)
            return true;
        Zero(groups);
        return false;
    }

    /// <summary>The gradients of a group's step.</summary>
    public Gradients GradientsOf(int group, IReadOnlyList<ParameterGroup> groups) =>
        accumulate == 1 ? groups[group].Refresh() : sums[group].Mean();

    /// <summary>Steps what is prepared, and what surrounds it; false when a gradient is not finite, and then nothing has moved.</summary>
    public bool Run(IReadOnlyList<ParameterGroup> groups, PreparedStep[] prepared, Gradients[] gradients, GradScaler? scaler)
    {
        average?.RefuseApplied("Step");
        var (unscale, overflow) = scaler?.Begin(optimizer) ?? (1, false);
        if (scaler is not null)
            RefuseUnscalable(groups, gradients);
        var executor = TensorExecutor.OrTeam(prepared.Length > 0 ? prepared[0].Executor : null);
        var factor = 1.0;
        RefuseSparse(groups, gradients);
        if (overflow is null || clip is ClipGradNorm)
        {
            factor = Look(gradients, unscale, executor);
            overflow = overflow == true || !survey.IsFinite;
            if (overflow == true && scaler is null && clip is ClipGradNorm { ErrorIfNonfinite: true } norm)
                throw ClipGrad.Nonfinite(norm.NormType, survey.Nonfinite.Select(place => groups[place.Item1].List.Label(place.Item2)));
        }
        if (overflow == false)
            Step(groups, prepared, gradients, unscale, factor);
        else
            Zero(groups);
        scaler?.End(optimizer, overflow != false);
        return overflow == false;
    }

    /// <summary>The norm and finiteness of all gradients in one look, and by what clipping multiplies them.</summary>
    private double Look(Gradients[] gradients, double unscale, Executor executor)
    {
        survey.Clear();
        foreach (var list in gradients)
            survey.Add(list);
        var norm = clip as ClipGradNorm;
        survey.Run(norm?.NormType ?? 2, unscale, executor);
        return norm is null ? 1 : ClippingModule.coefficient(norm.MaxNorm, survey.Total);
    }

    private void Step(IReadOnlyList<ParameterGroup> groups, PreparedStep[] prepared, Gradients[] gradients, double unscale, double factor)
    {
        var weight = average?.BeginStep() ?? 0;
        if (weight > 0)
            MatchAverages(groups);
        while (around.Count < groups.Count)
            around.Add(new());
        for (var i = 0; i < groups.Count; i++)
        {
            var one = around[i];
            (one.Unscale, one.Clip, one.Weight) = (unscale, factor, weight);
            one.Limit = clip is ClipGradValue value ? value.Value : double.PositiveInfinity;
            one.Zeroes = zeroGrad && accumulate == 1;
            if (weight > 0)
            {
                if (one.Averages.Length != averageRows[i].Length)
                    one.Averages = new TensorView[averageRows[i].Length];
                for (var row = 0; row < averageRows[i].Length; row++)
                    one.Averages[row] = averageRows[i][row] is >= 0 and var at ? average!.Row(at) : default;
            }
            groups[i].State = StepAroundModule.run(one, prepared[i], groups[i].List, gradients[i]);
            groups[i].AfterStep();
        }
        average?.EndStep(weight > 0 ? averaged : null);
        if (accumulate > 1)
            Zero(groups);
    }

    /// <summary>Which row of the average belongs to which parameter; new when a group was added.</summary>
    private void MatchAverages(IReadOnlyList<ParameterGroup> groups)
    {
        if (averageRows.Count == groups.Count)
            return;
        averaged = new bool[average!.Names.Count];
        averageRows.Clear();
        foreach (var group in groups)
        {
            int[] rows = [.. group.Parameters.Select(average.RowOf)];
            foreach (var row in rows.Where(row => row >= 0))
                averaged[row] = true;
            averageRows.Add(rows);
        }
    }

    private void Zero(IReadOnlyList<ParameterGroup> groups)
    {
        if (!zeroGrad)
            return;
        foreach (var group in groups)
        foreach (var parameter in group.Parameters)
            parameter.ZeroGradient(setToNone: false);
    }

    private static void RefuseUnscalable(IReadOnlyList<ParameterGroup> groups, Gradients[] gradients)
    {
        var any = false;
        for (var i = 0; i < gradients.Length; i++)
        for (var row = 0; row < gradients[i].Count; row++)
            if (gradients[i][row] is { Kind: not GradientKind.Absent } gradient)
            {
                any = true;
                if (gradient.Values.DType == DType.Float16)
                    throw new ArgumentException(
                        $"Attempting to unscale FP16 gradients: that of {groups[i].List.Label(row)} is float16; keep parameters in float32"
                    );
            }
        if (!any)
            throw new InvalidOperationException("No inf checks were recorded for this optimizer: it has no gradients.");
    }

    private void RefuseSparse(IReadOnlyList<ParameterGroup> groups, Gradients[] gradients)
    {
        if (clip is null)
            return;
        for (var i = 0; i < gradients.Length; i++)
        for (var row = 0; row < gradients[i].Count; row++)
            if (gradients[i][row].Kind == GradientKind.Sparse)
                throw new NotSupportedException(
                    $"the gradient of {groups[i].List.Label(row)} is sparse, and its rows may repeat; clipping needs dense gradients"
                );
    }

    /// <summary>Unscales gradients in place; says whether all of them are finite.</summary>
    public bool Unscale(IReadOnlyList<ParameterGroup> groups, double factor)
    {
        Gradients[] gradients = [.. groups.Select(group => group.Refresh())];
        RefuseUnscalable(groups, gradients);
        Look(gradients, 1, Executor.Team);
        foreach (var (group, list) in groups.Zip(gradients))
            ClippingModule.scale(factor, list, group.List.Executor ?? Executor.Team);
        return survey.IsFinite;
    }
}
