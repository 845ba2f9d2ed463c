// Long, because each wrapper is tested around rules of every kind.
/// Rules around rules: their laws, what they refuse, and that they are rules like any other.
module WrapperTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Core.Chain
open Optim.Kernels
open Optim.Laws
open ChainKit

let private adam = chain [ scaleByAdam betas 1e-8; scale -0.1 ]
let private steps count = { sample with Steps = count }

/// Rules that look at whole tensors, which take their steps separately.
let private whole: Rule list =
    [ Rules.Muon; Rules.Adafactor; Rules.Find "CAME"; Rules.Find "SOAP" ]

let private matrices =
    [ "weight", [ 5L; 7L ]; "tall", [ 9L; 4L ]; "row", [ 1L; 3L ] ]

/// Tensors that a rule takes.
let private ofRule (rule: Rule) (s: Sample) =
    if whole |> List.contains rule then
        { s with
            Shapes =
                if rule.Name = "Muon" then
                    matrices
                else
                    matrices @ [ "bias", [ 5L ]; "scale", [] ]
        }
    else
        s

let private lookaheadTests =
    test "R7: with a slow step of 1 fast weights follow the rule; with 0 they return to where they were at each synchronization" {
        for inner in [ adam :> Rule; Rules.AdamW; Rules.SGD ] @ whole do
            for dtype in [ DType.Float32; DType.Float64; DType.BFloat16 ] do
                let of' count =
                    ofRule
                        inner
                        { sample with
                            Steps = count
                            DType = dtype
                        }

                for count in 1..7 do
                    same $"{inner.Name}, slow step 1" (run inner (of' count)) (run (Wrap.lookahead 3 1.0 inner) (of' count))

                let start = [| for parameter in fst (made (of' 1)) -> parameter.ToDoubles() |]

                for count in [ 3; 6 ] do
                    same $"{inner.Name}, slow step 0" start (run (Wrap.lookahead 3 0.0 inner) (of' count))

                if run (Wrap.lookahead 3 0.0 inner) (of' 2) = start then
                    failtest "between synchronizations nothing moves"
    }

let private accumulateTests =
    test "so many calls are one step by the mean of their gradients, and between them nothing moves" {
        for inner in [ adam :> Rule; Rules.AdamW ] @ whole do
            let s = ofRule inner { steps 6 with DType = DType.Float64 }
            let parameters, gradients = made s

            let means =
                [
                    for pair in List.chunkBySize 3 gradients ->
                        Gradients.OfDense
                            [
                                for row in 0 .. parameters.Count - 1 ->
                                    let all = pair |> List.map (fun g -> g[row].Values.ToDoubles())

                                    // As it is formed: eigenvectors of a few gradients turn by the last bit.
                                    let moved mean (taken, g) =
                                        Array.map2 (fun mean g -> mean + (g - mean) / (taken + 1.0)) mean g

                                    let values =
                                        List.zip [ 0.0; 1.0; 2.0 ] all
                                        |> List.fold moved (Array.zeroCreate all.Head.Length)

                                    Tensor.shaped (Seq.toArray parameters[row].Shape) s.DType values
                            ]
                ]

            let expected, _ = made s
            let mutable state = inner.Init(inner.Defaults, expected)

            for mean in means do
                state <- inner.Step(inner.Defaults, expected, mean, state)

            near 1e-12 inner.Name [| for p in expected -> p.ToDoubles() |] (run (Wrap.accumulate 3 inner) s)
            let start = [| for p in parameters -> p.ToDoubles() |]
            same "before the third" start (run (Wrap.accumulate 3 inner) { s with Steps = 2 })
            same "of one call" (run inner s) (run (Wrap.accumulate 1 inner) s)
    }

let private guardTests =
    test "a step that is left out changes neither parameters nor state, and the next one is the step that it would have been" {
        let wraps: (string * (Rule -> Rule) * float) list =
            [
                "applyIfFinite", Wrap.applyIfFinite 1, nan
                "applyIfFinite", Wrap.applyIfFinite 1, infinity
                "skipLargeUpdates", Wrap.skipLargeUpdates 1e9, 1e5
            ]

        for inner, (name, wrap, value) in List.allPairs ((adam :> Rule) :: whole) wraps do
            let s = ofRule inner { steps 3 with DType = DType.Float64 }
            let parameters, gradients = made s
            let name = $"{name} of {inner.Name}"

            let bad value =
                gradients[1]
                |> Gradients.map (
                    Gradient.map (fun view ->
                        let copy = view.Copy()
                        Tensor.set copy 0 value
                        copy)
                )

            let steps (rule: Rule) (history: Gradients list) =
                let parameters = parameters.Copy()
                let mutable state = rule.Init(rule.Defaults, parameters)

                for gradient in history do
                    state <- rule.Step(rule.Defaults, parameters, gradient, state)

                [| for p in parameters -> p.ToDoubles() |], state

            let rule = wrap inner
            let expected, before = steps rule [ gradients[0]; gradients[2] ]
            let found, after = steps rule [ gradients[0]; bad value; gradients[2] ]
            same name expected found

            for column in before.Columns do
                for row in 0 .. parameters.Count - 1 do
                    if not column[row].IsAbsent then
                        same $"{name}: {column.Name}" [| column[row].ToDoubles() |] [| after[column.Name].[row].ToDoubles() |]

            same $"{name} and the rule itself" (steps inner [ gradients[0]; gradients[2] ] |> fst) found
            // Beyond the number of errors in a row it is let through.
            if name.StartsWith "applyIfFinite" then
                // SOAP moves nothing in its first step.
                let through, _ = steps rule [ bad value; bad value; bad value ]
                Expect.notEqual through [| for p in parameters -> p.ToDoubles() |] "the second in a row"
    }

let private cautiousTests =
    test "cautious: what moves against the gradient's sign stays; around Lion, AdamW, SGD, a chain and rules of whole tensors" {
        for inner in
            [
                OwnRuleFSharp.Lion.rule :> Rule
                Rules.AdamW
                adam :> Rule
                Wrap.before (addDecayedWeights 3.0) Rules.SGD
                yield! whole
            ] do
            let s = ofRule inner { steps 1 with DType = DType.Float64 }
            let parameters, gradients = made s
            let plain = run inner s
            let masked = run (Wrappers.Cautious(inner, false)) s
            let scaled = run (Wrap.cautious inner) s
            let mutable stayed = 0

            for row in 0 .. parameters.Count - 1 do
                let x, g = parameters[row].ToDoubles(), gradients[0].[row].Values.ToDoubles()
                let agrees = Array.map3 (fun x y g -> (x - y) * g > 0.0) x plain[row] g
                let share = Array.averageBy (fun a -> if a then 1.0 else 0.0) agrees |> max 1e-3

                for i in 0 .. x.Length - 1 do
                    if agrees[i] then
                        Expect.equal masked[row].[i] plain[row].[i] "moves"
                        near 1e-12 "scaled" [| [| x[i] + (plain[row].[i] - x[i]) / share |] |] [| [| scaled[row].[i] |] |]
                    else
                        stayed <- stayed + 1
                        Expect.equal masked[row].[i] x[i] "stays"
                        Expect.equal scaled[row].[i] x[i] "stays"

            if inner.Name.Contains "add_decayed" || inner.Name = "Muon" then
                Expect.isGreaterThan stayed 0 "some stay"

        // A rule that maximizes goes along the gradient.
        let up: IOptimizerOptions list =
            [
                { SGD.defaults with Maximize = true }
                { Adafactor.defaults with
                    Maximize = true
                    Lr = 0.1
                }
            ]

        for inner, options in List.zip [ Rules.SGD :> Rule; Rules.Adafactor ] up do
            let s = ofRule Rules.Adafactor { steps 1 with DType = DType.Float64 }
            same $"{inner.Name}, up" (fst (runWith inner options s)) (run (Wrappers.Cautious(inner, false, options)) s)
    }

let private around (rule: Rule) : (string * Rule) list =
    [
        "lookahead", Wrap.lookahead 2 0.5 rule
        "lookahead from the first synchronization", Wrappers.Lookahead(rule, 2, 0.5, fromFirstSync = true)
        "accumulate", Wrap.accumulate 2 rule
        "applyIfFinite", Wrap.applyIfFinite 2 rule
        "skipLargeUpdates", Wrap.skipLargeUpdates 1e9 rule
        "average", Wrap.average 0.9 rule
        "scheduleFree", Wrap.scheduleFree 0.9 rule
        "cautious", Wrap.cautious rule
        "orthoGrad", Wrap.orthoGrad rule
        "gradientNoise", Wrap.gradientNoise 0.01 0.55 3.0 rule
        "trac", Wrappers.Trac(rule, sPrev = 0.1)
        "before centralize and clipByGlobalNorm",
        Wrap.before (Transform.Sequence(Transforms.Centralize, Transforms.ClipByGlobalNorm 0.5)) rule
    ]

let private wrapped: (string * Rule) list =
    [
        yield! around adam
        "lookahead with momentum",
        Wrappers.Lookahead(Rules.SGD, 2, 0.5, LookaheadMomentum.Pullback, options = { SGD.defaults with Momentum = 0.9 })
        "average of AdamW", Wrap.average 0.9 Rules.AdamW
        "scheduleFree of RMSprop", Wrap.scheduleFree 0.9 Rules.RMSprop
        "cautious AdamW", Wrap.cautious Rules.AdamW
        "gradientNoise of Adam", Wrap.gradientNoise 0.01 0.55 3.0 Rules.Adam
        "trac of SGD", Wrappers.Trac(Rules.SGD, sPrev = 0.1)
        "of wrapped ones", adam |> Wrap.cautious |> Wrap.lookahead 2 0.5 |> Wrap.applyIfFinite 3
        "NAdam, which keeps a number", Wrap.average 0.9 Rules.NAdam

        for rule in whole do
            for name, wrapped in around rule do
                $"{name} of {rule.Name}", wrapped

        "momentum of Muon", Wrappers.Lookahead(Rules.Muon, 2, 0.5, LookaheadMomentum.Pullback)
        "wrapped ones of Muon", Rules.Muon |> Wrap.cautious |> Wrap.lookahead 2 0.5 |> Wrap.applyIfFinite 3
        "accumulated trac of Adafactor", Rules.Adafactor |> Wrap.trac |> Wrap.accumulate 2
    ]

let private resumeTests =
    test "wrapped rules are rules: half-way through a state dict with the same bits, in half types, with the options of both" {
        for name, rule in wrapped do
            for dtype in [ DType.Float32; DType.BFloat16 ] do
                let parameters () =
                    [|
                        Param.Of("weight", Tensor.shaped [| 3L; 4L |] dtype (Array.init 12 (fun i -> float i / 7.0 - 0.8)))
                        // Muon takes matrices only.
                        Param.Of(
                            "bias",
                            Tensor.shaped
                                (if rule.Scope = RuleScope.Matrices then
                                     [| 3L; 1L |]
                                 else
                                     [| 3L |])
                                dtype
                                [| 0.5; -0.25; 1.0 |]
                        )
                    |]

                let optimizerOf (parameters: Param array) =
                    RuleOptimizer(rule, parameters |> Seq.map (fun p -> p :> IParameterOrGroup))

                let step (optimizer: Optimizer) (parameters: Param array) t =
                    for i in 0..1 do
                        let data = (parameters[i] :> IParameter).Data
                        let shape = Seq.toArray data.Shape

                        parameters[i]
                            .BindGradient(Tensor.shaped shape dtype (Array.init (int data.Count) (fun k -> sin (float (k + t * 5 + i)))))

                    optimizer.Step()

                let read (parameters: Param array) =
                    parameters |> Array.map (fun p -> (p :> IParameter).Data.ToDoubles())

                let whole = parameters ()
                let optimizer = optimizerOf whole

                for t in 0..6 do
                    step optimizer whole t

                let first = parameters ()
                let half = optimizerOf first

                for t in 0..2 do
                    step half first t

                let again =
                    first |> Array.map (fun p -> Param.Of(p.Name, (p :> IParameter).Data.Copy()))

                let other = optimizerOf again
                other.LoadStateDict(half.StateDict()) |> ignore

                for t in 3..6 do
                    step other again t

                same $"{name} in {dtype.Name()}" (read whole) (read again)

                // TRAC moves by very little at first.
                if not (name.Contains "trac") && read whole = read (parameters ()) then
                    failtestf "%s does not move" name

        let rule = Wrap.lookahead 5 0.5 Rules.AdamW

        Expect.containsAll
            (List.ofSeq rule.OptionNames)
            [ "lr"; "betas"; "eps"; "weight_decay"; "lookahead.k"; "lookahead.alpha" ]
            "options"

        Expect.sequenceEqual rule.ColumnNames [ "exp_avg"; "exp_avg_sq"; "lookahead.slow" ] "columns"

        let refused words (wrong: unit -> unit) =
            try
                wrong ()
                failtestf "taken: %s" words
            with
            | :? ArgumentException as e -> Expect.stringContains e.Message words words
            | :? NotSupportedException as e -> Expect.stringContains e.Message words words

        refused "lookahead: k is 0; it must be a whole number of at least 1" (fun () -> Wrap.lookahead 0 0.5 adam |> ignore)
        refused "alpha is 1.5; it must be in [0, 1]" (fun () -> Wrap.lookahead 2 1.5 adam |> ignore)
        refused "has no momentum_buffer" (fun () -> Wrappers.Lookahead(adam, momentum = LookaheadMomentum.Reset) |> ignore)
        refused "option 'lookahead.k' is declared twice" (fun () -> Rules.Muon |> Wrap.lookahead 2 0.5 |> Wrap.lookahead 2 0.5 |> ignore)
        refused "weight_decay is -1" (fun () -> rule.With(struct ("weight_decay", OptionValue.Float -1.0)) |> ignore)
        refused "has no lr" (fun () -> Wrap.scheduleFree 0.9 (chain [ sign ]) |> ignore)

        refused "rho is -1; it must be at least 0" (fun () ->
            SAM(RuleOptimizer(adam, [ Param.Of("w", TensorView.Of [| 1.0 |]) ]), -1.0)
            |> ignore)
    }

/// What rules of whole tensors come to by the formula of a wrapper, written here with steps of the rule itself.
let private wholeTests =
    [
        test "average, Schedule-Free and the momentum of Lookahead around rules of whole tensors, step by step" {
            for inner in whole do
                let s = ofRule inner { steps 5 with DType = DType.Float64 }
                let parameters, gradients = made s
                let n = parameters.Count
                let read (list: Parameters) = [| for p in list -> p.ToDoubles() |]

                let zip f (a: float array array) (b: float array array) = Array.map2 (Array.map2 f) a b

                // The rule itself, and the mean that moves with it.
                let plain = parameters.Copy()
                let mutable state = inner.Init(inner.Defaults, plain)
                let mutable ema, x, y = [||], read parameters, [||]

                for t, gradient in List.indexed gradients do
                    state <- inner.Step(inner.Defaults, plain, gradient, state)
                    let z = read plain

                    ema <-
                        if t = 0 then
                            z
                        else
                            zip (fun old fresh -> 0.9 * old + 0.1 * fresh) ema z

                    x <- zip (fun x z -> x + (z - x) / float (t + 1)) x z
                    y <- zip (fun x z -> 0.9 * x + 0.1 * z) x z

                let averaged, after =
                    runWith (Wrap.average 0.9 inner) (Wrap.average 0.9 inner).Defaults s

                same inner.Name (read plain) averaged
                near 1e-12 $"average of {inner.Name}" ema [| for row in 0 .. n - 1 -> after["average.ema"].[row].ToDoubles() |]
                // Schedule-Free's rule steps z by the gradients that it is given, wherever they were taken.
                near 1e-12 $"Schedule-Free of {inner.Name}" y (run (Wrap.scheduleFree 0.9 inner) s)
                same $"nothing before {inner.Name}" (read plain) (run (Wrap.before identity inner) s)
        }

        test "the momentum of Muon is synchronized, too: reset it is a new beginning, and with a slow step of 1 its own" {
            let s = ofRule Rules.Muon { steps 3 with DType = DType.Float64 }
            let parameters, gradients = made s
            let rule = Wrappers.Lookahead(Rules.Muon, 2, 1.0, LookaheadMomentum.Reset)
            let mutable state = rule.Init(rule.Defaults, parameters)

            for gradient in List.truncate 2 gradients do
                state <- rule.Step(rule.Defaults, parameters, gradient, state)

            for row in 0 .. parameters.Count - 1 do
                Expect.all (state["momentum_buffer"].[row].ToDoubles()) ((=) 0.0) "reset"

            let expected = parameters.Copy()
            let muon: Rule = Rules.Muon

            muon.Step(muon.Defaults, expected, gradients[2], muon.Init(muon.Defaults, expected))
            |> ignore

            rule.Step(rule.Defaults, parameters, gradients[2], state) |> ignore
            same "after" [| for p in expected -> p.ToDoubles() |] [| for p in parameters -> p.ToDoubles() |]
            same "pulled back" (run muon s) (run (Wrappers.Lookahead(muon, 2, 1.0, LookaheadMomentum.Pullback)) s)
        }

        test "a step of one parameter and not of another, a copied state, and what surrounds a step" {
            for inner in whole do
                for name, rule in around inner do
                    let s = ofRule inner { steps 6 with DType = DType.Float64 }
                    let _, gradients = made s

                    let some t (list: Gradients) =
                        Gradients.Of
                            [
                                for row in 0 .. list.Count - 1 -> if (t + row) % 3 = 1 then Gradient.Absent else list[row]
                            ]

                    let clipped (list: Gradients) =
                        let copy = Clipping.copy list
                        Clipping.byNorm 0.5 2.0 copy |> ignore
                        copy

                    let go step =
                        let parameters, _ = made s
                        let mutable state = rule.Init(rule.Defaults, parameters)

                        for t, gradient in List.indexed gradients do
                            if t = 3 then
                                state <- State.copy state

                            state <- step parameters (some t gradient) state

                        [| for p in parameters -> p.ToDoubles() |], state

                    let expected, state =
                        go (fun parameters list state -> rule.Step(rule.Defaults, parameters, clipped list, state))

                    let found, other =
                        go (fun parameters list state ->
                            let prepared = rule.Prepare(rule.Defaults, parameters, list, state)
                            // Asked twice, as by gradient accumulation, and then with the norm clipped on the way.
                            let prepared' = rule.Prepare(rule.Defaults, parameters, list, state)
                            Expect.isTrue (obj.ReferenceEquals(prepared, prepared')) "the same step"
                            let norm = Clipping.totalNorm 2.0 list

                            prepared'.Surround
                                { StepSurroundings.none with
                                    Clip = Nullable(Clipping.coefficient 0.5 norm)
                                }

                            prepared'.Run())

                    near 1e-9 $"{name} of {inner.Name}" expected found
                    Expect.equal [ for row in 0..2 -> other.Count row ] [ for row in 0..2 -> state.Count row ] "counts"
        }

        test "wrapped rules of whole tensors refuse what both refuse, with nothing moved" {
            let rule = Wrap.average 0.9 Rules.Muon
            let parameters = Parameters.Of [ TensorView.Of([| 1.0; 2.0 |], [| 1L; 2L |]) ]

            let refused words (wrong: unit -> unit) =
                try
                    wrong ()
                    failtestf "taken: %s" words
                with
                | :? ArgumentException
                | :? NotSupportedException
                | :? SpentStateException as e -> Expect.stringContains e.Message words words

            let state = rule.Init(rule.Defaults, parameters)

            refused "only supports 2D parameters" (fun () -> rule.Init(rule.Defaults, Parameters.Of [ TensorView.Of [| 1.0 |] ]) |> ignore)

            refused "average(Muon): average.decay is 2" (fun () -> rule.With(struct ("average.decay", OptionValue.Float 2.0)) |> ignore)
            refused "average(Muon): lr is -1" (fun () -> rule.With(struct ("lr", OptionValue.Float -1.0)) |> ignore)
            refused "has no option 'beta'" (fun () -> rule.With(struct ("beta", OptionValue.Float 0.5)) |> ignore)

            refused "sparse" (fun () ->
                let gradient =
                    Gradient.OfSparse(TensorView.Of [| 0L |], TensorView.Of([| 1.0; 2.0 |], [| 1L; 2L |]))

                rule.Step(rule.Defaults, parameters, Gradients.Of [ gradient ], state) |> ignore)

            refused "its shape must be that of the parameter" (fun () ->
                rule.Step(rule.Defaults, parameters, Gradients.OfDense [ TensorView.Of([| 1.0; 2.0 |], [| 2L; 1L |]) ], state)
                |> ignore)

            Expect.equal (parameters[0].ToDoubles()) [| 1.0; 2.0 |] "nothing moved"
            let gradients = Gradients.OfDense [ TensorView.Of([| 1.0; 2.0 |], [| 1L; 2L |]) ]
            rule.Step(rule.Defaults, parameters, gradients, state) |> ignore
            refused "consumed" (fun () -> rule.Step(rule.Defaults, parameters, gradients, state) |> ignore)

            Expect.containsAll
                (List.ofSeq (Wrap.lookahead 5 0.5 Rules.Muon).OptionNames)
                [ "lr"; "momentum"; "ns_steps"; "lookahead.k"; "lookahead.alpha" ]
                "options of both"

            Expect.sequenceEqual (Wrap.lookahead 5 0.5 Rules.Muon).ColumnNames [ "momentum_buffer"; "lookahead.slow" ] "columns of both"

            Expect.equal (Rules.Find "lookahead(5, 0.5, muon)").Name "lookahead(Muon)" "in the command"
        }
    ]

/// The rule itself and around nothing: what a wrapper makes of a rule's formula is the rule.
let private sameTests =
    test "a formula as a part of another program comes to its own numbers: its first step, too" {
        for rule in Rules.All do
            if rule.Name <> "SparseAdam" && rule.Scope = RuleScope.Elements then
                let options =
                    match rule.Name with
                    | "SGD" ->
                        { SGD.defaults with
                            Momentum = 0.9
                            Dampening = 0.5
                            WeightDecay = 0.1
                        }
                        :> IOptimizerOptions
                    | _ -> rule.Defaults

                let wrapped = Wrappers.Before(identity, rule, options)
                let s = { steps 9 with DType = DType.Float64 }
                near 1e-13 rule.Name (fst (runWith rule options s)) (run wrapped s)
    }

[<Tests>]
let tests =
    testSequenced
    <| testList
        "wrappers"
        [
            lookaheadTests
            accumulateTests
            guardTests
            cautiousTests
            resumeTests
            sameTests
            yield! wholeTests
        ]
