/// Steps with what surrounds them, as functions of immutable records: the bits of the same functions one after the other.
module StepTests

open System
open Expecto
open Optim.Core
open Optim.Core.Step
open Optim.Kernels
open Kit

/// How tensors lie, and which gradients are sparse.
type private Lay =
    | Contiguous
    | Strided
    | SparseRows

let private shapes = [ [| 3L; 4L |]; [| 5L; 7L |]; [| 2L; 2L |] ]

let private made lay dtype =
    let tensor seed (shape: int64[]) =
        let values = noise seed (int (Array.fold (*) 1L shape))

        if lay = Strided then
            Optim.Laws.Memory.lay (seed % 3) shape dtype values
        else
            tensor dtype shape values

    let parameters =
        Parameters.Of(shapes |> List.mapi (fun row shape -> tensor (1 + row) shape))

    let gradients step (scale: float) =
        Gradients.Of
            [
                for row, shape in List.indexed shapes do
                    let values = noise (10 * step + row) (int (Array.fold (*) 1L shape))
                    let scaled = values |> Array.map (fun x -> scale * x)

                    if row = 2 && step % 2 = 0 && lay <> SparseRows then
                        Gradient.Absent
                    elif lay = SparseRows && row < 2 then
                        Gradient.OfSparse(
                            TensorView.Of [| 1L; 0L; 1L |],
                            Kit.tensor dtype [| 3L; shape[1] |] (Array.truncate (3 * int shape[1]) scaled)
                        )
                    elif lay = Strided then
                        Gradient.OfDense(Optim.Laws.Memory.lay (step % 3) shape dtype scaled)
                    else
                        Gradient.OfDense(Kit.tensor dtype shape scaled)
            ]

    parameters, gradients

let private limit, maxNorm, scale = 0.6, 2.5, 1024.0

let private scaling =
    LossScaling.make
        { LossScaling.defaults with
            Scale = scale
            GrowthInterval = 2L
        }

let private averagings =
    [
        Averaging.exponential 0.9
        { Averaging.exponential 0.99 with
            Warmup = true
        }
        { Averaging.equal with Every = 2L }
    ]

/// Averages of which the last lie in row-major order, whatever the order of the parameters.
let private averagesOf (parameters: Parameters) =
    let rowMajor =
        Average.over
            (Parameters.Of
                [
                    for row in 0 .. parameters.Count - 1 ->
                        TensorView.Zeros(parameters[row].DType.ToStateDType(), parameters[row].Shape.AsSpan())
                ])
            0L
            0L

    [ Average.init parameters; Average.init parameters; rowMajor ]

let private around' scaling averages =
    around
        [
            unscale scaling
            clipByGlobalNorm maxNorm
            clipByValue limit
            yield! List.map2 averageBy averagings averages
        ]

/// The same by hand: each function for itself.
let private byHand (rule: Rule<'o>) options parameters gradients state scaling averages =
    let gradients = Clipping.copy gradients
    Clipping.scale (LossScaling.inverse scaling) gradients Executor.Caller
    let total = Clipping.byNorm maxNorm 2.0 gradients
    Clipping.byValue limit gradients
    let state = Rule.step rule options parameters gradients state

    total, state, LossScaling.update false scaling, List.map2 (fun averaging a -> Average.update averaging parameters a) averagings averages

let private sameAsByHand name (rule: Rule<'o>) (options: 'o) lay dtype =
    let what = $"{name}, {lay}, {dtype}"
    let mine, gradients = made lay dtype
    let theirs = mine.Copy()
    let alone = mine.Copy()

    let mutable state, handState, aloneState =
        Rule.init rule options mine, Rule.init rule options theirs, Rule.init rule options alone

    let mutable surrounded, averages, handScaling =
        around' scaling (averagesOf mine), averagesOf theirs, scaling

    for step in 1..5 do
        let given = gradients step handScaling.Scale
        let before = Clipping.copy given
        let after = surrounded |> run rule options mine given state

        let total, nextState, nextScaling, nextAverages =
            byHand rule options theirs before handState handScaling averages

        aloneState <- Rule.step rule options alone (gradients step 1.0) aloneState
        Expect.equal after.Kind StepKind.Moved what
        Expect.equal given (gradients step handScaling.Scale) $"{what}: gradients are read, and not written"
        Expect.equal mine theirs $"{what}: parameters after step {step}"
        Expect.equal after.State nextState $"{what}: state after step {step}"
        expectSameBits [| after.Norm; after.LossScale |] [| total; nextScaling.Scale |] $"{what}: norm and scale"

        for mine, theirs in List.zip (List.ofSeq after.Averages) nextAverages do
            Expect.equal mine theirs $"{what}: averages after step {step}"

        state <- after.State
        surrounded <- after.Around
        handState <- nextState
        handScaling <- nextScaling
        averages <- nextAverages

    // Rules that look at signs alone may give the same.
    if name = "SGD" then
        Expect.notEqual mine alone $"{what}: not what a step alone gives"

let private lion =
    Rule.define "LionAround" (fun r ->
        let lr = r.Number("lr", 1e-2, Interval.atLeast 0.0)
        let m = r.Column "exp_avg"
        let direction = Expression.Sign(0.9 * m + 0.1 * r.Gradient)
        r.Set(m, 0.99 * m + 0.01 * r.Gradient)
        r.Parameter - lr * direction)

let private lamb =
    Rule.define "NormAround" (fun r ->
        let lr = r.Number("lr", 1e-2, Interval.atLeast 0.0)

        r.Parameter
        - lr * Expression.Norm r.Parameter / (1.0 + Expression.NormOverAll r.Gradient)
          * r.Gradient)

let private all lay dtype =
    let one name rule options =
        sameAsByHand name rule options lay dtype

    match lay with
    | SparseRows ->
        one "SGD" SGD.rule SGD.defaults

        one
            "SGD momentum"
            SGD.rule
            { SGD.defaults with
                Lr = 0.1
                Momentum = 0.9
            }

        one "Adagrad" Adagrad.rule Adagrad.defaults
        one "definition" lion lion.Defaults
    | _ ->
        one "Adadelta" Adadelta.rule Adadelta.defaults
        one "Adafactor" Adafactor.rule Adafactor.defaults
        one "Adagrad" Adagrad.rule Adagrad.defaults
        one "Adam" Adam.rule { Adam.defaults with Amsgrad = true }
        one "AdamW" AdamW.rule AdamW.defaults
        one "Adamax" Adamax.rule Adamax.defaults
        one "ASGD" ASGD.rule ASGD.defaults
        one "Muon" Muon.rule Muon.defaults
        one "NAdam" NAdam.rule NAdam.defaults
        one "RAdam" RAdam.rule RAdam.defaults

        one
            "RMSprop"
            RMSprop.rule
            { RMSprop.defaults with
                Centered = true
            }

        one "Rprop" Rprop.rule Rprop.defaults
        one "SGD" SGD.rule { SGD.defaults with Momentum = 0.9 }
        one "definition" lion lion.Defaults
        one "definition with norms" lamb lamb.Defaults

let private adam (parameters: Parameters) = Adam.init Adam.defaults parameters

let private one (values: float list) =
    Parameters.Of [ TensorView.Of(List.toArray values) ]

let private of' (values: float list) =
    Gradients.OfDense [ TensorView.Of(List.toArray values) ]

let private tests' =
    [
        for lay in [ Contiguous; Strided; SparseRows ] do
            test $"every rule with all that may surround a step has the bits of the functions for themselves: {lay}" {
                for dtype in [ DType.Float32; DType.Float64; DType.BFloat16 ] do
                    // Laying is for the wide dtypes.
                    if lay <> Strided || dtype <> DType.BFloat16 then
                        all lay dtype
            }

        test "a surrounded step as a pure function touches nothing that it is given, and gives what the one in place gives" {
            for lay in [ Contiguous; Strided ] do
                let parameters, gradients = made lay DType.Float32

                let surrounded =
                    around
                        [
                            accumulate 1 (Accumulation.init 3)
                            unscale scaling
                            clipByGlobalNormOf infinity 0.5
                            average 0.9 (Average.init parameters)
                            zero
                        ]

                let given, state = gradients 1 scale, adam parameters
                let before = parameters.Copy(), Clipping.copy given, State.copy state

                let once = surrounded |> pureRun Adam.rule Adam.defaults parameters given state

                let twice = surrounded |> pureRun Adam.rule Adam.defaults parameters given state

                Expect.equal (parameters, given, state) before "what was given"
                Expect.isFalse state.IsSpent "the state"
                let inPlace = surrounded |> run Adam.rule Adam.defaults parameters given state

                for other in [ twice; inPlace ] do
                    Expect.equal other.Parameters once.Parameters "parameters"
                    Expect.equal other.Gradients once.Gradients "gradients"
                    Expect.equal other.State once.State "state"
                    Expect.equal (List.ofSeq other.Averages) (List.ofSeq once.Averages) "averages"
                    expectSameBits [| other.Norm; other.LossScale |] [| once.Norm; once.LossScale |] "numbers"

                Expect.notEqual parameters (let first, _, _ = before in first) "in place it moves"
                Expect.isTrue state.IsSpent "and spends the state"

                refuses<SpentStateException> "the averages are spent, too" [ "Average.copy" ] (fun () ->
                    surrounded
                    |> run Adam.rule Adam.defaults parameters given inPlace.State
                    |> ignore)
        }

        test "a gradient that is not finite leaves everything as it was, and the scale shrinks" {
            let parameters = one [ 1.0; 2.0 ]
            let state, averages = adam parameters, Average.init parameters

            let surrounded = around [ unscale scaling; average 0.9 averages; zero ]
            let given = of' [ 1.0; infinity ]
            let after = surrounded |> run Adam.rule Adam.defaults parameters given state
            Expect.equal after.Kind StepKind.Skipped "skipped"
            Expect.equal parameters (one [ 1.0; 2.0 ]) "parameters"
            Expect.isFalse (state.IsSpent || averages.IsSpent) "nothing is spent"
            Expect.equal after.LossScale (scale / 2.0) "the scale"
            Expect.equal after.Gradients (of' [ 0.0; 0.0 ]) "zero was asked for"

            let next =
                after.Around
                |> run Adam.rule Adam.defaults parameters (of' [ 512.0; 0.0 ]) after.State

            Expect.equal next.Kind StepKind.Moved "the next one"
            Expect.equal next.State.Counts[0] 1L "is the first"
        }

        test "so many calls make a step by the mean of their gradients" {
            let parameters, other = one [ 1.0; 2.0 ], one [ 1.0; 2.0 ]

            let mutable surrounded =
                around [ accumulate 3 (Accumulation.init 1); clipByGlobalNorm 1.0; zero ]

            let mutable state = adam parameters

            let kinds =
                [
                    for call in 1..6 do
                        let given = of' [ float call; 4.0 ]
                        let after = surrounded |> run Adam.rule Adam.defaults parameters given state
                        Expect.equal given (of' [ 0.0; 0.0 ]) "zero after each call"
                        surrounded <- after.Around
                        state <- after.State
                        after.Kind
                ]

            let accumulated, moved = StepKind.Accumulated, StepKind.Moved
            Expect.equal kinds [ accumulated; accumulated; moved; accumulated; accumulated; moved ] "kinds"
            let mutable hand = adam other

            for mean in [ 2.0; 5.0 ] do
                let gradients = of' [ mean; 4.0 ]
                Clipping.byNorm 1.0 2.0 gradients |> ignore
                hand <- Adam.step Adam.defaults other gradients hand

            Expect.equal parameters other "parameters"
            Expect.equal state hand "state"
        }

        test "another order, something twice, and numbers outside of their ranges are refused by name" {
            let parameters = one [ 1.0 ]
            let averages = Average.init parameters

            for surroundings, words in
                [
                    [ clipByValue 1.0; clipByGlobalNorm 1.0 ], [ "clipByGlobalNorm"; "before clipByValue" ]
                    [ zero; average 0.9 averages ], [ "average"; "before zero" ]
                    [ clipByGlobalNorm 1.0; unscale scaling ], [ "unscale"; "before clipByGlobalNorm" ]
                    [ unscale scaling; accumulate 2 (Accumulation.init 1) ], [ "accumulate"; "before unscale" ]
                    [ clipByValue 1.0; clipByValue 2.0 ], [ "clipByValue"; "twice" ]
                ] do
                refuses<ArgumentException> "around" words (fun () -> around surroundings |> ignore)

            for surrounding, words in
                [
                    clipByGlobalNorm -1.0, [ "max_norm"; "-1" ]
                    clipByValue nan, [ "clip_value"; "nan" ]
                    average 1.5 averages, [ "decay"; "1.5" ]
                    unscale { scaling with Scale = 0.0 }, [ "init_scale"; "0" ]
                ] do
                refuses<OptionException> "a number" words (fun () -> around [ surrounding ] |> ignore)

            refuses<ArgumentOutOfRangeException> "no calls" [ "accumulate"; "0" ] (fun () ->
                around [ accumulate 0 (Accumulation.init 1) ] |> ignore)

            let twice = around [ average 0.9 averages; average 0.99 averages ]

            refuses<ArgumentException> "one average twice" [ "average"; "same tensor" ] (fun () ->
                twice
                |> run Adam.rule Adam.defaults parameters (of' [ 1.0 ]) (adam parameters)
                |> ignore)

            Expect.equal parameters (one [ 1.0 ]) "nothing has moved"
        }

        test "an average of other parameters is refused, and float16 gradients are not unscaled" {
            let parameters = one [ 1.0; 2.0 ]
            let other = Average.init (one [ 1.0; 2.0; 3.0 ])

            refuses<ArgumentException> "another shape" [ "average"; "parameter 0" ] (fun () ->
                around [ average 0.9 other ]
                |> run Adam.rule Adam.defaults parameters (of' [ 1.0; 1.0 ]) (adam parameters)
                |> ignore)

            let halves = Parameters.Of [ tensor DType.Float16 [| 2L |] [| 1.0; 2.0 |] ]
            let gradients = Gradients.OfDense [ tensor DType.Float16 [| 2L |] [| 1.0; 2.0 |] ]

            refuses<ArgumentException> "float16" [ "FP16"; "parameter 0" ] (fun () ->
                around [ unscale scaling ]
                |> run Adam.rule Adam.defaults halves gradients (adam halves)
                |> ignore)
        }

        test "changed numbers make no kernels: factors of clipping and scaling, weights of averages" {
            let parameters, gradients = made Contiguous DType.Float32
            let mutable surrounded = around' scaling (averagesOf parameters)
            let mutable state = adam parameters

            let step index =
                let after =
                    surrounded
                    |> run Adam.rule Adam.defaults parameters (gradients index (scale * float index)) state

                surrounded <- after.Around
                state <- after.State

            // The first copies, and with a warm-up the average moves from the new value for some steps.
            for index in 1..24 do
                step index

            let made = ProgramEngine.Made

            for index in 25..40 do
                step index

            Expect.equal ProgramEngine.Made made "kernels"
        }
    ]

[<Tests>]
let tests = testList "around" [ testList "steps in F#" tests' ]
