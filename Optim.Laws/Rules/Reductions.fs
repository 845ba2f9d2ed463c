namespace Optim.Laws

open FsCheck.FSharp
open Optim.Core
open Optim.Kernels

/// R: rules that become one another.
[<RequireQualifiedAccess>]
module Reductions =
    open Terms

    /// R1: without momentum there is nothing to dampen.
    let dampening =
        Statement.about
            "R1"
            "without momentum dampening does not matter"
            (named [ "SGD" ])
            (fun rule -> Recipe.any rule |> Recipe.withOptions [ "nesterov", off; "momentum", zero ])
            (fun subject s ->
                let undamped = Run.withOptions [ "dampening", zero ] s
                let damped = Run.withOptions [ "dampening", Options.ofNumber 0.5 ] s

                Snapshot.compare Comparator.bit (Run.final subject undamped) (Run.final subject damped)
                |> Verdict.tellingIf (Run.moves subject s))

    /// R2: Nesterov momentum under a constant gradient.
    let nesterov =
        Statement.about
            "R2"
            "under a constant gradient Nesterov momentum follows its geometric series"
            (named [ "SGD" ])
            (fun rule ->
                { Recipe.one rule with
                    Steps = 1, 30
                    Starts = Palette.constant 0.0
                }
                |> Recipe.withoutZeros
                |> Recipe.withOptions (
                    [
                        "momentum", Options.ofNumber 0.9
                        "dampening", zero
                        "nesterov", Options.ofFlag true
                    ]
                    @ noDecay
                ))
            (fun subject s ->
                let s = constantly s

                let lr, momentum =
                    Number.round s.DType (number s "lr"), Number.round s.DType (number s "momentum")

                let mutable velocity, way = 0.0, 0.0

                for _ in s.History do
                    velocity <- momentum * velocity + 1.0
                    way <- way + 1.0 + momentum * velocity

                let expected =
                    s.First
                    |> Array.map (fun g -> Number.round s.DType (-(direction s) * lr * g * way))

                let comparator = Comparator.rel (Tolerances.allowed "R2" * float s.History.Length)

                Comparator.arrays comparator s.DType expected (Run.final subject s).Theta[0]
                |> Verdict.tellingIf (lr > 0.0))

    /// R3: Adam without a first moment.
    let adamIsRMSprop =
        Statement.about
            "R3"
            "Adam with beta1 0 is RMSprop with its bias corrected, and has the same second moment"
            (named [ "Adam" ])
            (fun rule ->
                { Recipe.one rule with Steps = 1, 30 }
                |> Recipe.withoutZeros
                |> Recipe.withOptions ([ "eps", zero; "amsgrad", off ] @ noDecay))
            (fun subject s ->
                let struct (_, beta2) = betas s
                let beta2 = if beta2 = 0.0 then 0.5 else beta2
                let s = Run.withOptions [ "betas", Options.ofPair (0.0, beta2) ] s
                let rule = Rules.Find "RMSprop"

                let options =
                    Options.set
                        [
                            "lr", s.Rule.Read(s.Options, "lr")
                            "maximize", s.Rule.Read(s.Options, "maximize")
                            "alpha", Options.ofNumber beta2
                            "eps", zero
                        ]
                        rule
                        rule.Defaults

                let rmsprop =
                    { s with
                        Rule = rule
                        Options = options
                    }

                let second =
                    Comparator.arrays
                        Comparator.bit
                        s.DType
                        (Snapshot.row "square_avg" 0 (Run.final (Subject.ofRule rule) rmsprop))
                        (Snapshot.row "exp_avg_sq" 0 (Run.final subject s))

                let corrected =
                    Updates.exact (Subject.ofRule rule) rmsprop
                    |> Array.mapi (fun t update ->
                        let correction = sqrt (1.0 - System.Math.Pow(beta2, float (t + 1)))
                        update |> Array.map (Array.map (fun x -> Number.round s.DType (x * correction))))

                let comparator t =
                    Comparator.within (Tolerances.allowed "R3") (number s "lr" * longest (struct (0.0, beta2)) t)

                Verdict.both second (Updates.compare comparator s.DType corrected (Updates.exact subject s))
                |> Verdict.tellingIf (number s "lr" > 0.0))

    /// R4: Adam without any moment.
    let adamIsSign =
        Statement.about
            "R4"
            "Adam with both betas and eps 0 is descent by signs"
            (named [ "Adam" ])
            (fun rule ->
                Recipe.one rule
                |> Recipe.withoutZeros
                |> Recipe.withOptions ([ "eps", zero; "betas", Options.ofPair (0.0, 0.0); "amsgrad", off ] @ noDecay))
            (fun subject s ->
                let lr = Number.round s.DType (number s "lr")

                let expected =
                    s.History
                    |> Array.map (fun row -> [| Row.only row |> Array.map (fun g -> -(direction s) * lr * float (sign g)) |])

                Updates.compare (fun _ -> Comparator.ulp (int (Tolerances.allowed "R4"))) s.DType expected (Updates.exact subject s)
                |> Verdict.tellingIf (lr > 0.0))

    /// R5: RMSprop about a mean of zero.
    let centeredAtZero =
        Statement.about
            "R5"
            "centered RMSprop whose mean is held at zero is plain RMSprop"
            (named [ "RMSprop" ])
            (fun rule ->
                Recipe.one rule
                // At alpha 1/2 a mean of -g becomes exactly 0 when g comes in; decay and maximize would change the g that comes in.
                |> Recipe.withOptions (
                    [ "alpha", Options.ofNumber 0.5; "eps", Options.ofNumber 1e-8; "maximize", off ]
                    @ noDecay
                ))
            (fun subject s ->
                let plain = Run.withOptions [ "centered", off ] s
                let centered = Run.withOptions [ "centered", Options.ofFlag true ] s
                let struct (parameters, state) = Run.start subject centered
                let mutable state = state

                for row in s.History do
                    // There is no row before the first step: the mean is 0 then, and not after it. So the first gradient is 0.
                    let mean = state["grad_avg"][0]

                    if mean.IsAbsent then
                        let nothing = Array.zeroCreate s.Start[0].Length
                        state <- subject.Step centered.Options parameters (Run.gradients s.DType [| ValueSome nothing |]) state

                    Tensor.fill (state["grad_avg"][0]) (Row.only row |> Array.map (fun g -> -g))
                    state <- subject.Step centered.Options parameters (Run.gradients s.DType row) state

                let expected =
                    Run.final
                        subject
                        { plain with
                            History = Array.append [| [| ValueSome(Array.zeroCreate s.Start[0].Length) |] |] s.History
                        }

                Snapshot.compareTheta Comparator.bitButZeros expected (Snapshot.read s.DType parameters state)
                |> Verdict.tellingIf (Run.moves subject plain))

    /// R6: Adagrad's own schedule, and the same from outside.
    let adagradSchedule =
        Statement.about
            "R6"
            "lr_decay is a schedule: the rate of step t is lr / (1 + (t - 1) lr_decay)"
            (named [ "Adagrad" ])
            Recipe.one
            (fun subject s ->
                let lr, decay = number s "lr", number s "lr_decay"
                let struct (parameters, state) = Run.start subject s
                let mutable state = state

                s.History
                |> Array.iteri (fun t row ->
                    let rate = lr / (1.0 + float t * decay)

                    let options =
                        Options.set [ "lr", Options.ofNumber rate; "lr_decay", zero ] s.Rule s.Options

                    state <- subject.Step options parameters (Run.gradients s.DType row) state)

                Snapshot.compare Comparator.bit (Snapshot.read s.DType parameters state) (Run.final subject s)
                |> Verdict.tellingIf (decay > 0.0 && s.History.Length > 1 && Run.moves subject s))

    /// The laws of this family.
    let all =
        [
            dampening
            nesterov
            adamIsRMSprop
            adamIsSign
            centeredAtZero
            adagradSchedule
        ]
