using Optim.Core;

namespace Optim;

/// <summary>Stochastic gradient descent with momentum, as torch.optim.SGD.</summary>
/// <remarks>b = momentum b + (1 - dampening) g, the first b is g; x = x - lr b, with nesterov x = x - lr (g + momentum b). </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own; float16, bfloat16, float32, float64, complex64 or complex128, of any shape and strides. Half types are stepped in float32, complex ones as pairs of reals.</param>
/// <param name="lr">Learning rate, at least 0.</param>
/// <param name="momentum">At least 0.</param>
/// <param name="dampening">Taken off the part of a new gradient, but not off a first one.</param>
/// <param name="weightDecay">L2: this times the parameter is added to the gradient; at least 0.</param>
/// <param name="nesterov">Look ahead; needs momentum and no dampening.</param>
/// <param name="maximize">Go up the gradient instead of down.</param>
/// <param name="foreach">True: one pass over all tensors by several threads; false: one by one on the calling thread; null: the fastest.</param>
/// <param name="fused">As foreach; both cannot be true.</param>
/// <param name="differentiable">Refused at the step: it needs TorchSharp parameters.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class SGD(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double momentum = 0,
    double dampening = 0,
    double weightDecay = 0,
    bool nesterov = false,
    bool maximize = false,
    bool? @foreach = null,
    bool differentiable = false,
    bool? fused = null,
    StateStorage? stateStorage = null
)
    : Optimizer(
        SGDModule.rule,
        new SGDOptions(
            lr,
            momentum,
            dampening,
            weightDecay,
            nesterov,
            maximize,
            Execution.Of(@foreach, fused, false, differentiable),
            stateStorage ?? StateStorage.Float32
        ),
        parameters
    );
