// Long, because it is written from the table of the catalogue (properties/Catalogue/Written.fs), a class for each rule: change the table, and have
// it written anew (WrittenTests.fs says how).

using Optim.Core;

namespace Optim;

/// <summary>Accelerated SGD: a short step and a long one, whose running average it leans to.</summary>
/// <remarks>
/// Jain, Kakade, Kidambi, Netrapalli, Sidford 2017, arXiv:1704.08227.
/// Published as pytorch_optimizer.AccSGD.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="kappa">The condition number's ratio of long to short steps: above 0.</param>
/// <param name="xi">How much of the slow average goes into the fast one: at least 0.</param>
/// <param name="constant">The small constant of the paper: above 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AccSGD(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double kappa = 1000,
    double xi = 10,
    double constant = 0.7,
    double weightDecay = 0,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("AccSGD"),
        parameters,
        ("lr", lr),
        ("kappa", kappa),
        ("xi", xi),
        ("constant", constant),
        ("weight_decay", weightDecay),
        ("maximize", maximize)
    );

/// <summary>The mean of steps by three momenta, of which the quick ones damp what the slow ones make swing.</summary>
/// <remarks>
/// Lucas, Sun, Zemel, Grosse 2018, arXiv:1804.00325.
/// Published as pytorch_optimizer.AggMo.
/// Differs from the paper: there are three momenta; the paper takes any number.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the momenta: in [0, 1); (0, 0.9, 0.99) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AggMo(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("AggMo"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0, 0.9, 0.99)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Momentum that is shorter where gradients vary much, by the factor of least variance.</summary>
/// <remarks>
/// Balles, Hennig 2017, arXiv:1705.07774.
/// Published as pytorch_optimizer.MSVAG.
/// Differs from the paper: the share of steps that counts as independent is at most 0.9999, and not 1 at the first step.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="beta">Decay of the average: in [0, 1).</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class MSVAG(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.01,
    double beta = 0.9,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("MSVAG"),
        parameters,
        ("lr", lr),
        ("beta", beta),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>A controller: the gradient, the average of gradients and that of their differences.</summary>
/// <remarks>
/// An et al. 2018, CVPR.
/// Published as pytorch_optimizer.PID.
/// Differs from the paper: momentum 0, the default, leaves integral and derivative out.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="dampening">By what the newest gradient counts less: 1 minus it: at least 0.</param>
/// <param name="derivative">How much the gradient's changes count: at least 0.</param>
/// <param name="integral">How much the sum of gradients counts: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class PID(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double momentum = 0,
    double dampening = 0,
    double derivative = 10,
    double integral = 5,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("PID"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("dampening", dampening),
        ("derivative", derivative),
        ("integral", integral),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>The difference of two momenta, of odd and of even steps, which makes its noise larger.</summary>
/// <remarks>
/// Xie, Yuan, Zhu, Sugiyama 2021, arXiv:2103.17182.
/// Published as pytorch_optimizer.PNM.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); at least 0; (0.9, 1) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class PNM(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("PNM"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 1)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>The weighted mean of the gradient and of its average.</summary>
/// <remarks>
/// Ma, Yarats 2018, arXiv:1810.06801.
/// Published as pytorch_optimizer.QHM.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="nu">How much the momentum counts against the gradient: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class QHM(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double momentum = 0,
    double nu = 1,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("QHM"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("nu", nu),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>SGD without the part of its step that only grows weights which a normalization follows.</summary>
/// <remarks>
/// Heo et al. 2020, arXiv:2006.08217.
/// Published as pytorch_optimizer.SGDP.
/// Differs from the paper: weight_decouple False is L2, where the package forgets it.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="dampening">By what the newest gradient counts less: 1 minus it: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="delta">Up to which cosine a gradient counts as orthogonal to its parameter: at least 0.</param>
/// <param name="wdRatio">By what weight decay is multiplied where an update was projected: at least 0.</param>
/// <param name="nesterov">Whether the momentum looks a step ahead, as Nesterov's.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class SGDP(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double momentum = 0,
    double dampening = 0,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double delta = 0.1,
    double wdRatio = 0.1,
    bool nesterov = false,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("SGDP"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("dampening", dampening),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("delta", delta),
        ("wd_ratio", wdRatio),
        ("nesterov", nesterov),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Momentum with a rate for each tensor, from the ratio of signal and noise of its first gradient.</summary>
/// <remarks>
/// Xu et al. 2024, arXiv:2412.11768.
/// Published as pytorch_optimizer.SGDSaI.
/// Differs from the paper: weight_decouple False is L2 with momentum, too, where the package forgets it.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class SGDSaI(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.01,
    double momentum = 0.9,
    double weightDecay = 0.01,
    bool weightDecouple = true,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("SGDSaI"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>SGD with momentum and decoupled weight decay.</summary>
/// <remarks>
/// Loshchilov, Hutter 2017, arXiv:1711.05101.
/// Published as pytorch_optimizer.SGDW.
/// Differs from the paper: the decay is lr times weight_decay, where the paper has the schedule's factor alone.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="dampening">By what the newest gradient counts less: 1 minus it: at least 0.</param>
/// <param name="nesterov">Whether the momentum looks a step ahead, as Nesterov's.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class SGDW(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-4,
    double momentum = 0,
    double weightDecay = 0,
    bool weightDecouple = true,
    double dampening = 0,
    bool nesterov = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("SGDW"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("dampening", dampening),
        ("nesterov", nesterov),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Regularized majorization-minimization: an average of gradients whose weights fall with the steps, and begin anew.</summary>
/// <remarks>
/// Lyu 2022, arXiv:2201.01652.
/// Published as pytorch_optimizer.SRMM.
/// Differs from the paper: the average of parameters starts at them, where the authors' code starts it at 0 and so shrinks them in the first step.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="beta">Decay of the average: at least 0.</param>
/// <param name="memoryLength">How many steps the averages remember: None or a whole number of at least 1.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class SRMM(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.01,
    double beta = 0.5,
    int memoryLength = 100,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("SRMM"),
        parameters,
        ("lr", lr),
        ("beta", beta),
        ("memory_length", memoryLength),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Momentum that takes more of gradients that point along it.</summary>
/// <remarks>
/// Malviya et al. 2024, arXiv:2412.18790.
/// Published as pytorch_optimizer.TAM.
/// Differs from the paper: each element has a similarity of its own, in place of the tensor's cosine; the momentum starts at the first gradient.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="decayRate">By which power of the step the second moment's decay goes to 1: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TAM(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double momentum = 0.9,
    double decayRate = 0.9,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("TAM"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("decay_rate", decayRate),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>SGDP with caution, by timm's defaults.</summary>
/// <remarks>
/// Heo et al. 2020, arXiv:2006.08217.
/// Published as timm.sgdp, timm.csgdp.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="dampening">By what the newest gradient counts less: 1 minus it: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="nesterov">Whether the momentum looks a step ahead, as Nesterov's.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="delta">Up to which cosine a gradient counts as orthogonal to its parameter: at least 0.</param>
/// <param name="wdRatio">By what weight decay is multiplied where an update was projected: at least 0.</param>
/// <param name="caution">Whether elements that would move along their gradient stay, and others move by as much more.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmSgdp(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double momentum = 0.9,
    double dampening = 0,
    double weightDecay = 0,
    bool nesterov = true,
    double eps = 1e-8,
    double delta = 0.1,
    double wdRatio = 0.1,
    bool caution = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("timm.sgdp"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("dampening", dampening),
        ("weight_decay", weightDecay),
        ("nesterov", nesterov),
        ("eps", eps),
        ("delta", delta),
        ("wd_ratio", wdRatio),
        ("caution", caution),
        ("maximize", maximize)
    );

/// <summary>SGD with Nesterov's momentum, decoupled weight decay and caution, by timm's defaults.</summary>
/// <remarks>
/// Loshchilov, Hutter 2017, arXiv:1711.05101.
/// Published as timm.sgdw, timm.nesterovw, timm.csgdw, timm.sgdc.
/// Differs from the paper: the decay is lr times weight_decay, where the paper has the schedule's factor alone.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="dampening">By what the newest gradient counts less: 1 minus it: at least 0.</param>
/// <param name="correctedWeightDecay">Whether decay is by the square of the rate over the largest rate.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="nesterov">Whether the momentum looks a step ahead, as Nesterov's.</param>
/// <param name="caution">Whether elements that would move along their gradient stay, and others move by as much more.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmSgdw(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double momentum = 0.9,
    double dampening = 0,
    bool correctedWeightDecay = false,
    double weightDecay = 0,
    bool nesterov = true,
    bool caution = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("timm.sgdw"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("dampening", dampening),
        ("corrected_weight_decay", correctedWeightDecay),
        ("weight_decay", weightDecay),
        ("nesterov", nesterov),
        ("caution", caution),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );
