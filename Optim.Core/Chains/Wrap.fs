namespace Optim.Core

/// Rules around rules, in F#: the class Wrappers has them with all options. Each may be a chain, a definition or a rule of this library.
module Wrap =
    /// Lookahead, of k and alpha.
    let lookahead (k: int) (alpha: double) (rule: #Rule) = Wrappers.Lookahead(rule, k, alpha)
    /// So many calls make a step, by the mean of their gradients.
    let accumulate (calls: int) (rule: #Rule) = Wrappers.Accumulate(rule, calls)

    /// Steps by gradients that are not finite are left out, so many in a row.
    let applyIfFinite (mostErrors: int) (rule: #Rule) =
        Wrappers.ApplyIfFinite(rule, mostErrors)

    /// Steps by gradients of too large a squared norm are left out.
    let skipLargeUpdates (maxSquaredNorm: double) (rule: #Rule) =
        Wrappers.SkipLargeUpdates(rule, maxSquaredNorm)

    /// An exponential average of the parameters in the state.
    let average (decay: double) (rule: #Rule) = Wrappers.Average(rule, decay)
    /// Schedule-Free, of its momentum.
    let scheduleFree (momentum: double) (rule: #Rule) = Wrappers.ScheduleFree(rule, momentum)
    /// Elements that would move along their gradient stay.
    let cautious (rule: #Rule) = Wrappers.Cautious rule
    /// The gradient without its part along the parameter.
    let orthoGrad (rule: #Rule) = Wrappers.OrthoGrad rule

    /// Normal noise of variance eta / t^gamma on the gradient, by a seed.
    let gradientNoise (eta: double) (gamma: double) (seed: double) (rule: #Rule) =
        Wrappers.GradientNoise(rule, eta, gamma, seed)

    /// TRAC.
    let trac (rule: #Rule) = Wrappers.Trac rule
    /// A transform of the gradient before a rule's step.
    let before (transform: Transform) (rule: #Rule) = Wrappers.Before(transform, rule)
