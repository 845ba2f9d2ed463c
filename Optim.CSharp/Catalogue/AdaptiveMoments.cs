// Long, because it is written from the table of the catalogue (properties/Catalogue/Written.fs), a class for each rule: change the table, and have
// it written anew (WrittenTests.fs says how).

using Optim.Core;

namespace Optim;

/// <summary>The gradient by what earlier ones differed from their averages: the divisor does not know the gradient.</summary>
/// <remarks>
/// Zhuang et al. 2021, arXiv:2110.05454.
/// Published as optax.acprop.
/// Differs from the paper: as in optax: the surprise is relative to the average before the gradient, and the first step is lr times the gradient.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class ACProp(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    double eps = 1e-16,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("ACProp"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam by the squares of what the first moment did not expect: small steps where gradients surprise.</summary>
/// <remarks>
/// Zhuang et al. 2020, arXiv:2010.07468.
/// Published as pytorch_optimizer.AdaBelief.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="rectify">Whether the rate is rectified by its variance, as in RAdam.</param>
/// <param name="nSmaThreshold">From which length of the average on the rate is rectified: above 4.</param>
/// <param name="degeneratedToSgd">Whether steps before that move by the momentum; otherwise they do not move.</param>
/// <param name="amsBound">Whether the largest second moment so far divides, as in AMSGrad.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="adamDebias">Whether the first moment's start at 0 is left uncorrected in the rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdaBelief(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool rectify = false,
    double nSmaThreshold = 5,
    bool degeneratedToSgd = true,
    bool amsBound = false,
    double eps = 1e-16,
    bool adamDebias = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("AdaBelief"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("rectify", rectify),
        ("n_sma_threshold", nSmaThreshold),
        ("degenerated_to_sgd", degeneratedToSgd),
        ("ams_bound", amsBound),
        ("eps", eps),
        ("adam_debias", adamDebias),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam whose step sizes are held between bounds that close in on those of SGD.</summary>
/// <remarks>
/// Luo, Xiong, Liu, Sun 2019, ICLR, OpenReview Bkg3g2R9FX.
/// Published as pytorch_optimizer.AdaBound.
/// Differs from the paper: decay is decoupled by default; the authors' is L2.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="finalLr">The rate at the end, to which both bounds go: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="gamma">How fast the bounds come together: above 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="amsBound">Whether the largest second moment so far divides, as in AMSGrad.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdaBound(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double finalLr = 0.1,
    (double, double)? betas = null,
    double gamma = 1e-3,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool amsBound = false,
    double eps = 1e-8,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("AdaBound"),
        parameters,
        ("lr", lr),
        ("final_lr", finalLr),
        ("betas", betas ?? (0.9, 0.999)),
        ("gamma", gamma),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("ams_bound", amsBound),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam with gradients clipped tensor by tensor, by an average of their own norms.</summary>
/// <remarks>
/// Wang et al. 2025, arXiv:2502.11034.
/// Published as pytorch_optimizer.AdaGC.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="beta">Decay of the average of norms: in [0, 1).</param>
/// <param name="lambdaAbs">The largest norm of all gradients together in the warm-up: at least 0.</param>
/// <param name="lambdaRel">The largest ratio of a gradient's norm to its average after it: at least 0.</param>
/// <param name="warmupSteps">How many steps the rate, or its bound, takes to its full size: a whole number at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdaGC(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double beta = 0.98,
    double lambdaAbs = 1,
    double lambdaRel = 1.05,
    int warmupSteps = 100,
    double weightDecay = 0.1,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("AdaGC"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("beta", beta),
        ("lambda_abs", lambdaAbs),
        ("lambda_rel", lambdaRel),
        ("warmup_steps", warmupSteps),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Momentum that is larger where gradients are small, in place of larger steps.</summary>
/// <remarks>
/// Xie et al. 2020, arXiv:2006.15815.
/// Published as pytorch_optimizer.Adai.
/// Differs from the paper: the mean second moment counts as eps at least.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">The largest share of the new gradient, and the decay of the average of squares: in [0, 1); in [0, 1); (0.1, 0.99) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="stableWeightDecay">Whether decay is divided by the mean second moment.</param>
/// <param name="dampening">How the rate depends on the momentum: 1 for as SGD with momentum: in [0, 1.5).</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Adai(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    bool stableWeightDecay = false,
    double dampening = 1,
    double eps = 1e-3,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("Adai"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.1, 0.99)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("stable_weight_decay", stableWeightDecay),
        ("dampening", dampening),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>AdamW whose decay of weights that a normalization follows shrinks with the rate's square.</summary>
/// <remarks>
/// Defazio 2025, arXiv:2506.02285.
/// Published as pytorch_optimizer.AdamC.
/// Differs from the paper: eps is inside the division by the second moment's correction; the largest rate is that of the steps so far.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="amsBound">Whether the largest second moment so far divides, as in AMSGrad.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="normalized">Whether the parameter is one that a normalization follows, whose decay is by the square of the rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdamC(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool amsBound = false,
    double eps = 1e-8,
    bool normalized = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("AdamC"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("ams_bound", amsBound),
        ("eps", eps),
        ("normalized", normalized),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam whose momentum takes gradients in proportion to a power of their size: its rate needs no search.</summary>
/// <remarks>
/// Pang et al. 2024, arXiv:2405.04376.
/// Published as pytorch_optimizer.AdamG.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares, and of the numerator's: in [0, 1); (0.95, 0.999, 0.95) when null.</param>
/// <param name="p">By what the second moment's power is multiplied: at least 0.</param>
/// <param name="q">To which power the second moment goes: above 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdamG(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    (double, double, double)? betas = null,
    double p = 0.2,
    double q = 0.24,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    double eps = 1e-8,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("AdamG"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.95, 0.999, 0.95)),
        ("p", p),
        ("q", q),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam whose step sizes are at most their own running average.</summary>
/// <remarks>
/// Ding, Ren, Luo, Sun 2019, arXiv:1910.12249.
/// Published as pytorch_optimizer.AdaMod.
/// Differs from the paper: the authors' defaults of the second and third beta are 0.999.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares, and of the rates: in [0, 1); (0.9, 0.99, 0.9999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="adamDebias">Whether the first moment's start at 0 is left uncorrected in the rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdaMod(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double eps = 1e-8,
    bool adamDebias = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("AdaMod"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.99, 0.9999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("adam_debias", adamDebias),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam without the part of its step that only grows weights which a normalization follows.</summary>
/// <remarks>
/// Heo et al. 2020, arXiv:2006.08217.
/// Published as pytorch_optimizer.AdamP.
/// Differs from the paper: eps is inside the division by the second moment's correction; weight_decouple False is L2, where the package forgets it.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="delta">Up to which cosine a gradient counts as orthogonal to its parameter: at least 0.</param>
/// <param name="wdRatio">By what weight decay is multiplied where an update was projected: at least 0.</param>
/// <param name="nesterov">Whether the momentum looks a step ahead, as Nesterov's.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="adamDebias">Whether the first moment's start at 0 is left uncorrected in the rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdamP(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double delta = 0.1,
    double wdRatio = 0.1,
    bool nesterov = false,
    double eps = 1e-8,
    bool adamDebias = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("AdamP"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("delta", delta),
        ("wd_ratio", wdRatio),
        ("nesterov", nesterov),
        ("eps", eps),
        ("adam_debias", adamDebias),
        ("maximize", maximize)
    );

/// <summary>Adam with decay in proportion to the mean step size of the whole model.</summary>
/// <remarks>
/// Xie, Sato, Sugiyama 2020, arXiv:2011.11152.
/// Published as pytorch_optimizer.AdamS.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="amsBound">Whether the largest second moment so far divides, as in AMSGrad.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="adamDebias">Whether the first moment's start at 0 is left uncorrected in the rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdamS(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 1e-4,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool amsBound = false,
    double eps = 1e-8,
    bool adamDebias = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("AdamS"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("ams_bound", amsBound),
        ("eps", eps),
        ("adam_debias", adamDebias),
        ("maximize", maximize)
    );

/// <summary>Adam with Nesterov's momentum from averages of gradients and of their differences.</summary>
/// <remarks>
/// Xie, Zhou, Li, Lin, Yan 2022, arXiv:2208.06677.
/// Published as pytorch_optimizer.Adan.
/// Differs from the paper: betas are 1 - beta of the paper.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients, of their changes and of the squares: in [0, 1); (0.98, 0.92, 0.99) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="maxGradNorm">The largest norm of all gradients together; longer ones are scaled down, 0 for none: at least 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Adan(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = false,
    double maxGradNorm = 0,
    double eps = 1e-8,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("Adan"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.98, 0.92, 0.99)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("max_grad_norm", maxGradNorm),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam by gradients that are at least as long as they were on average.</summary>
/// <remarks>
/// Dubey, Singh, Chaudhuri 2022, arXiv:2210.06364.
/// Published as pytorch_optimizer.AdaNorm.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.99) when null.</param>
/// <param name="r">Decay of the average of norms: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="amsBound">Whether the largest second moment so far divides, as in AMSGrad.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="adamDebias">Whether the first moment's start at 0 is left uncorrected in the rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdaNorm(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double r = 0.95,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool amsBound = false,
    double eps = 1e-8,
    bool adamDebias = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("AdaNorm"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.99)),
        ("r", r),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("ams_bound", amsBound),
        ("eps", eps),
        ("adam_debias", adamDebias),
        ("maximize", maximize)
    );

/// <summary>Adam by the difference of two momenta, of odd and of even steps, which makes its noise larger.</summary>
/// <remarks>
/// Xie, Yuan, Zhu, Sugiyama 2021, arXiv:2103.17182.
/// Published as pytorch_optimizer.AdaPNM.
/// Differs from the paper: eps is inside the division by the second moment's correction.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares, and how much the older average counts against the newer: in [0, 1); at least 0; (0.9, 0.999, 1) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="amsBound">Whether the largest second moment so far divides, as in AMSGrad.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="adamDebias">Whether the first moment's start at 0 is left uncorrected in the rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdaPNM(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool amsBound = true,
    double eps = 1e-8,
    bool adamDebias = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("AdaPNM"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999, 1)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("ams_bound", amsBound),
        ("eps", eps),
        ("adam_debias", adamDebias),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam whose second moment is of gradients that have left the window of the first one, so that the two do not depend on each other.</summary>
/// <remarks>
/// Zhou et al. 2018, arXiv:1810.00143.
/// Published as pytorch_optimizer.AdaShift.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="keepNum">How many gradients are remembered: a whole number in [1, 16].</param>
/// <param name="reduceFunc">What is made of a tensor's squares: their largest one; each for itself without a value: one of 'max', None.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdaShift(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    int keepNum = 10,
    string? reduceFunc = "max",
    double eps = 1e-10,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("AdaShift"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("keep_num", keepNum),
        ("reduce_func", reduceFunc),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>RMSprop whose second moment is quicker where a parameter moves in one direction.</summary>
/// <remarks>
/// Lu 2022, arXiv:2204.00825.
/// Published as pytorch_optimizer.AdaSmooth.
/// Differs from the paper: the ratio of way and movement is of all steps, and not of a period.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">The least and the largest memory of the squares: in [0, 1); in [0, 1); (0.5, 0.99) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdaSmooth(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    double eps = 1e-6,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("AdaSmooth"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.5, 0.99)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Adam with momentum that takes more of gradients that point along it.</summary>
/// <remarks>
/// Malviya et al. 2024, arXiv:2412.18790.
/// Published as pytorch_optimizer.AdaTAM.
/// Differs from the paper: each element has a similarity of its own, in place of the tensor's cosine.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="decayRate">Decay of the average agreement: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdaTAM(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double decayRate = 0.9,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("AdaTAM"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("decay_rate", decayRate),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Adam with a second momentum that remembers ten thousand gradients.</summary>
/// <remarks>
/// Pagliardini, Ablin, Grangier 2024, arXiv:2409.03137.
/// Published as pytorch_optimizer.AdEMAMix.
/// Differs from the paper: decay is L2 by default, and there are no warm-ups by default.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares, and of the slow average: in [0, 1); (0.9, 0.999, 0.9999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="alpha">How much the slow average counts: at least 0.</param>
/// <param name="tAlphaBeta3">Over how many steps alpha and the third decay grow; at once without a value: None or above 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdEMAMix(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    double alpha = 5,
    double? tAlphaBeta3 = null,
    double eps = 1e-8,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("AdEMAMix"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999, 0.9999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("alpha", alpha),
        ("t_alpha_beta3", tAlphaBeta3),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam that divides by the second moment before the gradient, and averages what it has divided: it converges for any second beta.</summary>
/// <remarks>
/// Taniguchi et al. 2024, arXiv:2411.02853.
/// Published as pytorch_optimizer.ADOPT.
/// Differs from the paper: the first update is clipped at 2^0.25 and not at 1, as steps are counted from the first gradient.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.9999) when null.</param>
/// <param name="clipExp">By which power of the step updates are limited; none without a value: None or at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class ADOPT(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double? clipExp = 0.25,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    double eps = 1e-6,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("ADOPT"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.9999)),
        ("clip_exp", clipExp),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>AdaBelief that first projects gradient and momentum onto each other.</summary>
/// <remarks>
/// Zhang, Niwa, Kleijn 2022, arXiv:2203.13273.
/// Published as pytorch_optimizer.Aida.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="k">How many times gradient and momentum are projected on each other: a whole number in [0, 8].</param>
/// <param name="xi">What keeps the projections' divisors from 0: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="rectify">Whether the rate is rectified by its variance, as in RAdam.</param>
/// <param name="nSmaThreshold">From which length of the average on the rate is rectified: above 4.</param>
/// <param name="degeneratedToSgd">Whether steps before that move by the momentum; otherwise they do not move.</param>
/// <param name="amsBound">Whether the largest second moment so far divides, as in AMSGrad.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="adamDebias">Whether the first moment's start at 0 is left uncorrected in the rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Aida(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    int k = 2,
    double xi = 1e-20,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    bool rectify = false,
    double nSmaThreshold = 5,
    bool degeneratedToSgd = true,
    bool amsBound = false,
    double eps = 1e-8,
    bool adamDebias = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("Aida"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("k", k),
        ("xi", xi),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("rectify", rectify),
        ("n_sma_threshold", nSmaThreshold),
        ("degenerated_to_sgd", degeneratedToSgd),
        ("ams_bound", amsBound),
        ("eps", eps),
        ("adam_debias", adamDebias),
        ("maximize", maximize)
    );

/// <summary>A rate and a decay for each tensor, from its mean square gradient and its shape.</summary>
/// <remarks>
/// Tian, Parikh 2022, arXiv:2210.11693.
/// Published as pytorch_optimizer.Amos.
/// Differs from the paper: the scale eta follows from the shape alone, where the paper's is given by the user.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="beta">Decay of the average: in [0, 1).</param>
/// <param name="momentum">Decay of the average of updates; 0 for none: in [0, 1).</param>
/// <param name="extraL2">Weight decay beside the rule's own: at least 0.</param>
/// <param name="cCoef">How fast the rate shrinks: at least 0.</param>
/// <param name="dCoef">How fast the update shrinks: at least 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Amos(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double beta = 0.999,
    double momentum = 0,
    double extraL2 = 0,
    double cCoef = 0.25,
    double dCoef = 0.25,
    double eps = 1e-18,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("Amos"),
        parameters,
        ("lr", lr),
        ("beta", beta),
        ("momentum", momentum),
        ("extra_l2", extraL2),
        ("c_coef", cCoef),
        ("d_coef", dCoef),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>The gradient's size along the momentum's sign, divided by the root of a second moment as Yogi's.</summary>
/// <remarks>
/// Kegreisz 2025, arXiv:2508.18258.
/// Published as pytorch_optimizer.Ano.
/// Differs from the paper: the second moment is corrected for its start; with the logarithmic schedule the first two steps weigh the momentum by -0.44.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0.5, 1); (0.92, 0.99) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="logarithmicSchedule">Whether the momentum grows with the logarithm of the step.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Ano(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-4,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool logarithmicSchedule = false,
    double eps = 1e-8,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("Ano"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.92, 0.99)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("logarithmic_schedule", logarithmicSchedule),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam whose decay comes after the step: what APOLLO is where no projection to a rank is asked for.</summary>
/// <remarks>
/// Zhu et al. 2024, arXiv:2412.05270.
/// Published as pytorch_optimizer.APOLLO.
/// Differs from the paper: There is no rank: the package's projections draw random matrices, and scale what they project, where the paper scales the gradient..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="correctBias">Whether moments are corrected for their start at 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class APOLLO(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.01,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool correctBias = true,
    double eps = 1e-6,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("APOLLO"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("correct_bias", correctBias),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>A quasi-Newton method that keeps a diagonal of the Hessian by the secant of averaged gradients.</summary>
/// <remarks>
/// Ma 2020, arXiv:2009.13586.
/// Published as pytorch_optimizer.ApolloDQN.
/// Differs from the paper: the warm-up follows the rate as it is, and not that of the constructor.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="initLr">The rate at which the warm-up begins; lr / 1000 without a value: None or at least 0.</param>
/// <param name="beta">Decay of the average: in [0, 1).</param>
/// <param name="rebound">Which bound the curvature has: a constant one, or by the gradient's changes: one of 'constant', 'belief'.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecayType">Where weight decay goes: to the gradient, to the update, or to it over the mean curvature: one of 'l2', 'decoupled', 'stable'.</param>
/// <param name="warmupSteps">How many steps the rate, or its bound, takes to its full size: a whole number at least 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class ApolloDQN(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.01,
    double? initLr = 1e-5,
    double beta = 0.9,
    string rebound = "constant",
    double weightDecay = 0,
    string weightDecayType = "l2",
    int warmupSteps = 500,
    double eps = 1e-4,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("ApolloDQN"),
        parameters,
        ("lr", lr),
        ("init_lr", initLr),
        ("beta", beta),
        ("rebound", rebound),
        ("weight_decay", weightDecay),
        ("weight_decay_type", weightDecayType),
        ("warmup_steps", warmupSteps),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Adam whose rate does not depend on eps: step sizes are normalized over the whole model.</summary>
/// <remarks>
/// Savarese, McAllester, Babu, Maire 2019, arXiv:1912.01823.
/// Published as pytorch_optimizer.AvaGrad.
/// Differs from the paper: the normalization is by the second moments of two steps before; decay is decoupled by default, and of the first step, too.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="adamDebias">Whether the first moment's start at 0 is left uncorrected in the rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AvaGrad(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.1,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double eps = 0.1,
    bool adamDebias = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("AvaGrad"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("adam_debias", adamDebias),
        ("maximize", maximize)
    );

/// <summary>Adam with smaller steps where the gradient does not change.</summary>
/// <remarks>
/// Dubey et al. 2019, arXiv:1909.11015.
/// Published as pytorch_optimizer.DiffGrad.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="rectify">Whether the rate is rectified by its variance, as in RAdam.</param>
/// <param name="nSmaThreshold">From which length of the average on the rate is rectified: above 4.</param>
/// <param name="degeneratedToSgd">Whether steps before that move by the momentum; otherwise they do not move.</param>
/// <param name="amsBound">Whether the largest second moment so far divides, as in AMSGrad.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="adamDebias">Whether the first moment's start at 0 is left uncorrected in the rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class DiffGrad(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool rectify = false,
    double nSmaThreshold = 5,
    bool degeneratedToSgd = true,
    bool amsBound = false,
    double eps = 1e-8,
    bool adamDebias = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("DiffGrad"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("rectify", rectify),
        ("n_sma_threshold", nSmaThreshold),
        ("degenerated_to_sgd", degeneratedToSgd),
        ("ams_bound", amsBound),
        ("eps", eps),
        ("adam_debias", adamDebias),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam that multiplies by the root of the second moment at first, and goes over to dividing by it.</summary>
/// <remarks>
/// arXiv:2603.07122.
/// Published as pytorch_optimizer.DualAdam.
/// Differs from the paper: decay is L2 by default; the authors' is decoupled.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="switchRate">How fast the first part gives way to Adam, a step: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class DualAdam(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double switchRate = 0.01,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    double eps = 1e-8,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("DualAdam"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("switch_rate", switchRate),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam whose moments correct each other, with the gradient added to the momentum.</summary>
/// <remarks>
/// Adly 2024, arXiv:2412.20302.
/// Published as pytorch_optimizer.EXAdam.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class EXAdam(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double eps = 1e-8,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("EXAdam"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Follow the regularized leader: parameters from the sum of all gradients, 0 where that is small.</summary>
/// <remarks>
/// McMahan et al. 2013, Ad Click Prediction.
/// Published as pytorch_optimizer.FTRL.
/// Differs from the paper: elements that never had a gradient keep their value; the denominator has the power lr_power, too.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: above 0.</param>
/// <param name="lrPower">By which power of the sum of squares the rate shrinks: below 0.</param>
/// <param name="beta">What is added to the root: at least 0.</param>
/// <param name="lambda1">L1 penalty: at least 0.</param>
/// <param name="lambda2">L2 penalty: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class FTRL(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double lrPower = -0.5,
    double beta = 0,
    double lambda1 = 0,
    double lambda2 = 0,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("FTRL"),
        parameters,
        ("lr", lr),
        ("lr_power", lrPower),
        ("beta", beta),
        ("lambda_1", lambda1),
        ("lambda_2", lambda2),
        ("maximize", maximize)
    );

/// <summary>Adam's step sizes along the gradient's signs.</summary>
/// <remarks>
/// Cao, Li, Song 2024, arXiv:2412.17107.
/// Published as pytorch_optimizer.Grams.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Grams(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    double eps = 1e-6,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("Grams"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>AdamW by gradients to which their own slow average is added.</summary>
/// <remarks>
/// Lee, Kang, Kim, Lee 2024, arXiv:2405.20233.
/// Published as pytorch_optimizer.GrokFastAdamW.
/// Differs from the paper: eps is a floor of the divisor; the rate is divided by 1 + grokfast_lamb in every group, and not in the constructor alone.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.99) when null.</param>
/// <param name="grokfast">Whether slow gradients are amplified.</param>
/// <param name="grokfastAlpha">Decay of the slow gradient: in [0, 1).</param>
/// <param name="grokfastLamb">How much the slow gradient counts: at least 0.</param>
/// <param name="grokfastAfterStep">From which step on: a whole number at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="normalizeLr">Whether the rate is divided by 1 + grokfast_lamb.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class GrokFastAdamW(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-4,
    (double, double)? betas = null,
    bool grokfast = true,
    double grokfastAlpha = 0.98,
    double grokfastLamb = 2,
    int grokfastAfterStep = 0,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool normalizeLr = true,
    double eps = 1e-8,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("GrokFastAdamW"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.99)),
        ("grokfast", grokfast),
        ("grokfast_alpha", grokfastAlpha),
        ("grokfast_lamb", grokfastLamb),
        ("grokfast_after_step", grokfastAfterStep),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("normalize_lr", normalizeLr),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>AdaGrad without the root of its denominator, which makes it free of the gradient's scale.</summary>
/// <remarks>
/// Choudhury et al. 2024, arXiv:2403.02648.
/// Published as pytorch_optimizer.Kate.
/// Differs from the paper: eps is added to the sum in every step, and so adds up.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="delta">Up to which cosine a gradient counts as orthogonal to its parameter: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Kate(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double delta = 0,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double eps = 1e-8,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("Kate"),
        parameters,
        ("lr", lr),
        ("delta", delta),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Momentum of gradients that have been divided by the root of their second moment, in place of Adam's order.</summary>
/// <remarks>
/// Ziyin, Wang, Ueda 2020, arXiv:2002.04839.
/// Published as pytorch_optimizer.LaProp.
/// Differs from the paper: eps is inside the division by the second moment's correction; weight_decouple False is L2, where the package forgets it.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="centered">Whether the mean's square is taken off the second moment.</param>
/// <param name="stepsBeforeUsingCentered">From which step on: a whole number at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="amsBound">Whether the largest second moment so far divides, as in AMSGrad.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class LaProp(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 4e-4,
    (double, double)? betas = null,
    bool centered = false,
    int stepsBeforeUsingCentered = 10,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool amsBound = false,
    double eps = 1e-15,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("LaProp"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("centered", centered),
        ("steps_before_using_centered", stepsBeforeUsingCentered),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("ams_bound", amsBound),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Momentum towards the point of dual averaging, by cube roots of squared gradients.</summary>
/// <remarks>
/// Defazio, Jelassi 2021, arXiv:2101.11075.
/// Published as pytorch_optimizer.MADGRAD, optax.madgrad.
/// Differs from the paper: eps is added to lr, too.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class MADGRAD(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double momentum = 0.9,
    double weightDecay = 0,
    bool weightDecouple = false,
    double eps = 1e-6,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("MADGRAD"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam or Lion by gradients whose variance the gradient before makes less; vectors are stepped by AdamW.</summary>
/// <remarks>
/// Yuan et al. 2024, arXiv:2411.10438.
/// Published as pytorch_optimizer.MARS.
/// Differs from the paper: mars_type shampoo is left out; eps is inside the division by the second moment's correction; weight_decouple False is L2, where the package puts it into the gradient before alone.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.95, 0.99) when null.</param>
/// <param name="gamma">How much the change of gradients counts: at least 0.</param>
/// <param name="marsType">The rule that the corrected gradient goes to: one of 'adamw', 'lion'.</param>
/// <param name="optimize1d">Whether vectors are stepped like matrices.</param>
/// <param name="lr1d">Learning rate of vectors: at least 0.</param>
/// <param name="betas1d">Decays of the averages of vectors: in [0, 1); in [0, 1); (0.9, 0.95) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="weightDecay1d">Weight decay of vectors: at least 0.</param>
/// <param name="amsBound">Whether the largest second moment so far divides, as in AMSGrad.</param>
/// <param name="cautious">Whether elements that would move along their gradient stay.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class MARS(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 3e-3,
    (double, double)? betas = null,
    double gamma = 0.025,
    string marsType = "adamw",
    bool optimize1d = false,
    double lr1d = 3e-3,
    (double, double)? betas1d = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double weightDecay1d = 0.1,
    bool amsBound = false,
    bool cautious = false,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("MARS"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.95, 0.99)),
        ("gamma", gamma),
        ("mars_type", marsType),
        ("optimize_1d", optimize1d),
        ("lr_1d", lr1d),
        ("betas_1d", betas1d ?? (0.9, 0.95)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("weight_decay_1d", weightDecay1d),
        ("ams_bound", amsBound),
        ("cautious", cautious),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Momentum of gradients that an average of their tensor's squared norm has divided.</summary>
/// <remarks>
/// Ginsburg et al. 2019, arXiv:1905.11286.
/// Published as pytorch_optimizer.NovoGrad.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.95, 0.98) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="gradAveraging">Whether the newest gradient counts by 1 minus the decay.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class NovoGrad(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    bool gradAveraging = false,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("NovoGrad"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.95, 0.98)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("grad_averaging", gradAveraging),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Adam by a power of the second moment between none, as SGD, and a half.</summary>
/// <remarks>
/// Chen et al. 2018, arXiv:1806.06763.
/// Published as pytorch_optimizer.PAdam.
/// Differs from the paper: the second moment's largest value so far is not kept, and its correction is the root's, whatever the power.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="partial">By which power the second moment divides: in [0, 0.5].</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class PAdam(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.1,
    (double, double)? betas = null,
    double partial = 0.25,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    double eps = 1e-8,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("PAdam"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("partial", partial),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adadelta with weight decay of three kinds.</summary>
/// <remarks>
/// Zeiler 2012, arXiv:1212.5701.
/// Published as pytorch_optimizer.AdaDelta.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="rho">Decay of the averages of squares: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class PytorchOptimizerAdaDelta(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    double rho = 0.9,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    double eps = 1e-6,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("pytorch_optimizer.AdaDelta"),
        parameters,
        ("lr", lr),
        ("rho", rho),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Adamax with weight decay of three kinds.</summary>
/// <remarks>
/// Kingma and Ba 2014, arXiv:1412.6980, 7.1.
/// Published as pytorch_optimizer.AdaMax.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="adamDebias">Whether the first moment's start at 0 is left uncorrected in the rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class PytorchOptimizerAdaMax(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    double eps = 1e-8,
    bool adamDebias = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("pytorch_optimizer.AdaMax"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("adam_debias", adamDebias),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>RAdam that does not move until the second moment is of enough steps.</summary>
/// <remarks>
/// Liu et al. 2019, arXiv:1908.03265.
/// Published as pytorch_optimizer.RAdam.
/// Differs from the paper: the threshold is 5, where the paper has 4, and below it nothing moves, by default; weight_decouple False is L2, where the package forgets it.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="nSmaThreshold">From which length of the average on the rate is rectified: above 4.</param>
/// <param name="degeneratedToSgd">Whether steps before that move by the momentum; otherwise they do not move.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="adamDebias">Whether the first moment's start at 0 is left uncorrected in the rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class PytorchOptimizerRAdam(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double nSmaThreshold = 5,
    bool degeneratedToSgd = false,
    double eps = 1e-8,
    bool adamDebias = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("pytorch_optimizer.RAdam"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("n_sma_threshold", nSmaThreshold),
        ("degenerated_to_sgd", degeneratedToSgd),
        ("eps", eps),
        ("adam_debias", adamDebias),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam whose two moments are weighted means of the gradient and of its averages.</summary>
/// <remarks>
/// Ma, Yarats 2018, arXiv:1810.06801.
/// Published as pytorch_optimizer.QHAdam.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="nus">How much the averages count against gradient and square: in [0, 1]; in [0, 1]; (1, 1) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class QHAdam(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    (double, double)? nus = null,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    double eps = 1e-8,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("QHAdam"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("nus", nus ?? (1, 1)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>RAdam with Lookahead and gradients from which the mean of each row is taken off.</summary>
/// <remarks>
/// Wright 2019, github.com/lessw2020/Ranger-Deep-Learning-Optimizer.
/// Published as pytorch_optimizer.Ranger.
/// Differs from the paper: nothing but the decay moves until the second moment is of enough steps, unless degenerated_to_sgd asks for momentum; the package climbs along the gradient there.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.95, 0.999) when null.</param>
/// <param name="alpha">How far the slow weights move: in [0, 1].</param>
/// <param name="k">How many steps, or iterations, between: a whole number at least 1.</param>
/// <param name="nSmaThreshold">From which length of the average on the rate is rectified: above 4.</param>
/// <param name="degeneratedToSgd">Whether steps before that move by the momentum; otherwise they do not move.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="useGc">Whether gradients of two or more dimensions are centred by rows first.</param>
/// <param name="gcConvOnly">Whether only gradients of four or more dimensions are centred.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Ranger(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double alpha = 0.5,
    int k = 6,
    double nSmaThreshold = 5,
    bool degeneratedToSgd = false,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool useGc = true,
    bool gcConvOnly = false,
    double eps = 1e-5,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("Ranger"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.95, 0.999)),
        ("alpha", alpha),
        ("k", k),
        ("n_sma_threshold", nSmaThreshold),
        ("degenerated_to_sgd", degeneratedToSgd),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("use_gc", useGc),
        ("gc_conv_only", gcConvOnly),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>AdamW with everything: clipping by rows, centred gradients, positive and negative momentum, a softened divisor, norms of rows that are held, lookahead, warm-up and warm-down.</summary>
/// <remarks>
/// Wright, Demeure 2021, arXiv:2106.13731.
/// Published as pytorch_optimizer.Ranger21.
/// Differs from the paper: The sum of second moments over all parameters begins at 1, and gradients are centred and scaled twice. weight_decouple False is L2, where the package forgets it, and the warm-down begins at the group's own rate..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="numIterations">How many steps the training has, for the rate's schedule: a whole number at least 1.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="beta0">By how much the newer of two momenta counts more than 1, and the older less than 0: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="useSoftplus">Whether divisors go through a softplus.</param>
/// <param name="betaSoftplus">How sharp the softplus is: above 0.</param>
/// <param name="disableLrScheduler">Whether the rule has no schedule of its own.</param>
/// <param name="numWarmUpIterations">How many steps the warm-up has: None or at least 0.</param>
/// <param name="numWarmDownIterations">How many steps the warm-down has: None or at least 0.</param>
/// <param name="warmDownMinLr">The rate at the end: at least 0.</param>
/// <param name="agcClippingValue">The largest norm of a gradient's rows over that of the parameter's: above 0.</param>
/// <param name="agcEps">The least norm that a row counts as: above 0.</param>
/// <param name="centralizeGradients">Whether gradients are centred by rows.</param>
/// <param name="normalizeGradients">Whether gradients are divided by their deviation.</param>
/// <param name="lookaheadMergeTime">After how many steps the slow weights move: a whole number at least 1.</param>
/// <param name="lookaheadBlendingAlpha">How far the weights keep to the fast ones: in [0, 1].</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="normLossFactor">How strongly rows are drawn to norm 1: at least 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Ranger21(
    IEnumerable<IParameterOrGroup> parameters,
    int numIterations = 10000,
    double lr = 1e-3,
    double beta0 = 0.9,
    (double, double)? betas = null,
    bool useSoftplus = true,
    double betaSoftplus = 50,
    bool disableLrScheduler = false,
    double? numWarmUpIterations = null,
    double? numWarmDownIterations = null,
    double warmDownMinLr = 3e-5,
    double agcClippingValue = 0.01,
    double agcEps = 1e-3,
    bool centralizeGradients = true,
    bool normalizeGradients = true,
    int lookaheadMergeTime = 5,
    double lookaheadBlendingAlpha = 0.5,
    double weightDecay = 1e-4,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double normLossFactor = 1e-4,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("Ranger21"),
        parameters,
        ("num_iterations", numIterations),
        ("lr", lr),
        ("beta0", beta0),
        ("betas", betas ?? (0.9, 0.999)),
        ("use_softplus", useSoftplus),
        ("beta_softplus", betaSoftplus),
        ("disable_lr_scheduler", disableLrScheduler),
        ("num_warm_up_iterations", numWarmUpIterations),
        ("num_warm_down_iterations", numWarmDownIterations),
        ("warm_down_min_lr", warmDownMinLr),
        ("agc_clipping_value", agcClippingValue),
        ("agc_eps", agcEps),
        ("centralize_gradients", centralizeGradients),
        ("normalize_gradients", normalizeGradients),
        ("lookahead_merge_time", lookaheadMergeTime),
        ("lookahead_blending_alpha", lookaheadBlendingAlpha),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("norm_loss_factor", normLossFactor),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Adam with one long momentum, and the gradient beside it.</summary>
/// <remarks>
/// Morwani et al. 2025, arXiv:2502.02431.
/// Published as pytorch_optimizer.SimplifiedAdEMAMix.
/// Differs from the paper: the momentum takes in 1 - beta1 of the gradient; the second moment is corrected as the authors do, where the package corrects the other way round: its first step is twenty times too long.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.99, 0.95) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="alpha">How much the second part of an update counts: at least 0.</param>
/// <param name="beta1Warmup">Over how many steps the first decay grows; at once without a value: None or above 0.</param>
/// <param name="minBeta1">The first decay at the start: in [0, 1).</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class SimplifiedAdEMAMix(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-4,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double alpha = 0,
    double? beta1Warmup = null,
    double minBeta1 = 0.9,
    double eps = 1e-8,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("SimplifiedAdEMAMix"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.99, 0.95)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("alpha", alpha),
        ("beta1_warmup", beta1Warmup),
        ("min_beta1", minBeta1),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam that clips spikes of gradients and begins its moments anew from time to time, with a warm-up after that.</summary>
/// <remarks>
/// Huang et al. 2025, arXiv:2501.06842.
/// Published as pytorch_optimizer.SPAM.
/// Differs from the paper: density is left out: all elements are stepped; the correction goes on when the moments begin anew.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="warmupEpoch">How many steps the warm-up after a reset has: a whole number at least 0.</param>
/// <param name="threshold">From which multiple of the second moment on a square is a spike: at least 0.</param>
/// <param name="gradAccuSteps">How many steps after a reset spikes are left alone: a whole number at least 0.</param>
/// <param name="updateProjGap">After how many steps the projection is made anew: a whole number at least 1.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class SPAM(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    int warmupEpoch = 50,
    double threshold = 5000,
    int gradAccuSteps = 20,
    int updateProjGap = 500,
    double eps = 1e-6,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("SPAM"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("warmup_epoch", warmupEpoch),
        ("threshold", threshold),
        ("grad_accu_steps", gradAccuSteps),
        ("update_proj_gap", updateProjGap),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>AdamW whose rate is less for tensors whose gradients exceed their second moment.</summary>
/// <remarks>
/// Wortsman et al. 2023, arXiv:2304.13013.
/// Published as pytorch_optimizer.StableAdamW.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.99) when null.</param>
/// <param name="kahanSum">Whether what rounding takes from parameters of half types is kept and added later.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class StableAdamW(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    bool kahanSum = true,
    double weightDecay = 0.01,
    bool weightDecouple = true,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("StableAdamW"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.99)),
        ("kahan_sum", kahanSum),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Adam by gradients held to averages of their largest element and of their norm, with moments that begin anew from time to time.</summary>
/// <remarks>
/// Huang et al. 2025, arXiv:2502.17055.
/// Published as pytorch_optimizer.StableSPAM.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="gamma1">Decay of the average of norms: in [0, 1).</param>
/// <param name="gamma2">Decay of the average of squared norms: in [0, 1).</param>
/// <param name="theta">Decay of the largest element: in [0, 1).</param>
/// <param name="tMax">After how many steps the decays stay; none without a value: None or at least 1.</param>
/// <param name="etaMin">What the decays' factor ends at: in [0, 1].</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="updateProjGap">After how many steps the projection is made anew: a whole number at least 1.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class StableSPAM(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double gamma1 = 0.7,
    double gamma2 = 0.9,
    double theta = 0.999,
    double? tMax = null,
    double etaMin = 0.5,
    double weightDecay = 0,
    int updateProjGap = 1000,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("StableSPAM"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("gamma1", gamma1),
        ("gamma2", gamma2),
        ("theta", theta),
        ("t_max", tMax),
        ("eta_min", etaMin),
        ("weight_decay", weightDecay),
        ("update_proj_gap", updateProjGap),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Adam that goes over to SGD when the rate at which SGD would have made its steps has settled.</summary>
/// <remarks>
/// Keskar, Socher 2017, arXiv:1712.07628.
/// Published as pytorch_optimizer.SWATS.
/// Differs from the paper: nesterov looks ahead by the momentum, where the package leaves the factor 1 - beta1 out.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="amsBound">Whether the largest second moment so far divides, as in AMSGrad.</param>
/// <param name="nesterov">Whether the momentum looks a step ahead, as Nesterov's.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class SWATS(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    bool amsBound = false,
    bool nesterov = false,
    double eps = 1e-6,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("SWATS"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("ams_bound", amsBound),
        ("nesterov", nesterov),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>AdaBelief by timm's options.</summary>
/// <remarks>
/// Zhuang et al. 2020, arXiv:2010.07468.
/// Published as timm.adabelief, timm.radabelief.
/// Differs from the paper: amsgrad acts with rectify, too, where the package forgets it.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="decoupledDecay">Whether decay shrinks the parameter; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="amsgrad">Whether the largest second moment so far divides.</param>
/// <param name="rectify">Whether the rate is rectified by its variance, as in RAdam.</param>
/// <param name="degeneratedToSgd">Whether steps before that move by the momentum; otherwise they do not move.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmAdabelief(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double eps = 1e-16,
    double weightDecay = 0,
    bool decoupledDecay = true,
    bool fixedDecay = false,
    bool amsgrad = false,
    bool rectify = false,
    bool degeneratedToSgd = true,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("timm.adabelief"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("eps", eps),
        ("weight_decay", weightDecay),
        ("decoupled_decay", decoupledDecay),
        ("fixed_decay", fixedDecay),
        ("amsgrad", amsgrad),
        ("rectify", rectify),
        ("degenerated_to_sgd", degeneratedToSgd),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>AdamP with caution, by timm's defaults.</summary>
/// <remarks>
/// Heo et al. 2020, arXiv:2006.08217.
/// Published as timm.adamp, timm.cadamp.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="delta">Up to which cosine a gradient counts as orthogonal to its parameter: at least 0.</param>
/// <param name="wdRatio">By what weight decay is multiplied where an update was projected: at least 0.</param>
/// <param name="nesterov">Whether the momentum looks a step ahead, as Nesterov's.</param>
/// <param name="caution">Whether elements that would move along their gradient stay, and others move by as much more.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmAdamp(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double eps = 1e-8,
    double weightDecay = 0,
    double delta = 0.1,
    double wdRatio = 0.01,
    bool nesterov = true,
    bool caution = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("timm.adamp"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("eps", eps),
        ("weight_decay", weightDecay),
        ("delta", delta),
        ("wd_ratio", wdRatio),
        ("nesterov", nesterov),
        ("caution", caution),
        ("maximize", maximize)
    );

/// <summary>AdamW with caution, corrected weight decay and clipping by the second moment.</summary>
/// <remarks>
/// Loshchilov, Hutter 2017, arXiv:1711.05101.
/// Published as timm.adamwlegacy, timm.adamc, timm.cadamw.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="correctedWeightDecay">Whether decay is by the square of the rate over the largest rate.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="amsgrad">Whether the largest second moment so far divides.</param>
/// <param name="caution">Whether elements that would move along their gradient stay, and others move by as much more.</param>
/// <param name="clippingThreshold">From which root mean square on an update is scaled down; none without a value: None or above 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmAdamwlegacy(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double eps = 1e-8,
    bool correctedWeightDecay = false,
    double weightDecay = 0,
    bool amsgrad = false,
    bool caution = false,
    double? clippingThreshold = null,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("timm.adamwlegacy"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("eps", eps),
        ("corrected_weight_decay", correctedWeightDecay),
        ("weight_decay", weightDecay),
        ("amsgrad", amsgrad),
        ("caution", caution),
        ("clipping_threshold", clippingThreshold),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adan with caution, by timm's options.</summary>
/// <remarks>
/// Xie, Zhou, Li, Lin, Yan 2022, arXiv:2208.06677.
/// Published as timm.adan, timm.adanw, timm.cadan, timm.cadanw.
/// Differs from the paper: averages are corrected for their start at 0; caution leaves the average of differences as it is.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients, of their changes and of the squares: in [0, 1); (0.98, 0.92, 0.99) when null.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="noProx">Whether decay comes before the update; otherwise after it.</param>
/// <param name="caution">Whether elements that would move along their gradient stay, and others move by as much more.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmAdan(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double, double)? betas = null,
    double eps = 1e-8,
    double weightDecay = 0,
    bool noProx = false,
    bool caution = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("timm.adan"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.98, 0.92, 0.99)),
        ("eps", eps),
        ("weight_decay", weightDecay),
        ("no_prox", noProx),
        ("caution", caution),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>ADOPT with caution, by timm's options.</summary>
/// <remarks>
/// Taniguchi et al. 2024, arXiv:2411.02853.
/// Published as timm.adopt, timm.adoptw, timm.cadopt, timm.cadoptw, timm.adoptc.
/// Differs from the paper: steps are clipped by the power 0.333, where the authors have 0.25.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.9999) when null.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="clipExp">By which power of the step updates are limited; none without a value: None or at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="correctedWeightDecay">Whether decay is by the square of the rate over the largest rate.</param>
/// <param name="decoupled">Whether decay shrinks the parameter; otherwise it is added to the gradient.</param>
/// <param name="caution">Whether elements that would move along their gradient stay, and others move by as much more.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmAdopt(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double eps = 1e-6,
    double? clipExp = 0.333,
    double weightDecay = 0,
    bool correctedWeightDecay = false,
    bool decoupled = false,
    bool caution = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("timm.adopt"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.9999)),
        ("eps", eps),
        ("clip_exp", clipExp),
        ("weight_decay", weightDecay),
        ("corrected_weight_decay", correctedWeightDecay),
        ("decoupled", decoupled),
        ("caution", caution),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>LaProp with caution and corrected weight decay.</summary>
/// <remarks>
/// Ziyin, Wang, Ueda 2020, arXiv:2002.04839.
/// Published as timm.laprop, timm.claprop, timm.lapropc.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="correctedWeightDecay">Whether decay is by the square of the rate over the largest rate.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="caution">Whether elements that would move along their gradient stay, and others move by as much more.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmLaprop(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 4e-4,
    (double, double)? betas = null,
    double eps = 1e-15,
    bool correctedWeightDecay = false,
    double weightDecay = 0,
    bool caution = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("timm.laprop"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("eps", eps),
        ("corrected_weight_decay", correctedWeightDecay),
        ("weight_decay", weightDecay),
        ("caution", caution),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>MADGRAD by timm's options.</summary>
/// <remarks>
/// Defazio, Jelassi 2021, arXiv:2101.11075.
/// Published as timm.madgrad, timm.madgradw.
/// Differs from the paper: eps is added to lr, too; with momentum, decoupled decay does not reach the point that the parameter moves to.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="decoupledDecay">Whether decay shrinks the parameter; otherwise it is added to the gradient.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmMadgrad(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.01,
    double momentum = 0.9,
    double weightDecay = 0,
    bool decoupledDecay = false,
    double eps = 1e-6,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("timm.madgrad"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("weight_decay", weightDecay),
        ("decoupled_decay", decoupledDecay),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>MARS with caution, by timm's options.</summary>
/// <remarks>
/// Yuan et al. 2024, arXiv:2411.10438.
/// Published as timm.mars, timm.cmars.
/// Differs from the paper: the first step has no term of change; with mars_type lion caution leaves zeros alone, as signs follow it.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.99) when null.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="gamma">How much the second part of an update counts: at least 0.</param>
/// <param name="marsType">The rule that the corrected gradient goes to: one of 'adamw', 'lion'.</param>
/// <param name="optimize1d">Whether vectors are stepped like matrices.</param>
/// <param name="lr1dFactor">What lr is multiplied by for vectors: at least 0.</param>
/// <param name="betas1d">Decays of the averages of vectors: in [0, 1); in [0, 1); (0.9, 0.99) when null.</param>
/// <param name="caution">Whether elements that would move along their gradient stay, and others move by as much more.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmMars(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 3e-3,
    (double, double)? betas = null,
    double eps = 1e-8,
    double weightDecay = 0,
    double gamma = 0.025,
    string marsType = "adamw",
    bool optimize1d = false,
    double lr1dFactor = 1,
    (double, double)? betas1d = null,
    bool caution = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("timm.mars"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.99)),
        ("eps", eps),
        ("weight_decay", weightDecay),
        ("gamma", gamma),
        ("mars_type", marsType),
        ("optimize_1d", optimize1d),
        ("lr_1d_factor", lr1dFactor),
        ("betas_1d", betas1d ?? (0.9, 0.99)),
        ("caution", caution),
        ("maximize", maximize)
    );

/// <summary>torch.optim's NAdam by timm's names.</summary>
/// <remarks>
/// Dozat 2015, Stanford CS229.
/// Published as timm.nadamlegacy.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="scheduleDecay">How fast the momentum grows: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmNadamlegacy(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 2e-3,
    (double, double)? betas = null,
    double eps = 1e-8,
    double weightDecay = 0,
    double scheduleDecay = 4e-3,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("timm.nadamlegacy"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("eps", eps),
        ("weight_decay", weightDecay),
        ("schedule_decay", scheduleDecay),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>AdamW that steps by the momentum of the next step.</summary>
/// <remarks>
/// Choi et al. 2019, arXiv:1910.05446.
/// Published as timm.nadamw, timm.cnadamw, timm.nadamc.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="correctedWeightDecay">Whether decay is by the square of the rate over the largest rate.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="caution">Whether elements that would move along their gradient stay, and others move by as much more.</param>
/// <param name="clippingThreshold">From which root mean square on an update is scaled down; none without a value: None or above 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmNadamw(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double eps = 1e-8,
    bool correctedWeightDecay = false,
    double weightDecay = 0,
    bool caution = false,
    double? clippingThreshold = null,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("timm.nadamw"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("eps", eps),
        ("corrected_weight_decay", correctedWeightDecay),
        ("weight_decay", weightDecay),
        ("caution", caution),
        ("clipping_threshold", clippingThreshold),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>NovoGrad by timm's options.</summary>
/// <remarks>
/// Ginsburg et al. 2019, arXiv:1905.11286.
/// Published as timm.novograd, timm.novogradw.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.95, 0.98) when null.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="gradAveraging">Whether the newest gradient counts by 1 minus the decay.</param>
/// <param name="amsgrad">Whether the largest second moment so far divides.</param>
/// <param name="decoupledDecay">Whether decay shrinks the parameter; otherwise it is added to the gradient.</param>
/// <param name="correctedWeightDecay">Whether decay is by the square of the rate over the largest rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmNovograd(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double eps = 1e-8,
    double weightDecay = 0,
    bool gradAveraging = false,
    bool amsgrad = false,
    bool decoupledDecay = false,
    bool correctedWeightDecay = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("timm.novograd"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.95, 0.98)),
        ("eps", eps),
        ("weight_decay", weightDecay),
        ("grad_averaging", gradAveraging),
        ("amsgrad", amsgrad),
        ("decoupled_decay", decoupledDecay),
        ("corrected_weight_decay", correctedWeightDecay),
        ("maximize", maximize)
    );

/// <summary>torch.optim's RAdam with decoupled weight decay.</summary>
/// <remarks>
/// Liu et al. 2019, arXiv:1908.03265.
/// Published as timm.radamw.
/// Differs from the paper: the threshold is 5, where the paper has 4.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="decoupledWeightDecay">Whether decay is free of the size of the first lr.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmRadamw(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double eps = 1e-8,
    double weightDecay = 0,
    bool decoupledWeightDecay = true,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("timm.radamw"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("eps", eps),
        ("weight_decay", weightDecay),
        ("decoupled_weight_decay", decoupledWeightDecay),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>RMSprop with eps inside the root, a second moment that starts at 1 and the rate inside the momentum.</summary>
/// <remarks>
/// Hinton 2012, Coursera lecture 6, as in TensorFlow.
/// Published as timm.rmsproptf, timm.rmsproptfw, timm.crmsproptf.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="alpha">How much the second part of an update counts: in [0, 1).</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="centered">Whether the mean's square is taken off the second moment.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="correctedWeightDecay">Whether decay is by the square of the rate over the largest rate.</param>
/// <param name="decoupledDecay">Whether decay shrinks the parameter; otherwise it is added to the gradient.</param>
/// <param name="lrInMomentum">Whether lr is in the momentum; otherwise it multiplies after it.</param>
/// <param name="caution">Whether elements that would move along their gradient stay, and others move by as much more.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmRmsproptf(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.01,
    double alpha = 0.9,
    double eps = 1e-10,
    double momentum = 0.9,
    bool centered = false,
    double weightDecay = 0,
    bool correctedWeightDecay = false,
    bool decoupledDecay = false,
    bool lrInMomentum = true,
    bool caution = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("timm.rmsproptf"),
        parameters,
        ("lr", lr),
        ("alpha", alpha),
        ("eps", eps),
        ("momentum", momentum),
        ("centered", centered),
        ("weight_decay", weightDecay),
        ("corrected_weight_decay", correctedWeightDecay),
        ("decoupled_decay", decoupledDecay),
        ("lr_in_momentum", lrInMomentum),
        ("caution", caution),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>The gradient as the mean of a distribution that each noisy one is a sample of.</summary>
/// <remarks>
/// Chen et al. 2024, OpenReview xu4ATNjcdy.
/// Published as pytorch_optimizer.VSGD.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="ghattg">The ratio of the gradient's variance to the noise's at the start: above 0.</param>
/// <param name="ps">Strength of the prior: above 0.</param>
/// <param name="tau1">How fast the first remembered share shrinks: at least 0.</param>
/// <param name="tau2">How fast the second remembered share shrinks: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class VSGD(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.1,
    double ghattg = 30,
    double ps = 1e-8,
    double tau1 = 0.81,
    double tau2 = 0.9,
    double weightDecay = 0,
    bool weightDecouple = true,
    double eps = 1e-8,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("VSGD"),
        parameters,
        ("lr", lr),
        ("ghattg", ghattg),
        ("ps", ps),
        ("tau1", tau1),
        ("tau2", tau2),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Adam whose second moment moves by the gradient's square alone, so that it falls no faster than it grows.</summary>
/// <remarks>
/// Zaheer et al. 2018, NeurIPS.
/// Published as pytorch_optimizer.Yogi.
/// Differs from the paper: both moments start at initial_accumulator, and are corrected as if they had started at 0.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="initialAccumulator">What moments begin at: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="adamDebias">Whether the first moment's start at 0 is left uncorrected in the rate.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Yogi(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.01,
    (double, double)? betas = null,
    double initialAccumulator = 1e-6,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double eps = 1e-3,
    bool adamDebias = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("Yogi"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("initial_accumulator", initialAccumulator),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("eps", eps),
        ("adam_debias", adamDebias),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );
