namespace Optim.Kernels;

/// <summary>
/// What a step takes for gradients, in memory of its own: for steps that look at whole tensors, and so cannot change a gradient while
/// they go over it. Kept from step to step; for one thread at a time.
/// </summary>
internal sealed class GradientPrologue
{
    private static readonly DType[] dtypes =
    [
        DType.Float32,
        DType.Float64,
        DType.BFloat16,
        DType.Float16,
        DType.Complex64,
        DType.Complex128,
    ];

    private readonly Dictionary<Surroundings, (ProgramRun Run, double[] Leaves)> known = [];
    private readonly SliceTable table = new();

    /// <summary>Writes the changed gradients into targets of the same shapes and dtypes, each dense; absent ones are passed over.</summary>
    /// <param name="around">What changes them.</param>
    /// <param name="numbers">Its numbers, in the places that <see cref="Surroundings"/> says.</param>
    /// <param name="targets">Where to write.</param>
    /// <param name="gradients">The gradients.</param>
    /// <param name="sums">What gradients were added up to, each as its target lies; empty where none are.</param>
    /// <param name="executor">Who runs it.</param>
    /// <param name="on">The device where all of them lie; null for the memory of the processor, where only the targets must lie.</param>
    /// <param name="survey">What was found in the gradients on the device; null where nobody looked there.</param>
    public void Run(
        Surroundings around,
        double[] numbers,
        ReadOnlySpan<TensorView> targets,
        ReadOnlySpan<TensorView> gradients,
        ReadOnlySpan<TensorView> sums,
        Executor executor,
        ProgramDevice? on = null,
        DeviceSurvey? survey = null
    )
    {
        around = around.Prologue;
        if (!known.TryGetValue(around, out var now))
        {
            var run = new ProgramRun(around.Before());
            known.Add(around, now = (run, new double[run.Leaves.Length]));
        }
        for (var i = 0; i < now.Leaves.Length; i++)
            now.Leaves[i] = numbers[Surroundings.PlaceOf(now.Run.Leaves[i].Name)];
        foreach (var dtype in dtypes)
        {
            table.Reset(targets.Length, around.Accumulates ? 1 : 0);
            for (var i = 0; i < targets.Length; i++)
                if (!targets[i].IsAbsent && targets[i].DType == dtype && targets[i].Count > 0)
                {
                    var source = gradients[i];
                    if (!(source.Device == targets[i].Device && source.Layout.SameOrder(targets[i].Layout)))
                    {
                        targets[i].CopyFrom(source);
                        source = targets[i];
                    }
                    table.Add(targets[i].Count * dtype.Parts(), targets[i].Address, source.Address);
                    if (around.Accumulates)
                        table.SetColumn(0, sums[i].Address);
                }
            if (table.Count == 0)
                continue;
            var segment = new ProgramSegment(table, 0, table.Count, dtype, now.Leaves, null, on, Survey: survey);
            if (on is not null)
                now.Run.Prepare(in segment);
            now.Run.Run([segment], executor);
        }
    }
}
