using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>Muon, as torch.optim.Muon: momentum made orthogonal, for matrices.</summary>
/// <remarks>
/// B = B + (1 - momentum) (g - B), O = NewtonSchulz(g + momentum (B - g)) (of B without nesterov), x = x (1 - lr weight_decay) - lr f O, with f by
/// <paramref name="adjustLrFn"/>. NewtonSchulz: X over its Frobenius norm, then in each step A = X X', X = a X + (b A + c A A) X. Jordan and
/// others, 2024; Liu and others, arXiv:2502.16982.
/// </remarks>
/// <param name="parameters">
/// Matrices, or groups of them with options of their own. <see cref="ForMuon.Split{P}"/> splits a model's parameters into these and the others.
/// </param>
/// <param name="lr">Learning rate, at least 0.</param>
/// <param name="weightDecay">Of the parameter, times lr, is taken off it in each step; at least 0.</param>
/// <param name="momentum">Decay of the mean of gradients, at least 0.</param>
/// <param name="nesterov">Whether the direction looks one step of momentum ahead.</param>
/// <param name="nsCoefficients">a, b and c of the iteration; (3.4445, -4.775, 2.0315) when null.</param>
/// <param name="eps">The smallest norm that is divided by, at least 0.</param>
/// <param name="nsSteps">Steps of the iteration, fewer than 100.</param>
/// <param name="adjustLrFn">How lr depends on a matrix's shape.</param>
/// <param name="precision">
/// Of the iteration: float32 (float64 for parameters of float64), which comes closer to orthogonal, or bfloat16, which gives PyTorch's values.
/// </param>
/// <param name="product">
/// Who multiplies matrices. A provider's product may be faster; the bits then depend on the provider, its version, its threads and the machine.
/// </param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
/// <exception cref="ArgumentException">A parameter that is no matrix.</exception>
public sealed class Muon(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double weightDecay = 0.1,
    double momentum = 0.95,
    bool nesterov = true,
    (double A, double B, double C)? nsCoefficients = null,
    double eps = 1e-7,
    int nsSteps = 5,
    MuonRate adjustLrFn = MuonRate.Default,
    MuonPrecision precision = MuonPrecision.Float32,
    MuonProduct product = MuonProduct.Own
)
    : Optimizer(
        MuonModule.rule,
        new MuonOptions(
            lr,
            weightDecay,
            momentum,
            nesterov,
            nsCoefficients ?? MuonModule.defaults.NsCoefficients,
            eps,
            nsSteps,
            adjustLrFn,
            precision,
            product
        ),
        parameters
    );
