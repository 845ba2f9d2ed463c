/// The matrix products of the kernels, against plain sums.
module MatrixProductTests

open System
open Expecto
open Optim.Kernels
open Optim.Laws
open Kit
open KernelRuns
open Plain

let products =
    test "matrix products equal plain sums, and every width, executor and number of threads gives the same bits" {
        for dtype in dtypes do
            for m, n, k in
                [
                    1, 1, 1
                    7, 33, 5
                    6, 32, 192
                    13, 70, 400
                    100, 97, 193
                    50, 1, 20
                    1, 40, 3
                    3, 3, 0
                ] do
                let matrix seed rows columns =
                    Tensor.shaped [| int64 rows; int64 columns |] dtype (Array.map (Number.round dtype) (noise seed (rows * columns)))

                let a, b, d = matrix 1 m k, matrix 2 k n, matrix 3 m n

                let room =
                    TensorView.Zeros(
                        dtype,
                        [|
                            int64 (max (MatrixProduct.Room(nativeint k, nativeint n)) (MatrixProduct.Room(nativeint k, nativeint m)))
                        |]
                    )

                let m', n', k' = nativeint m, nativeint n, nativeint k

                let run width threads =
                    let c, square = matrix 4 m n, matrix 5 m m

                    Setting.withWidth width (fun () ->
                        Setting.withThreads threads (fun () ->
                            let executor = if threads = 1 then Executor.Caller else Executor.Team

                            MatrixProduct.Run(
                                dtype,
                                m',
                                n',
                                k',
                                a.Address,
                                b.Address,
                                c.Address,
                                room.Address,
                                executor,
                                0.5,
                                2.0,
                                d.Address
                            )

                            MatrixProduct.Square(dtype, m', k', a.Address, square.Address, room.Address, executor)))

                    c.ToDoubles(), square.ToDoubles()

                let expected, expectedSquare = run Width.Single 1

                for width in widths do
                    for threads in [ 1; 2; 5 ] do
                        let found, square = run width threads
                        let what = sprintf "%d x %d x %d, %O, %d threads" m n k width threads
                        expectSameBits found expected what
                        expectSameBits square expectedSquare ("square, " + what)

                let x, y, z = a.ToDoubles(), b.ToDoubles(), d.ToDoubles()

                let sum terms term = Seq.sumBy term (seq { 0 .. terms - 1 })

                closeTo
                    dtype
                    "product"
                    (Array.init (m * n) (fun at -> 0.5 * sum k (fun l -> x[at / n * k + l] * y[l * n + at % n]) + 2.0 * z[at]))
                    expected

                closeTo
                    dtype
                    "square"
                    (Array.init (m * m) (fun at -> sum k (fun l -> x[at / m * k + l] * x[at % m * k + l])))
                    expectedSquare

                GC.KeepAlive(box room)
                Cases.add "products" 1
    }
