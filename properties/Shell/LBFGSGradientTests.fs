/// LBFGS over gradients and parameters of every kind: sparse, half, complex, of mixed dtypes, strided.
module LBFGSGradientTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit
open Reference

let private make maximize (list: Param list) =
    new LBFGS(parameters list, maxIter = 5, historySize = 3, lineSearchFn = "strong_wolfe", maximize = maximize)

let private table dtype =
    param "table" dtype [| 5L; 3L |] (noise 3 15)

/// The same elements, column by column.
let private transposed dtype =
    let block = TensorView.Zeros(dtype, ReadOnlySpan [| 15L |])

    let view =
        TensorView(block.Address, Layout.Strided(dtype, ReadOnlySpan [| 5L; 3L |], ReadOnlySpan [| 1L; 5L |]), block.Owner)

    view.CopyFrom (table dtype).View
    Param.Of("table", view)

/// The mean of cosh over three rows of the table, and the sum of the squares of the rest; `give` says how the table gets its gradient.
let private closure sign (give: Param -> float[] -> unit) (table: Param) (rest: Param) =
    let used =
        [|
            for row in [ 1; 3; 4 ] do
                yield! [ 3 * row; 3 * row + 1; 3 * row + 2 ]
        |]

    Func<float>(fun () ->
        let w, r = values table, values rest
        let gradient = Array.zeroCreate 15

        for i in used do
            gradient[i] <- sign * sinh (w[i] - 0.1 * float i)

        give table gradient
        setGradient rest (Some [| for x in r -> sign * 2.0 * x |])

        sign
        * ((used |> Array.sumBy (fun i -> cosh (w[i] - 0.1 * float i)))
           + (r |> Array.sumBy (fun x -> x * x))))

let private dense (p: Param) gradient = setGradient p (Some gradient)

/// Rows, each with the part of its gradient that it gives.
let private sparse (rows: (int64 * float) list) (p: Param) (gradient: float[]) =
    let at =
        TensorView.Of(ReadOnlySpan [| for row, _ in rows -> row |], ReadOnlySpan [| int64 rows.Length |])

    let values =
        [|
            for row, part in rows do
                for i in 0..2 -> gradient[3 * int row + i] * part
        |]

    p.SetSparseGradient(at, tensor p.View.DType [| int64 rows.Length; 3L |] values)

let private whole rows = [ for row in rows -> row, 1.0 ]

let private run sign give (table: Param) rest =
    let optimizer = make (sign < 0.0) [ table; rest ]

    let losses = [| for _ in 1..4 -> optimizer.Step(closure sign give table rest) |]

    Array.concat [ losses; values table; values rest ]

[<Tests>]
let tests =
    testList
        "LBFGS gradients"
        [
            testCase "a sparse gradient moves it as the dense one does, bit for bit: rows in order or not, once or in halves" (fun () ->
                for sign in [ 1.0; -1.0 ] do
                    for make in [ table; transposed ] do
                        for dtype in [ DType.Float64; DType.Float32; DType.BFloat16; DType.Float16 ] do
                            for other in [ DType.Float64; DType.Float32 ] do
                                let rest () = param "rest" other [| 4L |] (noise 9 4)
                                let expected = run sign dense (make dtype) (rest ())
                                Expect.notEqual expected[4..18] (values (make dtype)) "it moves"

                                // The half of a float16 may be too small to be one.
                                let half = if dtype = DType.Float16 then 0.0 else 0.5

                                for what, rows in
                                    [
                                        "in order", whole [ 1L; 3L; 4L ]
                                        "out of order", whole [ 4L; 1L; 3L ]
                                        "with a row of zeros", whole [ 0L; 1L; 3L; 4L ]
                                        "in parts",
                                        [ for row in [ 3L; 1L; 4L ] -> row, half ]
                                        @ [ for row in [ 4L; 3L; 1L ] -> row, 1.0 - half ]
                                    ] do
                                    expectSameBits
                                        (run sign (sparse rows) (make dtype) (rest ()))
                                        expected
                                        $"{what}, {dtype} beside {other}, sign {sign}")

            testCase "rows that are not there are refused, and nothing changes: at once, and on the way" (fun () ->
                for wrong in [ -1L; 5L; Int64.MaxValue; Int64.MinValue ] do
                    let p, rest = table DType.Float64, param "rest" DType.Float64 [| 4L |] (noise 9 4)
                    let optimizer = make false [ p; rest ]
                    let right = closure 1.0 (sparse (whole [ 1L; 3L; 4L ])) p rest
                    optimizer.Step right |> ignore
                    let before = Array.append (values p) (values rest)
                    let state = optimizer.StateDict().ToTree().Copy()

                    for call in 1..2 do
                        let mutable calls = 0

                        let stumbles () =
                            calls <- calls + 1
                            let loss = right.Invoke()

                            if calls = call then
                                let at = TensorView.Of(ReadOnlySpan [| 1L; wrong |], ReadOnlySpan [| 2L |])
                                p.SetSparseGradient(at, tensor DType.Float64 [| 2L; 3L |] (noise 1 6))

                            loss

                        refuses<ArgumentException> "a row" [ "table"; string wrong; "LBFGS" ] (fun () ->
                            optimizer.Step(Func<float> stumbles) |> ignore)

                        expectSameBits (Array.append (values p) (values rest)) before "parameters"
                        Expect.isTrue (optimizer.StateDict().ToTree().Equals state) "state")

            testCase "a strided parameter is stepped as a contiguous one, bit for bit" (fun () ->
                for dtype in [ DType.Float64; DType.Float32 ] do
                    let rest () = param "rest" dtype [| 4L |] (noise 9 4)
                    expectSameBits (run 1.0 dense (transposed dtype) (rest ())) (run 1.0 dense (table dtype) (rest ())) (string dtype))

            testCase "complex parameters are stepped as pairs of reals, bit for bit" (fun () ->
                for complex, real in [ DType.Complex128, DType.Float64; DType.Complex64, DType.Float32 ] do
                    let rest () = param "rest" real [| 4L |] (noise 9 4)
                    let start = noise 3 30

                    let run (p: Param) =
                        let rest = rest ()
                        let optimizer = make false [ p; rest ]

                        let ask () =
                            let w, r = values p, values rest
                            setGradient p (Some(Array.map sinh w))
                            setGradient rest (Some [| for x in r -> 2.0 * x |])
                            Array.sumBy cosh w + Array.sumBy (fun x -> x * x) r

                        let losses = [| for _ in 1..4 -> optimizer.Step(Func<float> ask) |]
                        Array.concat [ losses; values p; values rest ]

                    expectSameBits (run (param "w" complex [| 15L |] start)) (run (param "w" real [| 30L |] start)) (string complex))

            testCase "parameters of half types go where float64 goes, within their rounding" (fun () ->
                let rest dtype = param "rest" dtype [| 4L |] (noise 9 4)
                let expected = run 1.0 dense (table DType.Float64) (rest DType.Float64)

                for dtype, near in [ DType.Float16, 1e-2; DType.BFloat16, 1e-1; DType.Float32, 1e-3 ] do
                    let actual = run 1.0 dense (table dtype) (rest dtype)

                    for x, y in Array.zip actual[4..18] expected[4..18] do
                        Expect.isLessThan (abs (x - y)) (near * (1.0 + abs y)) $"{dtype}")

            testCase "memory that steps allocate does not grow with the parameters" (fun () ->
                let bytes (count: int) =
                    let p = param "w" DType.Float32 [| int64 count |] (Array.create count 1.0)
                    let gradient = TensorView.Zeros(DType.Float32, ReadOnlySpan [| int64 count |])
                    p.BindGradient gradient
                    let optimizer = make false [ p ]

                    let ask () =
                        let w = p.View.AsSpan<float32>()
                        let g = gradient.AsSpan<float32>()
                        let mutable loss = 0.0

                        for i in 0 .. count - 1 do
                            let x = float w[i] - 0.5 * float (i % 7)
                            loss <- loss + sqrt (1.0 + x * x)
                            g[i] <- float32 (x / sqrt (1.0 + x * x))

                        loss

                    let step () =
                        optimizer.Step(Func<float> ask) |> ignore

                    for _ in 1..3 do
                        step ()

                    bytesOf step

                let small, large = bytes 100, bytes 100_000
                Expect.isLessThan large (small + 20_000L) "bytes of managed memory")
        ]
