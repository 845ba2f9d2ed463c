using Optim.Core;

namespace Optim;

/// <summary>Adafactor, as torch.optim.Adafactor: second moments of a matrix by its rows and columns only.</summary>
/// <remarks>
/// Of the last two dimensions means of squares of rows R and columns C are kept, which move by t^beta2_decay in step t; of a vector the mean
/// square V of each element. V = R C / max(mean R, eps1), u = g / max(sqrt V, eps1),
/// x = x (1 - lr weight_decay) - max(eps2, RMS x) min(lr, 1 / sqrt t) u / max(1, RMS u / d). Shazeer and Stern, arXiv:1804.04235.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own; real, of any shape and strides.</param>
/// <param name="lr">Largest learning rate relative to the size of a parameter, at least 0; infinity, without weight decay, leaves it to the step count.</param>
/// <param name="beta2Decay">Exponent of the step by which the means move, at most 0.</param>
/// <param name="eps">
/// The smallest mean of rows, and root mean square by which a gradient is divided, and the smallest root mean square of a parameter, each at least 0;
/// (null, 0.001) when null, and where the first is null it is the epsilon of the parameter's own dtype.
/// </param>
/// <param name="d">Updates of a larger root mean square are scaled down to it; at least 1.</param>
/// <param name="weightDecay">Of the parameter, times lr, is taken off it in each step; at least 0.</param>
/// <param name="foreach">See <see cref="Execution.Foreach"/>; no bit depends on it.</param>
/// <param name="maximize">Whether the objective is maximized.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
/// <exception cref="NotSupportedException">A complex parameter.</exception>
public sealed class Adafactor(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-2,
    double beta2Decay = -0.8,
    (double? Eps1, double Eps2)? eps = null,
    double d = 1.0,
    double weightDecay = 0.0,
    bool? @foreach = null,
    bool maximize = false
)
    : Optimizer(
        AdafactorModule.rule,
        new AdafactorOptions(
            lr,
            beta2Decay,
            eps ?? AdafactorModule.defaults.Eps,
            d,
            weightDecay,
            maximize,
            Execution.Of(@foreach, null, false, false)
        ),
        parameters
    );
