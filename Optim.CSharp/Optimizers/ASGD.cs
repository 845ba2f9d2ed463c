using Optim.Core;

namespace Optim;

/// <summary>Averaged stochastic gradient descent, as torch.optim.ASGD. The average is the state <c>ax</c>; parameters are not replaced by it.</summary>
/// <remarks>
/// x = x (1 - lambd eta) - eta g; ax = x at first, then ax + mu (x - ax); eta = lr / (1 + lambd lr t)^alpha and mu = 1 / max(1, t - t0) are
/// worked out after step t for the next one, so a change of lr is felt a step later, as in PyTorch. Polyak and Juditsky, 1992.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own; float16, bfloat16, float32, float64, complex64 or complex128, of any shape and strides. Half types are stepped in float32, complex ones as pairs of reals.</param>
/// <param name="lr">Learning rate, at least 0.</param>
/// <param name="lambd">How fast the rate falls, and how much parameters shrink; at least 0.</param>
/// <param name="alpha">The power with which the rate falls, at least 0.</param>
/// <param name="t0">The step from which on averages are taken.</param>
/// <param name="weightDecay">Added to the gradient, this times the parameter; at least 0.</param>
/// <param name="maximize">Go up the gradient instead of down.</param>
/// <param name="foreach">True: one pass over all tensors by several threads; false: one by one on the calling thread; null: the fastest.</param>
/// <param name="fused">As foreach; both cannot be true.</param>
/// <param name="capturable">Whether a graph of a device can repeat steps, which then has their counts; refused at the step of parameters on the CPU.</param>
/// <param name="differentiable">Refused at the step: it needs TorchSharp parameters.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class ASGD(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-2,
    double lambd = 1e-4,
    double alpha = 0.75,
    double t0 = 1e6,
    double weightDecay = 0,
    bool? @foreach = null,
    bool maximize = false,
    bool differentiable = false,
    bool capturable = false,
    bool? fused = null
)
    : Optimizer(
        ASGDModule.rule,
        new ASGDOptions(lr, lambd, alpha, t0, weightDecay, maximize, Execution.Of(@foreach, fused, capturable, differentiable)),
        parameters
    );
