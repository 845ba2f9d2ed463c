namespace Optim.Laws

open System
open Optim
open Optim.Core
open Optim.Kernels

/// When a hook runs.
[<RequireQualifiedAccess>]
[<NoComparison>]
type Hook =
    /// Before each step of an optimizer.
    | Pre
    /// After each step of an optimizer.
    | Post
    /// Before each step of every optimizer.
    | EveryPre
    /// After each step of every optimizer.
    | EveryPost

/// What surrounds the steps of an optimizer.
[<NoComparison; NoEquality>]
type Attached =
    {
        /// How gradients are clipped.
        Clip: GradientClip option
        /// What unscales them.
        Scaler: GradScaler option
        /// What takes the parameters in.
        Average: AveragedParameters option
        /// Whether gradients become zero.
        ZeroGrad: bool
        /// How many calls make a step.
        Accumulate: int
    }

    /// Nothing.
    static member None =
        {
            Clip = None
            Scaler = None
            Average = None
            ZeroGrad = false
            Accumulate = 1
        }

/// How the laws use the PyTorch-style optimizers: every field does what its name says. A test replaces one by something
/// defective, to see that a law notices.
[<NoComparison; NoEquality>]
type Shell =
    {
        /// An optimizer of the rule over these groups, with these options where a group has none of its own.
        Open: Rule -> (string * OptionValue) list -> ParameterGroup list -> Optimizer
        /// One step.
        Step: Optimizer -> unit
        /// One step that calls a closure first and hands its loss on.
        StepWith: Optimizer -> (unit -> float) -> float
        /// Drops the gradients, or sets them to zero.
        ZeroGrad: Optimizer -> bool -> unit
        /// Adds a group.
        AddGroup: Optimizer -> ParameterGroup -> unit
        /// Sets an option of a group.
        SetOption: ParameterGroup -> string -> OptionValue -> unit
        /// The state dict.
        Save: Optimizer -> StateDict
        /// A copy of a state dict.
        Clone: StateDict -> StateDict
        /// Takes a state dict over.
        Load: Optimizer -> StateDict -> unit
        /// Attaches what surrounds steps.
        Attach: Optimizer -> Attached -> unit
        /// Registers a hook, which is told whose step it is; disposing removes it.
        Register: Hook -> Optimizer -> (Optimizer -> unit) -> IDisposable
    }

/// What the laws look at: a rule, and the ways to run it. <see cref="M:Optim.Laws.SubjectModule.ofRule"/> makes one; a test
/// replaces a field by something defective, to see that a law notices.
[<NoComparison; NoEquality>]
type Subject =
    {
        /// The rule: its name, its options, its columns.
        Rule: Rule
        /// State before the first step.
        Init: IOptimizerOptions -> Parameters -> State
        /// A step in place.
        Step: IOptimizerOptions -> Parameters -> Gradients -> State -> State
        /// A step that touches nothing that it was given.
        PureStep: IOptimizerOptions -> Parameters -> Gradients -> State -> struct (Parameters * State)
        /// The optimizer class.
        Shell: Shell
    }

/// The optimizer classes as they are.
[<RequireQualifiedAccess>]
module Shell =
    /// Every field calls the method of its name.
    let real =
        {
            Open =
                fun rule options groups ->
                    let options = [| for name, value in options -> struct (name, value) |]
                    RuleOptimizer(rule, groups |> Seq.map (fun group -> group :> IParameterOrGroup), options)
            Step = fun optimizer -> optimizer.Step()
            StepWith = fun optimizer closure -> optimizer.Step(Func<float> closure)
            ZeroGrad = fun optimizer toNone -> optimizer.ZeroGrad toNone
            AddGroup = fun optimizer group -> optimizer.AddParamGroup group
            SetOption = fun group name value -> group[name] <- value
            Save = fun optimizer -> optimizer.StateDict()
            Clone = fun saved -> saved.Clone()
            Load = fun optimizer saved -> optimizer.LoadStateDict saved |> ignore
            Attach =
                fun optimizer what ->
                    optimizer.Attach(
                        Option.toObj what.Clip,
                        Option.toObj what.Scaler,
                        Option.toObj what.Average,
                        what.ZeroGrad,
                        what.Accumulate
                    )
            Register =
                fun hook optimizer act ->
                    match hook with
                    | Hook.Pre -> optimizer.RegisterStepPreHook(fun call -> act call.Optimizer)
                    | Hook.Post -> optimizer.RegisterStepPostHook(Action<Optimizer> act)
                    | Hook.EveryPre -> Optimizer.RegisterOptimizerStepPreHook(fun call -> act call.Optimizer)
                    | Hook.EveryPost -> Optimizer.RegisterOptimizerStepPostHook(Action<Optimizer> act)
        }

/// How the laws lay elements out: in one dimension, as matrices of one row or two for rules that take nothing else, and in both ways, by their
/// number, for rules whose formula depends on the shape.
[<RequireQualifiedAccess>]
module Shapes =
    /// A contiguous tensor as the rule takes it, in the same memory.
    let suit (rule: Rule) (view: TensorView) =
        let takesMatricesOnly = rule.Scope = RuleScope.Matrices

        if
            not (takesMatricesOnly || rule.StepsByValues)
            || view.IsAbsent
            || view.Shape.Length >= 2
        then
            view
        else
            let count = int64 view.Count

            let rows =
                if count > 0L && count % 2L = 0L then
                    // Wide ones, and tall ones; large ones with short sides, as matrices may be made of these.
                    if not takesMatricesOnly && count % 4096L = 0L then
                        128L
                    elif takesMatricesOnly || count % 8L <> 0L || count < 24L then
                        2L
                    elif count % 16L = 0L then
                        4L
                    else
                        count / 4L
                else
                    1L

            if takesMatricesOnly || rows > 1L then
                TensorView(view.Address, Layout.Contiguous(view.DType, ReadOnlySpan [| rows; count / rows |]), view.Owner)
            else
                view

    /// All parameters as the rule takes them.
    let parameters (rule: Rule) (parameters: Parameters) =
        Parameters.Of [ for k in 0 .. parameters.Count - 1 -> suit rule parameters[k] ]

    /// All gradients as the rule takes them.
    let gradients (rule: Rule) (gradients: Gradients) =
        Gradients.Of
            [
                for k in 0 .. gradients.Count - 1 ->
                    let gradient = gradients[k]

                    if gradient.Kind = GradientKind.Dense then
                        Gradient.OfDense(suit rule gradient.Values)
                    else
                        gradient
            ]

/// Subjects of the laws.
[<RequireQualifiedAccess>]
module Subject =
    /// The rule as it is.
    let ofRule (rule: Rule) =
        let parameters, gradients =
            if rule.Scope = RuleScope.Matrices || rule.StepsByValues then
                Shapes.parameters rule, Shapes.gradients rule
            else
                id, id

        {
            Rule = rule
            Init = fun options theta -> rule.Init(options, parameters theta)
            Step = fun options theta gradient state -> rule.Step(options, parameters theta, gradients gradient, state)
            PureStep = fun options theta gradient state -> rule.PureStep(options, parameters theta, gradients gradient, state)
            Shell = Shell.real
        }

    /// The subject over dense gradients, also where its rule takes sparse ones only: these have every row.
    let overDense (subject: Subject) =
        let rule = subject.Rule

        if rule.Sparse rule.Defaults <> SparseGradients.Required then
            subject
        else
            let sparse (gradient: Gradient) =
                if gradient.Kind <> GradientKind.Dense then
                    gradient
                else
                    let rows = Array.init (int gradient.Values.Shape[0]) int64
                    Gradient.OfSparse(TensorView.Of(ReadOnlySpan rows, ReadOnlySpan [| rows.LongLength |]), gradient.Values)

            let sparse (gradients: Gradients) =
                Gradients.Of [ for k in 0 .. gradients.Count - 1 -> sparse gradients[k] ]

            { subject with
                Step = fun options theta gradients state -> subject.Step options theta (sparse gradients) state
                PureStep = fun options theta gradients state -> subject.PureStep options theta (sparse gradients) state
            }
