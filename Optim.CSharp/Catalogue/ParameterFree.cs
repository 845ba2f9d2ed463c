// Long, because it is written from the table of the catalogue (properties/Catalogue/Written.fs), a class for each rule: change the table, and have
// it written anew (WrittenTests.fs says how).

using Optim.Core;

namespace Optim;

/// <summary>Bets on coins: each element moves from its start by what it would have won, in proportion to the sum of its gradients.</summary>
/// <remarks>
/// Orabona, Tommasi 2017, arXiv:1705.07795.
/// Published as optax.cocob.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="alpha">How much the second part of an update counts: above 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class COCOB(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    double alpha = 100,
    double weightDecay = 0,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("COCOB"),
        parameters,
        ("lr", lr),
        ("alpha", alpha),
        ("weight_decay", weightDecay),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>AdaGrad by dual averaging whose rate is the distance to the solution, as far as gradients have shown it.</summary>
/// <remarks>
/// Defazio, Mishchenko 2023, arXiv:2301.07733.
/// Published as pytorch_optimizer.DAdaptAdaGrad.
/// Differs from the paper: decoupled decay acts on the share of the parameter that momentum keeps, as the rest is made anew from the start.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="d0">The first estimate of the distance to the solution: above 0.</param>
/// <param name="growthRate">By how much the estimate may grow in a step: at least 1.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class DAdaptAdaGrad(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    double momentum = 0,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    double eps = 0,
    double d0 = 1e-6,
    double growthRate = double.PositiveInfinity,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("DAdaptAdaGrad"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("d0", d0),
        ("growth_rate", growthRate),
        ("maximize", maximize)
    );

/// <summary>Adam whose rate is the distance to the solution, as far as gradients have shown it.</summary>
/// <remarks>
/// Defazio, Mishchenko 2023, arXiv:2301.07733.
/// Published as pytorch_optimizer.DAdaptAdam, optax.dadapt_adamw.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="eps">What keeps a divisor from 0: above 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="biasCorrection">Whether moments are corrected for their start at 0.</param>
/// <param name="d0">The first estimate of the distance to the solution: above 0.</param>
/// <param name="growthRate">By how much the estimate may grow in a step: at least 1.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class DAdaptAdam(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    (double, double)? betas = null,
    double eps = 1e-8,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    bool biasCorrection = false,
    double d0 = 1e-6,
    double growthRate = double.PositiveInfinity,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("DAdaptAdam"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("eps", eps),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("bias_correction", biasCorrection),
        ("d0", d0),
        ("growth_rate", growthRate),
        ("maximize", maximize)
    );

/// <summary>Adan whose rate is the distance to the solution, as far as gradients have shown it.</summary>
/// <remarks>
/// Defazio, Mishchenko 2023, arXiv:2301.07733.
/// Published as pytorch_optimizer.DAdaptAdan.
/// Differs from the paper: the second moment is of squares, where the package has fourth powers, which makes its steps scale as 1 / gradient.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); (0.98, 0.92, 0.99) when null.</param>
/// <param name="eps">What keeps a divisor from 0: above 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="d0">The first estimate of the distance to the solution: above 0.</param>
/// <param name="growthRate">By how much the estimate may grow in a step: at least 1.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class DAdaptAdan(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    (double, double, double)? betas = null,
    double eps = 1e-8,
    double weightDecay = 0,
    bool weightDecouple = false,
    double d0 = 1e-6,
    double growthRate = double.PositiveInfinity,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("DAdaptAdan"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.98, 0.92, 0.99)),
        ("eps", eps),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("d0", d0),
        ("growth_rate", growthRate),
        ("maximize", maximize)
    );

/// <summary>DAdaptAdaGrad by the options of its authors' package.</summary>
/// <remarks>
/// Defazio, Mishchenko 2023, arXiv:2301.07733.
/// Published as dadaptation.DAdaptAdaGrad.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="d0">The first estimate of the distance to the solution: above 0.</param>
/// <param name="growthRate">By how much the estimate may grow in a step: at least 1.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class DadaptationDAdaptAdaGrad(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    double momentum = 0,
    double weightDecay = 0,
    double eps = 1e-6,
    double d0 = 1e-6,
    double growthRate = double.PositiveInfinity,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("dadaptation.DAdaptAdaGrad"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("weight_decay", weightDecay),
        ("eps", eps),
        ("d0", d0),
        ("growth_rate", growthRate),
        ("maximize", maximize)
    );

/// <summary>DAdaptAdam by the options of its authors' package.</summary>
/// <remarks>
/// Defazio, Mishchenko 2023, arXiv:2301.07733.
/// Published as dadaptation.DAdaptAdam.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="eps">What keeps a divisor from 0: above 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="decouple">Whether decay shrinks the parameter; otherwise it is added to the gradient.</param>
/// <param name="useBiasCorrection">Whether moments are corrected for their start at 0.</param>
/// <param name="d0">The first estimate of the distance to the solution: above 0.</param>
/// <param name="growthRate">By how much the estimate may grow in a step: at least 1.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class DadaptationDAdaptAdam(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    (double, double)? betas = null,
    double eps = 1e-8,
    double weightDecay = 0,
    bool decouple = false,
    bool useBiasCorrection = false,
    double d0 = 1e-6,
    double growthRate = double.PositiveInfinity,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("dadaptation.DAdaptAdam"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("eps", eps),
        ("weight_decay", weightDecay),
        ("decouple", decouple),
        ("use_bias_correction", useBiasCorrection),
        ("d0", d0),
        ("growth_rate", growthRate),
        ("maximize", maximize)
    );

/// <summary>DAdaptAdan by the options of its authors' package.</summary>
/// <remarks>
/// Defazio, Mishchenko 2023, arXiv:2301.07733.
/// Published as dadaptation.DAdaptAdan.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); (0.98, 0.92, 0.99) when null.</param>
/// <param name="eps">What keeps a divisor from 0: above 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="noProx">Whether decay comes before the update; otherwise after it.</param>
/// <param name="d0">The first estimate of the distance to the solution: above 0.</param>
/// <param name="growthRate">By how much the estimate may grow in a step: at least 1.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class DadaptationDAdaptAdan(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    (double, double, double)? betas = null,
    double eps = 1e-8,
    double weightDecay = 0.02,
    bool noProx = false,
    double d0 = 1e-6,
    double growthRate = double.PositiveInfinity,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("dadaptation.DAdaptAdan"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.98, 0.92, 0.99)),
        ("eps", eps),
        ("weight_decay", weightDecay),
        ("no_prox", noProx),
        ("d0", d0),
        ("growth_rate", growthRate),
        ("maximize", maximize)
    );

/// <summary>DAdaptLion by the options of its authors' package.</summary>
/// <remarks>
/// Defazio, Mishchenko 2023, arXiv:2301.07733.
/// Published as dadaptation.DAdaptLion.
/// Differs from the paper: momentum takes in gradients times the rate, and counts for little in the sign while that is small.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.99) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="d0">The first estimate of the distance to the solution: above 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class DadaptationDAdaptLion(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    (double, double)? betas = null,
    double weightDecay = 0,
    double d0 = 1e-6,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("dadaptation.DAdaptLion"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.99)),
        ("weight_decay", weightDecay),
        ("d0", d0),
        ("maximize", maximize)
    );

/// <summary>DAdaptSGD by the options of its authors' package.</summary>
/// <remarks>
/// Defazio, Mishchenko 2023, arXiv:2301.07733.
/// Published as dadaptation.DAdaptSGD.
/// Differs from the paper: a first gradient of zeros is measured again in the next step.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="d0">The first estimate of the distance to the solution: above 0.</param>
/// <param name="growthRate">By how much the estimate may grow in a step: at least 1.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class DadaptationDAdaptSGD(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    double momentum = 0,
    double weightDecay = 0,
    double d0 = 1e-6,
    double growthRate = double.PositiveInfinity,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("dadaptation.DAdaptSGD"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("weight_decay", weightDecay),
        ("d0", d0),
        ("growth_rate", growthRate),
        ("maximize", maximize)
    );

/// <summary>Lion whose rate is the distance to the solution, as far as gradients have shown it.</summary>
/// <remarks>
/// Defazio, Mishchenko 2023, arXiv:2301.07733.
/// Published as pytorch_optimizer.DAdaptLion.
/// Differs from the paper: momentum takes in gradients times the rate, and counts for little in the sign while that is small.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="d0">The first estimate of the distance to the solution: above 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class DAdaptLion(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    double d0 = 1e-6,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("DAdaptLion"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("d0", d0),
        ("maximize", maximize)
    );

/// <summary>SGD whose rate is the distance to the solution, as far as gradients have shown it, over the first gradient's norm.</summary>
/// <remarks>
/// Defazio, Mishchenko 2023, arXiv:2301.07733.
/// Published as pytorch_optimizer.DAdaptSGD.
/// Differs from the paper: decoupled decay acts on the share of the parameter that momentum keeps, as the rest is made anew from the start.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="d0">The first estimate of the distance to the solution: above 0.</param>
/// <param name="growthRate">By how much the estimate may grow in a step: at least 1.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class DAdaptSGD(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    double momentum = 0.9,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    double d0 = 1e-6,
    double growthRate = double.PositiveInfinity,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("DAdaptSGD"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("d0", d0),
        ("growth_rate", growthRate),
        ("maximize", maximize)
    );

/// <summary>SGD whose rate is the largest distance from the start, over the root of the sum of squared gradients.</summary>
/// <remarks>
/// Ivgi, Hinder, Carmon 2023, arXiv:2302.12022.
/// Published as optax.dog.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="repsRel">The first distance, relative to 1 plus the parameters' norm: above 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class DoG(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    double repsRel = 1e-6,
    double weightDecay = 0,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("DoG"),
        parameters,
        ("lr", lr),
        ("reps_rel", repsRel),
        ("weight_decay", weightDecay),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>SGD whose rate is the largest squared distance from the start, over the root of the sum of squared gradients, weighted by it.</summary>
/// <remarks>
/// Khaled, Mishchenko, Jin 2023, arXiv:2305.16284.
/// Published as optax.dowg.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="initEstimSqDist">The first estimate of the squared distance: above 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class DoWG(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    double initEstimSqDist = 1e-4,
    double weightDecay = 0,
    double eps = 1e-4,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("DoWG"),
        parameters,
        ("lr", lr),
        ("init_estim_sq_dist", initEstimSqDist),
        ("weight_decay", weightDecay),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Adam whose rate is the distance to the solution, as far as gradients have shown it, and grows quicker than by D-Adaptation.</summary>
/// <remarks>
/// Mishchenko, Defazio 2023, arXiv:2306.06101.
/// Published as pytorch_optimizer.Prodigy, prodigyopt.Prodigy, optax.prodigy.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="beta3">Decay of the third average; the root of the second one where there is none: None or in [0, 1).</param>
/// <param name="d0">The first estimate of the distance to the solution: above 0.</param>
/// <param name="dCoef">What the estimate of the distance is multiplied by: above 0.</param>
/// <param name="growthRate">By how much the estimate may grow in a step: at least 1.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="biasCorrection">Whether moments are corrected for their start at 0.</param>
/// <param name="safeguardWarmup">Whether the rate is left out of the estimate's sums, for a warm-up.</param>
/// <param name="eps">What keeps a divisor from 0: above 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Prodigy(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    (double, double)? betas = null,
    double? beta3 = null,
    double d0 = 1e-6,
    double dCoef = 1,
    double growthRate = double.PositiveInfinity,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool biasCorrection = false,
    bool safeguardWarmup = false,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("Prodigy"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("beta3", beta3),
        ("d0", d0),
        ("d_coef", dCoef),
        ("growth_rate", growthRate),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("bias_correction", biasCorrection),
        ("safeguard_warmup", safeguardWarmup),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Gradient descent whose rate grows until it meets the curvature that norms of parameters and gradients show.</summary>
/// <remarks>
/// Malitsky and Mishchenko 2019, arXiv:1910.09529.
/// Published as pytorch_optimizer.ASGD.
/// Differs from the paper: norms' differences stand for the norms of differences, and bound the rate where both grow; theta counts amplifier times.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="amplifier">How much the rate may grow: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="theta">Decay of the largest element: at least 0.</param>
/// <param name="dampening">By what the newest gradient counts less: 1 minus it: above 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class PytorchOptimizerASGD(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.01,
    double amplifier = 0.02,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double theta = 1,
    double dampening = 1,
    double eps = 1e-5,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("pytorch_optimizer.ASGD"),
        parameters,
        ("lr", lr),
        ("amplifier", amplifier),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("theta", theta),
        ("dampening", dampening),
        ("eps", eps),
        ("maximize", maximize)
    );
