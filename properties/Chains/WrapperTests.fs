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

let private lookaheadTests =
    test "R7: with a slow step of 1 fast weights follow the rule; with 0 they return to where they were at each synchronization" {
        for inner in [ adam :> Rule; Rules.AdamW; Rules.SGD ] do
            for dtype in [ DType.Float32; DType.Float64; DType.BFloat16 ] do
                let of' count =
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
        let s = { steps 6 with DType = DType.Float64 }
        let parameters, gradients = made s

        let means =
            [
                for pair in List.chunkBySize 3 gradients ->
                    Gradients.OfDense
                        [
                            for row in 0 .. parameters.Count - 1 ->
                                let all = pair |> List.map (fun g -> g[row].Values.ToDoubles())

                                let values =
                                    Array.init all.Head.Length (fun i -> List.averageBy (fun (g: float array) -> g[i]) all)

                                Tensor.shaped (Seq.toArray parameters[row].Shape) s.DType values
                        ]
            ]

        for inner in [ adam :> Rule; Rules.AdamW ] do
            let expected, _ = made s
            let mutable state = inner.Init(inner.Defaults, expected)

            for mean in means do
                state <- inner.Step(inner.Defaults, expected, mean, state)

            near 1e-14 inner.Name [| for p in expected -> p.ToDoubles() |] (run (Wrap.accumulate 3 inner) s)
            let start = [| for p in parameters -> p.ToDoubles() |]
            same "before the third" start (run (Wrap.accumulate 3 inner) { s with Steps = 2 })
    }

let private guardTests =
    test "a step that is left out changes neither parameters nor state, and the next one is the step that it would have been" {
        let s = { steps 3 with DType = DType.Float64 }
        let parameters, gradients = made s

        let bad value =
            gradients[1]
            |> Gradients.map (
                Gradient.map (fun view ->
                    let copy = view.Copy()
                    Tensor.set copy 0 value
                    copy)
            )

        for name, wrap, value in
            [
                "applyIfFinite", Wrap.applyIfFinite 1, nan
                "applyIfFinite", Wrap.applyIfFinite 1, infinity
                "skipLargeUpdates", Wrap.skipLargeUpdates 1e9, 1e5
            ] do
            let steps (rule: Rule) (history: Gradients list) =
                let parameters = parameters.Copy()
                let mutable state = rule.Init(rule.Defaults, parameters)

                for gradient in history do
                    state <- rule.Step(rule.Defaults, parameters, gradient, state)

                [| for p in parameters -> p.ToDoubles() |], state

            let rule = wrap adam :> Rule
            let expected, before = steps rule [ gradients[0]; gradients[2] ]
            let found, after = steps rule [ gradients[0]; bad value; gradients[2] ]
            same name expected found

            for column in before.Columns do
                for row in 0 .. parameters.Count - 1 do
                    same $"{name}: {column.Name}" [| column[row].ToDoubles() |] [| after[column.Name].[row].ToDoubles() |]

            same $"{name} and the rule itself" (steps adam [ gradients[0]; gradients[2] ] |> fst) found
            // Beyond the number of errors in a row it is let through.
            if name = "applyIfFinite" then
                let through, _ = steps rule [ bad value; bad value ]
                Expect.isFalse (through |> Array.forall (Array.forall Double.IsFinite)) "the second in a row"
    }

let private cautiousTests =
    test "cautious: what moves against the gradient's sign stays; around Lion, AdamW, SGD and a chain" {
        let s = { steps 1 with DType = DType.Float64 }
        let parameters, gradients = made s

        for inner in
            [
                OwnRuleFSharp.Lion.rule :> Rule
                Rules.AdamW
                adam :> Rule
                Wrap.before (addDecayedWeights 3.0) Rules.SGD :> Rule
            ] do
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

            if inner.Name.Contains "add_decayed" then
                Expect.isGreaterThan stayed 0 "some stay"
    }

let private wrapped: (string * Rule) list =
    [
        "lookahead", (Wrap.lookahead 2 0.5 adam) :> Rule
        "lookahead with momentum",
        (Wrappers.Lookahead(Rules.SGD, 2, 0.5, LookaheadMomentum.Pullback, options = { SGD.defaults with Momentum = 0.9 })) :> Rule
        "accumulate", (Wrap.accumulate 2 adam) :> Rule
        "applyIfFinite", (Wrap.applyIfFinite 2 adam) :> Rule
        "skipLargeUpdates", (Wrap.skipLargeUpdates 1e9 adam) :> Rule
        "average", (Wrap.average 0.9 Rules.AdamW) :> Rule
        "scheduleFree", (Wrap.scheduleFree 0.9 adam) :> Rule
        "scheduleFree of RMSprop", (Wrap.scheduleFree 0.9 Rules.RMSprop) :> Rule
        "cautious", (Wrap.cautious Rules.AdamW) :> Rule
        "orthoGrad", (Wrap.orthoGrad adam) :> Rule
        "gradientNoise", (Wrap.gradientNoise 0.01 0.55 3.0 Rules.Adam) :> Rule
        "trac", Wrappers.Trac(Rules.SGD, sPrev = 0.1) :> Rule
        "of wrapped ones", (adam |> Wrap.cautious |> Wrap.lookahead 2 0.5 |> Wrap.applyIfFinite 3) :> Rule
        "NAdam, which keeps a number", (Wrap.average 0.9 Rules.NAdam) :> Rule
    ]

let private resumeTests =
    test "wrapped rules are rules: half-way through a state dict with the same bits, in half types, with the options of both" {
        for name, rule in wrapped do
            for dtype in [ DType.Float32; DType.BFloat16 ] do
                let parameters () =
                    [|
                        Param.Of("weight", Tensor.shaped [| 3L; 4L |] dtype (Array.init 12 (fun i -> float i / 7.0 - 0.8)))
                        Param.Of("bias", Tensor.shaped [| 3L |] dtype [| 0.5; -0.25; 1.0 |])
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
                if name <> "trac" && read whole = read (parameters ()) then
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
        refused "Muon cannot be wrapped: it does not work element by element" (fun () -> Wrap.average 0.9 Rules.Muon |> ignore)
        refused "weight_decay is -1" (fun () -> rule.With(struct ("weight_decay", OptionValue.Float -1.0)) |> ignore)
        refused "has no lr" (fun () -> Wrap.scheduleFree 0.9 (chain [ sign ]) |> ignore)

        refused "rho is -1; it must be at least 0" (fun () ->
            SAM(RuleOptimizer(adam, [ Param.Of("w", TensorView.Of [| 1.0 |]) ]), -1.0)
            |> ignore)
    }

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
        ]
