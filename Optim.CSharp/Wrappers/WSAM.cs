using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// WSAM (Yue et al. 2023): sharpness, the difference of the gradients at x + e and x, as a term of its own, weighed by a = gamma / (1 - gamma). Decoupled, the
/// optimizer steps by the gradient at x, and x moves by -lr a times the difference; otherwise it steps by a times the gradient at x + e and 1 - a times
/// that at x. Two evaluations a step.
/// </summary>
public sealed class WSAM : SharpnessAware
{
    /// <param name="optimizer">Steps.</param>
    /// <param name="rho">How far x + e lies from x; at least 0.</param>
    /// <param name="gamma">How much sharpness counts, in [0, 1): at 0 not at all, at 0.5 as in SAM.</param>
    /// <param name="adaptive">Whether distances are relative to the parameters.</param>
    /// <param name="decouple">Whether sharpness is kept out of the optimizer's step.</param>
    /// <param name="maxNorm">To what the norm of both gradients, each over all parameters, is clipped; above 0, or null for not at all.</param>
    /// <param name="perturbEps">Added to the norm; at least 0.</param>
    /// <exception cref="OptionException">A number is outside of its range.</exception>
    public WSAM(
        Optimizer optimizer,
        double rho = 0.05,
        double gamma = 0.9,
        bool adaptive = false,
        bool decouple = true,
        double? maxNorm = null,
        double perturbEps = 1e-12
    )
        : base(optimizer, rho, adaptive, perturbEps)
    {
        Check("gamma", gamma, Interval.UpTo(0, 1));
        Check("max_norm", maxNorm ?? 1, Interval.Above(0));
        (Gamma, Decouple, MaxNorm) = (gamma, decouple, maxNorm);
    }

    /// <summary>How much sharpness counts.</summary>
    public double Gamma { get; }

    /// <summary>Whether sharpness is kept out of the optimizer's step.</summary>
    public bool Decouple { get; }

    /// <summary>To what the norms of gradients are clipped; null for not at all.</summary>
    public double? MaxNorm { get; }

    /// <inheritdoc/>
    public override T Step<T>(Func<T> closure)
    {
        Gradients kept = null!;
        var loss = Twice(closure, (_, gradients) => kept = Clipped(Copied(gradients)));
        var (_, beside) = Now();
        var weight = Gamma / (1 - Gamma);
        Clipped(beside);
        var (target, first) = Pairs(beside, kept);
        if (!Decouple)
        {
            Sharpness.combine(weight, 1 - weight, target, first);
            Optimizer.Step();
            return loss;
        }
        var difference = Copied(beside);
        var (sharpness, _) = Pairs(difference, kept);
        Sharpness.combine(1, -1, sharpness, first);
        for (var row = 0; row < target.Count; row++)
            target[row].CopyFrom(first[row].Values);
        Optimizer.Step();
        if (Optimizer.LastStepSkipped)
            return loss;
        var at = 0;
        foreach (var group in Optimizer.ParamGroups)
        {
            var rows = Enumerable.Range(at, group.List.Count).ToArray();
            at += rows.Length;
            var (parameters, own) = (
                Array.ConvertAll(rows, row => group.List[row - at + rows.Length]),
                Array.ConvertAll(rows, row => difference[row])
            );
            Sharpness.combine(1, -(double)group["lr"] * weight, Parameters.Over(parameters, [], group.List.Executor), Gradients.Over(own));
        }
        Optimizer.Ranks?.Publish();
        Moved();
        return loss;
    }

    private Gradients Clipped(Gradients gradients)
    {
        if (MaxNorm is { } most)
            ClippingModule.scale(ClippingModule.coefficient(most, TotalNorm(gradients)), gradients, Executor.Team);
        return gradients;
    }
}
