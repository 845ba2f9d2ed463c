namespace Optim.Core

open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts
open Optim.Kernels

/// What timm's rules have in common.
module internal TimmParts =
    /// The rate of decoupled decay: lr, or with option corrected_weight_decay (Defazio 2025, arXiv:2506.02285) its square relative to the largest one so
    /// far.
    let decayRate (r: RuleDefinition) (lr: Expression) =
        let isCorrected = r.Switch("corrected_weight_decay", false)
        let before = r.Kept("max_lr_snapshot", 0.0)
        let most = kept r before (larger before lr)
        where isCorrected (where (most |> isAbove zero) (lr * lr / most) zero) lr

    /// By what decoupled decay multiplies the parameter.
    let decayFactor (r: RuleDefinition) (lr: Expression) =
        1.0 - decayRate r lr * r.Number("weight_decay", 0.0, nonNegative)

    /// Parameter and gradient with decay: decoupled where an option asks for it, else of the gradient (L2).
    let decayed (r: RuleDefinition) (isDecoupled: string) (lr: Expression) =
        let decay, rate = r.Number("weight_decay", 0.0, nonNegative), decayRate r lr

        if r.Flag(isDecoupled, false) then
            r.Parameter * (1.0 - rate * decay), r.Gradient
        else
            r.Parameter, fma decay r.Parameter r.Gradient

    let private jumpsWithCaution = "with caution elements jump as their sign changes"

    let private masked (gradient: Expression) (update: Expression) =
        let agrees = update * gradient |> isAbove zero
        let share = mean (where agrees one zero)
        where agrees (update / larger share (Expression.Of 1e-3)) zero

    /// Option caution (Liang et al. 2024, arXiv:2411.16085): what would move the parameter along a gradient becomes 0, and the rest grows by as much.
    let caution (r: RuleDefinition) : Expression -> Expression -> Expression =
        r.OptOut("U5", jumpsWithCaution)

        if r.Flag("caution", false) then
            masked
        else
            fun _ update -> update

    /// What AdamP's projection leaves of an update, with caution: by the gradient's own projection, and projected once more.
    let cautiousProjection (r: RuleDefinition) (project: Expression -> Expression) (gradient: Expression) (update: Expression) =
        if r.Flag("caution", false) then
            project (masked (project gradient) (project update))
        else
            project update
