using Optim.Core;

namespace Optim;

/// <summary>Adagrad, as torch.optim.Adagrad.</summary>
/// <remarks>s = s + g^2, x = x - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps). Duchi, Hazan and Singer, JMLR 12, 2011.</remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own; float16, bfloat16, float32, float64, complex64 or complex128, of any shape and strides. Half types are stepped in float32, complex ones as pairs of reals.</param>
/// <param name="lr">Learning rate, at least 0.</param>
/// <param name="lrDecay">The rate falls as 1 / (1 + this times the steps before); at least 0.</param>
/// <param name="weightDecay">Added to the gradient, this times the parameter; at least 0.</param>
/// <param name="initialAccumulatorValue">Where the sums of squared gradients start; at least 0. It matters when the state is made, which the constructor does.</param>
/// <param name="eps">Added to the denominator, at least 0.</param>
/// <param name="maximize">Go up the gradient instead of down.</param>
/// <param name="foreach">True: one pass over all tensors by several threads; false: one by one on the calling thread; null: the fastest.</param>
/// <param name="fused">As foreach; both cannot be true.</param>
/// <param name="differentiable">Refused at the step: it needs TorchSharp parameters.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Adagrad(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-2,
    double lrDecay = 0,
    double weightDecay = 0,
    double initialAccumulatorValue = 0,
    double eps = 1e-10,
    bool? @foreach = null,
    bool maximize = false,
    bool differentiable = false,
    bool? fused = null,
    StateStorage? stateStorage = null
)
    : Optimizer(
        AdagradModule.rule,
        new AdagradOptions(
            lr,
            lrDecay,
            weightDecay,
            initialAccumulatorValue,
            eps,
            maximize,
            Execution.Of(@foreach, fused, false, differentiable),
            stateStorage ?? StateStorage.Float32
        ),
        parameters
    );
