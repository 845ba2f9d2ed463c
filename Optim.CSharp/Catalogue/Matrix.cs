// Long, because it is written from the table of the catalogue (properties/Catalogue/Written.fs), a class for each rule: change the table, and have
// it written anew (WrittenTests.fs says how).

using Optim.Core;

namespace Optim;

/// <summary>Muon at a rate that falls with the squares of the gradients' norms, as AdaGrad's does.</summary>
/// <remarks>
/// Zhang, Liu, Schaeffer 2025, arXiv:2509.02981.
/// Published as pytorch_optimizer.AdaGO.
/// Differs from the paper: The step is divided by the sum of squares, in the paper by its root: steps soon sit at their floor, eps..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="gamma">The largest norm of a gradient that counts: above 0.</param>
/// <param name="eps">The least rate: at least 0.</param>
/// <param name="v">What the sum of squares begins at: above 0.</param>
/// <param name="nesterov">Whether the momentum looks a step ahead, as Nesterov's.</param>
/// <param name="nsSteps">How many iterations of Newton and Schulz: a whole number in [0, 99].</param>
/// <param name="nsCoeffs">Coefficients of the iteration, by their name: one of 'original', 'quintic'.</param>
/// <param name="useAdjustedLr">Whether the rate of a matrix is 0.2 times the root of its longer side.</param>
/// <param name="useMuon">Whether matrices are stepped as such; otherwise all parameters are stepped by AdamW.</param>
/// <param name="adamwLr">Learning rate where AdamW steps: at least 0.</param>
/// <param name="adamwBetas">Decays of the averages where AdamW steps: in [0, 1); in [0, 1); (0.9, 0.95) when null.</param>
/// <param name="adamwWd">Weight decay where AdamW steps: at least 0.</param>
/// <param name="adamwEps">What keeps AdamW's divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdaGO(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.05,
    double momentum = 0.95,
    double weightDecay = 0,
    bool weightDecouple = true,
    double gamma = 10,
    double eps = 5e-4,
    double v = 1e-6,
    bool nesterov = false,
    int nsSteps = 5,
    string nsCoeffs = "original",
    bool useAdjustedLr = false,
    bool useMuon = true,
    double adamwLr = 3e-4,
    (double, double)? adamwBetas = null,
    double adamwWd = 0,
    double adamwEps = 1e-10,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("AdaGO"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("gamma", gamma),
        ("eps", eps),
        ("v", v),
        ("nesterov", nesterov),
        ("ns_steps", nsSteps),
        ("ns_coeffs", nsCoeffs),
        ("use_adjusted_lr", useAdjustedLr),
        ("use_muon", useMuon),
        ("adamw_lr", adamwLr),
        ("adamw_betas", adamwBetas ?? (0.9, 0.95)),
        ("adamw_wd", adamwWd),
        ("adamw_eps", adamwEps),
        ("maximize", maximize)
    );

/// <summary>Muon whose elements are divided by the roots of their second moments.</summary>
/// <remarks>
/// Si, Zhang, Shen 2025, arXiv:2507.11005 (version 1).
/// Published as pytorch_optimizer.AdaMuon.
/// Differs from the paper: Later versions of the paper make the signs of the momentum orthogonal..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.95) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="nsSteps">How many iterations of Newton and Schulz: a whole number in [0, 99].</param>
/// <param name="nsCoeffs">Coefficients of the iteration, by their name: one of 'original', 'quintic'.</param>
/// <param name="useAdjustedLr">Whether the rate of a matrix is 0.2 times the root of its longer side.</param>
/// <param name="useMuon">Whether matrices are stepped as such; otherwise all parameters are stepped by AdamW.</param>
/// <param name="adamwLr">Learning rate where AdamW steps: at least 0.</param>
/// <param name="adamwBetas">Decays of the averages where AdamW steps: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="adamwWd">Weight decay where AdamW steps: at least 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class AdaMuon(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.02,
    (double, double)? betas = null,
    double weightDecay = 0,
    bool weightDecouple = true,
    int nsSteps = 5,
    string nsCoeffs = "original",
    bool useAdjustedLr = true,
    bool useMuon = true,
    double adamwLr = 3e-4,
    (double, double)? adamwBetas = null,
    double adamwWd = 0,
    double eps = 1e-10,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("AdaMuon"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.95)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("ns_steps", nsSteps),
        ("ns_coeffs", nsCoeffs),
        ("use_adjusted_lr", useAdjustedLr),
        ("use_muon", useMuon),
        ("adamw_lr", adamwLr),
        ("adamw_betas", adamwBetas ?? (0.9, 0.999)),
        ("adamw_wd", adamwWd),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Adam whose second moment is of the gradient in the singular vectors of the momentum.</summary>
/// <remarks>
/// Wang et al. 2025, arXiv:2509.24218.
/// Published as pytorch_optimizer.Conda.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="updateProjGap">After how many steps the projection is made anew: a whole number at least 1.</param>
/// <param name="scale">What an update is multiplied by: at least 0.</param>
/// <param name="projectionType">Which side of a matrix is projected: one of 'std', 'reverse_std', 'left', 'right', 'full'.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Conda(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    (double, double)? betas = null,
    double weightDecay = 0,
    int updateProjGap = 2000,
    double scale = 1,
    string projectionType = "std",
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("Conda"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("update_proj_gap", updateProjGap),
        ("scale", scale),
        ("projection_type", projectionType),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Muon whose rows are divided by the roots of their own second moments.</summary>
/// <remarks>
/// Li et al. 2025, arXiv:2510.05491.
/// Published as pytorch_optimizer.NorMuon.
/// Differs from the paper: update_scale match_rms is the paper's algorithm; preserve_norm, the default, is that of the authors' code..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="beta2">Decay of the second moment: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="nesterov">Whether the momentum looks a step ahead, as Nesterov's.</param>
/// <param name="nsSteps">How many iterations of Newton and Schulz: a whole number in [0, 99].</param>
/// <param name="nsCoeffs">Coefficients of the iteration, by their name: one of 'original', 'quintic'.</param>
/// <param name="updateScale">What length an update has: the direction's own, or a root mean square of 0.2: one of 'preserve_norm', 'match_rms'.</param>
/// <param name="useAdjustedLr">Whether the rate of a matrix is 0.2 times the root of its longer side.</param>
/// <param name="useMuon">Whether matrices are stepped as such; otherwise all parameters are stepped by AdamW.</param>
/// <param name="adamwLr">Learning rate where AdamW steps: at least 0.</param>
/// <param name="adamwBetas">Decays of the averages where AdamW steps: in [0, 1); in [0, 1); (0.9, 0.95) when null.</param>
/// <param name="adamwWd">Weight decay where AdamW steps: at least 0.</param>
/// <param name="adamwEps">What keeps AdamW's divisor from 0: at least 0.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class NorMuon(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.02,
    double momentum = 0.95,
    double beta2 = 0.95,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool nesterov = true,
    int nsSteps = 5,
    string nsCoeffs = "original",
    string updateScale = "preserve_norm",
    bool useAdjustedLr = false,
    bool useMuon = true,
    double adamwLr = 3e-4,
    (double, double)? adamwBetas = null,
    double adamwWd = 0,
    double adamwEps = 1e-10,
    double eps = 1e-10,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("NorMuon"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("beta2", beta2),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("nesterov", nesterov),
        ("ns_steps", nsSteps),
        ("ns_coeffs", nsCoeffs),
        ("update_scale", updateScale),
        ("use_adjusted_lr", useAdjustedLr),
        ("use_muon", useMuon),
        ("adamw_lr", adamwLr),
        ("adamw_betas", adamwBetas ?? (0.9, 0.95)),
        ("adamw_wd", adamwWd),
        ("adamw_eps", adamwEps),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Muon as optax has it: corrected momentum, in the parameter's own type, for matrices of inputs by outputs; AdamW for all others.</summary>
/// <remarks>
/// Jordan et al. 2024, kellerjordan.github.io/posts/muon.
/// Published as optax.muon.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="nsSteps">How many iterations of Newton and Schulz: a whole number in [0, 99].</param>
/// <param name="beta">Decay of the average: in [0, 1).</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="nesterov">Whether the momentum looks a step ahead, as Nesterov's.</param>
/// <param name="adamB1">Decay of the average of gradients where Adam steps: in [0, 1).</param>
/// <param name="adamB2">Decay of the average of squares where Adam steps: in [0, 1).</param>
/// <param name="adamWeightDecay">Weight decay where Adam steps: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class OptaxMuon(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    int nsSteps = 5,
    double beta = 0.95,
    double eps = 1e-8,
    double weightDecay = 0,
    bool nesterov = true,
    double adamB1 = 0.9,
    double adamB2 = 0.999,
    double adamWeightDecay = 0,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("optax.muon"),
        parameters,
        ("lr", lr),
        ("ns_steps", nsSteps),
        ("beta", beta),
        ("eps", eps),
        ("weight_decay", weightDecay),
        ("nesterov", nesterov),
        ("adam_b1", adamB1),
        ("adam_b2", adamB2),
        ("adam_weight_decay", adamWeightDecay),
        ("maximize", maximize)
    );

/// <summary>Momentum made orthogonal, with AdamW for what is no matrix, and for groups that say so.</summary>
/// <remarks>
/// Jordan et al. 2024, kellerjordan.github.io/posts/muon.
/// Published as pytorch_optimizer.Muon.
/// Differs from the paper: The momentum is an average, and not a sum, which makes no difference but to Nesterov's..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="nesterov">Whether the momentum looks a step ahead, as Nesterov's.</param>
/// <param name="nsSteps">How many iterations of Newton and Schulz: a whole number in [0, 99].</param>
/// <param name="nsCoeffs">Coefficients of the iteration, by their name: one of 'original', 'quintic'.</param>
/// <param name="useAdjustedLr">Whether the rate of a matrix is 0.2 times the root of its longer side.</param>
/// <param name="useMuon">Whether matrices are stepped as such; otherwise all parameters are stepped by AdamW.</param>
/// <param name="adamwLr">Learning rate where AdamW steps: at least 0.</param>
/// <param name="adamwBetas">Decays of the averages where AdamW steps: in [0, 1); in [0, 1); (0.9, 0.95) when null.</param>
/// <param name="adamwWd">Weight decay where AdamW steps: at least 0.</param>
/// <param name="adamwEps">What keeps AdamW's divisor from 0: at least 0.</param>
/// <param name="cautious">Whether elements that would move along their gradient stay.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class PytorchOptimizerMuon(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.02,
    double momentum = 0.95,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool nesterov = true,
    int nsSteps = 5,
    string nsCoeffs = "original",
    bool useAdjustedLr = false,
    bool useMuon = true,
    double adamwLr = 3e-4,
    (double, double)? adamwBetas = null,
    double adamwWd = 0,
    double adamwEps = 1e-10,
    bool cautious = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("pytorch_optimizer.Muon"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("nesterov", nesterov),
        ("ns_steps", nsSteps),
        ("ns_coeffs", nsCoeffs),
        ("use_adjusted_lr", useAdjustedLr),
        ("use_muon", useMuon),
        ("adamw_lr", adamwLr),
        ("adamw_betas", adamwBetas ?? (0.9, 0.95)),
        ("adamw_wd", adamwWd),
        ("adamw_eps", adamwEps),
        ("cautious", cautious),
        ("maximize", maximize)
    );

/// <summary>Momentum by the linear minimization oracle of a norm: orthogonal for matrices, of root mean square 1 for vectors.</summary>
/// <remarks>
/// Pethick et al. 2025, arXiv:2502.07529.
/// Published as pytorch_optimizer.SCION.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in (0, 1].</param>
/// <param name="constraint">Whether parameters stay in a ball around 0 (Frank and Wolfe).</param>
/// <param name="scale">What an update is multiplied by: at least 0.</param>
/// <param name="normType">Which norm's direction: 0 none, 1 by the shape, 2 spectral, 3 of convolutions, 4 sign, 5 of biases, 6 columns, 7 rows: a whole number in [0, 7].</param>
/// <param name="normalize">Whether steps of matrices are in proportion to the root of rows over columns, and signs over columns.</param>
/// <param name="normalized">Whether norms of rows or columns are divided by the root of a length; by the norm's own custom without a value: one of 'None', 'true', 'false'.</param>
/// <param name="maxScale">Whether the spectral factor is at least 1.</param>
/// <param name="transpose">Whether rows and columns are exchanged.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class SCION(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double momentum = 0.1,
    bool constraint = false,
    double scale = 1,
    int normType = 1,
    bool normalize = true,
    string normalized = "None",
    bool maxScale = false,
    bool transpose = false,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("SCION"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("constraint", constraint),
        ("scale", scale),
        ("norm_type", normType),
        ("normalize", normalize),
        ("normalized", normalized),
        ("max_scale", maxScale),
        ("transpose", transpose),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("maximize", maximize)
    );

/// <summary>SCION without any state: the linear minimization oracle of the gradient itself.</summary>
/// <remarks>
/// Pethick et al. 2025, arXiv:2502.07529.
/// Published as pytorch_optimizer.SCIONLight.
/// Differs from the paper: The package keeps momentum in gradients that nobody may clear; gradients are not written to here..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="constraint">Whether parameters stay in a ball around 0 (Frank and Wolfe).</param>
/// <param name="scale">What an update is multiplied by: at least 0.</param>
/// <param name="normType">Which norm's direction: 0 none, 1 by the shape, 2 spectral, 3 of convolutions, 4 sign, 5 of biases, 6 columns, 7 rows: a whole number in [0, 7].</param>
/// <param name="normalize">Whether steps of matrices are in proportion to the root of rows over columns, and signs over columns.</param>
/// <param name="normalized">Whether norms of rows or columns are divided by the root of a length; by the norm's own custom without a value: one of 'None', 'true', 'false'.</param>
/// <param name="maxScale">Whether the spectral factor is at least 1.</param>
/// <param name="transpose">Whether rows and columns are exchanged.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class SCIONLight(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    bool constraint = false,
    double scale = 1,
    int normType = 1,
    bool normalize = true,
    string normalized = "None",
    bool maxScale = false,
    bool transpose = false,
    double weightDecay = 0,
    bool weightDecouple = true,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("SCIONLight"),
        parameters,
        ("lr", lr),
        ("constraint", constraint),
        ("scale", scale),
        ("norm_type", normType),
        ("normalize", normalize),
        ("normalized", normalized),
        ("max_scale", maxScale),
        ("transpose", transpose),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("maximize", maximize)
    );

/// <summary>The gradient times an inverse root of the sum of its squares as a matrix, along every dimension.</summary>
/// <remarks>
/// Gupta et al. 2018, arXiv:1802.09568.
/// Published as pytorch_optimizer.Shampoo.
/// Differs from the paper: Statistics are of the gradient with momentum and decay; the momentum is of the preconditioned gradient. Roots are taken in the first step, too, where the package stands still until preconditioning_compute_steps..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="preconditioningComputeSteps">After how many steps the roots are made anew: a whole number at least 1.</param>
/// <param name="matrixEps">What is added to the diagonals: above 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class Shampoo(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-3,
    double momentum = 0,
    double weightDecay = 0,
    bool weightDecouple = false,
    bool fixedDecay = false,
    int preconditioningComputeSteps = 1,
    double matrixEps = 1e-6,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("Shampoo"),
        parameters,
        ("lr", lr),
        ("momentum", momentum),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("preconditioning_compute_steps", preconditioningComputeSteps),
        ("matrix_eps", matrixEps),
        ("maximize", maximize)
    );

/// <summary>Adam in the eigenvectors of Shampoo's matrices, which a QR iteration keeps up with.</summary>
/// <remarks>
/// Vyas et al. 2024, arXiv:2409.11321.
/// Published as pytorch_optimizer.SOAP.
/// Differs from the paper: A parameter's own first gradient makes its bases, and moves nothing, whenever it comes..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.95, 0.95) when null.</param>
/// <param name="shampooBeta">Decay of the averages of products; the second moment's where there is none: None or in [0, 1).</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="preconditionFrequency">After how many steps the bases are made anew: a whole number at least 1.</param>
/// <param name="maxPreconditionDim">Up to which length a dimension has a basis: a whole number at least 0.</param>
/// <param name="precondition1d">Whether vectors have bases, too.</param>
/// <param name="correctBias">Whether moments are corrected for their start at 0.</param>
/// <param name="normalizeGradient">Whether updates are divided by their root mean square.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class SOAP(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 3e-3,
    (double, double)? betas = null,
    double? shampooBeta = null,
    double weightDecay = 0.01,
    int preconditionFrequency = 10,
    int maxPreconditionDim = 10000,
    bool precondition1d = false,
    bool correctBias = true,
    bool normalizeGradient = false,
    double eps = 1e-8,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("SOAP"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.95, 0.95)),
        ("shampoo_beta", shampooBeta),
        ("weight_decay", weightDecay),
        ("precondition_frequency", preconditionFrequency),
        ("max_precondition_dim", maxPreconditionDim),
        ("precondition_1d", precondition1d),
        ("correct_bias", correctBias),
        ("normalize_gradient", normalizeGradient),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>Signs of the momentum in the eigenvectors of Shampoo's matrices, with an average of the parameters.</summary>
/// <remarks>
/// Frans et al. 2025, arXiv:2506.07254.
/// Published as pytorch_optimizer.SPlus.
/// Differs from the paper: The average of the parameters is the column ema, to be divided by 1 - ema_rate^step; the package puts it in their place for evaluation..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.999) when null.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="weightDecouple">Whether decay shrinks the parameter by lr times weight_decay; otherwise it is added to the gradient.</param>
/// <param name="fixedDecay">Whether decoupled decay is by weight_decay alone, without lr.</param>
/// <param name="emaRate">Decay of the average of parameters: in [0, 1).</param>
/// <param name="inverseSteps">After how many steps the eigenvectors are made anew: a whole number at least 1.</param>
/// <param name="nonstandardConstant">What lr is multiplied by for parameters that are no matrices: at least 0.</param>
/// <param name="maxDim">From which length on a side has no eigenvectors: a whole number at least 1.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class SPlus(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.1,
    (double, double)? betas = null,
    double weightDecay = 0.01,
    bool weightDecouple = true,
    bool fixedDecay = false,
    double emaRate = 0.999,
    int inverseSteps = 100,
    double nonstandardConstant = 1e-3,
    int maxDim = 10000,
    double eps = 1e-30,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("SPlus"),
        parameters,
        ("lr", lr),
        ("betas", betas ?? (0.9, 0.999)),
        ("weight_decay", weightDecay),
        ("weight_decouple", weightDecouple),
        ("fixed_decay", fixedDecay),
        ("ema_rate", emaRate),
        ("inverse_steps", inverseSteps),
        ("nonstandard_constant", nonstandardConstant),
        ("max_dim", maxDim),
        ("eps", eps),
        ("maximize", maximize)
    );

/// <summary>AdaMuon as timm has it: second moments without correction, of a matrix whose root mean square is then 0.2.</summary>
/// <remarks>
/// Si, Zhang, Shen 2025, arXiv:2507.11005.
/// Published as timm.adamuon, timm.nadamuon.
/// Differs from the paper: Later versions of the paper make the signs of the momentum orthogonal..
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="nesterov">Whether the momentum looks a step ahead, as Nesterov's.</param>
/// <param name="nsSteps">How many iterations of Newton and Schulz: a whole number in [0, 99].</param>
/// <param name="nsCoefficients">Coefficients of the iteration, by their name: one of 'quintic', 'original'.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="safetyFactor">What a matrix's norm is multiplied by before the iteration: above 0.</param>
/// <param name="adjustLrFn">How the rate depends on a matrix's shape: one of 'match_rms_adamw', 'rms_to_rms', 'rsqrt_in', 'None'.</param>
/// <param name="fallbackLrScale">What lr is multiplied by where AdamW steps: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.95) when null.</param>
/// <param name="scaleEps">Whether eps is added to a matrix's norm, in proportion to its shape; otherwise the norm is at least eps.</param>
/// <param name="useFallback">Whether all parameters are stepped by AdamW.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmAdamuon(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.02,
    double weightDecay = 0,
    double momentum = 0.95,
    bool nesterov = false,
    int nsSteps = 5,
    string nsCoefficients = "quintic",
    double eps = 1e-7,
    double safetyFactor = 1,
    string adjustLrFn = "match_rms_adamw",
    double fallbackLrScale = 1,
    (double, double)? betas = null,
    bool scaleEps = false,
    bool useFallback = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("timm.adamuon"),
        parameters,
        ("lr", lr),
        ("weight_decay", weightDecay),
        ("momentum", momentum),
        ("nesterov", nesterov),
        ("ns_steps", nsSteps),
        ("ns_coefficients", nsCoefficients),
        ("eps", eps),
        ("safety_factor", safetyFactor),
        ("adjust_lr_fn", adjustLrFn),
        ("fallback_lr_scale", fallbackLrScale),
        ("betas", betas ?? (0.9, 0.95)),
        ("scale_eps", scaleEps),
        ("use_fallback", useFallback),
        ("maximize", maximize)
    );

/// <summary>Muon as timm has it: other coefficients, the rate of AdamW, and AdamW for what is no matrix of some size.</summary>
/// <remarks>
/// Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982.
/// Published as timm.muon, timm.nmuon.
/// </remarks>
/// <param name="parameters">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>
/// <param name="lr">Learning rate: at least 0.</param>
/// <param name="weightDecay">Weight decay: at least 0.</param>
/// <param name="momentum">Decay of the average of gradients: in [0, 1).</param>
/// <param name="nesterov">Whether the momentum looks a step ahead, as Nesterov's.</param>
/// <param name="nsSteps">How many iterations of Newton and Schulz: a whole number in [0, 99].</param>
/// <param name="nsCoefficients">Coefficients of the iteration, by their name: one of 'quintic', 'original'.</param>
/// <param name="eps">What keeps a divisor from 0: at least 0.</param>
/// <param name="safetyFactor">What a matrix's norm is multiplied by before the iteration: above 0.</param>
/// <param name="adjustLrFn">How the rate depends on a matrix's shape: one of 'match_rms_adamw', 'original', 'rms_to_rms', 'None'.</param>
/// <param name="fallbackLrScale">What lr is multiplied by where AdamW steps: at least 0.</param>
/// <param name="betas">Decays of the averages of gradients and of their squares: in [0, 1); in [0, 1); (0.9, 0.95) when null.</param>
/// <param name="scaleEps">Whether eps is added to a matrix's norm, in proportion to its shape; otherwise the norm is at least eps.</param>
/// <param name="useFallback">Whether all parameters are stepped by AdamW.</param>
/// <param name="maximize">Whether to go up the gradient.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
public sealed class TimmMuon(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 0.02,
    double weightDecay = 0,
    double momentum = 0.95,
    bool nesterov = false,
    int nsSteps = 5,
    string nsCoefficients = "quintic",
    double eps = 1e-7,
    double safetyFactor = 1,
    string adjustLrFn = "match_rms_adamw",
    double fallbackLrScale = 1,
    (double, double)? betas = null,
    bool scaleEps = false,
    bool useFallback = false,
    bool maximize = false
)
    : RuleOptimizer(
        Rules.Find("timm.muon"),
        parameters,
        ("lr", lr),
        ("weight_decay", weightDecay),
        ("momentum", momentum),
        ("nesterov", nesterov),
        ("ns_steps", nsSteps),
        ("ns_coefficients", nsCoefficients),
        ("eps", eps),
        ("safety_factor", safetyFactor),
        ("adjust_lr_fn", adjustLrFn),
        ("fallback_lr_scale", fallbackLrScale),
        ("betas", betas ?? (0.9, 0.95)),
        ("scale_eps", scaleEps),
        ("use_fallback", useFallback),
        ("maximize", maximize)
    );
