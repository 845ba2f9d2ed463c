/// LBFGS over parameters of other devices: its vectors are the processor's, so the bits are those of host parameters.
module LBFGSDeviceTests

open System
open System.Collections.Generic
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Optim.Kernels
open DeviceKit
open Kit

type private Tensor = torch.Tensor

/// A matrix, its columns one after the other, and two vectors, of which one has no gradient.
let private start dtype =
    let view shape seed =
        TensorView.OfDoubles(
            dtype,
            ReadOnlySpan(noise seed (List.fold (*) (dtype.Parts()) shape)),
            ReadOnlySpan [| for n in shape -> int64 n |]
        )

    let turned =
        TensorView.Zeros(Layout.Strided(dtype, ReadOnlySpan [| 4L; 3L |], ReadOnlySpan [| 1L; 4L |]))

    turned.CopyFrom(view [ 4; 3 ] 1)
    [ turned; view [ 5 ] 2; view [ 2 ] 3; view [ 3; 2 ] 4 ]

/// The mean of x^4 / 4 + x^2 / 2 - x over all but the third, and its gradients; those lie where their parameters do.
let private objective sign (parameters: Parameters) =
    let mutable loss = 0.0

    let gradients =
        [
            for row in 0 .. parameters.Count - 1 do
                if row = 2 then
                    Gradient.Absent
                else
                    let parameter = parameters[row]
                    let x = parameter.ToDoubles()

                    loss <-
                        loss
                        + sign * (x |> Array.sumBy (fun x -> x * x * x * x / 4.0 + x * x / 2.0 - x))

                    let slopes = x |> Array.map (fun x -> sign * (x * x * x + x - 1.0))

                    let here =
                        TensorView.OfDoubles(parameter.DType, ReadOnlySpan slopes, parameter.Shape.AsSpan())

                    Gradient.OfDense(if parameter.Layout.IsOnCpu then here else moved here)
        ]

    struct (loss, Gradients.Of gradients)

let private bitsOf (parameters: Parameters) (state: LBFGSState) =
    Array.concat
        [
            for row in 0 .. parameters.Count - 1 do
                yield parameters[row].ToDoubles()

            yield state.D.ToDoubles()
            yield state.PrevFlatGrad.ToDoubles()

            for vector in Seq.append state.OldDirs state.OldStps do
                yield vector.ToDoubles()

            yield
                [|
                    state.T
                    state.HDiag
                    state.PrevLoss
                    float state.FuncEvals
                    float state.NIter
                |]
        ]

/// Four steps; in between the state is copied, and restored from what is saved of it.
let private run options dtype (place: int -> TensorView -> TensorView) =
    let parameters = Parameters.Of(List.mapi place (start dtype))
    let sign = if options.Maximize then -1.0 else 1.0
    let mutable state = LBFGS.init options parameters

    for step in 1..4 do
        let struct (_, next) = LBFGS.step options parameters (objective sign) state
        state <- next

        if step = 2 then
            state <- LBFGS.copy state
        elif step = 3 then
            state <- LBFGS.ofTree parameters (LBFGS.toTree state)

    bitsOf parameters state

let private all' =
    [
        DType.Float32
        DType.Float64
        DType.BFloat16
        DType.Float16
        DType.Complex64
        DType.Complex128
    ]

let tests =
    [
        for search in [ LineSearch.None; LineSearch.StrongWolfe ] do
            for maximize in [ false; true ] do
                test $"other devices and the processor, together or alone, for every dtype: the same bits ({search}, maximize {maximize})" {
                    let options =
                        { LBFGS.defaults with
                            Lr = (if search = LineSearch.None then 0.1 else 1.0)
                            MaxIter = 4
                            HistorySize = 3
                            LineSearchFn = search
                            Maximize = maximize
                        }

                    for dtype in all' do
                        let expected = run options dtype (fun _ view -> view)
                        Expect.isFalse (Array.exists Double.IsNaN expected) "numbers"
                        expectSameBits (run options dtype (fun _ view -> moved view)) expected $"{dtype}, all elsewhere"

                        expectSameBits
                            (run options dtype (fun row view -> if row % 2 = 0 then moved view else view))
                            expected
                            $"{dtype}, some elsewhere"
                }

        test "parameters of two dtypes, each on a device of its own" {
            let mixed there =
                let parameters =
                    Parameters.Of
                        [
                            tensor DType.Float64 [| 3L |] (noise 1 3)
                            there (tensor DType.Float32 [| 2L; 2L |] (noise 2 4))
                            tensor DType.Float32 [| 1L |] [| 0.5 |]
                            there (tensor DType.BFloat16 [| 4L |] (noise 3 4))
                        ]

                let struct (_, state) =
                    LBFGS.step LBFGS.defaults parameters (objective 1.0) (LBFGS.init LBFGS.defaults parameters)

                bitsOf parameters state

            expectSameBits (mixed moved) (mixed id) "bits"
        }

        test "sparse gradients there" {
            let step there =
                let w: TensorView = there (tensor DType.Float64 [| 4L; 2L |] (noise 1 8))

                let evaluate (parameters: Parameters) =
                    let x = parameters[0].ToDoubles()
                    let rows = [| 3; 1; 3 |]
                    let share row = if row = 3 then 0.5 else 1.0

                    let values =
                        [|
                            for row in rows do
                                for c in 0..1 -> share row * 2.0 * x[2 * row + c]
                        |]

                    struct (Seq.sumBy (fun at -> x[at] * x[at]) [ 2; 3; 6; 7 ],
                            Gradients.Of
                                [
                                    Gradient.OfSparse(
                                        there (TensorView.Of [| for row in rows -> int64 row |]),
                                        there (TensorView.Of(values, [| 3L; 2L |]))
                                    )
                                ])

                let parameters = Parameters.Of [ w ]

                let struct (_, state) =
                    LBFGS.step LBFGS.defaults parameters evaluate (LBFGS.init LBFGS.defaults parameters)

                bitsOf parameters state

            expectSameBits (step moved) (step id) "bits"
        }

        test "an evaluation copies a parameter there and its gradient back, once each" {
            let mutable copies = 0
            let memory = TorchMemory()

            DeviceMemory.Register(
                "counted",
                { new DeviceMemory() with
                    member _.Zeros layout = memory.Zeros layout
                    member _.Fill(target, value) = memory.Fill(target, value)

                    member _.Copy(source, target) =
                        copies <- copies + 1
                        memory.Copy(source, target)
                }
            )

            LibTorch.Name("counted", 0)
            TensorExecutor.Register("counted", Torch.Operators :?> TensorExecutor)
            let device = Nullable(Device("counted", 0))

            let at () =
                TensorView.Zeros(Layout.Strided(DType.Float32, ReadOnlySpan [| 3L |], ReadOnlySpan [| 1L |], device))

            let w, g = at (), at ()
            let mutable evaluations = 0
            let mutable own = 0

            let evaluate (parameters: Parameters) =
                let before = copies
                evaluations <- evaluations + 1
                let x = parameters[0].ToDoubles()
                g.CopyFrom(tensor DType.Float32 [| 3L |] (x |> Array.map (fun x -> x - 1.0)))
                own <- own + copies - before
                struct (x |> Array.sumBy (fun x -> (x - 1.0) * (x - 1.0) / 2.0), Gradients.OfDense [ g ])

            let options =
                { LBFGS.defaults with
                    Lr = 0.1
                    MaxIter = 5
                }

            let parameters = Parameters.Of [ w ]

            let struct (_, state) =
                LBFGS.step options parameters evaluate (LBFGS.init options parameters)

            Expect.equal (evaluations, state.NIter) (5, 5L) "evaluations, iterations"
            // Each iteration reads the parameter, which the objective might have changed, and moves it.
            Expect.equal (copies - own) (evaluations + 2 * int state.NIter) "copies"
        }

        test "an objective that throws leaves parameters there as before; a pure step leaves them alone" {
            let parameters = Parameters.Of [ moved (tensor DType.Float32 [| 3L |] (noise 1 3)) ]
            let before = parameters[0].ToDoubles()
            let mutable calls = 0

            let evaluate parameters =
                calls <- calls + 1

                if calls = 3 then
                    failwith "enough"

                objective 1.0 parameters

            let state = LBFGS.init LBFGS.defaults parameters

            Expect.throws (fun () -> LBFGS.step LBFGS.defaults parameters evaluate state |> ignore) "it throws"
            expectSameBits (parameters[0].ToDoubles()) before "as before"

            let struct (after, _, _) =
                LBFGS.pureStep LBFGS.defaults parameters (objective 1.0) state

            expectSameBits (parameters[0].ToDoubles()) before "left alone"
            Expect.equal after[0].Device.Kind "pretend" "where the copy lies"
            Expect.notEqual (after[0].ToDoubles()) before "moved"
        }

        test "tensors of TorchSharp and host arrays in one optimizer, a closure that returns a tensor, state dicts and their loading" {
            for place, device, executor in places.Value do
                let run (device: torch.Device) executor =
                    let w = (tensorOf torch.float32 device [| 2L; 3L |] (noise 1 6)).requires_grad_ true
                    let half = (tensorOf torch.bfloat16 device [| 4L |] (noise 2 4)).requires_grad_ true
                    use host = Param.Of("host", tensor DType.Float32 [| 2L |] [| 0.5; -0.5 |])

                    let make () =
                        new LBFGS(
                            TorchKit.all [ host :> IParameter; yield! parametersAt executor [ "w", w; "half", half ] ],
                            maxIter = 3,
                            lineSearchFn = "strong_wolfe"
                        )

                    let mutable optimizer = make ()

                    let closure () =
                        optimizer.ZeroGrad()
                        let x = values host
                        host.SetGradient(tensor DType.Float32 [| 2L |] (x |> Array.map (fun x -> 2.0 * x)))
                        use wide = half.``to`` torch.float32
                        use off = w - torch.ones_like w
                        let squares = x |> Array.sumBy (fun x -> x * x) |> float32
                        use third = torch.tensor(squares).``to`` w.device
                        let loss: Tensor = (off * off).sum() + (wide * wide).sum() + third
                        loss.backward ()
                        loss

                    for step in 1..4 do
                        use _ = torch.no_grad ()
                        (optimizer.Step(Func<Tensor> closure)).Dispose()

                        if step = 2 then
                            let dict = optimizer.StateDict()
                            optimizer <- make ()
                            optimizer.LoadStateDict dict |> ignore

                    Array.concat [ doubles w; doubles half; values host ]

                let expected = run torch.CPU ValueNone
                let actual = run device executor
                Expect.all expected[0..5] (fun x -> abs (x - 1.0) < 0.1) "near the minimum"

                for a, b in Seq.zip actual expected do
                    // The loss of another device is summed up in another order.
                    Expect.isLessThan (abs (a - b)) 1e-2 place
        }
    ]
