// Long, because it is written from the table of the catalogue (properties/Catalogue/Written.fs), a class for each rule: change the table, and have
// it written anew (WrittenTests.fs says how).

using Optim.Core;

namespace Optim;

/// <summary>ScheduleFreeAdamW as in its authors' package.</summary>
/// <remarks>
/// Defazio et al. 2024, arXiv:2405.15682.
/// Published as schedulefree.AdamWScheduleFree.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in (0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="r">Decay of the average of norms: a number.</param>
/// <param name="weightLrPower">By which power of the largest rate a step counts in the average: a number.</param>
/// <param name="warmupSteps">How many steps the rate, or its bound, takes to its full size: a whole number at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class SchedulefreeAdamWScheduleFree(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 2.5e-3,
    (double, double)? betas = null,
    double eps = 1e-8,
    double weightDecay = 0,
    double r = 0,
    double weightLrPower = 2,
    int warmupSteps = 0,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("schedulefree.AdamWScheduleFree"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("eps", eps),
        ("weight_decay", weightDecay),
        ("r", r),
        ("weight_lr_power", weightLrPower),
        ("warmup_steps", warmupSteps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>AdamW at the average of all its steps, in place of a schedule.</summary>
/// <remarks>
/// Defazio et al. 2024, arXiv:2405.15682.
/// Published as pytorch_optimizer.ScheduleFreeAdamW.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in (0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="r">Decay of the average of norms: a number.</param>
/// <param name="weightLrPower">By which power of the largest rate a step counts in the average: a number.</param>
/// <param name="warmupSteps">How many steps the rate, or its bound, takes to its full size: a whole number at least 0.</param>
/// <param name="decouplingC">By which power of the step averages are decoupled from the momentum; 0 for not: at least 0.</param>
/// <param name="amsBound">Whether the largest second moment so far divides, as in AMSGrad.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class ScheduleFreeAdamW(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 2.5e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    double r = 0,
    double weightLrPower = 2,
    int warmupSteps = 0,
    double decouplingC = 0,
    bool amsBound = false,
    double eps = 1e-8,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("ScheduleFreeAdamW"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("r", r),
        ("weight_lr_power", weightLrPower),
        ("warmup_steps", warmupSteps),
        ("decoupling_c", decouplingC),
        ("ams_bound", amsBound),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>RAdam at the average of all its steps, in place of a schedule and of a warm-up.</summary>
/// <remarks>
/// Defazio et al. 2024, arXiv:2405.15682.
/// Published as pytorch_optimizer.ScheduleFreeRAdam, schedulefree.RAdamScheduleFree.
/// Differs from the paper: steps before the rectification, which silent_sgd_phase False lets be taken, have the rate lr, where pytorch_optimizer has 1.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in (0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="r">Decay of the average of norms: a number.</param>
/// <param name="weightLrPower">By which power of the largest rate a step counts in the average: a number.</param>
/// <param name="silentSgdPhase">Whether parameters stay while the rate is not rectified.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class ScheduleFreeRAdam(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 2.5e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    double r = 0,
    double weightLrPower = 2,
    bool silentSgdPhase = true,
    double eps = 1e-8,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("ScheduleFreeRAdam"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("r", r),
        ("weight_lr_power", weightLrPower),
        ("silent_sgd_phase", silentSgdPhase),
        ("eps", eps),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>SGD with momentum at the average of all its steps, in place of a schedule.</summary>
/// <remarks>
/// Defazio et al. 2024, arXiv:2405.15682.
/// Published as pytorch_optimizer.ScheduleFreeSGD, schedulefree.SGDScheduleFree.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in (0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="r">Decay of the average of norms: a number.</param>
/// <param name="weightLrPower">By which power of the largest rate a step counts in the average: a number.</param>
/// <param name="warmupSteps">How many steps the rate, or its bound, takes to its full size: a whole number at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class ScheduleFreeSGD(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    double momentum = 0.9,
    double weightDecay = 0,
    double r = 0,
    double weightLrPower = 2,
    int warmupSteps = 0,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("ScheduleFreeSGD"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("weight_decay", weightDecay),
        ("r", r),
        ("weight_lr_power", weightLrPower),
        ("warmup_steps", warmupSteps),
        ("maximize", maximize)
    );
