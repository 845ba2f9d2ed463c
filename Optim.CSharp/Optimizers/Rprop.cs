using Optim.Core;

namespace Optim;

/// <summary>Resilient backpropagation, as torch.optim.Rprop: for gradients over the whole data.</summary>
/// <remarks>Each element's step size grows by the second eta while its gradient keeps its sign and shrinks by the first when it turns; x = x - sign(g) size. Riedmiller and Braun, 1993.</remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own; float16, bfloat16, float32, float64, complex64 or complex128, of any shape and strides. Half types are stepped in float32, complex ones as pairs of reals.</param>
/// <param name="lr">Where step sizes start, at least 0; of no effect afterwards.</param>
/// <param name="etas">In (0, 1) and above 1; (0.5, 1.2) when null.</param>
/// <param name="stepSizes">The smallest and the largest step size; (1e-6, 50) when null.</param>
/// <param name="maximize">Go up the gradient instead of down.</param>
/// <param name="foreach">True: one pass over all tensors by several threads; false: one by one on the calling thread; null: the fastest.</param>
/// <param name="fused">As foreach; both cannot be true.</param>
/// <param name="capturable">Whether a graph of a device can repeat steps, which then has their counts; refused at the step of parameters on the CPU.</param>
/// <param name="differentiable">Refused at the step: it needs TorchSharp parameters.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Rprop(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-2,
    (double, double)? etas = null,
    (double, double)? stepSizes = null,
    bool capturable = false,
    bool? @foreach = null,
    bool maximize = false,
    bool differentiable = false,
    bool? fused = null,
    StateStorage? stateStorage = null
)
    : Optimizer(
        RpropModule.rule,
        new RpropOptions(
            lr,
            etas ?? RpropModule.defaults.Etas,
            stepSizes ?? RpropModule.defaults.StepSizes,
            maximize,
            Execution.Of(@foreach, fused, capturable, differentiable),
            stateStorage ?? StateStorage.Float32
        ),
        parameters
    );
