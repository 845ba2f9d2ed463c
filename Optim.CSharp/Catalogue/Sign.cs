// Long, because it is written from the table of the catalogue (properties/Catalogue/Written.fs), a class for each rule: change the table, and have
// it written anew (WrittenTests.fs says how).

using Optim.Core;

namespace Optim;

/// <summary>The momentum's sign, and a smaller one towards the average of past parameters.</summary>
/// <remarks>
/// Liu, Liu, Gore 2025, arXiv:2501.12243.
/// Published as pytorch_optimizer.FOCUS.
/// Differs from the paper: decay comes before the step, and not after it.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="gamma">How strongly parameters are drawn to their average: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class FOCUS(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.01,
    (double, double)? betas = null,
    double gamma = 0.1,
    double weightDecay = 0,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("FOCUS"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("gamma", gamma),
        ("weight_decay", weightDecay),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>The sign of an average of gradients that leans to the latest one.</summary>
/// <remarks>
/// Chen et al. 2023, arXiv:2302.06675.
/// Published as pytorch_optimizer.Lion.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.99) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Lion(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-4,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("Lion"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.99)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Lion whose weight decay may be given as what it is at the first rate.</summary>
/// <remarks>
/// Chen et al. 2023, arXiv:2302.06675.
/// Published as lion_pytorch.Lion.
/// Differs from the paper: the first rate is that of the parameter's first step, where the package takes the constructor's for all groups.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.99) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="decoupledWeightDecay">Whether decay is free of the size of the first lr.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class LionPytorchLion(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-4,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool decoupledWeightDecay = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("lion_pytorch.Lion"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.99)),
        ("weight_decay", weightDecay),
        ("decoupled_weight_decay", decoupledWeightDecay),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>The sign of the gradient's average.</summary>
/// <remarks>
/// Bernstein et al. 2018, arXiv:1802.04434.
/// Published as pytorch_optimizer.SignSGD.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class SignSGD(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double momentum = 0.9,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("SignSGD"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>The sign of the gradient's average: Lion of one beta.</summary>
/// <remarks>
/// Su 2023, github.com/bojone/tiger.
/// Published as pytorch_optimizer.Tiger.
/// Differs from the paper: rate and decay are the same for all kinds of parameters.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="beta">Decay of the average: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Tiger(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double beta = 0.965,
    double weightDecay = 0.01,
    bool weightDecouple = true,
    bool fixedDecay = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("Tiger"),
        parameters,
        ("lr", lr),
        ("beta", beta),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );

/// <summary>Lion with caution and corrected weight decay.</summary>
/// <remarks>
/// Chen et al. 2023, arXiv:2302.06675.
/// Published as timm.lion, timm.clion, timm.lionc.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.99) when null.</param>
/// <param name="correctedWeightDecay">Whether decay is by the square of the rate over the largest rate.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="caution">Whether elements that would move along their gradient stay, and others move by as much more.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <param name="stateStorage">How state is kept: float32 when null, <see cref="StateStorage.BFloat16"/> or <see cref="StateStorage.Blockwise8"/>.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmLion(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-4,
    (double, double)? betas = null,
    bool correctedWeightDecay = false,
    double weightDecay = 0,
    bool caution = false,
    bool maximize = false,
    StateStorage? stateStorage = null
)
    : RuleOptimizer(
        Rules.Find("timm.lion"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.99)),
        ("corrected_weight_decay", correctedWeightDecay),
        ("weight_decay", weightDecay),
        ("caution", caution),
        ("maximize", maximize),
        ("state_storage", (stateStorage ?? StateStorage.Float32).Name),
        ("state_storage_minimum", (stateStorage ?? StateStorage.Float32).Minimum),
        ("state_storage_seed", (stateStorage ?? StateStorage.Float32).Seed)
    );
