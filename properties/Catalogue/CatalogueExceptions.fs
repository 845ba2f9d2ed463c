/// What of the recordings of the catalogue's rules is not as recorded, or not compared, and why.
module CatalogueExceptions

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
        ]

/// Options of the packages that rules here lack, as they do nothing to a step or choose how it is run.
let withoutEffect =
    Set
        [
            "foreach"
            "fused"
            "capturable"
            "differentiable"
            "maximize"
            "log_every"
            "fsdp_in_use"
            "use_triton"
            "verbose"
            "slice_p"
        ]

/// Options of single rules that are left out: by published name and option, the reason.
let leftOut: Map<string * string, string> = Map []

/// Defaults that are not as recorded: by published name and option, the reason.
let otherDefaults: Map<string * string, string> =
    Map
        [
            ("pytorch_optimizer.AdamW", "decoupled_weight_decay"),
            "AdamW is True here, as it computes; the class reports Adam's own default"
        ]

/// How close a rule must come, relative to 1 + |value|, where that is not 1e-11: why is in golden/README.md.
let tolerances =
    Map
        [
            // Numbers over all tensors are float32 in the package.
            "pytorch_optimizer.ASGD", 1e-5
            "pytorch_optimizer.AdaGC", 1e-8
        ]

/// From which step on a rule is compared, counted from 0, where that is not 0.
let firstStep =
    Map
        [
            // The first takes the sign of a rounding error in some elements.
            "pytorch_optimizer.FOCUS", 1
        ]

/// How many parameters are compared, where these are not all of them.
let comparedParameters: Map<string, int> = Map []
