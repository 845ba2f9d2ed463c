using Optim.Core;

namespace Optim;

/// <summary>The state of a scaler, with PyTorch's keys; empty when it is not enabled.</summary>
public sealed partial class GradScaler : IStateful
{
    private static readonly string[] keys = ["scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"];

    /// <summary>The scale, the settings and the steps since the scale changed, by PyTorch's keys; empty when it is not enabled.</summary>
    public Tree StateDict() =>
        IsEnabled
            ? Tree.Dict(
                (keys[0], scaling.Scale),
                (keys[1], scaling.GrowthFactor),
                (keys[2], scaling.BackoffFactor),
                (keys[3], scaling.GrowthInterval),
                (keys[4], scaling.GrowthTracker)
            )
            : Tree.Dict();

    /// <summary>Takes over scale and settings; a scale below the smallest, as PyTorch's may be, is raised to it. On any error nothing has changed.</summary>
    /// <exception cref="InvalidOperationException">The state is empty, and the scaler is enabled.</exception>
    /// <exception cref="ArgumentException">A key is missing or left over, or a value is not allowed.</exception>
    public LoadReport LoadStateDict(Tree state, bool strict = true) => Prepare(state, strict).Run();

    Tree IStateful.SaveState() => StateDict();

    PreparedLoad IStateful.PrepareLoad(Tree state, bool strict) => Prepare(state, strict);

    private PreparedLoad Prepare(Tree state, bool strict)
    {
        ArgumentNullException.ThrowIfNull(state);
        if (!IsEnabled)
            return new(new([], [], [], []), () => { });
        var map =
            state.Kind == TreeKind.Map
                ? state.AsMap()
                : throw new ArgumentException($"the state of a scaler is {state.Described}; it must be a dict");
        if (map.Count == 0)
            throw new InvalidOperationException(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            );
        string[] missing = [.. keys.Where(key => !map.ContainsKey(key))],
            left = [.. map.Keys.Where(key => !(key.IsText && keys.Contains(key.text))).Select(key => key.ToString()!)];
        if (strict && missing.Length + left.Length > 0)
            throw new ArgumentException(
                $"the state of a scaler has {string.Join(", ", keys)}; missing: {string.Join(", ", missing)}; left over: {string.Join(", ", left)}"
            );
        // PyTorch's scale may have shrunk to 0.
        double Smallest(double scale) => scale is >= 0 ? Math.Max(scale, LossScalingModule.smallest) : scale;
        double Of(int key, double usual) =>
            !map.TryGetValue(keys[key], out var value) ? usual
            : value.Kind is TreeKind.Int or TreeKind.Float or TreeKind.Tensor ? (double)value
            : throw new ArgumentException($"'{keys[key]}' is {value.Described}; it must be a number");
        var loaded = LossScalingModule.make(
            new(
                Smallest(Of(0, scaling.Scale)),
                Of(1, scaling.GrowthFactor),
                Of(2, scaling.BackoffFactor),
                (long)Of(3, scaling.GrowthInterval),
                (long)Of(4, scaling.GrowthTracker)
            )
        );
        return new(
            new([.. keys.Except(missing)], missing, left, []),
            () =>
            {
                scaling = loaded;
                optimizers.Clear();
            }
        );
    }
}
