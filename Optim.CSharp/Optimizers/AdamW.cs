using Optim.Core;

namespace Optim;

/// <summary>Adam with decoupled weight decay, as torch.optim.AdamW.</summary>
/// <remarks>x = x (1 - lr weight_decay), and then a step of Adam. Loshchilov and Hutter, arXiv:1711.05101.</remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own; float16, bfloat16, float32, float64, complex64 or complex128, of any shape and strides. Half types are stepped in float32, complex ones as pairs of reals.</param>
/// <param name="lr">Learning rate, at least 0.</param>
/// <param name="betas">Decay of the averages of gradient and squared gradient, each in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="eps">Added to the denominator, at least 0.</param>
/// <param name="weightDecay">Of the parameter, times lr, is taken off it in each step; at least 0.</param>
/// <param name="amsgrad">Divide by the largest second moment so far.</param>
/// <param name="maximize">Go up the gradient instead of down.</param>
/// <param name="foreach">True: one pass over all tensors by several threads; false: one by one on the calling thread; null: the fastest.</param>
/// <param name="fused">As foreach; both cannot be true.</param>
/// <param name="capturable">Whether a graph of a device can repeat steps, which then has their counts; refused at the step of parameters on the CPU.</param>
/// <param name="differentiable">Refused at the step: it needs TorchSharp parameters.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdamW(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double eps = 1e-8,
    double weightDecay = 1e-2,
    bool amsgrad = false,
    bool maximize = false,
    bool? @foreach = null,
    bool capturable = false,
    bool differentiable = false,
    bool? fused = null,
    StateStorage? stateStorage = null
)
    : Optimizer(
        AdamWModule.rule,
        new AdamOptions(
            lr,
            betas ?? AdamWModule.defaults.Betas,
            eps,
            weightDecay,
            amsgrad,
            maximize,
            true,
            Execution.Of(@foreach, fused, capturable, differentiable),
            stateStorage ?? StateStorage.Float32
        ),
        parameters
    );
