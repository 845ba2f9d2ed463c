/// A sparse gradient is the sum of its rows for clipping, scaling and averages, by hand and attached.
module SparseAroundTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit

let private table dtype rows columns =
    param "table" dtype [| rows; columns |] (Array.zeroCreate (int (rows * columns)))

let private give (p: Param) (rows: int64 list) (values: float list) =
    let columns = p.View.Shape[1]

    p.SetSparseGradient(TensorView.Of(List.toArray rows), tensor p.View.DType [| int64 rows.Length; columns |] (List.toArray values))

/// What stands in a sparse gradient, by row.
let private sums (p: Param) =
    let rows, values =
        p.GradientRows.AsSpan<int64>().ToArray(), p.GradientView.ToDoubles()

    let columns = int p.View.Shape[1]

    [
        for row, group in Seq.indexed rows |> Seq.groupBy snd do
            row,
            [
                for column in 0 .. columns - 1 -> group |> Seq.sumBy (fun (at, _) -> values[at * columns + column])
            ]
    ]

let private list (p: Param) = [ p :> IParameter ]

let private clipping =
    [
        test "norms of a gradient with repeated rows are those of its sums, and looking writes nothing" {
            let p = table DType.Float32 3L 2L
            give p [ 1L; 1L; 2L ] [ 3.0; 0.0; 1.0; 0.0; 0.0; 3.0 ]

            for order, expected in [ 2.0, 5.0; 1.0, 7.0; infinity, 4.0; 0.0, 1.0 ] do
                Expect.floatClose Accuracy.veryHigh (ClipGrad.TotalNorm(list p, order)) expected $"order {order}"
                let gradients = Gradients.Of [ Gradient.OfSparse(p.GradientRows, p.GradientView) ]
                Expect.floatClose Accuracy.veryHigh (Clipping.totalNorm order gradients) expected $"order {order}, in F#"

            expectSameBits (p.GradientView.ToDoubles()) [| 3.0; 0.0; 1.0; 0.0; 0.0; 3.0 |] "as it was"
        }
        test "clipped to 1, an embedding with a token twice in the batch moves by 1" {
            let p = table DType.Float64 3L 2L
            let optimizer = optimizer "SGD" [ "lr", Number 1.0 ] [ p ]
            give p [ 1L; 1L ] [ 6.0; 0.0; 0.0; 8.0 ]
            Expect.equal (ClipGrad.Norm(list p, 1.0)) 10.0 "norm"
            optimizer.Step()
            Expect.floatClose Accuracy.medium (values p |> Array.sumBy (fun x -> x * x)) 1.0 "the move"
        }
        test "clipping by value clamps sums" {
            let p = table DType.Float32 3L 2L
            give p [ 1L; 2L; 1L ] [ 3.0; -0.25; -1.0; 0.5; -2.5; -0.5 ]
            ClipGrad.Value(list p, 0.6)
            let limit = float 0.6f
            Expect.equal (sums p) [ 1L, [ 0.5; -limit ]; 2L, [ -limit; 0.5 ] ] "sums"

            let rows, values =
                TensorView.Of [| 0L; 0L |], TensorView.Of([| 3.0; -2.0 |], [| 2L; 1L |])

            Clipping.byValue 0.75 (Gradients.Of [ Gradient.OfSparse(rows, values) ])
            expectSameBits (values.ToDoubles()) [| 0.75; 0.0 |] "in F#"
        }
        test "indices with several dimensions, values of any dtype and strides" {
            for dtype in [ DType.Float32; DType.Float64; DType.BFloat16; DType.Float16 ] do
                let rows = TensorView.Of([| 0L; 1L; 0L; 2L; 0L; 2L |], [| 2L; 3L |])

                let make =
                    if dtype = DType.Float32 || dtype = DType.Float64 then
                        Optim.Laws.Memory.lay 1
                    else
                        fun shape dtype -> tensor dtype shape

                let values = make [| 3L; 2L |] dtype [| 1.0; 2.0; 3.0; 4.0; 5.0; 6.0 |]

                let gradient = Gradient.OfSparse(rows, values)
                let coalesced = gradient.Coalesce()
                Expect.sequenceEqual coalesced.Rows.Shape [| 2L; 2L |] "indices"
                expectSameBits (coalesced.Rows.ToDoubles()) [| 0.0; 1.0; 2.0; 0.0 |] "in order"
                expectSameBits (coalesced.Values.ToDoubles()) [| 6.0; 8.0; 3.0; 4.0 |] $"{dtype}"
                Expect.equal (Clipping.byNorm 1e9 infinity (Gradients.Of [ gradient ])) 8.0 "norm"
                expectSameBits (values.ToDoubles()) [| 6.0; 8.0; 3.0; 4.0; 0.0; 0.0 |] "in place"
        }
        test "what cannot be summed up is refused before anything is written" {
            let gradient (rows: TensorView) values =
                Gradients.Of [ Gradient.OfSparse(rows, values) ]

            let two = TensorView.Of([| 1.0; 2.0 |], [| 2L; 1L |])

            for what, rows, values, words in
                [
                    "a row below 0", TensorView.Of [| 0L; -1L |], two, [ "row -1" ]
                    "the last number", TensorView.Of [| 0L; Int64.MaxValue |], two, [ string Int64.MaxValue ]
                    "fewer rows than values", TensorView.Of([| 0L |], [| 1L |]), two, [ "int64[1]"; "float64[2, 1]" ]
                    "floats", TensorView.Of [| 0.0; 1.0 |], two, [ "float64[2]" ]
                ] do
                for act in
                    [
                        fun gradients -> Clipping.totalNorm 2.0 gradients |> ignore
                        Clipping.byValue 1.0
                        fun gradients -> Accumulation.init 1 |> Accumulation.add gradients |> ignore
                    ] do
                    refuses<ArgumentException> what words (fun () -> act (gradient rows values))

            let one = TensorView.Of [| 1.0 |]

            let expanded =
                TensorView(one.Address, Layout.Strided(DType.Float64, ReadOnlySpan [| 2L; 2L |], ReadOnlySpan [| 0L; 0L |]), one)

            refuses<NotSupportedException> "an expanded tensor" [ "share memory"; "contiguous" ] (fun () ->
                Clipping.byValue 1.0 (gradient (TensorView.Of [| 1L; 1L |]) expanded))

            Expect.equal (Clipping.totalNorm infinity (gradient (TensorView.Of [| 1L; 1L |]) expanded)) 2.0 "its norm"
        }
        test "norms of negative order need dense gradients; tensors without elements are passed over" {
            let p = table DType.Float64 3L 2L
            give p [ 1L ] [ 3.0; 4.0 ]

            for order in [ -1.0; -infinity ] do
                for act in
                    [
                        fun () -> ClipGrad.TotalNorm(list p, order) |> ignore
                        fun () ->
                            let optimizer = optimizer "SGD" [] [ p ]
                            optimizer.Attach(ClipGradNorm(1.0, order))
                            optimizer.Step()
                    ] do
                    refuses<NotSupportedException> "sparse" [ "norm_type is -"; "'table'"; "dense" ] act

            let full, empty = vector "full" [ 3.0; -2.0 ], vector "empty" []
            setGradient full (Some [| 3.0; -2.0 |])
            setGradient empty (Some [||])

            for order, expected in
                [
                    -infinity, 2.0
                    infinity, 3.0
                    0.0, 1.0
                    1.0, 5.0
                    -1.0, 1.0 / (1.0 / 3.0 + 0.5)
                ] do
                let norm = ClipGrad.Norm([ full; empty ], 1e9, order, errorIfNonfinite = true)
                Expect.floatClose Accuracy.veryHigh norm expected $"order {order}"
                Expect.equal (ClipGrad.Norm([ empty ], 1.0, order, errorIfNonfinite = true)) 0.0 "nothing but empty ones"
                Expect.equal (Clipping.totalNorm order (Gradients.Of [])) 0.0 "none"
        }
    ]

let private scaling =
    [
        test "rows are summed up before they are unscaled, attached, by scaler.Step and by Unscale" {
            for way in [ "attached"; "step"; "unscale" ] do
                let p = table DType.Float32 2L 2L
                let optimizer = optimizer "SGD" [ "lr", Number 0.1 ] [ p ]
                let scaler = GradScaler 1024.0

                if way = "attached" then
                    optimizer.Attach(scaler = scaler)

                give p [ 1L; 1L ] [ 3072.0; 4096.0; 3072.0; 4096.0 ]

                match way with
                | "attached" -> optimizer.Step()
                | "step" -> scaler.Step optimizer |> ignore
                | _ ->
                    scaler.Unscale optimizer
                    optimizer.Step()

                expectSameBits (values p) [| 0.0; 0.0; float -0.6f; float -0.8f |] way
        }
        test "in F#: what surrounds a step takes the sums of rows, and so does a step that was prepared before" {
            let run (rows: int64 list) (values: float list) =
                let parameters =
                    Parameters.Of [ tensor DType.Float32 [| 2L; 2L |] [| 1.0; 1.0; 1.0; 1.0 |] ]

                let values = tensor DType.Float32 [| int64 rows.Length; 2L |] (List.toArray values)

                let copy = values.Copy()

                let gradients =
                    Gradients.Of [ Gradient.OfSparse(TensorView.Of(List.toArray rows), values) ]

                let prepared =
                    SGD.rule.Prepare(SGD.defaults, parameters, gradients, SGD.init SGD.defaults parameters)

                prepared.Surround
                    { StepSurroundings.none with
                        Unscale = Nullable(1.0 / 1024.0)
                        Clip = Nullable 0.5
                        Limit = Nullable 2.5
                    }

                prepared.Run() |> ignore
                Expect.equal gradients (Gradients.Of [ Gradient.OfSparse(TensorView.Of(List.toArray rows), copy) ]) "gradients stay"
                parameters[0].ToDoubles()

            let twice = run [ 1L; 1L ] [ 3072.0; 4096.0; 1024.0; 4096.0 ]
            expectSameBits twice (run [ 1L ] [ 4096.0; 8192.0 ]) "as the sums"
            expectSameBits twice [| 1.0; 1.0; float (1.0f - 0.001f * 2.0f); float (1.0f - 0.001f * 2.5f) |] "unscaled, then limited"
        }
        test "the moments of sparse rules are those of unscaled gradients" {
            for name in [ "Adagrad"; "SparseAdam" ] do
                let run scale =
                    let p = table DType.Float64 3L 2L
                    let optimizer = optimizer name [] [ p ]

                    if scale <> 1.0 then
                        optimizer.Attach(scaler = GradScaler scale)

                    for step in 1..3 do
                        give p [ 1L; 1L; 2L ] [ for g in noise step 6 -> scale * g ]
                        optimizer.Step()

                    [ for entry in optimizer.State p -> entry.Key, entry.Value.ToDoubles() ]

                for (key, expected), (_, actual) in Seq.zip (run 1.0) (run 1024.0) do
                    expectSameBits actual expected $"{name}, {key}"
        }
        test "sums that overflow are not finite" {
            let p = table DType.Float32 2L 1L
            let optimizer = optimizer "SGD" [] [ p ]
            optimizer.Attach(ClipGradNorm 1.0)
            give p [ 1L; 1L ] [ 3e38; 3e38 ]
            optimizer.Step()
            Expect.isTrue optimizer.LastStepSkipped "skipped"
            expectSameBits (values p) [| 0.0; 0.0 |] "nothing has moved"
        }
        test "a thousand overflows, and the scale can still be unscaled by, saved and loaded" {
            let p = param "p" DType.Float32 [| 1L |] [| 0.0 |]
            let optimizer = optimizer "SGD" [ "lr", Number 1.0 ] [ p ]
            let scaler = GradScaler()
            optimizer.Attach(scaler = scaler)

            for _ in 1..1000 do
                setGradient p (Some [| infinity |])
                optimizer.Step()

                let other = GradScaler()
                other.LoadStateDict(scaler.StateDict()) |> ignore
                Expect.equal (other.GetScale()) (scaler.GetScale()) "loaded"

            Expect.equal (scaler.GetScale()) LossScaling.smallest "the smallest"
            let gradient = float 0.3f
            setGradient p (Some [| gradient * scaler.GetScale() |])
            optimizer.Step()
            Expect.isFalse optimizer.LastStepSkipped "a good batch"
            expectSameBits (values p) [| -gradient |] "to the last bit"
        }
        test "whatever scaler there was, its state can be saved and loaded" {
            let random = Random 7

            for _ in 1..200 do
                let pick (values: 'a list) = values[random.Next values.Length]

                let scaler =
                    GradScaler(
                        pick [ LossScaling.smallest; 1.0; 65536.0; 3e38; float Single.MaxValue ],
                        pick [ 1.0000000001; 2.0; 1e30 ],
                        pick [ 1e-50; 0.5; 0.9999999999 ],
                        pick [ 1L; 3L; Int64.MaxValue ]
                    )

                let p = param "p" DType.Float32 [| 1L |] [| 0.0 |]
                let optimizer = optimizer "SGD" [] [ p ]
                optimizer.Attach(scaler = scaler)

                for _ in 1 .. random.Next 40 do
                    setGradient p (Some [| pick [ infinity; 0.0 ] |])
                    optimizer.Step()

                let state = scaler.StateDict()
                let other = GradScaler()
                other.LoadStateDict state |> ignore
                Expect.equal (other.StateDict()) state "the same"
        }
        test "scales outside of the range are refused, and raised where PyTorch has saved them" {
            for scale in [ 0.0; 1e-31; 1e39; nan; -1.0 ] do
                refuses<OptionException> $"{scale}" [ "init_scale"; "must be" ] (fun () -> GradScaler scale |> ignore)
                refuses<OptionException> $"{scale}" [ "must be" ] (fun () -> GradScaler().Update(Nullable scale))

            let saved (scale: float) =
                Tree.MapOf(
                    MapKind.Dict,
                    [
                        for entry in GradScaler().StateDict().AsMap().Entries ->
                            if entry.Key.Equals(TreeKey.Text "scale") then
                                Collections.Generic.KeyValuePair(entry.Key, Tree.Float scale)
                            else
                                entry
                    ]
                )

            for scale in [ 0.0; 1e-40 ] do
                let scaler = GradScaler()
                scaler.LoadStateDict(saved scale) |> ignore
                Expect.equal (scaler.GetScale()) LossScaling.smallest "raised"

            for scale in [ infinity; nan; -1.0 ] do
                refuses<OptionException> $"{scale}" [ "scale" ] (fun () -> GradScaler().LoadStateDict(saved scale) |> ignore)
        }
    ]

[<Tests>]
let tests =
    testList
        "around"
        [
            testList "clipping sparse gradients" clipping
            testList "scaling sparse gradients" scaling
        ]
