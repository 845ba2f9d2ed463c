using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>The state of averages: PyTorch's keys n_averaged and module.NAME, and the settings that are not at their defaults.</summary>
public partial class AveragedParameters : IStateful
{
    private const string Settings = "averaging",
        Count = "n_averaged",
        Prefix = "module.";

    /// <summary>
    /// The state as a tree, with PyTorch's keys: <c>n_averaged</c>, and the averages as <c>module.NAME</c>. Settings that PyTorch does
    /// not keep follow under <c>averaging</c>, where they are not at their defaults. The tensors are the averages themselves.
    /// </summary>
    public Tree StateDict()
    {
        RefuseApplied("StateDict");
        RefreshRows();
        var entries = new List<KeyValuePair<TreeKey, Tree>> { new(Count, TensorView.Of<long>([NAveraged])) };
        foreach (var (key, row) in StateRows())
            entries.Add(new(Prefix + key, rows[row]));
        if (SettingsTree() is { } settings)
            entries.Add(new(Settings, settings));
        return Tree.MapOf(MapKind.OrderedDict, entries);
    }

    /// <summary>Takes over averages, their number and settings, matched by name; on any error nothing has changed.</summary>
    /// <param name="state">What <see cref="StateDict"/> gives, or PyTorch's AveragedModel.</param>
    /// <param name="strict">Whether what is missing or left over is an error; otherwise it is reported.</param>
    /// <exception cref="ArgumentException">The state does not fit.</exception>
    public LoadReport LoadStateDict(Tree state, bool strict = true) => Prepare(state, strict).Run();

    Tree IStateful.SaveState() => StateDict();

    PreparedLoad IStateful.PrepareLoad(Tree state, bool strict) => Prepare(state, strict);

    /// <summary>The keys of averages, in the order of a state dict, and their rows; a row may have several keys.</summary>
    private protected virtual IEnumerable<(string Key, int Row)> StateRows() => names.Select((name, row) => (name, row));

    private Tree? SettingsTree()
    {
        var entries = new List<KeyValuePair<TreeKey, Tree>>();
        if (!HasOwnFunction && Averaging.Decay is { } decay)
            entries.Add(new("decay", decay));
        if (Averaging.Warmup)
            entries.Add(new("warmup", true));
        if (Averaging.Every != 1)
            entries.Add(new("every", Averaging.Every));
        if (UseBuffers)
            entries.Add(new("use_buffers", true));
        if (Calls != NAveraged)
            entries.Add(new("calls", Calls));
        return entries.Count == 0 ? null : Tree.MapOf(MapKind.Dict, entries);
    }

    private PreparedLoad Prepare(Tree state, bool strict)
    {
        ArgumentNullException.ThrowIfNull(state);
        RefuseApplied("LoadStateDict");
        RefreshRows();
        var map =
            state.Kind == TreeKind.Map
                ? state.AsMap()
                : throw new ArgumentException($"the state of an average is {state.Described}; it must be a dict");
        var (missing, converted, matched) = (new List<string>(), new List<string>(), new List<string>());
        var left = map.Keys.Select(key => key.IsText ? key.text : key.ToString()!).ToHashSet(StringComparer.Ordinal);
        var found = new TensorView[rows.Length];
        foreach (var (key, row) in StateRows())
            if (!left.Remove(Prefix + key))
                missing.Add(Prefix + key);
            else
            {
                found[row] = Tensor(map[Prefix + key], Prefix + key, rows[row]);
                matched.Add(key);
                if (found[row].DType != rows[row].DType)
                    converted.Add(key);
            }
        long? averaged = left.Remove(Count) ? Whole(map[Count], Count) : null;
        if (averaged is null)
            missing.Insert(0, Count);
        var settings = left.Remove(Settings) ? map[Settings] : null;
        if (strict && missing.Count + left.Count > 0)
            throw new ArgumentException(
                $"the state does not have the structure of the average; missing: {List([.. missing])}; left over: {List([.. left])}. "
                    + "strict: false loads what matches"
            );
        var n = averaged ?? NAveraged;
        var (averaging, buffers, made) = Read(settings, n);
        return new(
            new(matched, missing, [.. left], converted),
            () =>
            {
                for (var row = 0; row < rows.Length; row++)
                    if (!found[row].IsAbsent)
                        rows[row].ConvertFrom(found[row]);
                WriteSecond();
                (NAveraged, Calls, Averaging, UseBuffers) = (n, made, averaging, buffers);
            }
        );
    }

    /// <summary>The settings that a state brings; without any, those that the average has, and it is about to move.</summary>
    private (Averaging, bool UseBuffers, long Calls) Read(Tree? settings, long averaged)
    {
        if (settings is null)
            return (Averaging, UseBuffers, averaged > Counting.limit / Averaging.Every ? Counting.limit : Averaging.Every * averaged);
        var map =
            settings.Kind == TreeKind.Map
                ? settings.AsMap()
                : throw new ArgumentException($"'{Settings}' is {settings.Described}; it must be a dict");
        Tree? Of(string key) => map.TryGetValue(key, out var value) ? value : null;
        var averaging = new Averaging(
            HasOwnFunction || Of("decay") is not { } decay ? null : Number(decay, "decay"),
            !HasOwnFunction && Of("warmup") is { } warmup && Flag(warmup, "warmup"),
            Of("every") is { } every ? Whole(every, "every") : 1
        );
        AveragingModule.check(averaging);
        return (
            averaging,
            Of("use_buffers") is { } buffers && Flag(buffers, "use_buffers"),
            Of("calls") is { } made ? Whole(made, "calls") : averaged
        );
    }

    private static TensorView Tensor(Tree value, string key, TensorView average)
    {
        var tensor =
            value.Kind == TreeKind.Tensor
                ? value.AsTensor()
                : throw new ArgumentException($"'{key}' is {value.Described}; it must be a tensor");
        var isReal = average.DType.IsFloatingPoint() && tensor.DType.IsFloatingPoint();
        return tensor.Layout.SameShape(average.Layout) && (isReal || tensor.DType == average.DType)
            ? tensor
            : throw new ArgumentException($"'{key}' is {tensor.Layout}, and the average {average.Layout}; they do not belong together");
    }

    private static long Whole(Tree value, string key) => Counting.ofTree($"'{key}'", value);

    private static double Number(Tree value, string key) =>
        value.Kind is TreeKind.Int or TreeKind.Float || value.Kind == TreeKind.Tensor && value.AsTensor().Count == 1
            ? value.ToDoubles()[0]
            : throw new ArgumentException($"'{key}' is {value.Described}; it must be a number");

    private static bool Flag(Tree value, string key) =>
        value.Kind == TreeKind.Bool ? (bool)value : throw new ArgumentException($"'{key}' is {value.Described}; it must be True or False");
}
