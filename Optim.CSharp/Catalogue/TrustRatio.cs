// Long, because it is written from the table of the catalogue (properties/Catalogue/Written.fs), a class for each rule: change the table, and have
// it written anew (WrittenTests.fs says how).

using Optim.Core;

namespace Optim;

/// <summary>A step of lr times the parameter's norm along the gradient, scaled back so that norms do not grow.</summary>
/// <remarks>
/// Bernstein, Vahdat, Yue, Liu 2020, arXiv:2002.03432.
/// Published as pytorch_optimizer.Fromage.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="pBound">The largest norm of a parameter, as a multiple of its first; none without a value: None or at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Fromage(IEnumerable<IParameterOrGroup> parameters, double lr = 0.01, double? pBound = null, bool maximize = false)
    : RuleOptimizer(Rules.Find("Fromage"), parameters, ("lr", lr), ("p_bound", pBound), ("maximize", maximize));

/// <summary>Adam's direction, made as long as its parameter.</summary>
/// <remarks>
/// You et al. 2019, arXiv:1904.00962.
/// Published as pytorch_optimizer.Lamb.
/// Differs from the paper: norms of parameters count as 10 at most, decay is decoupled by default, and moments are not corrected; adam_debias False divides the step by 1 - beta1^t, as the package does: ten times too long in the first step.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="gradAveraging">Whether the newest gradient counts by 1 minus the decay.</param>
/// <param name="maxGradNorm">The largest norm of all gradients together; longer ones are scaled down, 0 for none: above 0.</param>
/// <param name="adam">Whether the ratio of norms is left out.</param>
/// <param name="preNorm">Whether gradients are scaled down to max_grad_norm first.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="adamDebias">Whether the first moment's start at 0 is left uncorrected in the rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Lamb(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool gradAveraging = true,
    double maxGradNorm = 1,
    bool adam = false,
    bool preNorm = false,
    double eps = 1e-6,
    bool adamDebias = true,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("Lamb"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("grad_averaging", gradAveraging),
        ("max_grad_norm", maxGradNorm),
        ("adam", adam),
        ("pre_norm", preNorm),
        ("eps", eps),
        ("adam_debias", adamDebias),
        ("maximize", maximize)
    );

/// <summary>Momentum of gradients whose length is in proportion to that of their parameter; vectors are stepped by SGD.</summary>
/// <remarks>
/// You, Gitman, Ginsburg 2017, arXiv:1708.03888.
/// Published as pytorch_optimizer.LARS.
/// Differs from the paper: lr multiplies the momentum, and not what it takes in; vectors are neither scaled nor decayed.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="dampening">By what the newest gradient counts less: 1 minus it: at least 0.</param>
/// <param name="trustCoefficient">What the ratio of norms is multiplied by: at least 0.</param>
/// <param name="nesterov">Whether the momentum looks a step ahead, as Nesterov's.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class LARS(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double weightDecay = 0,
    double momentum = 0.9,
    double dampening = 0,
    double trustCoefficient = 1e-3,
    bool nesterov = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("LARS"),
        parameters,
        ("lr", lr),
        ("weight_decay", weightDecay),
        ("momentum", momentum),
        ("dampening", dampening),
        ("trust_coefficient", trustCoefficient),
        ("nesterov", nesterov),
        ("maximize", maximize)
    );

/// <summary>Adam's direction by gradients clipped over all parameters, made as long as its parameter where there is weight decay.</summary>
/// <remarks>
/// You et al. 2019, arXiv:1904.00962.
/// Published as timm.lamb, timm.lambc, timm.lambw, timm.lambcw, timm.clamb.
/// Differs from the paper: gradients are clipped over all parameters, and without weight decay no step is scaled, unless always_adapt asks for it.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="biasCorrection">Whether moments are corrected for their start at 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="gradAveraging">Whether the newest gradient counts by 1 minus the decay.</param>
/// <param name="maxGradNorm">The largest norm of all gradients together; longer ones are scaled down, 0 for none: None or above 0.</param>
/// <param name="trustClip">Whether the ratio of norms is at most 1.</param>
/// <param name="alwaysAdapt">Whether parameters without weight decay have a ratio, too.</param>
/// <param name="caution">Whether elements that would move along their gradient stay, and others move by as much more.</param>
/// <param name="decoupledDecay">Whether decay shrinks the parameter; otherwise it is added to the gradient.</param>
/// <param name="correctedWeightDecay">Whether decay is by the square of the rate over the largest rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmLamb(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    bool biasCorrection = true,
    (double, double)? betas = null,
    double eps = 1e-6,
    double weightDecay = 0,
    bool gradAveraging = true,
    double? maxGradNorm = 1,
    bool trustClip = false,
    bool alwaysAdapt = false,
    bool caution = false,
    bool decoupledDecay = false,
    bool correctedWeightDecay = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("timm.lamb"),
        parameters,
        ("lr", lr),
        ("bias_correction", biasCorrection),
        ("betas", betas ?? (0.9, 0.999)),
        ("eps", eps),
        ("weight_decay", weightDecay),
        ("grad_averaging", gradAveraging),
        ("max_grad_norm", maxGradNorm),
        ("trust_clip", trustClip),
        ("always_adapt", alwaysAdapt),
        ("caution", caution),
        ("decoupled_decay", decoupledDecay),
        ("corrected_weight_decay", correctedWeightDecay),
        ("maximize", maximize)
    );

/// <summary>LARS, and LARC with trust_clip: gradients are scaled where there is weight decay.</summary>
/// <remarks>
/// You, Gitman, Ginsburg 2017, arXiv:1708.03888.
/// Published as timm.lars, timm.larc, timm.nlars, timm.nlarc.
/// Differs from the paper: without weight decay nothing is scaled, unless always_adapt asks for it.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="dampening">By what the newest gradient counts less: 1 minus it: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="nesterov">Whether the momentum looks a step ahead, as Nesterov's.</param>
/// <param name="trustCoeff">What the ratio of norms is multiplied by: at least 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="trustClip">Whether the ratio of norms is at most 1.</param>
/// <param name="alwaysAdapt">Whether parameters without weight decay have a ratio, too.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmLars(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    double momentum = 0.9,
    double dampening = 0,
    double weightDecay = 0,
    bool nesterov = false,
    double trustCoeff = 1e-3,
    double eps = 1e-8,
    bool trustClip = false,
    bool alwaysAdapt = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("timm.lars"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("dampening", dampening),
        ("weight_decay", weightDecay),
        ("nesterov", nesterov),
        ("trust_coeff", trustCoeff),
        ("eps", eps),
        ("trust_clip", trustClip),
        ("always_adapt", alwaysAdapt),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );
