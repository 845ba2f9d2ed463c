using Optim.Core;

namespace Optim;

/// <summary>Adadelta, as torch.optim.Adadelta.</summary>
/// <remarks>v = rho v + (1 - rho) g^2, d = sqrt(a + eps) / sqrt(v + eps) g, a = rho a + (1 - rho) d^2, x = x - lr d. Zeiler, arXiv:1212.5701.</remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own; float16, bfloat16, float32, float64, complex64 or complex128, of any shape and strides. Half types are stepped in float32, complex ones as pairs of reals.</param>
/// <param name="lr">Learning rate, at least 0.</param>
/// <param name="rho">Decay of the averages of squared gradients and squared steps, in [0, 1].</param>
/// <param name="eps">Added under both roots, at least 0.</param>
/// <param name="weightDecay">Added to the gradient, this times the parameter; at least 0.</param>
/// <param name="maximize">Go up the gradient instead of down.</param>
/// <param name="foreach">True: one pass over all tensors by several threads; false: one by one on the calling thread; null: the fastest.</param>
/// <param name="fused">As foreach; both cannot be true.</param>
/// <param name="capturable">Whether a graph of a device can repeat steps, which then has their counts; refused at the step of parameters on the CPU.</param>
/// <param name="differentiable">Refused at the step: it needs TorchSharp parameters.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Adadelta(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    double rho = 0.9,
    double eps = 1e-6,
    double weightDecay = 0,
    bool? @foreach = null,
    bool capturable = false,
    bool maximize = false,
    bool differentiable = false,
    bool? fused = null
)
    : Optimizer(
        AdadeltaModule.rule,
        new AdadeltaOptions(lr, rho, eps, weightDecay, maximize, Execution.Of(@foreach, fused, capturable, differentiable)),
        parameters
    );
