/// What of the recordings of the catalogue's rules is not as recorded, or not compared, and why.
module CatalogueExceptions

open Optim.Core

/// Names of optimizers.json, which has no packages: where they come from.
let packages =
    Map
        [
            "LAMB", "pytorch_optimizer.Lamb"
            "Prodigy", "prodigyopt.Prodigy"
            "ScheduleFreeAdamW", "schedulefree.AdamWScheduleFree"
            "ScheduleFreeSGD", "schedulefree.SGDScheduleFree"
        ]

/// Cases that show a defect of their package, by file, published name and options (as options are printed): what is done in its place.
let defects =
    Map
        [
            ("optimizers_lasting", "pytorch_optimizer.FOCUS", "lr 0.01"),
            "the first step goes by the sign of a rounding error in two elements; here the first average is the parameter, and the sign 0"
            ("optimizers_lasting", "pytorch_optimizer.MARS", "lr 0.01, mars_type shampoo"),
            "the shampoo step is of products of matrices, which definitions of elements have not"
        ]

/// Rules of which all cases show a defect of their package, by published name: what is done in its place. CatalogueReferences.fs has these.
let defectiveRules =
    Map
        [
            "pytorch_optimizer.DAdaptAdan", "the package's second moment is of fourth powers; here it is of squares, as in dadaptation"
            "pytorch_optimizer.Ranger", "the package climbs along the gradient until the second moment is of enough steps; here it waits"
            "pytorch_optimizer.SRMM", "the package shrinks all parameters by 2^-beta in the first step; here their average starts at them"
            "pytorch_optimizer.SimplifiedAdEMAMix",
            "the package divides by the second moment's correction where its authors multiply, and its first step is 20 times too long"
        ]

/// Options under which a rule computes what its package does, with the defect that it has by default there: by published name.
let asPackage: Map<string, (string * OptionValue) list> =
    Map
        [
            // The package divides a step that a norm has made as long as the parameter by 1 - beta1^t.
            "pytorch_optimizer.Lamb", [ "adam_debias", OptionValue.Bool false ]
        ]

/// Options of the packages that rules here lack, as they do nothing to a step or choose how it is run.
let withoutEffect =
    Set
        [
            "foreach"
            "fused"
            "capturable"
            "differentiable"
            "log_every"
            "fsdp_in_use"
            "use_triton"
            "verbose"
            "slice_p"
        ]

/// Options of single rules that are left out: by published name and option, the reason.
let leftOut: Map<string * string, string> =
    let flattened =
        "tensors of more than two dimensions are taken as matrices of the first by all others"

    Map
        [
            for option in [ "ns_method"; "ns_reset_steps" ] do
                ("pytorch_optimizer.Muon", option), "Newton and Schulz's iteration by Gram matrices in float16 is another way to the same"
            ("pytorch_optimizer.ROSE", "bf16_sr"), "parameters of bfloat16 are rounded to the nearest"
            ("pytorch_optimizer.SCION", "norm_kwargs"), "its entries are options: normalize, normalized, max_scale, transpose"
            ("pytorch_optimizer.SCIONLight", "norm_kwargs"), "its entries are options: normalize, normalized, max_scale, transpose"
            ("pytorch_optimizer.SCIONLight", "momentum"), "it is kept in gradients that nobody may clear; gradients are not written to here"
            ("pytorch_optimizer.APOLLO", "scale_type"), "it is for projections to a rank, which draw random matrices"
            ("pytorch_optimizer.SOAP", "merge_dims"), "every dimension has its own matrix"
            ("pytorch_optimizer.SOAP", "data_format"), "dimensions are merged by it, which they are not here"
            for name in [ "timm.muon"; "timm.adamuon" ] do
                (name, "conv_mode"), flattened
                (name, "normalize_spatial"), flattened
                (name, "adamw_lr"), "it is deprecated there for fallback_lr_scale"
                (name, "algo"), "its values are rules of their own here"
            ("pytorch_optimizer.Lamb", "rectify"), "the norm takes back what rectification multiplies by"
            ("pytorch_optimizer.Lamb", "n_sma_threshold"), "an option of rectify"
            ("pytorch_optimizer.Lamb", "degenerated_to_sgd"), "an option of rectify"
            ("pytorch_optimizer.PNM", "eps"), "it does nothing in the package"
            ("pytorch_optimizer.SPAM", "density"), "masks of elements drawn at random are not here"
            ("pytorch_optimizer.ScheduleFreeSGD", "eps"), "it does nothing in the package"
        ]

/// Defaults that are not as recorded: by published name and option, the reason.
let otherDefaults: Map<string * string, string> =
    Map
        [
            ("pytorch_optimizer.AdamW", "decoupled_weight_decay"),
            "AdamW is True here, as it computes; the class reports Adam's own default"
            ("timm.muon", "momentum"), "0.9, which timm's factory sets; the class has 0.95"
            ("timm.adamuon", "momentum"), "0.9, which timm's factory sets; the class has 0.95"
        ]

/// How close a rule must come, relative to 1 + |value|, where that is not 1e-11: why is in golden/README.md.
let tolerances =
    Map
        [
            // Numbers over all tensors are float32 in the package.
            "pytorch_optimizer.ASGD", 1e-5
            "pytorch_optimizer.AdaGC", 1e-8
            // Bases of matrices are float32 in the package; elements near 0 in them are divided by their own size.
            "pytorch_optimizer.Conda", 1e-6
            "pytorch_optimizer.SOAP", 1e-7
            "pytorch_optimizer.SPlus", 1e-6
            // A factor is rounded to float32.
            "pytorch_optimizer.LaProp", 1e-8
            // The norm of all gradients is float32.
            "pytorch_optimizer.Lamb", 1e-8
            // The weights of the averages are float32.
            "pytorch_optimizer.QHAdam", 1e-8
        ]

/// From which step on a rule is compared, counted from 0, where that is not 0.
let firstStep =
    Map
        [
            // The first takes the sign of a rounding error in some elements.
            "pytorch_optimizer.FOCUS", 1
        ]

/// How many parameters are compared, where these are not all of them.
let comparedParameters: Map<string, int> =
    // A statistic of the third one is singular, and its null vectors are rounding.
    Map [ "pytorch_optimizer.SOAP", 2; "pytorch_optimizer.SPlus", 2 ]
