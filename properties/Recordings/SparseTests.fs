/// Sparse gradients: PyTorch's recorded runs (names begin with "golden"), and what a user does with them.
module SparseTests

open System
open System.IO
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Golden
open Kit

let private indices (rows: int64 seq) =
    let rows = Seq.toArray rows
    TensorView.Of(ReadOnlySpan rows, ReadOnlySpan [| rows.LongLength |])

/// The rows and their values, one row after the other.
let private give (p: Param) (rows: int64 list) (values: float[]) =
    let shape =
        Array.append [| rows.Length |> int64 |] (Array.tail (Seq.toArray p.View.Shape))

    p.SetSparseGradient(indices rows, tensor p.View.DType shape values)

let private check (element: JsonElement) =
    let name = field "optimizer" element |> Golden.text
    let dtype = DTypes.Parse(field "dtype" element |> Golden.text)
    let shape = field "shape" element |> numbers |> Array.map int64
    let p = param "w" dtype shape (field "initial" element |> numbers)
    let optimizer = optimizer name (field "options" element |> pairs setting) [ p ]

    let near what (actual: float[]) (expected: float[]) =
        Expect.equal actual.Length expected.Length what

        for i in 0 .. actual.Length - 1 do
            if not (abs (actual[i] - expected[i]) <= tolerance (dtype.Name()) 0.0 expected[i]) then
                failtestf "%s, element %d: %s, PyTorch %s" what i (Kit.text actual[i]) (Kit.text expected[i])

    for step, (gradient, expected) in List.indexed (List.zip (field "grads" element |> list id) (field "params" element |> list numbers)) do
        give p (field "rows" gradient |> list (number >> int64)) (field "values" gradient |> numbers)
        optimizer.Step()
        near $"step {step}" (values p) expected

    for id, slots in field "state" element |> pairs (pairs id) do
        let state = (optimizer.StateDict()).State[int id]
        Expect.equal (Seq.toList state.Keys) (List.map fst slots) "keys of the state"

        for key, value in slots do
            match value.ValueKind with
            | JsonValueKind.Number -> Expect.equal (state[key].ToDoubles()) [| number value |] key
            | _ -> near key (state[key].ToDoubles()) (field "values" (field "tensor" value) |> numbers)

let private golden =
    let ofFile _ root =
        [
            for i, element in list id root |> List.indexed do
                let name = field "optimizer" element |> Golden.text
                let given = (field "options" element).GetRawText().Replace("\"", "")
                testCase $"#{i} {name} {given}" (fun () -> check element)
        ]

    TestList(recorded "sparse*.json" ofFile, Normal)

let private table rows columns dtype =
    param "table" dtype [| rows; columns |] (noise 3 (int (rows * columns)))

/// What a step says when it refuses a sparse gradient; nothing has moved.
let private refusesStep<'e when 'e :> exn> name settings words (give: Param -> unit) =
    let p, other = table 4L 2L DType.Float64, vector "other" [ 1.0 ]
    let optimizer = optimizer name settings [ other; p ]

    if name <> "SparseAdam" then
        setGradient other (Some [| 1.0 |])

    give p
    let before = values p, values other
    refuses<'e> name words optimizer.Step
    Expect.equal (values p, values other) before "nothing moved"

let private accepting = [ "SGD"; "Adagrad"; "SparseAdam" ]

let private uses =
    testList
        "sparse gradients"
        [
            test "a transposed and a sliced table are stepped as a contiguous one" {
                for name in accepting do
                    for momentum in [ []; [ "momentum", Number 0.9 ] ] do
                        if name = "SGD" || momentum.IsEmpty then
                            let initial = noise 5 12
                            let plain = param "w" DType.Float64 [| 4L; 3L |] initial

                            let across =
                                let block = TensorView.Zeros(DType.Float64, ReadOnlySpan [| 12L |])

                                let layout =
                                    Layout.Strided(DType.Float64, ReadOnlySpan [| 4L; 3L |], ReadOnlySpan [| 1L; 4L |])

                                let view = TensorView(block.Address, layout, block.Owner)
                                view.CopyFrom plain.View
                                Param.Of("w", view)

                            let sliced =
                                let block = TensorView.Zeros(DType.Float64, ReadOnlySpan [| 20L |])

                                let layout =
                                    Layout.Strided(DType.Float64, ReadOnlySpan [| 4L; 3L |], ReadOnlySpan [| 5L; 1L |])

                                let view = TensorView(block.Address, layout, block.Owner)
                                view.CopyFrom plain.View
                                Param.Of("w", view)

                            let all = [ plain; across; sliced ]

                            let optimizers =
                                [ for p in all -> optimizer name ([ "lr", Number 0.1 ] @ momentum) [ p ] ]

                            for step in 0..3 do
                                for p, optimizer in List.zip all optimizers do
                                    give p [ int64 step; 2L ] (noise step 6)
                                    optimizer.Step()

                            for p in all.Tail do
                                expectSameBits (values p) (values plain) name
            }

            test "indices of several dimensions name single elements" {
                let p = param "w" DType.Float64 [| 2L; 3L |] (Array.zeroCreate 6)
                let optimizer = optimizer "SGD" [ "lr", Number 1.0 ] [ p ]

                let at =
                    TensorView.Of(ReadOnlySpan [| 1L; 0L; 1L; 2L; 0L; 2L |], ReadOnlySpan [| 2L; 3L |])

                p.SetSparseGradient(at, tensor DType.Float64 [| 3L |] [| 1.0; 2.0; 4.0 |])
                optimizer.Step()
                Expect.equal (values p) [| -2.0; 0.0; 0.0; 0.0; 0.0; -5.0 |] "elements (1, 2), (0, 0), (1, 2)"
            }

            test "half types: repeated rows are summed in float32 and rounded once" {
                for dtype in [ DType.Float16; DType.BFloat16 ] do
                    let p = param "w" dtype [| 2L; 1L |] [| 0.0; 0.0 |]
                    let optimizer = optimizer "SGD" [ "lr", Number 1.0 ] [ p ]

                    let small =
                        if dtype = DType.Float16 then
                            0.0009765625 / 2.0
                        else
                            0.0078125 / 2.0

                    give p [ 1L; 1L; 1L ] [| 1.0; small; small |]
                    optimizer.Step()
                    Expect.equal (values p) [| 0.0; -(1.0 + 2.0 * small) |] "the sum of the halves is one place"
            }

            test "a step without rows counts, and moves nothing" {
                let p = table 4L 2L DType.Float32
                let before = values p
                let optimizer = optimizer "SparseAdam" [] [ p ]
                give p [] [||]
                optimizer.Step()
                Expect.equal (values p) before "nothing moved"
                Expect.equal (column optimizer p "step") [| 1.0 |] "the step counts"
            }

            test "sparse and dense gradients can take turns" {
                let p, q = table 4L 2L DType.Float64, table 4L 2L DType.Float64
                let settings = [ "lr", Number 0.1; "momentum", Number 0.9 ]
                let one, other = optimizer "SGD" settings [ p ], optimizer "SGD" settings [ q ]
                let full = noise 9 8

                for step in 0..5 do
                    let rows = noise (20 + step) 2

                    if step % 3 = 2 then
                        setGradient p (Some full)
                        setGradient q (Some full)
                    else
                        give p [ int64 step % 4L ] rows
                        let dense = Array.zeroCreate 8
                        Array.blit rows 0 dense (step % 4 * 2) 2
                        setGradient q (Some dense)

                    one.Step()
                    other.Step()

                expectSameBits (values p) (values q) "as with zeros written out"
            }

            test "what is wrong with a sparse gradient is said before anything moves" {
                let row rows =
                    fun p -> give p rows (noise 1 (2 * List.length rows))

                refusesStep<ArgumentOutOfRangeException> "SGD" [] [ "table"; "row 4"; "float64[4, 2]" ] (row [ 4L ])
                refusesStep<ArgumentOutOfRangeException> "SparseAdam" [] [ "table"; "row -1" ] (row [ 0L; -1L ])
                refusesStep<NotSupportedException> "SGD" [ "weight_decay", Number 0.1 ] [ "weight_decay"; "sparse" ] (row [ 1L ])
                refusesStep<NotSupportedException> "AdamW" [] [ "AdamW"; "sparse"; "SparseAdam" ] (row [ 1L ])

                refusesStep<NotSupportedException> "SparseAdam" [] [ "dense"; "Adam instead" ] (fun p -> setGradient p (Some(noise 2 8)))

                refusesStep<ArgumentException> "SGD" [] [ "table"; "float64[1, 3]" ] (fun p ->
                    p.SetSparseGradient(indices [ 1L ], tensor DType.Float64 [| 1L; 3L |] (noise 2 3)))

                let complex = param "z" DType.Complex64 [| 2L; 2L |] (noise 1 8)
                refuses<NotSupportedException> "SparseAdam" [ "complex"; "'z'" ] (fun () -> optimizer "SparseAdam" [] [ complex ] |> ignore)
            }

            test "the work of a step grows with the rows touched, not with the table" {
                let table = TensorView.Zeros(DType.Float32, ReadOnlySpan [| 1_000_000L; 16L |])
                let parameters = Parameters.Of [ table ]

                let gradient rows =
                    let count = List.length rows
                    let values = tensor DType.Float32 [| int64 count; 16L |] (noise 1 (16 * count))
                    Gradients.Of [ Gradient.OfSparse(indices rows, values) ]

                for rule, options, reached in
                    [
                        "SparseAdam", [], [ 32; 32; 48 ]
                        "SGD", [], [ 32; 32; 48 ]
                        // Momentum carries on the rows of earlier gradients.
                        "SGD", [ "momentum", Number 0.9 ], [ 32; 64; 96 ]
                    ] do
                    let rule = rule |> Kit.rule

                    let options =
                        rule.Replace(
                            rule.Defaults,
                            [
                                for name, value in options -> Collections.Generic.KeyValuePair(name, option value)
                            ]
                        )

                    let mutable state = rule.Init(options, parameters)

                    for rows, elements in List.zip [ [ 7L; 500_000L ]; [ 3L; 999_999L ]; [ 7L; 8L; 9L ] ] reached do
                        state <- rule.Step(options, parameters, gradient rows, state)
                        Expect.equal (int state.Lineage.SparseTable.Length) elements $"{rule.Name}: elements of the pass"
                        Expect.equal state.Lineage.Table.Length 0n "nothing else is stepped"
            }
        ]

[<Tests>]
let tests = testList "sparse" [ golden; uses ]
