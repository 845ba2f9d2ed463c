using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>The gradients of calls that no step has taken yet: those of all groups, added up over the same number of calls.</summary>
internal sealed class AccumulationWindow
{
    private readonly List<Accumulation> sums = [];

    /// <summary>How many calls were added up.</summary>
    public int Calls { get; private set; }

    /// <summary>The loss scale of the calls; 1 without a scaler.</summary>
    private double lossScale = 1;

    /// <summary>Refuses gradients that cannot be added, and to mix loss scales; nothing has changed.</summary>
    /// <param name="groups">The groups.</param>
    /// <param name="more">The gradients of a call; null for none.</param>
    /// <param name="scale">The loss scale of now.</param>
    public void Check(IReadOnlyList<ParameterGroup> groups, Gradients[]? more, double scale)
    {
        if (Calls > 0 && scale != lossScale)
            throw new InvalidOperationException(
                FormattableString.Invariant($"the loss scale is {scale}, and was {lossScale} in the {Calls} calls that were accumulated; ")
                    + "it may change after a step, and not between the calls of one"
            );
        for (var i = sums.Count; i < groups.Count; i++)
            sums.Add(AccumulationModule.after(groups[i].Parameters.Count, Calls));
        for (var i = 0; more is not null && i < groups.Count; i++)
            AccumulationModule.check(more[i], sums[i]);
    }

    /// <summary>Adds the gradients of a call, which were checked.</summary>
    public void Add(Gradients[] gradients, double scale)
    {
        for (var i = 0; i < gradients.Length; i++)
            sums[i] = AccumulationModule.add(gradients[i], sums[i]);
        (Calls, lossScale) = (Calls + 1, scale);
    }

    /// <summary>The means over the calls, with one more where its gradients are given; nothing has changed.</summary>
    public Gradients[] Means(IReadOnlyList<ParameterGroup> groups, Gradients[]? more) =>
        [.. groups.Select((_, i) => more is null ? AccumulationModule.mean(sums[i]) : AccumulationModule.meanWith(more[i], sums[i]))];

    /// <summary>Begins anew.</summary>
    public void Clear()
    {
        for (var i = 0; i < sums.Count; i++)
            sums[i] = AccumulationModule.clear(sums[i]);
        (Calls, lossScale) = (0, 1);
    }

    /// <summary>
    /// For a state dict: the calls, their loss scale and the sums by the numbers of parameters; None when there are no calls. It shares the
    /// memory of the sums, but for those on other devices.
    /// </summary>
    public Tree Save(IReadOnlyList<ParameterGroup> groups)
    {
        if (Calls == 0)
            return Tree.None;
        var entries = new List<KeyValuePair<TreeKey, Tree>>();
        var first = 0;
        for (var i = 0; i < groups.Count; first += groups[i++].Parameters.Count)
        for (var row = 0; i < sums.Count && row < groups[i].Parameters.Count; row++)
            if (sums[i].Sums[row] is { Kind: not GradientKind.Absent } sum)
                entries.Add(KeyValuePair.Create((TreeKey)(first + row), Save(sum)));
        return Tree.Dict(("calls", Calls), ("loss_scale", lossScale), ("gradients", Tree.MapOf(MapKind.Dict, entries)));
    }

    private static Tree Save(Gradient sum) =>
        sum.Kind == GradientKind.Sparse
            ? Tree.Dict(("rows", sum.Rows.ToHost()), ("values", sum.Values.ToHost()))
            : Tree.NewTensor(sum.Values.ToHost());

    /// <summary>Checks what a state dict has of it; the action takes it over.</summary>
    /// <param name="saved">What <see cref="Save(IReadOnlyList{ParameterGroup})"/> gave.</param>
    /// <param name="groups">The groups.</param>
    /// <param name="source">For each parameter over all groups its number in the dict; null when the dict does not have it.</param>
    public Action Load(Tree saved, IReadOnlyList<ParameterGroup> groups, IReadOnlyList<int?> source)
    {
        if (saved.IsNone)
            return Clear;
        var gradients = Entry(saved, "gradients").Kind == TreeKind.Map ? saved["gradients"].AsMap() : throw Wrong("gradients", saved);
        var (calls, scale) = (Number(saved, "calls"), Number(saved, "loss_scale"));
        if (!(calls >= 1 && calls <= int.MaxValue && Math.Floor(calls) == calls))
            throw Wrong("calls", saved);
        if (!(scale > 0 && double.IsFinite(scale)))
            throw Wrong("loss_scale", saved);
        var loaded = new List<Accumulation>();
        var first = 0;
        for (var i = 0; i < groups.Count; first += groups[i++].Parameters.Count)
        {
            var rows = new Gradient[groups[i].Parameters.Count];
            for (var row = 0; row < rows.Length; row++)
                if (source[first + row] is { } id && gradients.TryGetValue(id, out var value))
                    rows[row] = Load(OfSlice(groups[i].Parameters[row], value), groups[i].List, row);
            // As one call, which is what it is to the sum.
            loaded.Add(AccumulationModule.add(Gradients.Over(rows), AccumulationModule.after(rows.Length, (int)calls - 1)));
        }
        return () =>
        {
            sums.Clear();
            sums.AddRange(loaded);
            (Calls, lossScale) = ((int)calls, scale);
        };
    }

    private static Tree OfSlice(IParameter parameter, Tree value) =>
        parameter is ISlice slice && value is Tree.Tensor { Item: var whole } ? Tree.NewTensor(slice.OfRow(whole)) : value;

    private static Gradient Load(Tree value, Parameters parameters, int row)
    {
        var parameter = parameters[row];
        try
        {
            var gradient =
                value.Kind == TreeKind.Tensor ? Gradient.OfDense(Copied(value.AsTensor(), parameter.DType, parameter.Device))
                : value.Kind != TreeKind.Map
                    ? throw new InvalidCastException($"it is {value.Described}, and must be a tensor, or rows and values")
                : Gradient.OfSparse(
                    Copied(Entry(value, "rows").AsTensor(), DType.Int64, parameter.Device),
                    Copied(Entry(value, "values").AsTensor(), parameter.DType, parameter.Device)
                );
            Checks.gradient("accumulation", SparseGradients.Rows, parameters, row, gradient);
            if (gradient.Kind == GradientKind.Sparse)
                Checks.rows("accumulation", parameters, row, gradient.Rows);
            return gradient;
        }
        catch (Exception error) when (error is InvalidCastException or NotSupportedException)
        {
            throw new ArgumentException(
                $"the accumulated gradient of {parameters.Label(row)} in the loaded state dict: {error.Message}",
                error
            );
        }
    }

    private static TensorView Copied(TensorView view, DType dtype, Device device)
    {
        var shape = view.Shape.AsSpan();
        var copy = TensorView.Zeros(Layout.Strided(dtype, shape, Layout.Contiguous(dtype, shape).Strides.AsSpan(), device));
        copy.ConvertFrom(view);
        return copy;
    }

    private static Tree Entry(Tree saved, string key) =>
        saved.Kind == TreeKind.Map && saved.AsMap().TryGetValue(key, out var value)
            ? value
            : throw new ArgumentException($"'accumulation' of the loaded state dict has no '{key}'; it is {saved.Described}");

    private static double Number(Tree saved, string key) =>
        Entry(saved, key) is { Kind: TreeKind.Int or TreeKind.Float or TreeKind.Tensor } number ? (double)number : throw Wrong(key, saved);

    private static ArgumentException Wrong(string key, Tree saved) =>
        new($"'{key}' of 'accumulation' in the loaded state dict is {saved[key].Described}, which is not allowed");
}
