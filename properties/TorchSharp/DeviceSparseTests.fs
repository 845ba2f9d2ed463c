/// Sparse gradients of TorchSharp's embeddings, on our kernels and where no kernel of ours steps.
module DeviceSparseTests

open System
open System.Collections.Generic
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit
open TorchKit
open DeviceKit

type private Tensor = torch.Tensor

let private sparseRules =
    [
        "SGD", [ "lr", Number 0.1 ]
        "SGD", [ "lr", Number 0.1; "momentum", Number 0.9 ]
        "Adagrad", [ "lr", Number 0.1; "initial_accumulator_value", Number 0.1 ]
        "SparseAdam", [ "lr", Number 0.1 ]
    ]

let private embedding rows columns sparse : Modules.Embedding =
    torch.random.manual_seed 7L |> ignore
    torch.nn.Embedding(rows, columns, sparse = sparse)

let private look (embedding: Modules.Embedding) (rows: int64 list) =
    let seen: Tensor = embedding.call (torch.tensor (List.toArray rows))

    let weights =
        (torch.tensor [| for i in 1 .. int (seen.numel ()) -> float32 i |]).reshape seen.shape

    (seen * weights).sum().backward()

let private sparse =
    [
        for name, settings in sparseRules do
            let label = settings |> List.map fst |> String.concat ", "

            test $"{name} ({label}): the sparse gradients of an embedding, as host parameters step them, repeated rows included" {
                for executor in [ ValueNone; ValueSome Torch.Operators ] do
                    let table = embedding 6L 3L true

                    use host =
                        Param.Of("w", TensorView.Of(ReadOnlySpan(doubles (weight table) |> Array.map float32), ReadOnlySpan [| 6L; 3L |]))

                    let executed: Executor | null =
                        match executor with
                        | ValueNone -> null
                        | ValueSome e -> e

                    let torchs = make (rule name) settings (table.NamedParameters(executor = executed))
                    let hosts = make (rule name) settings [ host :> IParameter ]

                    for rows in [ [ 1L; 4L; 1L ]; [ 5L ]; [ 0L; 4L; 4L; 4L ]; [ 2L; 1L ] ] do
                        torchs.ZeroGrad()
                        look table rows
                        Expect.isTrue (nonNull (weight table).grad).is_sparse "sparse"

                        let numbers = [| for i in 1 .. 3 * rows.Length -> float32 i |]
                        host.SetSparseGradient(ReadOnlySpan(List.toArray rows), ReadOnlySpan numbers)
                        torchs.Step()
                        hosts.Step()

                        if executor.IsNone then
                            Expect.equal (doubles (weight table)) (Kit.values host) "bits"
                        else
                            close "operators" torch.float32 (doubles (weight table)) (Kit.values host)
            }

        test "SGD and Adagrad: a sparse gradient steps as the same one dense" {
            for name, settings in sparseRules do
                if name <> "SparseAdam" then
                    let a, b = embedding 5L 2L true, embedding 5L 2L false

                    let sparse, dense =
                        make (rule name) settings (a.NamedParameters()), make (rule name) settings (b.NamedParameters())

                    for rows in [ [ 1L; 4L; 1L ]; [ 3L ]; [ 0L; 4L ] ] do
                        for table, optimizer in [ a, sparse; b, dense ] do
                            optimizer.ZeroGrad()
                            look table rows
                            optimizer.Step()

                    Expect.equal (doubles (weight a)) (doubles (weight b)) name
        }

        test "ZeroGrad of a sparse gradient: dropped, or sparse without rows, which moves nothing" {
            let table = embedding 5L 2L true
            let optimizer = make (rule "SGD") [ "lr", Number 0.1 ] (table.NamedParameters())
            look table [ 1L; 1L ]
            optimizer.ZeroGrad(setToNone = false)
            let before = doubles (weight table)
            let kept = nonNull (weight table).grad
            Expect.isTrue kept.is_sparse "still sparse"
            Expect.equal (doubles (kept.to_dense ())) (Array.zeroCreate 10) "of zeros"
            optimizer.Step()
            Expect.equal (doubles (weight table)) before "nothing moves"
            look table [ 2L ]
            optimizer.Step()
            Expect.notEqual (doubles (weight table)) before "the next one does"
            optimizer.ZeroGrad()
            Expect.isNull (weight table).grad "dropped"
        }

        test "clipping, scaling and accumulation of an embedding's gradients, attached and by hand, in kernels and on operators" {
            for executor in [ ValueNone; ValueSome Torch.Operators ] do
                let run attached =
                    let table = embedding 6L 3L true

                    let executed: Executor | null =
                        match executor with
                        | ValueNone -> null
                        | ValueSome e -> e

                    let list = table.NamedParameters(executor = executed)
                    let optimizer = make (rule "SparseAdam") [ "lr", Number 0.1 ] list
                    let scaler = GradScaler 4.0

                    if attached then
                        optimizer.Attach(ClipGradNorm 0.5, scaler, zeroGrad = true)

                    for rows in [ [ 1L; 4L; 1L ]; [ 5L ]; [ 0L; 4L; 4L; 4L ] ] do
                        look table rows

                        if attached then
                            optimizer.Step()
                        else
                            scaler.Unscale optimizer
                            Expect.isGreaterThan (ClipGrad.Norm(list, 0.5)) 0.5 "the norm"
                            scaler.Step optimizer |> ignore
                            scaler.Update()
                            optimizer.ZeroGrad(setToNone = false)

                    let left = nonNull (weight table).grad
                    Expect.equal (doubles (left.to_dense ())) (Array.zeroCreate 18) "zeros are left"
                    doubles (weight table)

                Expect.equal (run true) (run false) "attached as by hand"
        }

        test "two batches of an embedding are one step on their mean, sparse or dense" {
            for executor in [ ValueNone; ValueSome Torch.Operators ] do
                let run sparse =
                    let table = embedding 6L 3L sparse

                    let executed: Executor | null =
                        match executor with
                        | ValueNone -> null
                        | ValueSome e -> e

                    let optimizer =
                        make (rule "SGD") [ "lr", Number 0.1 ] (table.NamedParameters(executor = executed))

                    optimizer.Attach(ClipGradValue 1.5, zeroGrad = true, accumulate = 2)

                    for rows in [ [ 1L; 4L; 1L ]; [ 5L ]; [ 0L; 4L; 4L; 4L ]; [ 2L; 1L ] ] do
                        look table rows
                        optimizer.Step()

                    doubles (weight table)

                Expect.equal (run true) (run false) "the same"
        }

        test "a gradient that is sparse in one step and dense in the next" {
            let table = embedding 5L 2L true
            let optimizer = make (rule "SGD") [ "lr", Number 1.0 ] (table.NamedParameters())
            let before = doubles (weight table)
            look table [ 1L ]
            optimizer.Step()
            optimizer.ZeroGrad()
            (weight table).sum().backward()
            optimizer.Step()

            let expected =
                before
                |> Array.mapi (fun i w ->
                    float (
                        float32 (
                            float (
                                float32 (
                                    w
                                    - (if i = 2 then 1.0
                                       elif i = 3 then 2.0
                                       else 0.0)
                                )
                            )
                            - 1.0
                        )
                    ))

            Expect.equal (doubles (weight table)) expected "both"
        }

        test "a gradient with an index for each element" {
            for executor in [ ValueNone; ValueSome Torch.Operators ] do
                let start, gradient = noise 1 6, [| 0.5; 0.0; 0.0; -1.0; 2.0; 0.0 |]
                let w = (tensorOf torch.float64 torch.CPU [| 2L; 3L |] start).requires_grad_ true
                w.grad <- (tensorOf torch.float64 torch.CPU [| 2L; 3L |] gradient).to_sparse()
                (make (rule "SGD") [ "lr", Number 1.0 ] (parametersAt executor [ "w", w ])).Step()
                close "the elements" torch.float64 (doubles w) (Array.map2 (-) start gradient)
        }

        test "refused: rules without sparse gradients, and SparseAdam with dense ones" {
            let table = embedding 5L 2L true
            look table [ 1L ]

            let step name () =
                (make (rule name) [] (table.NamedParameters())).Step()

            refuses<NotSupportedException> "Adam" [ "'weight'"; "sparse"; "SparseAdam" ] (step "Adam")
            let dense = embedding 5L 2L false
            look dense [ 1L ]

            refuses<NotSupportedException> "SparseAdam" [ "'weight'"; "dense" ] (fun () ->
                (make (rule "SparseAdam") [] (dense.NamedParameters())).Step())
        }

        test "the sparse gradients of every step are checked before anything moves, on operators as in kernels" {
            let ones (shape: int64 list) =
                tensor DType.Float32 (List.toArray shape) (Array.create (int (List.reduce (*) shape)) 1.0)

            let sparse (rows: int64 list) shape =
                Gradient.OfSparse(TensorView.Of(List.toArray rows), ones shape)

            let good = sparse [ 1L; 3L; 1L ] [ 3L; 2L ]

            for name, settings in sparseRules do
                let rule = rule name

                let options =
                    rule.Replace(rule.Defaults, [ for name, value in settings -> KeyValuePair(name, option value) ])

                for (executor: Executor | null) in [ null; Torch.Operators ] do
                    let tensors =
                        [| for seed in 1..2 -> tensor DType.Float32 [| 4L; 2L |] (noise seed 8) |]

                    let names = System.Collections.Immutable.ImmutableArray.Create("a", "b")
                    let parameters = Parameters.Over(tensors, names, executor)

                    let state =
                        ref (rule.Step(options, parameters, Gradients.Of [ good; good ], rule.Init(options, parameters)))

                    for what, wrong, words in
                        [
                            "longer rows", sparse [ 2L ] [ 1L; 3L ], [ "'b'"; "float32[1, 3]" ]
                            "fewer values than rows", sparse [ 2L; 3L ] [ 1L; 2L ], [ "'b'"; "2 rows" ]
                            "a row that is not there", sparse [ 2L; 4L ] [ 2L; 2L ], [ "'b'"; "row 4" ]
                            "a row below 0", sparse [ -1L ] [ 1L; 2L ], [ "'b'"; "row -1" ]
                        ] do
                        let before = [ for view in tensors -> view.ToDoubles() ]
                        let kept = State.copy state.Value

                        refuses<ArgumentException> $"{name}, {what}" words (fun () ->
                            rule.Step(options, parameters, Gradients.Of [ good; wrong ], state.Value)
                            |> ignore)

                        Expect.equal [ for view in tensors -> view.ToDoubles() ] before $"{what}: nothing has moved"
                        Expect.isTrue (State.contentEquals kept state.Value) $"{what}: the state is as it was"
                        state.Value <- rule.Step(options, parameters, Gradients.Of [ good; good ], state.Value)
        }

        test "the work of a sparse step grows with its rows, not with the table" {
            let time (table: Modules.Embedding) =
                let optimizer = make (rule "SparseAdam") [] (table.NamedParameters())
                look table [ for i in 1L .. 50L -> i * 3L ]

                for _ in 1..5 do
                    optimizer.Step()

                Seq.init 20 (fun _ ->
                    let clock = Diagnostics.Stopwatch.StartNew()
                    optimizer.Step()
                    clock.Elapsed.TotalMicroseconds)
                |> Seq.min

            let isAlike _ =
                let small, large =
                    time (embedding 1000L 8L true), time (embedding 1_000_000L 8L true)

                large < 10.0 * small + 100.0

            // On a busy machine one of them may have had to wait.
            Expect.isTrue (Seq.init 5 isAlike |> Seq.exists id) "a thousand times the rows"
        }

        test "sparse steps leave no memory behind" {
            let table = embedding 1000L 64L true
            let rows = [ for i in 1L .. 200L -> i * 37L % 999L ]
            let optimizer = make (rule "SparseAdam") [] (table.NamedParameters())

            // The values left behind in each step would be 100 MB.
            keepsNothing (40L <<< 20) (fun () ->
                use _ = torch.NewDisposeScope()
                optimizer.ZeroGrad()
                look table rows
                optimizer.Step())
        }
    ]

let tests = [ testList "sparse" sparse ]
