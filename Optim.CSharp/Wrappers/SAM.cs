using Optim.Core;

namespace Optim;

/// <summary>
/// SAM, sharpness-aware minimization (Foret et al. 2021): a step by the gradient at x + e with e = rho / (|g| + eps) g, where |g| is over all parameters
/// of all groups; adaptive (Kwon et al. 2021) e = rho / (|abs(x) g| + eps) x^2 g. Two evaluations a step.
/// <code>
/// var optimizer = new SAM(new SGD(parameters, lr: 0.1, momentum: 0.9), rho: 0.05);
/// var loss = optimizer.Step(Closure);
/// </code>
/// </summary>
/// <param name="optimizer">Steps by the gradient at x + e.</param>
/// <param name="rho">How far x + e lies from x; at least 0.</param>
/// <param name="adaptive">Whether distances are relative to the parameters.</param>
/// <param name="perturbEps">Added to the norm; at least 0.</param>
/// <exception cref="OptionException">A number is outside of its range.</exception>
public sealed class SAM(Optimizer optimizer, double rho = 0.05, bool adaptive = false, double perturbEps = 1e-12)
    : SharpnessAware(optimizer, rho, adaptive, perturbEps)
{
    /// <inheritdoc/>
    public override T Step<T>(Func<T> closure)
    {
        var loss = Twice(closure, (_, _) => { });
        Optimizer.Step();
        return loss;
    }
}
