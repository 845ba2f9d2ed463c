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

    let private boundedBetas =
        Gen.elements [ 0.9, 0.999; 0.5, 0.9; 0.8, 0.99; 0.3, 0.6 ]

    /// Updates are not longer than their bounds, and where it is said reach them.
    let private within (bound: int -> float) (slack: int -> float) reach subject (s: Scenario) =
        Updates.exact subject s
        |> Seq.mapi (fun t update ->
            let bound, slack = bound (t + 1), slack (t + 1)

            update[0]
            |> Seq.map (fun x ->
                (abs x <= bound * (1.0 + slack) && (not reach || abs x >= bound * (1.0 - slack)))
                |> Verdict.require (fun () -> sprintf "step %d is %s, its bound %s" (t + 1) (Number.describe s.DType x) (string bound)))
            |> Verdict.all)
        |> Verdict.all

    /// A4: the bound of Adam's step, and that it is reached.
    let adamBound =
        Statement.withDraw
            "A4"
            "no step is longer than its bound, which gradients that grow by beta2 / beta1 reach"
            adams
            (fun rule ->
                { Recipe.one rule with Steps = 1, 40 }
                |> Recipe.withoutZeros
                |> Recipe.withOptions ([ "eps", zero; "amsgrad", off; "lr", Options.ofNumber 0.125 ] @ noDecay))
            boundedBetas
            (fun subject (beta1, beta2) s ->
                let s = Run.withOptions [ "betas", Options.ofPair (beta1, beta2) ] s

                let bound t =
                    0.125 * longest (struct (beta1, beta2)) t

                let slack t =
                    (Tolerances.allowed "A4" + float t) * Number.u s.DType

                let growing =
                    { s with
                        History =
                            s.History
                            |> Array.mapi (fun t row ->
                                let factor = Math.Pow(beta2 / beta1, float t)

                                row
                                |> Array.map (ValueOption.map (Array.map (fun g -> Number.round s.DType (float (sign g) * factor)))))
                    }

                // The sequence begins anew in each run: its signs must be those of the first step throughout.
                let aligned =
                    { growing with
                        History =
                            growing.History
                            |> Array.map (fun row ->
                                [|
                                    row[0]
                                    |> ValueOption.map (Array.map2 (fun first g -> Math.CopySign(g, first)) s.First)
                                |])
                    }

                Verdict.both (within bound slack false subject s) (within bound slack true subject aligned))

    /// A5: the bound of Adamax's step.
    let adamaxBound =
        Statement.withDraw
            "A5"
            "no step is longer than lr (1 - b1) / (1 - b1^t) (1 - (b1 / b2)^t) / (1 - b1 / b2), which gradients that fall by b2 reach"
            (named [ "Adamax" ])
            (fun rule ->
                { Recipe.one rule with Steps = 1, 40 }
                |> Recipe.withoutZeros
                |> Recipe.withOptions ([ "eps", zero; "lr", Options.ofNumber 0.125 ] @ noDecay))
            boundedBetas
            (fun subject (beta1, beta2) s ->
                let s = Run.withOptions [ "betas", Options.ofPair (beta1, beta2) ] s

                let bound t =
                    let ratio = beta1 / beta2

                    0.125 * (1.0 - beta1) / (1.0 - Math.Pow(beta1, float t))
                    * (1.0 - Math.Pow(ratio, float t))
                    / (1.0 - ratio)

                let slack t =
                    (Tolerances.allowed "A5" + float t) * Number.u s.DType

                let falling =
                    { s with
                        History =
                            s.History
                            |> Array.mapi (fun t _ ->
                                [|
                                    s.First
                                    |> Array.map (fun g -> Number.round s.DType (g * Math.Pow(beta2, float t)))
                                    |> ValueSome
                                |])
                    }

                Verdict.both (within bound slack false subject s) (within bound slack true subject falling))

    /// A7: Adagrad's sums, its bound, and its path under a constant gradient.
    let adagradSums =
        Statement.about
            "A7"
            "the sums never fall, no step is longer than lr, and a constant gradient makes steps of lr / sqrt(t)"
            (named [ "Adagrad" ])
            (fun rule ->
                { Recipe.one rule with Steps = 1, 50 }
                |> Recipe.withoutZeros
                |> Recipe.withOptions ([ "eps", zero; "lr_decay", zero; "initial_accumulator_value", zero ] @ noDecay))
            (fun subject s ->
                let lr = number s "lr"

                let grows =
                    Run.trace subject s
                    |> Seq.pairwise
                    |> Seq.collect (fun (before, after) ->
                        Seq.zip (Snapshot.row "sum" 0 before) (Snapshot.row "sum" 0 after)
                        |> Seq.map (fun (before, after) ->
                            before <= after
                            |> Verdict.require (fun () -> sprintf "a sum fell from %s to %s" (string before) (string after))))
                    |> Verdict.all

                let bounded =
                    let bound = lr * (1.0 + Tolerances.allowed "A7" * Number.u s.DType)

                    Updates.exact subject s
                    |> Seq.collect Seq.concat
                    |> Seq.map (fun x ->
                        abs x <= bound
                        |> Verdict.require (fun () -> sprintf "a step of %s, and lr is %s" (Number.describe s.DType x) (string lr)))
                    |> Verdict.all

                let steady = constantly s

                let roots =
                    Array.init steady.History.Length (fun t ->
                        [|
                            s.First
                            |> Array.map (fun g -> -(direction s) * lr * float (sign g) / sqrt (float (t + 1)))
                        |])

                let comparator t =
                    Comparator.rel (Tolerances.allowed "A7" + float t / 8.0)

                Verdict.all
                    [
                        grows
                        bounded
                        Updates.compare comparator s.DType roots (Updates.exact subject steady)
                    ]
                |> Verdict.tellingIf (lr > 0.0))

    /// A6: the bound of RMSprop's step, and that it is reached.
    let rmspropBound =
        Statement.about
            "A6"
            "no step is longer than lr / sqrt(1 - alpha), which the first one reaches"
            (named [ "RMSprop" ])
            (fun rule ->
                Recipe.one rule
                |> Recipe.withoutZeros
                |> Recipe.withOptions ([ "eps", zero; "momentum", zero; "centered", off ] @ noDecay))
            (fun subject s ->
                let lr, alpha = number s "lr", number s "alpha"
                let bound = lr / sqrt (1.0 - alpha)
                let slack = Tolerances.allowed "A6" * Number.u s.DType
                let updates = Updates.exact subject s

                let within =
                    updates
                    |> Seq.collect (fun update -> update[0])
                    |> Seq.map (fun x ->
                        abs x <= bound * (1.0 + slack)
                        |> Verdict.require (fun () -> sprintf "%s, and the bound is %s" (Number.describe s.DType x) (string bound)))

                let reached =
                    updates[0][0]
                    |> Seq.map (fun x ->
                        abs x >= bound * (1.0 - slack)
                        |> Verdict.require (fun () ->
                            sprintf "the first step is %s, less than %s" (Number.describe s.DType x) (string bound)))

                if alpha >= 1.0 || lr = 0.0 then
                    Verdict.Trivial
                else
                    Verdict.all (Seq.append within reached))

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

    /// A11: ASGD's iterates and their average.
    let asgdAverage =
        Statement.withDraw
            "A11"
            "with lambd 0 and alpha 0 the iterates are SGD's, and ax is the mean of those from step t0 + 2 on"
            (named [ "ASGD" ])
            (fun rule ->
                { Recipe.one rule with Steps = 1, 12 }
                |> Recipe.withOptions [ "lambd", zero; "alpha", zero ])
            (Gen.choose (0, 6))
            (fun subject t0 s ->
                let s = Run.withOptions [ "t0", Options.ofNumber (float t0) ] s
                let sgd = Rules.Find "SGD"

                let options =
                    [ "lr"; "weight_decay"; "maximize" ]
                    |> List.map (fun name -> name, s.Rule.Read(s.Options, name))

                let iterates =
                    Run.trace
                        (Subject.ofRule sgd)
                        { s with
                            Rule = sgd
                            Options = Options.set options sgd sgd.Defaults
                        }

                let trace = Run.trace subject s

                [
                    for t in 1 .. s.History.Length do
                        Snapshot.compareTheta Comparator.bit iterates[t] trace[t]

                        let averaged =
                            iterates[min t (t0 + 2) .. t] |> Array.map (fun moment -> moment.Theta[0])

                        let mean, size =
                            Array.transpose averaged
                            |> Array.map (fun values -> Array.average values, values |> Array.map abs |> Array.max)
                            |> Array.unzip

                        // Each of the steps rounds once, at the size of the iterates.
                        Seq.zip3 mean size (Snapshot.row "ax" 0 trace[t])
                        |> Seq.map (fun (mean, size, ax) ->
                            let comparator =
                                Comparator.within (Tolerances.allowed "A11" + float averaged.Length / 2.0) size

                            Comparator.arrays comparator s.DType [| Number.round s.DType mean |] [| ax |])
                        |> Verdict.all
                        |> Verdict.where (sprintf "ax after step %d" t)
                ]
                |> Verdict.all
                |> Verdict.tellingIf (s.History.Length > t0 + 2 && Run.moves subject s))

    /// NAdam's momentum in a step.
    let private momentum (s: Scenario) (t: int) =
        let struct (beta1, _) = betas s
        beta1 * (1.0 - 0.5 * Math.Pow(0.96, float t * number s "momentum_decay"))

    /// A12: NAdam's product of momenta, and the step that is made with it.
    let nadamProduct =
        Statement.about
            "A12"
            "mu_product is the product of b1 (1 - 0.96^(t psi) / 2), and the mean goes with the product of one step more"
            (named [ "NAdam" ])
            (fun rule ->
                { Recipe.one rule with Steps = 1, 30 }
                |> Recipe.withoutZeros
                |> Recipe.withOptions noDecay)
            (fun subject s ->
                let lr, eps = number s "lr", number s "eps"
                let struct (_, beta2) = betas s
                let trace, updates = Run.trace subject s, Updates.exact subject s
                let mutable product = 1.0

                [
                    for t in 1 .. s.History.Length do
                        product <- product * momentum s t
                        let ahead = product * momentum s (t + 1)
                        let exact = Comparator.rel (Tolerances.allowed "A12" * float t)

                        Comparator.arrays exact DType.Float64 [| product |] (Snapshot.scalar "mu_product" trace[t])
                        |> Verdict.where (sprintf "mu_product after step %d" t)

                        let m, v = Snapshot.row "exp_avg" 0 trace[t], Snapshot.row "exp_avg_sq" 0 trace[t]
                        let gradient = Row.only s.History[t - 1]

                        for i in 0 .. m.Length - 1 do
                            let denominator = sqrt (v[i] / (1.0 - Math.Pow(beta2, float t))) + eps
                            let ofGradient = direction s * (1.0 - momentum s t) / (1.0 - product) * gradient[i]
                            let ofMean = momentum s (t + 1) / (1.0 - ahead) * m[i]
                            let size = lr * (abs ofGradient + abs ofMean) / denominator
                            let expected = -lr * (ofGradient + ofMean) / denominator

                            let comparator = Comparator.within (Tolerances.allowed "A12" * 2.0 + float t) size

                            let actual = updates[t - 1][0]

                            Comparator.arrays comparator s.DType [| Number.round s.DType expected |] [| actual[i] |]
                            |> Verdict.where (sprintf "step %d" t)
                ]
                |> Verdict.all
                |> Verdict.tellingIf (lr > 0.0 && s.History.Length > 1))

    /// A13: RAdam before and after its variance is tractable.
    let radamRectifies =
        Statement.about
            "A13"
            "while the length of the average is at most 5 the step is lr times the corrected mean, and rectified from then on"
            (named [ "RAdam" ])
            (fun rule ->
                { Recipe.one rule with Steps = 1, 12 }
                |> Recipe.withoutZeros
                |> Recipe.withOptions noDecay)
            (fun subject s ->
                let lr, eps = number s "lr", number s "eps"
                let struct (beta1, beta2) = betas s
                let longest = 2.0 / (1.0 - beta2) - 1.0
                let trace, updates = Run.trace subject s, Updates.exact subject s

                [
                    for t in 1 .. s.History.Length do
                        let power = Math.Pow(beta2, float t)
                        let length = longest - 2.0 * float t * power / (1.0 - power)
                        let m, v = Snapshot.row "exp_avg" 0 trace[t], Snapshot.row "exp_avg_sq" 0 trace[t]

                        let rectified =
                            (length - 4.0) * (length - 2.0) * longest
                            / ((longest - 4.0) * (longest - 2.0) * length)

                        let expected =
                            Array.map2
                                (fun m v ->
                                    let plain = -lr * m / (1.0 - Math.Pow(beta1, float t))

                                    if length > 5.0 then
                                        plain * sqrt (rectified * (1.0 - power)) / (sqrt v + eps)
                                    else
                                        plain)
                                m
                                v

                        // Next to float64 parameters the rounding of beta2^t counts: it is taken off lengths that are nearly equal.
                        let conditioning = if s.DType = DType.Float32 then 0.0 else 4.0 * longest

                        let expected = expected |> Array.map (Number.round s.DType)

                        Comparator.arrays
                            (Comparator.rel (Tolerances.allowed "A13" + conditioning))
                            s.DType
                            expected
                            (Array.head updates[t - 1])
                        |> Verdict.where (sprintf "step %d" t)
                ]
                |> Verdict.all
                |> Verdict.tellingIf (lr > 0.0))

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
            adamBound
            adamaxBound
            adagradSums
            rmspropBound
            amsgrad
            rpropSigns
            lionSigns
            asgdAverage
            nadamProduct
            radamRectifies
            quadratic
        ]
