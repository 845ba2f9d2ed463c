using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// LookSAM (Liu et al. 2022): SAM in every k-th step only. From that step it keeps v, the part of SAM's gradient across the gradient itself, tensor by tensor; in the
/// steps between it adds alpha |h| / (|v| + 1e-8) v to the gradient h, in place. Two evaluations in each k-th step, one in others.
/// </summary>
public sealed class LookSAM : SharpnessAware, IStateful
{
    private TensorView[] across = [];
    private long steps;

    /// <param name="optimizer">Steps.</param>
    /// <param name="rho">How far the second evaluation lies from the first; at least 0.</param>
    /// <param name="k">Every k-th step, beginning with the first, is one of SAM; at least 1.</param>
    /// <param name="alpha">How much of v counts between; in (0, 1).</param>
    /// <param name="adaptive">Whether distances are relative to the parameters.</param>
    /// <param name="perturbEps">Added to the norm; at least 0.</param>
    /// <exception cref="OptionException">A number is outside of its range.</exception>
    public LookSAM(Optimizer optimizer, double rho = 0.1, int k = 10, double alpha = 0.7, bool adaptive = false, double perturbEps = 1e-12)
        : base(optimizer, rho, adaptive, perturbEps)
    {
        if (optimizer.Ranks?.Slices is not null)
            throw new NotSupportedException(
                "LookSAM looks at the gradient of each tensor as a whole, of which ranks have slices here: use Shard.None, under which each has all of them, or SAM"
            );
        Check("k", k, Interval.AtLeast(1));
        Check("alpha", alpha, Interval.Between(0, 1));
        (K, Alpha) = (k, alpha);
    }

    /// <summary>Every k-th step is one of SAM.</summary>
    public int K { get; }

    /// <summary>How much of v counts between.</summary>
    public double Alpha { get; }

    /// <inheritdoc/>
    public override T Step<T>(Func<T> closure)
    {
        ArgumentNullException.ThrowIfNull(closure);
        T loss;
        if (steps % K == 0)
        {
            Gradients kept = null!;
            loss = Twice(closure, (_, gradients) => kept = Copied(gradients));
            var (_, beside) = Now();
            var (target, others) = Pairs(kept, beside);
            Sharpness.reject(PerturbEps, target, others);
            across = new TensorView[kept.Count];
            for (var row = 0; row < across.Length; row++)
                across[row] = kept[row].Values;
        }
        else
        {
            loss = Evaluated(closure);
            var (_, gradients) = Now();
            var known = new Gradient[gradients.Count];
            for (var row = 0; row < known.Length; row++)
                known[row] = row < across.Length && !across[row].IsAbsent ? Gradient.OfDense(across[row]) : Gradient.Absent;
            var (target, others) = Pairs(gradients, Gradients.Over(known));
            Sharpness.extend(Alpha, target, others);
        }
        Optimizer.Step();
        steps++;
        return loss;
    }

    Tree IStateful.SaveState() => StateDict();

    /// <summary>The steps taken, and v of each parameter, in the order of the groups; the optimizer has a state of its own.</summary>
    public Tree StateDict() =>
        Tree.Dict(
            ("looksam_step", Tree.NewInt(steps)),
            ("gv", Tree.ListOf(across.Select(view => view.IsAbsent ? Tree.None : Tree.NewTensor(view.Copy()))))
        );

    /// <summary>Takes over a state.</summary>
    /// <exception cref="ArgumentException">It is no state of LookSAM, or of other parameters; nothing has changed then.</exception>
    public LoadReport LoadStateDict(Tree state, bool strict = true) => ((IStateful)this).PrepareLoad(state, strict).Run();

    PreparedLoad IStateful.PrepareLoad(Tree state, bool strict)
    {
        ArgumentNullException.ThrowIfNull(state);
        if (state.Kind != TreeKind.Map)
            throw new ArgumentException($"the state of LookSAM is {state.Described}; it must be a dict");
        var map = state.AsMap();
        string[] keys = ["looksam_step", "gv"],
            missing = [.. keys.Where(key => !map.ContainsKey(key))],
            left = [.. map.Keys.Where(key => !(key.IsText && keys.Contains(key.text))).Select(key => key.ToString()!)];
        if (missing.Length > 0 || (strict && left.Length > 0))
            throw new ArgumentException(
                $"the state of LookSAM has {string.Join(", ", keys)}; missing: {string.Join(", ", missing)}; left over: {string.Join(", ", left)}"
            );
        if (map["looksam_step"] is not Tree.Int { Item: >= 0 and var loaded })
            throw new ArgumentException($"'looksam_step' is {map["looksam_step"].Described}; it must be a whole number of at least 0");
        if (map["gv"].Kind != TreeKind.List)
            throw new ArgumentException($"'gv' is {map["gv"].Described}; it must be a list");
        var items = map["gv"].AsItems();
        var (parameters, _) = Now();
        if (items.Length != 0 && items.Length != parameters.Count)
            throw new ArgumentException($"'gv' is of {items.Length} parameters, and the optimizer has {parameters.Count}");
        var views = new TensorView[items.Length];
        for (var row = 0; row < views.Length; row++)
            if (items[row].TryGetTensor(out var view))
                views[row] = view.Layout.SameShape(parameters[row].Layout)
                    ? view.ConvertTo(parameters[row].DType).Copy()
                    : throw new ArgumentException(
                        $"'gv' of {parameters.Label(row)} is {view.Layout}, and the parameter {parameters[row].Layout}"
                    );
        return new(new([.. keys], missing, left, []), () => (steps, across) = (loaded, views));
    }
}
