/// What surrounds the steps of parameters on other devices: it goes over copies in the processor's memory, with the same numbers.
module DeviceAroundTests

open System
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Optim.Kernels
open DeviceKit
open Kit

let private start = [ [ 3L; 2L ], 1; [ 5L ], 2 ]

/// Parameters and what sets their gradients; those that `isThere` tells of lie on the pretended device.
let private made (dtype: DType) isThere =
    let place row (view: TensorView) =
        if isThere row then moved view else view

    [
        for row, (shape, seed) in List.indexed start do
            let count = int (List.fold (*) 1L shape)

            let tensor seed =
                place row (tensor dtype (List.toArray shape) (noise seed count))

            let p = Param.Of($"w{row}", tensor seed)
            p, (fun step -> p.BindGradient(tensor (100 * step + seed)))
    ]

let private parametersOf made =
    [ for p: Param, _ in made -> p :> IParameter ]

let private numbers made =
    [| for p: Param, _ in made -> p.View.ToDoubles() |]

/// All that may surround a step, over batches of two; parameters, averages, gradients, and whether the steps were skipped.
let private attached dtype isThere (clip: GradientClip) accumulate =
    let list = made dtype isThere
    let optimizer = Adam(Seq.cast<IParameterOrGroup>(parametersOf list), lr = 0.1)

    let average =
        AveragedParameters(parametersOf list, multiAvgFn = AveragedParameters.GetEmaMultiAvgFn 0.5)

    optimizer.Attach(clip, GradScaler 4.0, average, zeroGrad = true, accumulate = accumulate)

    let skipped =
        [|
            for step in 1..8 do
                for _, set in list do
                    set step

                if step = 5 then
                    let p: Param = fst list[1]
                    let bad = tensor dtype [| 5L |] [| 1.0; infinity; 0.0; 0.0; 1.0 |]
                    p.BindGradient(if isThere 1 then moved bad else bad)

                optimizer.Step()
                optimizer.LastStepSkipped
        |]

    use _ = average.Applied()
    let averages = numbers list
    struct (averages, [| for p, _ in list -> p.GradientView.ToDoubles() |], skipped)

let private places = [ "all", (fun _ -> true); "some", (fun row -> row = 1) ]

let private near what (actual: float[][]) (expected: float[][]) =
    for row, (actual, expected) in Seq.indexed (Seq.zip actual expected) do
        close $"{what} {row}" torch.float32 actual expected

let tests =
    [
        test "clipping, scaling, averages, zeros and accumulation attached to the steps of parameters elsewhere" {
            for dtype in [ DType.Float32; DType.Float64 ] do
                for clip in [ ClipGradNorm 1.0 :> GradientClip; ClipGradValue 0.3 ] do
                    for accumulate in [ 1; 2 ] do
                        let struct (expected, zeros, skipped) =
                            attached dtype (fun _ -> false) clip accumulate

                        Expect.isTrue (Array.contains true skipped && Array.contains false skipped) "a step is skipped"

                        for place, isThere in places do
                            let struct (actual, gradients, others) = attached dtype isThere clip accumulate
                            let what = $"{place}, {dtype}, {clip}, {accumulate}"
                            near what actual expected
                            Expect.equal gradients zeros $"{what}: gradients afterwards"
                            Expect.equal others skipped $"{what}: skipped"
        }

        test "sparse gradients elsewhere: attached, accumulated beside dense ones, and saved meanwhile" {
            let run isThere (clip: GradientClip) accumulate =
                let place (view: TensorView) = if isThere then moved view else view
                let p = Param.Of("table", place (tensor DType.Float32 [| 4L; 2L |] (noise 1 8)))
                let optimizer = Adagrad([ p :> IParameterOrGroup ], lr = 0.1)
                let average = AveragedParameters [ p :> IParameter ]
                optimizer.Attach(clip, GradScaler 4.0, average, zeroGrad = true, accumulate = accumulate)

                for step in 1..7 do
                    let rows = [| 1L; int64 (step % 4); 1L |]

                    if step % 3 = 0 then
                        p.BindGradient(place (tensor DType.Float32 [| 4L; 2L |] (noise (20 + step) 8)))
                    else
                        p.SetSparseGradient(place (TensorView.Of rows), place (tensor DType.Float32 [| 3L; 2L |] (noise (10 + step) 6)))

                    optimizer.Step()
                    optimizer.LoadStateDict(optimizer.StateDict().Clone()) |> ignore

                Expect.isTrue (optimizer.StepAccumulated() = (accumulate > 1)) "the rest"
                p.View.ToDoubles(), average["table"].ToDoubles()

            for clip in [ ClipGradNorm 1.0 :> GradientClip; ClipGradValue 0.3 ] do
                for accumulate in [ 1; 2 ] do
                    let expected, expectedAverage = run false clip accumulate
                    let actual, average = run true clip accumulate
                    close $"{clip}, {accumulate}" torch.float32 actual expected
                    close $"{clip}, {accumulate}: average" torch.float32 average expectedAverage
        }

        test "indices of a sparse gradient that lie elsewhere are refused" {
            let rule = rule "SGD"
            let parameters = Parameters.Of [ tensor DType.Float32 [| 4L; 2L |] (noise 1 8) ]

            let gradient =
                Gradient.OfSparse(moved (TensorView.Of [| 1L |]), tensor DType.Float32 [| 1L; 2L |] [| 1.0; 1.0 |])

            refuses<NotSupportedException> "indices" [ "parameter 0"; "pretend:0"; "cpu" ] (fun () ->
                rule.Step(rule.Defaults, parameters, Gradients.Of [ gradient ], rule.Init(rule.Defaults, parameters))
                |> ignore)
        }

        test "clipping by hand, unscaling and averages of parameters elsewhere, bit for bit" {
            for dtype in [ DType.Float32; DType.Float64; DType.BFloat16 ] do
                let run isThere =
                    let list = made dtype isThere

                    for _, set in list do
                        set 1

                    let gradients () =
                        [| for p: Param, _ in list -> p.GradientView.ToDoubles() |]

                    let parameters = parametersOf list
                    let optimizer = SGD(Seq.cast<IParameterOrGroup> parameters, lr = 0.1)
                    let average = AveragedParameters parameters
                    average.UpdateParameters()
                    let scaler = GradScaler 8.0
                    scaler.Scale 1.0 |> ignore
                    scaler.Unscale optimizer
                    let unscaled = gradients ()
                    let norm = ClipGrad.Norm(parameters, 1.0)
                    let clipped = gradients ()
                    ClipGrad.Value(parameters, 0.2)

                    for p, _ in list do
                        p.View.CopyFrom p.GradientView

                    average.UpdateParameters()
                    use _ = average.Applied()
                    struct (norm, unscaled, clipped, gradients (), numbers list)

                let expected = run (fun _ -> false)

                for place, isThere in places do
                    Expect.equal (run isThere) expected $"{place}, {dtype}"
        }
    ]
