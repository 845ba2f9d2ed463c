using Optim.Core;

namespace Optim;

/// <summary>RMSprop, as torch.optim.RMSprop.</summary>
/// <remarks>v = alpha v + (1 - alpha) g^2, x = x - lr g / (sqrt(v) + eps). Hinton's lecture; centered: Graves, arXiv:1308.0850.</remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own; float16, bfloat16, float32, float64, complex64 or complex128, of any shape and strides. Half types are stepped in float32, complex ones as pairs of reals.</param>
/// <param name="lr">Learning rate, at least 0.</param>
/// <param name="alpha">Decay of the average of squared gradients, at least 0.</param>
/// <param name="eps">Added to the denominator, at least 0.</param>
/// <param name="weightDecay">Added to the gradient, this times the parameter; at least 0.</param>
/// <param name="momentum">Sums the quotients up; at least 0.</param>
/// <param name="centered">Divide by the deviation from the mean gradient.</param>
/// <param name="maximize">Go up the gradient instead of down.</param>
/// <param name="foreach">True: one pass over all tensors by several threads; false: one by one on the calling thread; null: the fastest.</param>
/// <param name="fused">As foreach; both cannot be true.</param>
/// <param name="capturable">Whether a graph of a device can repeat steps, which then has their counts; refused at the step of parameters on the CPU.</param>
/// <param name="differentiable">Refused at the step: it needs TorchSharp parameters.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class RMSprop(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-2,
    double alpha = 0.99,
    double eps = 1e-8,
    double weightDecay = 0,
    double momentum = 0,
    bool centered = false,
    bool capturable = false,
    bool? @foreach = null,
    bool maximize = false,
    bool differentiable = false,
    bool? fused = null,
    StateStorage? stateStorage = null
)
    : Optimizer(
        RMSpropModule.rule,
        new RMSpropOptions(
            lr,
            alpha,
            eps,
            weightDecay,
            momentum,
            centered,
            maximize,
            Execution.Of(@foreach, fused, capturable, differentiable),
            stateStorage ?? StateStorage.Float32
        ),
        parameters
    );
