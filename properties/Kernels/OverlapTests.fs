/// Which tensors share memory: against the set of their bytes.
module OverlapTests

open System
open Expecto
open Optim.Kernels
open Kit

/// The bytes of a tensor, by their addresses.
let private bytes (view: TensorView) =
    let rec addresses dimension address =
        seq {
            if dimension = view.Shape.Length then
                for i in 0 .. view.DType.Size() - 1 -> address + nativeint i
            else
                for i in 0L .. view.Shape[dimension] - 1L do
                    yield! addresses (dimension + 1) (address + nativeint (i * view.Strides[dimension] * int64 (view.DType.Size())))
        }

    addresses 0 view.Address |> Set.ofSeq

let private overlap =
    [
        test "two tensors share memory where a byte belongs to both, whatever their strides" {
            let random = Random 5
            let whole = TensorView.Zeros(DType.UInt8, [| 4096L |])
            let dtypes = [| DType.Float32; DType.Float64; DType.BFloat16; DType.Complex64 |]

            let any () =
                let dimensions = random.Next 4
                let dtype = dtypes[random.Next 4]
                let shape = Array.init dimensions (fun _ -> int64 (random.Next 5))
                let strides = Array.init dimensions (fun _ -> int64 (random.Next 14))
                let start = random.Next 60 * (if random.Next 3 = 0 then 1 else 4)
                let layout = Layout.Strided(dtype, ReadOnlySpan shape, ReadOnlySpan strides)
                TensorView(whole.Address + nativeint start, layout, whole.Owner)

            let mutable shared = 0

            for _ in 1..4000 do
                let a, b = any (), any ()
                let meet = not (Set.isEmpty (Set.intersect (bytes a) (bytes b)))
                Expect.equal (Overlap.Of(&a, &b) <> Sharing.None) meet $"{a.Layout} and {b.Layout}"
                Expect.equal (Overlap.Of(&b, &a)) (Overlap.Of(&a, &b)) "in the other order"
                shared <- shared + (if meet then 1 else 0)

            Expect.isTrue (shared > 300 && shared < 3500) $"both happen: {shared}"
        }

        test "what is laid out by address finds the same as every pair by itself" {
            let random = Random 7

            for _ in 1..300 do
                let whole = TensorView.Zeros(DType.Float32, [| 400L |])

                let any () =
                    match random.Next 4 with
                    | 0 -> part whole (random.Next 300) [ int64 (random.Next 6) ] [ int64 (1 + random.Next 12) ]
                    | 1 -> TensorView()
                    | _ -> slice whole (random.Next 390) (int64 (random.Next 6))

                let written = WrittenMemory()
                let tensors = Array.init (random.Next 9) (fun _ -> any ())

                let pairs =
                    [
                        for i in 0 .. tensors.Length - 1 do
                            for k in i + 1 .. tensors.Length - 1 do
                                if Overlap.Of(&tensors[i], &tensors[k]) <> Sharing.None then
                                    struct (i, k)
                    ]

                let found = written.Lay tensors

                if found.HasValue then
                    Expect.contains pairs found.Value "a pair that shares memory"
                else
                    Expect.isEmpty pairs "none"

                    for _ in 1..20 do
                        let read = any ()

                        let own =
                            if tensors.Length > 0 then
                                random.Next tensors.Length
                            else
                                -1

                        let place = written.Find(&read, own)

                        let sharing =
                            [
                                for i in 0 .. tensors.Length - 1 do
                                    match Overlap.Of(&tensors[i], &read) with
                                    | Sharing.Partial -> i
                                    | Sharing.Same when i <> own -> i
                                    | _ -> ()
                            ]

                        if place = -1 then
                            Expect.isEmpty sharing "nothing is shared"
                        else
                            Expect.contains sharing place "what is shared"
        }

        test "copies of tensors over themselves give what was there" {
            let whole = TensorView.Of([| 0.0 .. 15.0 |])

            let matrix, transposed =
                part whole 0 [ 4L; 4L ] [ 4L; 1L ], part whole 0 [ 4L; 4L ] [ 1L; 4L ]

            let expected = transposed.ToDoubles()
            matrix.CopyFrom transposed
            expectSameBits (matrix.ToDoubles()) expected "transposed in place"
            (slice whole 1 8L).CopyFrom(slice whole 0 8L)
            expectSameBits ((slice whole 1 8L).ToDoubles()) expected[..7] "moved by one"
        }
    ]

[<Tests>]
let tests = testList "memory" overlap
