/// What is said of files that are no checkpoints, what .safetensors files may have, keys of dicts, and the numbers of narrow dtypes.
module ReadingTests

open System
open System.IO
open System.Numerics
open System.Text
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit
open CheckpointKit

let private bytes (text: string) = Encoding.UTF8.GetBytes text

/// A file of another kind, and the words that say what it is.
let private strangers: (string * string * byte[] * string list) list =
    let padded (head: byte[]) =
        Array.append head (Array.zeroCreate 600)

    let tar = Array.zeroCreate<byte> 1024
    Array.blit "ustar"B 0 tar 257 5

    let torchSharp =
        Array.concat
            [
                [| 2uy; 11uy |]
                "0.weight.ab"B
                [| 6uy; 2uy; 2uy; 3uy |]
                Array.zeroCreate 24
            ]

    [
        "a pointer of Git LFS",
        "x.pt",
        bytes "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        [ "Git LFS"; "not downloaded" ]
        "the same, named .safetensors",
        "x.safetensors",
        bytes "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
        [ "Git LFS" ]
        "an array of numpy", "x.pt", padded (Array.append [| 0x93uy |] "NUMPY"B), [ "numpy"; ".npy" ]
        "a tar archive", "x.pt", tar, [ "tar archive" ]
        "a pickle", "x.pt", [| 0x80uy; 4uy; byte '}'; byte '.' |], [ "pickle"; "torch.save" ]
        "TorchSharp's own format", "x.dat", torchSharp, [ "TorchSharp"; "module.save"; "SaveWeights" ]
        "a .safetensors file under another name",
        "x.pt",
        Array.concat [ BitConverter.GetBytes 2L; "{}"B; Array.zeroCreate 20 ],
        [ ".safetensors" ]
        "nothing", "x.pt", [||], [ "0 bytes" ]
    ]

let private kinds =
    testList
        "other kinds of files"
        [
            for what, name, content, words in strangers do
                testCase $"{what} is refused as what it is" (fun () ->
                    inFolder (fun within ->
                        File.WriteAllBytes(within name, content)
                        refuses<CheckpointException> what (within name :: words) (fun () -> Checkpoint.Read(within name) |> ignore)))

            testCase "archives are told apart: torch.save's under another name, numpy's, others" (fun () ->
                inFolder (fun within ->
                    Checkpoint.Write(within "x.pt", Tree.Int 1L)
                    File.Copy(within "x.pt", within "x.safetensors")
                    rawZip false (within "numpy.pt") [ rawEntry "a.npy" [| 1uy |] ]
                    rawZip false (within "other.pt") [ rawEntry "a.txt" [| 1uy |] ]

                    for name, words in
                        [
                            "x.safetensors", [ "zip archive"; ".pt" ]
                            "numpy.pt", [ "numpy"; ".npz" ]
                            "other.pt", [ "zip archive"; "data.pkl" ]
                        ] do
                        refuses<CheckpointException> name words (fun () -> Checkpoint.Read(within name) |> ignore)))
        ]

let private shapeOf (path: string) =
    let tree = Checkpoint.Read path
    let view = tree["a"].AsTensor()
    List.ofSeq view.Shape

let private header (path: string) (text: string) (length: int) =
    let header = bytes text
    File.WriteAllBytes(path, Array.concat [ BitConverter.GetBytes(int64 header.Length); header; Array.zeroCreate length ])

let private safetensors =
    testList
        "safetensors"
        [
            testCase "further fields of a tensor are passed over, whatever they hold; its own may not be there twice" (fun () ->
                inFolder (fun within ->
                    let path = within "x.safetensors"

                    for field in [ "1"; "null"; "\"text\""; "{\"a\": [1, {\"b\": 2}], \"a\": 3}"; "[[], {}]" ] do
                        let text =
                            $"{{\"a\":{{\"note\":{field},\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"more\":{field}}}}}"

                        header path text 8
                        Expect.equal (shapeOf path) [ 2L ] field

                    for text in
                        [
                            "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"
                            "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"
                        ] do
                        header path text 1
                        refuses<CheckpointException> text [ "'a'"; "twice" ] (fun () -> Checkpoint.Read path |> ignore)))

            testCase "64 dimensions are read, 65 are not" (fun () ->
                inFolder (fun within ->
                    let path = within "x.safetensors"

                    let shaped n =
                        $"{{\"a\":{{\"dtype\":\"U8\",\"shape\":["
                        + String.Join(",", List.replicate n "1")
                        + "],\"data_offsets\":[0,1]}}"

                    header path (shaped 64) 1
                    Expect.equal (shapeOf path).Length 64 "dimensions"
                    header path (shaped 65) 1
                    refuses<CheckpointException> "65" [ "'a'"; "64 dimensions" ] (fun () -> Checkpoint.Read path |> ignore)))

            testCase "elements of four bits are counted by the format, and pairs of them by PyTorch" (fun () ->
                inFolder (fun within ->
                    let path = within "x.safetensors"
                    header path "{\"a\":{\"dtype\":\"F4\",\"shape\":[2,4],\"data_offsets\":[0,4]}}" 4
                    let tree = Checkpoint.Read path
                    Expect.equal (string tree) "{'a': float4_e2m1fn_x2[2, 2]}" "read"
                    Checkpoint.Write(within "y.safetensors", tree)
                    Expect.equal (Checkpoint.Read(within "y.safetensors")) tree "written"))
        ]

/// The values of all bytes of a dtype.
let private allBytes (dtype: DType) =
    let block = TensorView.Of(ReadOnlySpan [| 0uy .. 255uy |], ReadOnlySpan [| 256L |])
    TensorView(block.Address, Layout.Contiguous(dtype, ReadOnlySpan [| 256L |]), block.Owner).ToDoubles()

let private dtypes =
    testCase "numbers of eight and four bits are those of the OCP and FNUZ formats" (fun () ->
        for dtype, largest, smallest, nan in
            [
                DType.Float8_E4M3FN, 448.0, 0.001953125, [ 127; 255 ]
                DType.Float8_E5M2, infinity, 1.52587890625e-05, [ 125; 126; 127; 253; 254; 255 ]
                DType.Float8_E4M3FNUZ, 240.0, 0.0009765625, [ 128 ]
                DType.Float8_E5M2FNUZ, 57344.0, 7.62939453125e-06, [ 128 ]
                DType.Float8_E8M0FNU, 1.7014118346046923e38, 5.877471754111438e-39, [ 255 ]
            ] do
            let values = allBytes dtype
            let nans = [ 0..255 ] |> List.filter (fun i -> Double.IsNaN values[i])
            Expect.equal nans nan $"{dtype}: NaN"
            let positive = values |> Array.filter (fun x -> x > 0.0)
            Expect.equal (Array.max positive) largest $"{dtype}: largest"
            Expect.equal (Array.min positive) smallest $"{dtype}: smallest"
            // The bits of positive numbers count up as the numbers do.
            let ordered =
                List.ofArray values[1..126] |> List.filter (fun x -> not (Double.IsNaN x))

            Expect.equal ordered (List.sort ordered) $"{dtype}: order"

        let pairs = allBytes DType.Float4_E2M1FN_X2

        Expect.equal
            [ for i in 0..15 -> pairs[2 * i] ]
            [
                0.0
                0.5
                1.0
                1.5
                2.0
                3.0
                4.0
                6.0
                -0.0
                -0.5
                -1.0
                -1.5
                -2.0
                -3.0
                -4.0
                -6.0
            ]
            "the lower half"

        Expect.equal [ for i in 0..7 -> pairs[2 * (16 * i) + 1] ] [ 0.0; 0.5; 1.0; 1.5; 2.0; 3.0; 4.0; 6.0 ] "the upper half"

        // float4 has two numbers in an element: they cannot be converted one by one.
        let target = TensorView.Zeros(DType.Float32, [| 2L |])

        refuses<NotSupportedException> "float4" [ "float4" ] (fun () ->
            target.ConvertFrom(TensorView.Zeros(DType.Float4_E2M1FN_X2, [| 2L |])))

        let complex = TensorView.Zeros(DType.Complex64, [| 1L |])

        let half =
            TensorView.OfDoubles(DType.Float16, ReadOnlySpan [| 1.5; -2.0 |], ReadOnlySpan [| 2L |])

        complex.ConvertFrom(TensorView(half.Address, Layout.Contiguous(DType.Complex32, ReadOnlySpan [| 1L |]), half.Owner))
        expectSameBits (complex.ToDoubles()) [| 1.5; -2.0 |] "complex32 widens")

let private keys =
    testList
        "keys"
        [
            testCase "keys are equal where Python's are, and trees where the keys are of one kind, too" (fun () ->
                for a, b in
                    [
                        Tree.Int 1L, Tree.Bool true
                        Tree.Int 2L, Tree.Float 2.0
                        Tree.Float 0.0, Tree.Float -0.0
                        Tree.BigInt(BigInteger.Pow(2I, 70)), Tree.Float(2.0 ** 70.0)
                        Tree.TupleOf [ Tree.Int 1L; Tree.Text "a" ], Tree.TupleOf [ Tree.Bool true; Tree.Text "a" ]
                    ] do
                    let x, y = TreeKey.Of a, TreeKey.Of b
                    Expect.equal x y $"{a} and {b}"
                    Expect.equal (hash x) (hash y) $"hash of {a} and {b}"
                    Expect.notEqual (keyed [ a, Tree.None ]) (keyed [ b, Tree.None ]) $"dicts of {a} and {b}"
                    Expect.equal ((keyed [ a, Tree.Int 7L ]).AsMap()[y]) (Tree.Int 7L) $"{b} finds {a}"

                for a, b in
                    [
                        Tree.Int 1L, Tree.Text "1"
                        Tree.None, Tree.Bool false
                        Tree.Float 1.5, Tree.Int 1L
                        Tree.BytesOf [ 97uy ], Tree.Text "a"
                    ] do
                    Expect.notEqual (TreeKey.Of a) (TreeKey.Of b) $"{a} and {b}")

            testCase "lists, dicts and tensors are no keys" (fun () ->
                for tree in [ Tree.ListOf []; Tree.Dict(); Tree.TupleOf [ Tree.ListOf [] ] ] do
                    refuses<ArgumentException> (string tree) [ "key" ] (fun () -> TreeKey.Of tree |> ignore))
        ]

[<Tests>]
let tests =
    testList "reading" [ kinds; safetensors; dtypes; InspectTests.tests; keys ]
