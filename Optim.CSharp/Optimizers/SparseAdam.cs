using Optim.Core;

namespace Optim;

/// <summary>Adam for sparse gradients, as torch.optim.SparseAdam: the work of a step grows with the rows that the gradient has.</summary>
/// <remarks>
/// On those rows m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, x = x - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps); the others stay as they are.
/// Rows that come more than once are summed up. After Kingma and Ba, arXiv:1412.6980.
/// </remarks>
/// <param name="parameters">Dense parameters, or groups of them with options of their own; their gradients must be sparse.</param>
/// <param name="lr">Learning rate, above 0.</param>
/// <param name="betas">Decay of the averages of gradient and squared gradient, each in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="eps">Added to the denominator, above 0.</param>
/// <param name="maximize">Go up the gradient instead of down.</param>
/// <param name="foreach">True: one pass over all tensors by several threads; false: one by one on the calling thread; null: the fastest.</param>
/// <param name="fused">As foreach; both cannot be true.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
/// <exception cref="NotSupportedException">A parameter is complex; in the step: a gradient is dense.</exception>
public sealed class SparseAdam(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double eps = 1e-8,
    bool maximize = false,
    bool? @foreach = null,
    bool? fused = null
)
    : Optimizer(
        SparseAdamModule.rule,
        new SparseAdamOptions(lr, betas ?? SparseAdamModule.defaults.Betas, eps, maximize, Execution.Of(@foreach, fused, false, false)),
        parameters
    );
