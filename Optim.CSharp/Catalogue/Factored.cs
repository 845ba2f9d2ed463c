// Long, because it is written from the table of the catalogue (properties/Catalogue/Written.fs), a class for each rule: change the table, and have
// it written anew (WrittenTests.fs says how).

using Optim.Core;

namespace Optim;

/// <summary>Moments of rows and columns, weighed by softmaxes of their means, with the gradient as long as the parameter.</summary>
/// <remarks>
/// the Adalite repository (VatsaDev); no paper.
/// Published as pytorch_optimizer.Adalite.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="gNormMin">The least norm that a gradient counts as: above 0.</param>
/// <param name="ratioMin">The least ratio of norms: at least 0.</param>
/// <param name="tau">Temperature of the weights of rows and columns: above 0.</param>
/// <param name="eps1">What is added to squares of gradients: at least 0.</param>
/// <param name="eps2">What keeps the second divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Adalite(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0.01,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double gNormMin = 1e-10,
    double ratioMin = 1e-4,
    double tau = 1,
    double eps1 = 1e-6,
    double eps2 = 1e-10,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("Adalite"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("g_norm_min", gNormMin),
        ("ratio_min", ratioMin),
        ("tau", tau),
        ("eps1", eps1),
        ("eps2", eps2),
        ("maximize", maximize)
    );

/// <summary>AdamW that keeps one second moment, of the norm, for each run of elements.</summary>
/// <remarks>
/// Nguyen, Nguyen 2024, arXiv:2411.07120.
/// Published as pytorch_optimizer.AdamWSN.
/// Differs from the paper: weight_decouple False adds the decay to the gradient before it is used, where the package adds it after..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="subsetSize">How many elements share a second moment; a negative one divides the root of their number: a whole number a number.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="sn">Whether elements share second moments.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdamWSN(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    int subsetSize = -1,
    double eps = 1e-8,
    bool sn = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("AdamWSN"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("subset_size", subsetSize),
        ("eps", eps),
        ("sn", sn),
        ("maximize", maximize)
    );

/// <summary>Adafactor with a first moment, which is trusted by how far updates keep from it.</summary>
/// <remarks>
/// Luo et al. 2023, ACL 2023, arXiv:2307.02047.
/// Published as pytorch_optimizer.CAME.
/// Differs from the paper: ams_bound keeps the largest root of the second moment, where the package takes a second root of it..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); (0.9, 0.999, 0.9999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="clipThreshold">From which root mean square on an update is scaled down: above 0.</param>
/// <param name="amsBound">Whether the largest second moment so far divides, as in AMSGrad.</param>
/// <param name="eps1">What is added to squares of gradients: at least 0.</param>
/// <param name="eps2">What keeps the second divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class CAME(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 2e-4,
    (double, double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double clipThreshold = 1,
    bool amsBound = false,
    double eps1 = 1e-30,
    double eps2 = 1e-16,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("CAME"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999, 0.9999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("clip_threshold", clipThreshold),
        ("ams_bound", amsBound),
        ("eps1", eps1),
        ("eps2", eps2),
        ("maximize", maximize)
    );

/// <summary>Each row of a matrix on a sphere of its own, and steps by the norms of its gradients.</summary>
/// <remarks>
/// Liu et al. 2021, arXiv:2102.07227.
/// Published as pytorch_optimizer.Nero.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="beta">Decay of the average: in [0, 1).</param>
/// <param name="constraints">Whether rows keep mean 0 and norm 1.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Nero(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.01,
    double beta = 0.999,
    bool constraints = true,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("Nero"),
        parameters,
        ("lr", lr),
        ("beta", beta),
        ("constraints", constraints),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Adafactor as optax has it: a given rate in proportion to the parameter, and means along the two largest dimensions.</summary>
/// <remarks>
/// Shazeer and Stern 2018, arXiv:1804.04235.
/// Published as optax.adafactor.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="minDimSizeToFactor">From which length of both dimensions on a matrix keeps rows and columns only: a whole number at least 0.</param>
/// <param name="decayRate">By which power of the step the second moment's decay goes to 1: at least 0.</param>
/// <param name="clippingThreshold">From which root mean square on an update is scaled down; none without a value: None or above 0.</param>
/// <param name="multiplyByParameterScale">Whether the rate is in proportion to the parameter's root mean square.</param>
/// <param name="weightDecayRate">Weight decay, without lr: at least 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class OptaxAdafactor(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    int minDimSizeToFactor = 128,
    double decayRate = 0.8,
    double? clippingThreshold = 1,
    bool multiplyByParameterScale = true,
    double weightDecayRate = 0,
    double eps = 1e-30,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("optax.adafactor"),
        parameters,
        ("lr", lr),
        ("min_dim_size_to_factor", minDimSizeToFactor),
        ("decay_rate", decayRate),
        ("clipping_threshold", clippingThreshold),
        ("multiply_by_parameter_scale", multiplyByParameterScale),
        ("weight_decay_rate", weightDecayRate),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Adafactor with a first moment, which is kept in bfloat16.</summary>
/// <remarks>
/// Shazeer and Stern 2018, arXiv:1804.04235; Zhai et al. 2021, arXiv:2106.04560.
/// Published as pytorch_optimizer.AdaFactor.
/// Differs from the paper: The first moment is of the scaled update, with the rate in it. Every matrix is factored, however small. ams_bound keeps the largest root of the second moment, where the package takes a second root of it..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="decayRate">By which power of the step the second moment's decay goes to 1: at most 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="clipThreshold">From which root mean square on an update is scaled down: above 0.</param>
/// <param name="amsBound">Whether the largest second moment so far divides, as in AMSGrad.</param>
/// <param name="scaleParameter">Whether the rate is in proportion to the parameter's root mean square.</param>
/// <param name="relativeStep">Whether the rate is made of the step count, and lr is not used.</param>
/// <param name="warmupInit">Whether that rate begins at 1e-6 times the step.</param>
/// <param name="eps1">What is added to squares of gradients: at least 0.</param>
/// <param name="eps2">What keeps the second divisor from 0: at least 0.</param>
/// <param name="momentumDtype">The type that momentum is kept in: one of 'bfloat16', 'None'.</param>
/// <param name="cautious">Whether elements that would move along their gradient stay.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class PytorchOptimizerAdaFactor(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double decayRate = -0.8,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double clipThreshold = 1,
    bool amsBound = false,
    bool scaleParameter = true,
    bool relativeStep = true,
    bool warmupInit = false,
    double eps1 = 1e-30,
    double eps2 = 1e-3,
    string momentumDtype = "bfloat16",
    bool cautious = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("pytorch_optimizer.AdaFactor"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("decay_rate", decayRate),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("clip_threshold", clipThreshold),
        ("ams_bound", amsBound),
        ("scale_parameter", scaleParameter),
        ("relative_step", relativeStep),
        ("warmup_init", warmupInit),
        ("eps1", eps1),
        ("eps2", eps2),
        ("momentum_dtype", momentumDtype),
        ("cautious", cautious),
        ("maximize", maximize)
    );

/// <summary>Gradients divided by the roots of mean squares of rows and of columns, whose norm may grow by a little only.</summary>
/// <remarks>
/// Gong et al. 2025, arXiv:2502.07752.
/// Published as pytorch_optimizer.RACS.
/// Differs from the paper: Means of squares of rows and columns are plain ones; in the paper each is weighed by the other..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="beta">Decay of the average: in [0, 1).</param>
/// <param name="alpha">What an update is multiplied by: at least 0.</param>
/// <param name="gamma">By how much the norm of an update may grow in a step: above 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class RACS(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double beta = 0.9,
    double alpha = 0.05,
    double gamma = 1.01,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("RACS"),
        parameters,
        ("lr", lr),
        ("beta", beta),
        ("alpha", alpha),
        ("gamma", gamma),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Gradients divided by the range of their row, without any state.</summary>
/// <remarks>
/// Matthew K., the Rose repository; no paper.
/// Published as pytorch_optimizer.ROSE.
/// Differs from the paper: Parameters of bfloat16 are rounded to the nearest, where the package rounds at random..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="wdSchedule">Whether decay follows the rate's schedule.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="centralize">Whether gradients are centred by rows.</param>
/// <param name="stabilize">Whether the divisors of rows are drawn to their mean.</param>
/// <param name="computeDtype">The type that steps are computed in; the parameter's own without a value: one of 'float64', 'None'.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class ROSE(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double weightDecay = 1e-4,
    bool wdSchedule = false,
    bool weightDecouple = false,
    bool fixedDecay = false,
    bool centralize = true,
    bool stabilize = true,
    string computeDtype = "float64",
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("ROSE"),
        parameters,
        ("lr", lr),
        ("weight_decay", weightDecay),
        ("wd_schedule", wdSchedule),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("centralize", centralize),
        ("stabilize", stabilize),
        ("compute_dtype", computeDtype),
        ("maximize", maximize)
    );

/// <summary>Adagrad that keeps the largest sums of squares along each dimension only.</summary>
/// <remarks>
/// Anil et al. 2019, arXiv:1901.11150.
/// Published as pytorch_optimizer.SM3.
/// Differs from the paper: With beta the kept numbers never fall, so that nothing is forgotten..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="beta">Decay of the average: in [0, 1).</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class SM3(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.1,
    double momentum = 0,
    double beta = 0,
    double eps = 1e-30,
    bool maximize = false
) : RuleOptimizer(Rules.Find("SM3"), parameters, ("lr", lr), ("momentum", momentum), ("beta", beta), ("eps", eps), ("maximize", maximize));

/// <summary>Adafactor as timm has it: a given rate is not in proportion to the parameter, and small matrices are not factored.</summary>
/// <remarks>
/// Shazeer and Stern 2018, arXiv:1804.04235.
/// Published as timm.adafactor.
/// Differs from the paper: A given lr is not scaled by the parameter's root mean square. The second of betas is not used..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: None or at least 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="epsScale">The least root mean square that a parameter counts as: at least 0.</param>
/// <param name="clipThreshold">From which root mean square on an update is scaled down: above 0.</param>
/// <param name="decayRate">By which power of the step the second moment's decay goes to 1: at most 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: None or in [0, 1); in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="scaleParameter">Whether the rate is in proportion to the parameter's root mean square.</param>
/// <param name="warmupInit">Whether that rate begins at 1e-6 times the step.</param>
/// <param name="minDimSizeToFactor">From which length of both dimensions on a matrix keeps rows and columns only: a whole number at least 0.</param>
/// <param name="caution">Whether elements that would move along their gradient stay, and others move by as much more.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmAdafactor(
    IEnumerable<IParameterOrGroup> parameters,
    double? lr = null,
    double eps = 1e-30,
    double epsScale = 1e-3,
    double clipThreshold = 1,
    double decayRate = -0.8,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool scaleParameter = true,
    bool warmupInit = false,
    int minDimSizeToFactor = 16,
    bool caution = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("timm.adafactor"),
        parameters,
        ("lr", lr),
        ("eps", eps),
        ("eps_scale", epsScale),
        ("clip_threshold", clipThreshold),
        ("decay_rate", decayRate),
        ("betas", betas),
        ("weight_decay", weightDecay),
        ("scale_parameter", scaleParameter),
        ("warmup_init", warmupInit),
        ("min_dim_size_to_factor", minDimSizeToFactor),
        ("caution", caution),
        ("maximize", maximize)
    );

/// <summary>Adafactor as Big Vision has it: a first moment in bfloat16, and a second one of the two largest dimensions.</summary>
/// <remarks>
/// Zhai et al. 2021, arXiv:2106.04560.
/// Published as timm.adafactorbv.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="minDimSizeToFactor">From which length of both dimensions on a matrix keeps rows and columns only: a whole number at least 0.</param>
/// <param name="decayRate">By which power of the step the second moment's decay goes to 1: at least 0.</param>
/// <param name="decayOffset">How many steps the decay's count is behind: a whole number at least 0.</param>
/// <param name="beta2Cap">The largest decay of the second moment: in [0, 1).</param>
/// <param name="momentum">Decay of the average of gradients: None or in [0, 1).</param>
/// <param name="momentumDtype">The type that momentum is kept in: one of 'bfloat16', 'None'.</param>
/// <param name="eps">What keeps a divisor from 0: None or at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="clippingThreshold">From which root mean square on an update is scaled down; none without a value: None or above 0.</param>
/// <param name="unscaledWd">Whether decay is without lr.</param>
/// <param name="caution">Whether elements that would move along their gradient stay, and others move by as much more.</param>
/// <param name="correctedWeightDecay">Whether decay is by the square of the rate over the largest rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmAdafactorbv(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    int minDimSizeToFactor = 16,
    double decayRate = 0.8,
    int decayOffset = 0,
    double beta2Cap = 0.999,
    double? momentum = 0.9,
    string momentumDtype = "bfloat16",
    double? eps = null,
    double weightDecay = 0,
    double? clippingThreshold = null,
    bool unscaledWd = false,
    bool caution = false,
    bool correctedWeightDecay = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("timm.adafactorbv"),
        parameters,
        ("lr", lr),
        ("min_dim_size_to_factor", minDimSizeToFactor),
        ("decay_rate", decayRate),
        ("decay_offset", decayOffset),
        ("beta2_cap", beta2Cap),
        ("momentum", momentum),
        ("momentum_dtype", momentumDtype),
        ("eps", eps),
        ("weight_decay", weightDecay),
        ("clipping_threshold", clippingThreshold),
        ("unscaled_wd", unscaledWd),
        ("caution", caution),
        ("corrected_weight_decay", correctedWeightDecay),
        ("maximize", maximize)
    );

/// <summary>Adafactor as Hugging Face has it: the rate by the step's number, or a given one, in proportion to the parameter.</summary>
/// <remarks>
/// Shazeer and Stern 2018, arXiv:1804.04235.
/// Published as transformers.Adafactor.
/// Differs from the paper: The rate is inside the first moment..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: None or at least 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0; at least 0; (1e-30, 1e-3) when null.</param>
/// <param name="clipThreshold">From which root mean square on an update is scaled down: above 0.</param>
/// <param name="decayRate">By which power of the step the second moment's decay goes to 1: at most 0.</param>
/// <param name="beta1">Decay of the average of updates; none without a value: None or in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="scaleParameter">Whether the rate is in proportion to the parameter's root mean square.</param>
/// <param name="relativeStep">Whether the rate is made of the step count, and lr is not used.</param>
/// <param name="warmupInit">Whether that rate begins at 1e-6 times the step.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TransformersAdafactor(
    IEnumerable<IParameterOrGroup> parameters,
    double? lr = null,
    (double, double)? eps = null,
    double clipThreshold = 1,
    double decayRate = -0.8,
    double? beta1 = null,
    double weightDecay = 0,
    bool scaleParameter = true,
    bool relativeStep = true,
    bool warmupInit = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("transformers.Adafactor"),
        parameters,
        ("lr", lr),
        ("eps", eps ?? (1e-30, 1e-3)),
        ("clip_threshold", clipThreshold),
        ("decay_rate", decayRate),
        ("beta1", beta1),
        ("weight_decay", weightDecay),
        ("scale_parameter", scaleParameter),
        ("relative_step", relativeStep),
        ("warmup_init", warmupInit),
        ("maximize", maximize)
    );
