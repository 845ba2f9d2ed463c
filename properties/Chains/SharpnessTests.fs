/// Sharpness-aware minimization over a closure.
module SharpnessTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Core.Chain
open Optim.Kernels
open Optim.Laws
open ChainKit

let private sharpnessTests =
    test "SAM, WSAM and LookSAM: a closure that throws, the first or the second time, leaves everything as it was" {
        let make: (Optimizer -> SharpnessAware) list =
            [
                (fun o -> SAM o)
                (fun o -> WSAM o)
                (fun o -> WSAM(o, decouple = false, maxNorm = Nullable 1.0))
                (fun o -> LookSAM(o, k = 2))
            ]

        for dtype in [ DType.Float32; DType.BFloat16 ] do
            for make in make do
                let parameter =
                    Param.Of("w", Tensor.shaped [| 4L |] dtype [| 1.0; -2.0; 0.5; 3.0 |])

                let optimizer =
                    RuleOptimizer(Rules.AdamW, [ parameter :> IParameterOrGroup ], struct ("lr", OptionValue.Float 0.1))

                let outer = make optimizer

                let read () =
                    (parameter :> IParameter).Data.ToDoubles()

                let mutable failing = 0
                let mutable calls = 0

                let closure () =
                    calls <- calls + 1

                    if calls = failing then
                        failwith "no data"

                    parameter.BindGradient(Tensor.shaped [| 4L |] dtype (read ()))
                    1.0

                for round in 0..3 do
                    for at in [ 1; 2 ] do
                        // LookSAM looks around in every other step.
                        if not (outer :? LookSAM && round % 2 = 1 && at = 2) then
                            calls <- 0
                            failing <- at
                            let before, saved = read (), optimizer.StateDict().ToTree().ToString()
                            Expect.throws (fun () -> outer.Step(Func<float> closure) |> ignore) "throws"
                            Expect.equal (read ()) before "parameters"
                            Expect.equal (optimizer.StateDict().ToTree().ToString()) saved "state"

                    failing <- 0
                    let before = read ()
                    Expect.equal (outer.Step(Func<float> closure)) 1.0 "the loss"
                    Expect.notEqual (read ()) before "moves"

        // The functional form comes to the same.
        let start = [| 1.0; -2.0; 0.5 |]

        let gradients (parameters: Parameters) =
            Gradients.OfDense
                [
                    Tensor.ofFloats DType.Float64 (Array.map (fun x -> 2.0 * x) (parameters[0].ToDoubles()))
                ]

        let parameters = Parameters.Of [ TensorView.Of(Array.copy start) ]
        let mutable state = Rules.SGD.Init(Rules.SGD.Defaults, parameters)
        let shell = Param.Of("w", TensorView.Of(Array.copy start))
        let sam = SAM(RuleOptimizer(Rules.SGD, [ shell :> IParameterOrGroup ]), rho = 0.5)

        for _ in 1..3 do
            state <- Sam.step Rules.SGD Rules.SGD.Defaults 0.5 gradients parameters state

            sam.Step(
                Func<float>(fun () ->
                    shell.SetGradient(ReadOnlySpan<float>(Array.map (fun x -> 2.0 * x) (shell.Data<float>().ToArray())))
                    0.0)
            )
            |> ignore

        Expect.equal (shell.Data<float>().ToArray()) (parameters[0].ToDoubles()) "the same bits"
    }

let private resumeTests =
    test "LookSAM goes on from its saved state bit for bit, and refuses what is none" {
        let make (start: float array) =
            let parameter = Param.Of("w", TensorView.Of(Array.copy start))

            let optimizer =
                RuleOptimizer(Rules.AdamW, [ parameter :> IParameterOrGroup ], struct ("lr", OptionValue.Float 0.1))

            struct (parameter, optimizer, LookSAM(optimizer, k = 3))

        let step (parameter: Param) (sam: LookSAM) =
            sam.Step(
                Func<float>(fun () ->
                    parameter.SetGradient(ReadOnlySpan<float>(Array.map (fun x -> x * x - 1.0) (parameter.Data<float>().ToArray())))
                    0.0)
            )
            |> ignore

        for before in 0..4 do
            let struct (parameter, optimizer, sam) = make [| 1.5; -2.0; 0.5; 3.0 |]

            for _ in 1..before do
                step parameter sam

            let struct (other, resumed, again) = make (parameter.Data<float>().ToArray())
            resumed.LoadStateDict(optimizer.StateDict()) |> ignore
            again.LoadStateDict(sam.StateDict()) |> ignore

            for _ in 1..4 do
                step parameter sam
                step other again

            Expect.equal (other.Data<float>().ToArray()) (parameter.Data<float>().ToArray()) $"after {before} steps"

        let struct (parameter, _, sam) = make [| 1.0; 2.0 |]
        step parameter sam
        let saved = sam.StateDict().ToString()
        let int (value: int64) = Tree.Int value

        for wrong, words in
            [
                int 3L, "must be a dict"
                Tree.Dict(struct ("looksam_step", int 1L)), "missing: gv"
                Tree.Dict(struct ("looksam_step", int -1L), struct ("gv", Tree.ListOf [])), "at least 0"
                Tree.Dict(struct ("looksam_step", int 1L), struct ("gv", int 1L)), "must be a list"
                Tree.Dict(struct ("looksam_step", int 1L), struct ("gv", Tree.ListOf [ Tree.Tensor(TensorView.Of [| 1.0; 2.0; 3.0 |]) ])),
                "'gv' of parameter 0"
            ] do
            let refused =
                Expect.throwsC (fun () -> sam.LoadStateDict wrong |> ignore) (fun e -> e.Message)

            Expect.stringContains refused words "refused in words"

        Expect.equal (sam.StateDict().ToString()) saved "nothing has changed"
    }

[<Tests>]
let tests = testSequenced <| testList "wrappers" [ sharpnessTests; resumeTests ]
