namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim.Core
open Optim.Kernels

/// A: what single rules do in closed form.
[<RequireQualifiedAccess>]
module Analytic =
    open Terms

    let private adams = named [ "Adam"; "AdamW" ]

    /// A1: the first step of Adam and its like.
    let adamFirst =
        Statement.about
            "A1"
            "the first step is -lr g / (|g| + eps)"
            (named [ "Adagrad"; "Adam"; "AdamW"; "Adamax" ])
            (fun rule ->
                { Recipe.one rule with Steps = 1, 1 }
                |> Recipe.withoutZeros
                |> Recipe.withOptions (("initial_accumulator_value", zero) :: noDecay))
            (fun subject s ->
                let lr, eps = number s "lr", number s "eps"
                let update (g: float) = -(direction s) * lr * g / (abs g + eps)
                let expected = [| [| Array.map update s.First |] |]
                let actual = Updates.exact subject s

                Updates.compare (fun _ -> Comparator.rel (Tolerances.allowed "A1")) s.DType expected actual
                |> Verdict.tellingIf (Updates.any expected))

    /// A2: Adam under a constant gradient.
    let adamConstant =
        Statement.about
            "A2"
            "under a constant gradient, with eps 0, every step is -lr sign(g)"
            adams
            (fun rule ->
                { Recipe.one rule with Steps = 1, 40 }
                |> Recipe.withoutZeros
                |> Recipe.withOptions (("eps", zero) :: noDecay))
            (fun subject s ->
                let s = constantly s
                let lr = number s "lr"
                let struct (beta1, beta2) = betas s

                // Coefficients are float64: next to float32 parameters, the rounding of beta^t is nothing.
                let conditioning =
                    if s.DType = DType.Float32 then
                        0.0
                    else
                        0.5 / (1.0 - beta1) + 0.25 / (1.0 - beta2)

                let expected = s.First |> Array.map (fun g -> -(direction s) * lr * float (sign g))
                let actual = Updates.exact subject s

                let comparator t =
                    Comparator.step (Tolerances.allowed "A2" + conditioning) t lr 1.0

                Updates.compare comparator s.DType (actual |> Array.map (fun _ -> [| expected |])) actual
                |> Verdict.tellingIf (lr > 0.0))

    /// A3: heavy ball under a constant gradient.
    let momentumConstant =
        Statement.about
            "A3"
            "under a constant gradient momentum follows its geometric series, and the first step is -lr g"
            (named [ "SGD" ])
            (fun rule ->
                { Recipe.one rule with
                    Steps = 1, 50
                    Starts = Palette.constant 0.0
                }
                |> Recipe.withoutZeros
                |> Recipe.withOptions ([ "dampening", zero; "nesterov", off ] @ noDecay))
            (fun subject s ->
                let s = constantly s
                let lr, momentum = number s "lr", number s "momentum"
                let trace = Run.trace subject s
                let g = s.First |> Array.map (fun g -> direction s * g)
                let mutable velocity, way = 0.0, 0.0

                [
                    for t in 1 .. s.History.Length do
                        velocity <- momentum * velocity + 1.0
                        way <- way + velocity

                        let comparator =
                            if t = 1 then
                                Comparator.ulp 1
                            else
                                Comparator.rel (Tolerances.allowed "A3" * float t)

                        let lr = Number.round s.DType lr
                        let expected = g |> Array.map (fun g -> Number.round s.DType (-lr * g * way))

                        Comparator.arrays comparator s.DType expected trace[t].Theta[0]
                        |> Verdict.where (sprintf "step %d" t)
                ]
                |> Verdict.all
                |> Verdict.tellingIf (lr > 0.0 && momentum > 0.0 && s.History.Length > 1))

    /// A8: AMSGrad remembers the largest second moment.
    let amsgrad =
        Statement.about
            "A8"
            "amsgrad's maximum never falls, and while the second moment grows amsgrad changes nothing"
            adams
            (fun rule -> Recipe.one rule |> Recipe.withOptions [ "amsgrad", Options.ofFlag true ])
            (fun subject s ->
                let column = "max_exp_avg_sq"
                let trace = Run.trace subject s

                let grows =
                    Seq.pairwise trace
                    |> Seq.collect (fun (before, after) ->
                        let now, second = Snapshot.row column 0 after, Snapshot.row "exp_avg_sq" 0 after
                        let then' = Snapshot.row column 0 before

                        let then' =
                            if then'.Length = 0 then
                                Array.zeroCreate now.Length
                            else
                                then'

                        Seq.zip3 then' now second
                        |> Seq.map (fun (then', now, second) ->
                            (not (now < then') && not (now < second))
                            |> Verdict.require (fun () ->
                                sprintf "the maximum of %s and %s became %s" (string then') (string second) (string now))))
                    |> Verdict.all

                // Decay of the L2 kind is part of the gradient, which would not be constant.
                let steady = constantly s |> Run.withOptions noDecay
                let plain = steady |> Run.withOptions [ "amsgrad", off ]

                let same =
                    Snapshot.compareTheta Comparator.bit (Run.final subject plain) (Run.final subject steady)

                Verdict.both grows same |> Verdict.tellingIf (s.History.Length > 1))

    /// A9: Rprop looks at signs only.
    let rpropSigns =
        Statement.withDraw
            "A9"
            "step sizes stay in their range, and only the signs of gradients matter"
            (named [ "Rprop" ])
            Recipe.any
            (Gen.choose (0, 1_000_000))
            (fun subject seed s ->
                let random = Random seed

                let rescaled =
                    s
                    |> Run.mapGradients (
                        Array.map (fun g -> Number.round s.DType (g * Math.ScaleB(1.0 + random.NextDouble(), random.Next(-9, 9))))
                    )

                let expected = Run.final subject s
                let actual = Run.final subject rescaled
                let struct (smallest, largest) = Options.pair s.Rule "step_sizes" s.Options
                let smallest, largest = Number.round s.DType smallest, Number.round s.DType largest

                let inRange =
                    [
                        for k in 0 .. s.Start.Length - 1 do
                            if expected.Counts[k] > 0L then
                                for size in Snapshot.row "step_size" k expected do
                                    (size >= smallest && size <= largest)
                                    |> Verdict.require (fun () ->
                                        sprintf "a step size of %s, outside of %s to %s" (string size) (string smallest) (string largest))
                    ]
                    |> Verdict.all

                let sizes =
                    Seq.init s.Start.Length (fun k ->
                        Comparator.arrays Comparator.bit s.DType (Snapshot.row "step_size" k expected) (Snapshot.row "step_size" k actual))
                    |> Verdict.all

                Verdict.all [ inRange; sizes; Snapshot.compareTheta Comparator.bit expected actual ]
                |> Verdict.tellingIf (Run.moves subject s))

    /// A10: rules that go by signs.
    let lionSigns =
        Statement.about "A10" "every step is lr, one way or the other, or nothing" (named [ "Lion" ]) Recipe.one (fun subject s ->
            let lr = Number.round s.DType (number s "lr")
            let updates = Updates.exact subject s

            updates
            |> Seq.collect Seq.concat
            |> Seq.map (fun x ->
                (x = 0.0 || abs x = lr)
                |> Verdict.require (fun () -> sprintf "a step of %s, and lr is %s" (Number.describe s.DType x) (string lr)))
            |> Verdict.all
            |> Verdict.tellingIf (Updates.any updates))

    /// A17: gradient descent on a quadratic.
    let quadratic =
        Statement.withDraw
            "A17"
            "on a diagonal quadratic gradient descent multiplies by 1 - lr d in each step"
            (named [ "SGD" ])
            (fun rule ->
                { Recipe.one rule with
                    Steps = 1, 40
                    Starts = Palette.logUniform -4 4
                }
                |> Recipe.withOptions ([ "momentum", zero; "nesterov", off; "maximize", off ] @ noDecay))
            (Gen.choose (1, 499))
            (fun subject thousandths s ->
                let lr = Number.round s.DType 0.25
                let d = Number.round s.DType (4.0 * float thousandths / 1000.0)
                let options = Options.set [ "lr", Options.ofNumber lr ] s.Rule s.Options
                let struct (parameters, state) = Run.start subject { s with Options = options }
                let mutable state = state

                for _ in s.History do
                    let gradient = parameters[0].ToDoubles() |> Array.map (Number.multiply s.DType d)
                    state <- subject.Step options parameters (Run.gradients s.DType [| ValueSome gradient |]) state

                let steps = float s.History.Length
                let expected = s.Start[0] |> Array.map (fun x -> x * Math.Pow(1.0 - lr * d, steps))

                Comparator.arrays
                    (Comparator.rel (Tolerances.allowed "A17" * steps))
                    s.DType
                    (expected |> Array.map (Number.round s.DType))
                    (parameters[0].ToDoubles()))

    /// The laws of this family.
    let all =
        [
            adamFirst
            adamConstant
            momentumConstant
            amsgrad
            rpropSigns
            lionSigns
            quadratic
        ]
