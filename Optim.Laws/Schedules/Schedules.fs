namespace Optim.Laws

/// L: schedules. S6 and S2 of schedulers are in L17.
[<RequireQualifiedAccess>]
module Schedules =
    /// L1: the recursion is the closed form.
    let recursion = CurveLaws.recursion

    /// L2: end points.
    let ends = CurveLaws.ends

    /// L3: the range.
    let range = CurveLaws.range

    /// L4: monotone.
    let monotone = CurveLaws.monotone

    /// L5: the bound of a step.
    let bounded = CurveLaws.bounded

    /// L6: periods.
    let periods = CurveLaws.periods

    /// L7: homogeneity.
    let homogeneous = CurveLaws.homogeneous

    /// L8: functions express them.
    let expressible = CurveLaws.expressible

    /// L9: containers of one.
    let transparent = CombinationLaws.transparent

    /// L10: what construction does.
    let construction = CombinationLaws.construction

    /// L11: factors multiply.
    let product = CombinationLaws.product

    /// L12: one cycle.
    let oneCycle = MetricLaws.oneCycle

    /// L13: plateau.
    let plateau = MetricLaws.plateau

    /// L14: hand-over.
    let handOver = CombinationLaws.handOver

    /// L15: step(epoch).
    let stepTo = CombinationLaws.stepTo

    /// L16: groups.
    let groups = CombinationLaws.groups

    /// L17 (and S2, S6 of schedulers): resuming.
    let resume = CombinationLaws.resume

    /// S6: the scheduler may also be made after the optimizer was restored.
    let made = CombinationLaws.made

    /// L18: the pure function.
    let pure' = CurveLaws.pure'

    /// L19: lr_scale.
    let scaled = CombinationLaws.scaled

    /// L20: greedy.
    let greedy = MetricLaws.greedy

    /// The laws of schedulers.
    let all =
        [
            recursion
            ends
            range
            monotone
            bounded
            periods
            homogeneous
            expressible
            transparent
            construction
            product
            oneCycle
            plateau
            handOver
            stepTo
            groups
            resume
            made
            pure'
            scaled
            greedy
        ]
