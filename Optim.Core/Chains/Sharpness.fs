namespace Optim.Core

open System
open Optim.Kernels
open TransformParts

/// What sharpness-aware minimization does around a rule's step: moves to where the loss is larger, and puts gradients together.
module internal Sharpness =
    /// x + rho / (N + eps) g, of the norm N over all parameters; adaptive by the squares of the parameters.
    let private ascent =
        Rule.define "SAM" (fun r ->
            let rho, eps =
                r.Number("rho", 0.05, nonNegative), r.Number("perturb_eps", 1e-12, nonNegative)

            let x, g = r.Parameter, r.Gradient

            if r.Flag("adaptive", false) then
                Expression.Fma(rho / (r.NormOverAll(Expression.Abs x * g) + eps) * (x * x), g, x)
            else
                Expression.Fma(rho / (r.NormOverAll g + eps), g, x))

    /// a x + b g, over x.
    let private combination =
        Rule.define "sum" (fun r ->
            let a, b = r.Number("a", 1.0, Interval.any), r.Number("b", 1.0, Interval.any)
            Expression.Fma(b, r.Gradient, a * r.Parameter))

    /// h without its part along g, over g.
    let private rejection =
        Rule.define "rejection" (fun r ->
            let length =
                Expression.Max(Expression.Norm r.Parameter, r.Number("eps", 1e-12, nonNegative))

            let other = Expression.Max(Expression.Norm r.Gradient, Expression.Of 1e-12)
            let size = Expression.Norm r.Gradient

            let along =
                size * (Expression.Sum(r.Parameter * r.Gradient) / (length * other)) / length

            Expression.Fma(-along, r.Parameter, r.Gradient))

    /// h + alpha norm(h) / (norm(v) + 1e-8) v, over h.
    let private extension =
        Rule.define "extension" (fun r ->
            let alpha = r.Number("alpha", 0.7, nonNegative)

            let factor =
                alpha * Expression.Norm r.Parameter / (Expression.Norm r.Gradient + 1e-8)

            Expression.Fma(factor, r.Gradient, r.Parameter))

    let private run (rule: DefinedRule) (options: DefinedOptions) (parameters: Parameters) (gradients: Gradients) =
        rule.Step(options, parameters, gradients, rule.Init(options, parameters))
        |> ignore

    /// Moves parameters along their gradients.
    let ascend (rho: double) (perturbEps: double) (adaptive: bool) (parameters: Parameters) (gradients: Gradients) =
        let options =
            ascent.With(
                struct ("rho", OptionValue.Float rho),
                struct ("perturb_eps", OptionValue.Float perturbEps),
                struct ("adaptive", OptionValue.Bool adaptive)
            )

        run ascent options parameters gradients

    /// Tensors become a times themselves and b times others.
    let combine (a: double) (b: double) (target: Parameters) (others: Gradients) =
        run combination (combination.With(struct ("a", OptionValue.Float a), struct ("b", OptionValue.Float b))) target others

    /// Gradients become what of others is across them.
    let reject (eps: double) (target: Parameters) (others: Gradients) =
        run rejection (rejection.With(struct ("eps", OptionValue.Float eps))) target others

    /// Gradients become longer by what was across an earlier one.
    let extend (alpha: double) (target: Parameters) (across: Gradients) =
        run extension (extension.With(struct ("alpha", OptionValue.Float alpha))) target across

    /// Runs an action, and puts tensors back to what they were before it, whatever happens.
    let restoring (parameters: Parameters) (action: unit -> 'a) : 'a =
        let kept = parameters.Copy()

        try
            action ()
        finally
            for row in 0 .. parameters.Count - 1 do
                parameters[row].CopyFrom kept[row]

/// Sharpness-aware minimization (SAM, Foret et al. 2021) around a rule: the step takes the gradient at a point where the loss is larger.
[<RequireQualifiedAccess>]
module Sam =
    /// A step in place. Gradients are asked for twice: at the parameters, and with these moved by rho along the first, the norm taken over all of them.
    /// Where that throws, the parameters are as they were, and the state is not spent.
    let step
        (rule: Rule)
        (options: IOptimizerOptions)
        (rho: double)
        (gradientsAt: Parameters -> Gradients)
        (parameters: Parameters)
        (state: State)
        : State =
        Argument.notNull "rule" rule
        Argument.notNull "options" options
        Argument.notNull "gradientsAt" gradientsAt
        Rows.given parameters (Gradients.Of []) state

        require "SAM" "rho" nonNegative rho
        state.Live()

        let gradientsAt parameters =
            match box (gradientsAt parameters) with
            | null -> raise (ArgumentException("gradientsAt returned null; it returns a gradient for each parameter", "gradientsAt"))
            | gradients -> unbox<Gradients> gradients

        let first = gradientsAt parameters

        let second =
            Sharpness.restoring parameters (fun () ->
                Sharpness.ascend rho 1e-12 false parameters first
                gradientsAt parameters)

        rule.Step(options, parameters, second, state)
