/// Surrounded steps as functions: pure ones, skipped ones, several calls for a step, and what is refused.
module SurroundedStepTests

open System
open Expecto
open Optim.Core
open Optim.Core.Step
open Optim.Kernels
open Kit
open StepKit

let private tests' =
    [
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
    ]

[<Tests>]
let tests = testList "around" [ testList "steps in F#" tests' ]
