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

[<Tests>]
let tests = testSequenced <| testList "wrappers" [ sharpnessTests ]
