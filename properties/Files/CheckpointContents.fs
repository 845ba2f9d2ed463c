/// What checkpoint files can hold: a tree of every kind of value, and one of every dtype.
module CheckpointContents

open System
open System.Collections.Generic
open Optim.Core
open Optim.Kernels
open Kit

/// Everything that a file can hold.
let everything () =
    let values = noise 3 24
    let whole = tensor DType.Float32 [| 4L; 6L |] values

    let view shape strides offset =
        TensorView(
            whole.Address + nativeint (4 * offset),
            Layout.Strided(DType.Float32, ReadOnlySpan(Array.ofList shape), ReadOnlySpan(Array.ofList strides)),
            whole.Owner
        )

    let entries kind (list: (string * Tree) list) =
        Tree.MapOf(kind, [ for key, value in list -> KeyValuePair(TreeKey.Text key, value) ])

    entries
        MapKind.Dict
        [
            "none", Tree.None
            "flags", Tree.ListOf [ Tree.Bool true; Tree.Bool false ]
            "ints",
            Tree.ListOf
                [
                    for n in
                        [
                            0L
                            1L
                            255L
                            256L
                            65535L
                            65536L
                            -1L
                            -200L
                            1L <<< 31
                            -(1L <<< 31)
                            1L <<< 40
                            Int64.MinValue
                            Int64.MaxValue
                        ] -> Tree.Int n
                ]
            "floats",
            Tree.ListOf
                [
                    for x in [ 0.0; -0.0; 0.1; 1e300; nan; infinity; -infinity; 5e-324 ] -> Tree.Float x
                ]
            "texts",
            Tree.ListOf
                [
                    for text in [ ""; "cos"; "größer"; "日本"; "\U0001F600"; "a\nb\"c"; String('x', 300) ] -> Tree.Text text
                ]
            "tuples", Tree.ListOf [ for n in 0..5 -> Tree.TupleOf [ for i in 1..n -> Tree.Float(float i) ] ]
            "empty",
            Tree.ListOf
                [
                    Tree.ListOf []
                    Tree.TupleOf []
                    entries MapKind.Dict []
                    entries MapKind.OrderedDict []
                    entries MapKind.Counter []
                ]
            "ordered", entries MapKind.OrderedDict [ "z", Tree.Int 1L; "a", Tree.Int 2L ]
            "counter",
            Tree.MapOf(
                MapKind.Counter,
                [
                    KeyValuePair(TreeKey.Int 30L, Tree.Int 1L)
                    KeyValuePair(TreeKey.Int 80L, Tree.Int 2L)
                ]
            )
            "numbered", Tree.MapOf(MapKind.Dict, [ for i in 0..300 -> KeyValuePair(TreeKey.Int(int64 i), Tree.Text $"n{i}") ])
            "whole", Tree.Tensor whole
            "transposed", Tree.Tensor(view [ 6L; 4L ] [ 1L; 6L ] 0)
            "column", Tree.Tensor(view [ 4L ] [ 6L ] 2)
            "last rows", Tree.Tensor(view [ 2L; 6L ] [ 6L; 1L ] 12)
            "repeated", Tree.Tensor(view [ 3L; 2L ] [ 0L; 1L ] 1)
            "scalar", Tree.Tensor(tensor DType.Float64 [||] [| 0.5 |])
            "no rows", Tree.Tensor(tensor DType.Float32 [| 0L; 3L |] [||])
            "no columns", Tree.Tensor(tensor DType.Float64 [| 3L; 0L |] [||])
        ]

/// A tensor of each dtype that PyTorch 1.13 has.
let everyDType () =
    let bytes = Array.init 48 byte

    let dtypes =
        Enum.GetValues<DType>()
        |> Array.filter (fun dtype -> dtype < DType.Float8_E5M2 && dtype <> DType.Complex32)

    Tree.Dict
        [|
            for dtype in dtypes do
                let block =
                    TensorView.Of(
                        ReadOnlySpan(
                            if dtype = DType.Bool then
                                Array.map (fun b -> b % 2uy) bytes
                            else
                                bytes
                        ),
                        ReadOnlySpan [| 48L |]
                    )

                let layout = Layout.Contiguous(dtype, ReadOnlySpan [| 48L / int64 (dtype.Size()) |])
                struct (dtype.Name(), Tree.Tensor(TensorView(block.Address, layout, block.Owner)))
        |]
