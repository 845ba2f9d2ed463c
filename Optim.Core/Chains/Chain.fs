namespace Optim.Core

open System
open System.Collections.Generic
open System.Text.RegularExpressions

/// Making rules of transforms; the module Chain does the same in F#.
[<AbstractClass; Sealed>]
type Chains private () =
    /// The rule that adds to a parameter what the transforms make of its gradient, one after the other, in the fewest visits of memory. Options
    /// are called by paths, scale_by_adam.beta1, and columns, too; a transform that comes several times is numbered, scale_by_adam_1.beta1.
    static member Of([<ParamArray>] transforms: Transform array) : DefinedRule =
        Transforming.rule (Transform.Sequence transforms).Items

    /// Several transforms, each with a name, under which its options and columns are found: with the name "first", first.beta1.
    static member Named([<ParamArray>] transforms: struct (string * Transform) array) : Transform =
        let transforms = Argument.items "transforms" transforms
        let seen = HashSet<string>(StringComparer.Ordinal)

        Transform
            [
                for struct (name, transform) in transforms do
                    Argument.notNull "transforms" transform

                    if String.IsNullOrWhiteSpace name || name.Contains '.' then
                        raise (
                            ArgumentException($"'{name}' is no name of a transform: it must not be empty, and hold no dot", "transforms")
                        )

                    if not (seen.Add name) then
                        raise (ArgumentException($"two transforms are called '{name}'", "transforms"))

                    match transform.Items with
                    | [ item ] -> { item with Given = name }
                    | items ->
                        for path, item in Transforming.paths items do
                            { item with
                                Given = path
                                Group = name + "."
                            }
            ]

    /// For each label a transform of its own, for the parameters that have the label; their names begin with it, "matrices.scale_by_adam.beta1". A parameter
    /// with another label is an ArgumentException when it is to be stepped.
    static member Partition
        (label: Func<ParameterDescription, string>, [<ParamArray>] transforms: struct (string * Transform) array)
        : Transform =
        Argument.notNull "label" label
        let transforms = Argument.items "transforms" transforms

        if transforms.Length = 0 then
            raise (ArgumentException("a partition needs a transform for each label", "transforms"))

        let labels = transforms |> Array.map (fun (struct (label, _)) -> label)

        for struct (name, transform) in transforms do
            Argument.notNull "transforms" transform

            if String.IsNullOrWhiteSpace name || name.Contains '.' then
                raise (ArgumentException($"'{name}' is no label: it must not be empty, and hold no dot", "transforms"))

        if (Array.distinct labels).Length < labels.Length then
            let twice =
                labels |> Array.countBy id |> Array.find (fun (_, count) -> count > 1) |> fst

            raise (ArgumentException($"two transforms have the label '{twice}'", "transforms"))

        let decide (parameter: ParameterDescription) =
            let found = label.Invoke parameter

            match Array.IndexOf(labels, found) with
            | -1 ->
                let known = String.Join(", ", labels)

                let who =
                    if parameter.Name = "" then
                        "a parameter"
                    else
                        $"parameter '{parameter.Name}'"

                raise (ArgumentException $"{who} has the label '{found}', and there are transforms for: {known}")
            | index -> index

        let mask = Mask(labels.Length, decide)

        Transform
            [
                for index, struct (name, transform) in Array.indexed transforms do
                    for path, item in Transforming.paths transform.Items do
                        { item with
                            Given = path
                            Group = name + "."
                            Masks = (mask, index) :: item.Masks
                        }
            ]

/// Rules of transforms, as in optax: open it where a chain is written.
/// <code>
/// let rule = chain [ clipByGlobalNorm 1.0; scaleByAdam (0.9, 0.999) 1e-8; addDecayedWeights 0.1 |> where isMatrix; scale -1e-3 ]
/// </code>
/// The class Transforms has the same with all options and their defaults.
module Chain =
    /// The rule of some transforms: a rule like any other. Options and columns are called by paths, scale_by_adam.beta1.
    let chain (transforms: Transform list) : DefinedRule =
        Chains.Of(Argument.items "transforms" transforms)

    /// The rule of some transforms with names, by which their options and columns are called.
    let namedChain (transforms: (string * Transform) list) : DefinedRule =
        let named =
            Argument.items "transforms" transforms
            |> Array.map (fun (name, transform) -> struct (name, transform))

        Chains.Of [| Chains.Named named |]

    /// Several transforms as one.
    let sequence (transforms: Transform list) : Transform =
        Transform.Sequence(Argument.items "transforms" transforms)

    /// The same transform, of parameters for which a function holds; others keep no state of it.
    let where (holds: ParameterDescription -> bool) (transform: Transform) : Transform =
        Argument.notNull "holds" holds
        Argument.notNull "transform" transform
        transform.Where(Func<_, _> holds)

    /// For each label a transform, for the parameters that have it.
    let partition (label: ParameterDescription -> string) (transforms: (string * Transform) list) : Transform =
        Argument.notNull "label" label

        Chains.Partition(
            Func<_, _> label,
            Argument.items "transforms" transforms
            |> Array.map (fun (name, transform) -> struct (name, transform))
        )

    /// Parameters for which a function holds stay as they are.
    let freeze (holds: ParameterDescription -> bool) : Transform = Transforms.SetToZero |> where holds

    /// Whether it has two dimensions or more.
    let isMatrix (parameter: ParameterDescription) =
        Argument.notNull "parameter" parameter
        not parameter.Shape.IsDefault && parameter.Shape.Length >= 2

    /// Whether it has so many dimensions.
    let hasDimensions (count: int) (parameter: ParameterDescription) =
        Argument.notNull "parameter" parameter

        (if parameter.Shape.IsDefault then
             0
         else
             parameter.Shape.Length)
            =
            count

    /// Whether its whole name matches a pattern, in which * stands for any letters and ? for one.
    let isNamed (pattern: string) : ParameterDescription -> bool =
        Argument.notNull "pattern" pattern

        let expression =
            Regex(
                "^" + Regex.Escape(pattern).Replace("\\*", ".*").Replace("\\?", ".") + "$",
                RegexOptions.CultureInvariant ||| RegexOptions.Singleline
            )

        fun parameter ->
            Argument.notNull "parameter" parameter
            expression.IsMatch parameter.Name

    /// The update as it is.
    let identity = Transforms.Identity
    /// step_size u.
    let scale stepSize = Transforms.Scale stepSize
    /// -lr u.
    let scaleByLearningRate lr = Transforms.ScaleByLearningRate lr
    /// u times a schedule relative to a base of 1; the first step uses its value at 0.
    let scaleBySchedule schedule = Transforms.ScaleBySchedule(schedule)

    /// Adam, of betas and eps.
    let scaleByAdam (beta1, beta2) eps =
        Transforms.ScaleByAdam(beta1, beta2, eps)

    /// Adam with Nesterov momentum, of betas and eps.
    let scaleByNadam (beta1, beta2) eps =
        Transforms.ScaleByAdam(beta1, beta2, eps, 0.0, true)

    /// AMSGrad, of betas and eps.
    let scaleByAmsgrad (beta1, beta2) eps =
        Transforms.ScaleByAmsgrad(beta1, beta2, eps)

    /// RMSProp, of decay and eps.
    let scaleByRms decay eps = Transforms.ScaleByRms(decay, eps)

    /// Centered RMSProp, of decay and eps.
    let scaleByStddev decay eps =
        Transforms.ScaleByRms(decay, eps, 0.0, true)

    /// Lion, of betas.
    let scaleByLion (beta1, beta2) = Transforms.ScaleByLion(beta1, beta2)

    /// Adamax, of betas and eps.
    let scaleByAdamax (beta1, beta2) eps =
        Transforms.ScaleByAdamax(beta1, beta2, eps)

    /// AdaBelief, of betas, eps and eps_root.
    let scaleByBelief (beta1, beta2) eps epsRoot =
        Transforms.ScaleByBelief(beta1, beta2, eps, epsRoot)

    /// Yogi, of betas and eps.
    let scaleByYogi (beta1, beta2) eps =
        Transforms.ScaleByYogi(beta1, beta2, eps)

    /// NovoGrad, of betas, eps and weight_decay.
    let scaleByNovograd (beta1, beta2) eps weightDecay =
        Transforms.ScaleByNovograd(beta1, beta2, eps, weightDecay)

    /// The trust ratio of LAMB.
    let scaleByTrustRatio = Transforms.ScaleByTrustRatio()

    /// Adagrad, of the start of its sums and eps.
    let scaleByRss initialAccumulatorValue eps =
        Transforms.ScaleByRss(initialAccumulatorValue, eps)

    /// Adadelta, of rho and eps.
    let scaleByAdadelta rho eps = Transforms.ScaleByAdadelta(rho, eps)

    /// AdEMAMix, of three betas, alpha and eps.
    let scaleByAdemamix (beta1, beta2, beta3) alpha eps =
        Transforms.ScaleByAdemamix(beta1, beta2, beta3, alpha, eps)

    /// Momentum.
    let trace decay = Transforms.Trace(decay)
    /// Nesterov momentum.
    let nesterov decay = Transforms.Trace(decay, true)
    /// The exponential average of updates, corrected for its start.
    let ema decay = Transforms.Ema(decay)

    /// u + weight_decay p.
    let addDecayedWeights weightDecay =
        Transforms.AddDecayedWeights weightDecay

    /// Normal noise of variance eta / t^gamma, by seed, step, parameter and element.
    let addNoise eta gamma seed = Transforms.AddNoise(eta, gamma, seed)
    /// Each element limited to [-max_delta, max_delta].
    let clip maxDelta = Transforms.Clip maxDelta
    /// The norm over all parameters limited.
    let clipByGlobalNorm maxNorm = Transforms.ClipByGlobalNorm maxNorm
    /// The root mean square of each tensor limited.
    let clipByBlockRms threshold = Transforms.ClipByBlockRms threshold
    /// The norm of each unit limited by that of its parameters.
    let adaptiveGradClip clipping = Transforms.AdaptiveGradClip(clipping)
    /// The mean of each row taken off.
    let centralize = Transforms.Centralize
    /// The norm over all parameters made 1.
    let normalizeByUpdateNorm = Transforms.NormalizeByUpdateNorm()
    /// The sign of each element.
    let sign = Transforms.Sign
    /// NaN becomes 0.
    let zeroNans = Transforms.ZeroNans
    /// No update.
    let setToZero = Transforms.SetToZero

    /// Optimistic gradients, of alpha and beta.
    let scaleByOptimisticGradient alpha beta =
        Transforms.ScaleByOptimisticGradient(alpha, beta)

    /// Fromage, of lr.
    let fromage lr = Transforms.Fromage(lr)
    /// Only elements of the gradient's sign, the others rescaled.
    let cautious = Transforms.Cautious()
