/// Memory that is shared, and memory that is gone: tensors that overlap are refused and nothing has moved, and a disposed parameter is
/// refused by whatever still holds it.
module MemoryTests

open System
open System.Collections.Immutable
open System.Reflection
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit

/// A tensor of some elements of another one.
let private part (whole: TensorView) start (shape: int64 list) (strides: int64 list) =
    let layout =
        Layout.Strided(whole.DType, ReadOnlySpan(List.toArray shape), ReadOnlySpan(List.toArray strides))

    TensorView(whole.Address + nativeint (start * whole.DType.Size()), layout, whole.Owner)

let private slice whole start length = part whole start [ length ] [ 1L ]

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

/// What a step must refuse: parameters and gradients in one buffer, for a shape of so many numbers; and what it must take.
let private refused (rule: Rule) dtype : (string * string list * (unit -> TensorView list * Gradient list * TensorView)) list =
    let rows, columns = 4L, 6L
    let count = rows * columns

    let fresh () =
        tensor dtype [| 4L * count |] (noise 3 (int (4L * count) * dtype.Parts()))

    let matrix whole start =
        part whole start [ rows; columns ] [ columns; 1L ]

    let gradient (view: TensorView) =
        if rule.Sparse rule.Defaults = SparseGradients.Required then
            Gradient.OfSparse(TensorView.Of [| 0L .. rows - 1L |], view)
        else
            Gradient.OfDense view

    let own () = gradient (matrix (fresh ()) 0)

    let case name words make =
        name,
        words,
        fun () ->
            let whole = fresh ()
            let parameters, gradients = make whole
            parameters, gradients, whole

    [
        case "a gradient one element before its parameter" [ "gradient"; "parameter 0" ] (fun whole ->
            [ matrix whole 1 ], [ gradient (matrix whole 0) ])
        case "a gradient in the last element of its parameter" [ "gradient"; "parameter 0" ] (fun whole ->
            [ matrix whole 0 ], [ gradient (matrix whole (int count - 1)) ])
        case "a transposed gradient over its parameter" [ "gradient"; "parameter 0" ] (fun whole ->
            [ part whole 0 [ 4L; 4L ] [ 4L; 1L ] ],
            [
                if rule.Sparse rule.Defaults = SparseGradients.Required then
                    Gradient.OfSparse(TensorView.Of [| 0L .. 3L |], part whole 0 [ 4L; 4L ] [ 1L; 4L ])
                else
                    Gradient.OfDense(part whole 0 [ 4L; 4L ] [ 1L; 4L ])
            ])
        case "a gradient over another parameter" [ "gradient of parameter 1"; "parameter 0" ] (fun whole ->
            [ matrix whole 0; matrix whole (2 * int count) ], [ own (); gradient (matrix whole 5) ])
        case "a gradient that is another parameter" [ "gradient of parameter 1"; "parameter 0" ] (fun whole ->
            [ matrix whole 0; matrix whole (2 * int count) ], [ own (); gradient (matrix whole 0) ])
        case "parameters that overlap" [ "parameter 0 and parameter 1"; "share memory" ] (fun whole ->
            [ matrix whole 0; matrix whole 23 ], [ own (); own () ])
        case "interleaved parameters that overlap" [ "parameter 0 and parameter 1"; "share memory" ] (fun whole ->
            [ part whole 0 [ 4L; 6L ] [ 10L; 1L ]; part whole 5 [ 4L; 6L ] [ 10L; 1L ] ], [ own (); own () ])
        case "the same tensor twice" [ "parameter 0 and parameter 2"; "the same tensor" ] (fun whole ->
            [ matrix whole 0; matrix whole 30; matrix whole 0 ], [ own (); own (); own () ])
    ]

let private dtypesOf (rule: Rule) =
    if rule.Scope <> RuleScope.Elements then
        [ DType.Float32; DType.Float64; DType.BFloat16 ]
    elif rule.Name = "SparseAdam" || rule.Name = "Rprop" || rule.Name = "Adamax" then
        [ DType.Float32; DType.BFloat16 ]
    else
        [ DType.Float32; DType.Float64; DType.Float16; DType.BFloat16 ]

let private functional =
    [
        for rule in Rules.All do
            test $"{rule.Name}: a step of tensors that share memory is refused in place and copying, and nothing moves" {
                for dtype in dtypesOf rule do
                    for name, words, make in refused rule dtype do
                        let items, gradients, whole = make ()
                        let before = whole.ToDoubles()

                        // A state of parameters that share nothing, as one may come from a file.
                        let state = rule.Init(rule.Defaults, Parameters.Of(items |> List.map _.Copy()))
                        let parameters, gradients = Parameters.Of items, Gradients.Of gradients

                        let refused what action =
                            refuses<ArgumentException> $"{name}, {dtype}, {what}" words action
                            expectSameBits (whole.ToDoubles()) before $"{name}, {dtype}, {what}: nothing moves"

                        refused "step" (fun () -> rule.Step(rule.Defaults, parameters, gradients, state) |> ignore)
                        refused "the same step again" (fun () -> rule.Step(rule.Defaults, parameters, gradients, state) |> ignore)

                        refused "pure step" (fun () -> rule.PureStep(rule.Defaults, parameters, gradients, state) |> ignore)

                        if name.Contains "gradient" |> not then
                            refused "init" (fun () -> rule.Init(rule.Defaults, parameters) |> ignore)
            }

            test $"{rule.Name}: a gradient that comes to lie over a parameter after some steps is refused, and neighbours are not" {
                let isSparse = rule.Sparse rule.Defaults = SparseGradients.Required

                let gradient (view: TensorView) =
                    if isSparse then
                        Gradient.OfSparse(TensorView.Of [| 0L .. 3L |], view)
                    else
                        Gradient.OfDense view

                // Parameter and gradient are columns of one buffer, row by row beside each other; the second parameter is its own gradient.
                let whole = tensor DType.Float32 [| 200L |] (noise 4 200)
                let column start = part whole start [ 4L; 6L ] [ 12L; 1L ]
                let second = part whole 100 [ 4L; 6L ] [ 6L; 1L ]
                let items = [ column 0; second ]
                let parameters = Parameters.Of items

                let array =
                    [|
                        gradient (column 6)
                        (if isSparse then Gradient.Absent else gradient second)
                    |]

                let gradients = Gradients.Over array
                let mutable state = rule.Init(rule.Defaults, parameters)

                for _ in 1..3 do
                    state <- rule.Step(rule.Defaults, parameters, gradients, state)

                for wrong in
                    [
                        column 5
                        column 7
                        part whole 99 [ 4L; 6L ] [ 6L; 1L ]
                        state.Columns
                        |> Seq.tryHead
                        |> (function
                        | Some c when not c[0].IsAbsent && c[0].Layout.SameShape((column 0).Layout) -> c[0]
                        | _ -> column 1)
                    ] do
                    if wrong.DType = DType.Float32 then
                        array[0] <- gradient wrong
                        let before = whole.ToDoubles()

                        refuses<ArgumentException> "moved" [ "gradient of parameter 0"; "shares memory" ] (fun () ->
                            rule.Step(rule.Defaults, parameters, gradients, state) |> ignore)

                        expectSameBits (whole.ToDoubles()) before "nothing moves"

                array[0] <- gradient (tensor DType.Float32 [| 4L; 6L |] (noise 5 24))
                state <- rule.Step(rule.Defaults, parameters, gradients, state)
                Expect.equal (state.Count 0) (if rule.KeepsStep then 4L else state.Count 0) "it goes on"
            }

        test "LBFGS refuses tensors that share memory" {
            for name, words, make in refused (rule "SGD") DType.Float64 do
                let items, gradients, whole = make ()
                let before = whole.ToDoubles()
                let parameters = Parameters.Of items
                let state = LBFGS.init LBFGS.defaults (Parameters.Of(items |> List.map _.Copy()))

                refuses<ArgumentException> name words (fun () ->
                    LBFGS.step LBFGS.defaults parameters (fun _ -> struct (1.0, Gradients.Of gradients)) state
                    |> ignore)

                expectSameBits (whole.ToDoubles()) before $"{name}: nothing moves"
        }

        test "averages over each other's memory, or over that of what they average, are refused" {
            let whole = TensorView.Zeros(DType.Float32, [| 64L |])
            let a, b = slice whole 0 8L, slice whole 8 8L
            let parameters = Parameters.Of [ a; b ]

            let own () =
                TensorView.Zeros(DType.Float32, [| 8L |])

            for rows, words in
                [
                    [ slice whole 32 8L; slice whole 39 8L ], [ "averages of parameter 0 and parameter 1" ]
                    [ slice whole 4 8L; own () ], [ "parameter 0"; "average of parameter 0" ]
                    [ own (); a ], [ "parameter 0"; "average of parameter 1" ]
                    [ a; own () ], [ "parameter 0"; "average of parameter 0" ]
                ] do
                let state = Average.over (Parameters.Of rows) 1L 1L
                refuses<ArgumentException> "update" words (fun () -> Average.update Averaging.equal parameters state |> ignore)

                let adam = rule "Adam"
                let gradients = Gradients.OfDense [ own (); own () ]

                let prepared =
                    adam.Prepare(adam.Defaults, parameters, gradients, adam.Init(adam.Defaults, parameters))

                refuses<ArgumentException> "a step that averages" [ "average" ] (fun () ->
                    prepared.Surround
                        { StepSurroundings.none with
                            Averages =
                                ImmutableArray.Create
                                    {
                                        Weight = 0.5
                                        Rows = List.toArray rows
                                    }
                        })

            let state = Average.over (Parameters.Of [ own (); own () ]) 1L 1L
            Average.update Averaging.equal parameters state |> ignore
        }
    ]

let private over name view = Param.Of(name, view)

let private shell =
    [
        test "an optimizer refuses memory that is shared within a group and across groups, and nothing moves" {
            for attach in [ false; true ] do
                for together in [ true; false ] do
                    for name, words, setUp in
                        [
                            "parameters",
                            [ "'a'"; "'b'"; "share memory" ],
                            (fun (whole: TensorView) -> slice whole 0 8L, slice whole 7 8L, None)
                            "a gradient over another group's parameter",
                            [ "gradient of parameter 'b'"; "'a'" ],
                            (fun whole -> slice whole 0 8L, slice whole 20 8L, Some(slice whole 4 8L))
                        ] do
                        let whole = tensor DType.Float32 [| 64L |] (noise 8 64)
                        let first, second, wrong = setUp whole
                        let a, b = over "a" first, over "b" second

                        let make () =
                            SGD(
                                (if together then
                                     parameters [ a; b ]
                                 else
                                     groups [ group [ a ] []; group [ b ] [] ]),
                                lr = 0.1
                            )

                        if together && wrong.IsNone then
                            refuses<ArgumentException> name words (fun () -> make () |> ignore)
                        else
                            let optimizer = make ()

                            if attach then
                                optimizer.Attach(ClipGradNorm 1.0)

                            a.SetGradient(tensor DType.Float32 [| 8L |] (noise 1 8))

                            match wrong with
                            | Some wrong -> b.BindGradient wrong
                            | None -> b.SetGradient(tensor DType.Float32 [| 8L |] (noise 2 8))

                            let before = whole.ToDoubles()
                            refuses<ArgumentException> $"{name}, {attach}" words (fun () -> optimizer.Step())
                            expectSameBits (whole.ToDoubles()) before "nothing moves"
        }

        test "a parameter may be its own gradient, and columns of one matrix are parameters and gradients" {
            let whole = tensor DType.Float64 [| 32L |] (Array.init 32 float)

            let a, b =
                over "a" (part whole 0 [ 8L ] [ 4L ]), over "b" (part whole 1 [ 8L ] [ 4L ])

            a.BindGradient(part whole 2 [ 8L ] [ 4L ])
            b.BindGradient(b.View)
            let optimizer = SGD(parameters [ a; b ], lr = 0.5)
            optimizer.Step()
            expectSameBits (values a) [| for i in 0..7 -> float (4 * i) - 0.5 * float (4 * i + 2) |] "a"
            expectSameBits (values b) [| for i in 0..7 -> 0.5 * float (4 * i + 1) |] "b"
        }

        test "a gradient of another type than the parameter is refused, and leaves none behind" {
            let w = Param.Zeros("w", DType.Float32, 3L)

            refuses<InvalidOperationException> "double" [ "'w'"; "float32[3]"; "Double" ] (fun () -> w.Gradient<double>().Clear())
            Expect.isFalse w.HasGradient "no gradient"
            w.SetSparseGradient(ReadOnlySpan [| 1L |], ReadOnlySpan [| 2.0f |])
            refuses<InvalidOperationException> "int" [ "Int32" ] (fun () -> w.Gradient<int>().Clear())
            Expect.isTrue w.IsGradientSparse "the gradient that was there"
        }
    ]

/// All that a parameter can be asked for or told, by name.
let private members: (string * (Param -> unit)) list =
    let view () =
        TensorView.Zeros(DType.Float32, [| 3L |])

    [
        "Data", (fun w -> w.Data<float32>().Clear())
        "View", (fun w -> w.View |> ignore)
        "IParameter.Data", (fun w -> (w :> IParameter).Data |> ignore)
        "Identity", (fun w -> (w :> IParameter).Identity |> ignore)
        "RequiresGradient", (fun w -> w.RequiresGradient |> ignore)
        "RequiresGradient", (fun w -> w.RequiresGradient <- true)
        "HasGradient", (fun w -> w.HasGradient |> ignore)
        "IsGradientSparse", (fun w -> w.IsGradientSparse |> ignore)
        "GradientView", (fun w -> w.GradientView |> ignore)
        "GradientRows", (fun w -> w.GradientRows |> ignore)
        "Gradient", (fun w -> w.Gradient<float32>().Clear())
        "Gradient of another type", (fun w -> w.Gradient<double>().Clear())
        "SetGradient", (fun w -> w.SetGradient(ReadOnlySpan [| 1.0f; 2.0f; 3.0f |]))
        "SetGradient of another length", (fun w -> w.SetGradient(ReadOnlySpan [| 1.0f |]))
        "SetGradient", (fun w -> w.SetGradient(view ()))
        "SetSparseGradient", (fun w -> w.SetSparseGradient(ReadOnlySpan [| 1L |], ReadOnlySpan [| 1.0f |]))
        "SetSparseGradient", (fun w -> w.SetSparseGradient(TensorView.Of [| 1L |], TensorView.Of [| 1.0f |]))
        "BindGradient", (fun w -> w.BindGradient [| 1.0f; 2.0f; 3.0f |])
        "BindGradient", (fun w -> w.BindGradient [| 1.0; 2.0; 3.0 |])
        "BindGradient", (fun w -> w.BindGradient(view ()))
        "DropGradient", (fun w -> w.DropGradient())
        "ZeroGradient", (fun w -> w.ZeroGradient false)
        "ZeroGradient", (fun w -> w.ZeroGradient true)
        "Refresh",
        (fun w ->
            let mutable data, gradient = TensorView(), Gradient.Absent
            (w :> IParameter).Refresh(&data, &gradient))
    ]

let private disposed =
    [
        test "every way to a disposed parameter is an ObjectDisposedException that names it" {
            let known =
                members
                |> List.map (fun (name, _) -> (name.Split(' ')[0]).Split('.') |> Array.last)
                |> Set.ofList

            let all =
                typeof<Param>.GetMembers(BindingFlags.Public ||| BindingFlags.Instance ||| BindingFlags.DeclaredOnly)
                |> Seq.filter (fun m -> not (m.Name.Contains "get_" || m.Name.Contains "set_" || m.Name = ".ctor"))
                |> Seq.map _.Name
                |> Set.ofSeq

            Expect.equal (all - known) (set [ "Name"; "ToString"; "Dispose" ]) "what this test does not call"

            for bound in [ false; true ] do
                let array, gradient = Array.zeroCreate<float32> 3, Array.zeroCreate<float32> 3
                let w = new Param("w", array)

                if bound then
                    w.BindGradient gradient
                else
                    w.Gradient<float32>().Fill 1.0f

                w.Dispose()

                for name, call in members do
                    refuses<ObjectDisposedException> name [ "'w'" ] (fun () -> call w)

                Expect.equal (w.ToString()) "w: float32[3]" "its text"
                w.Dispose()
        }

        test "optimizers, averages, clipping, checkpoints and the core refuse a disposed parameter" {
            let make () =
                let w, v = new Param("w", Array.create 3 1.0f), Param.Zeros("v", DType.Float32, 3L)

                for p in [ w; v ] do
                    p.Gradient<float32>().Fill 1.0f

                w, v

            for name, call in
                [
                    "Step", (fun (optimizer: Optimizer) (_: AveragedParameters) (_: Param) -> optimizer.Step())
                    "Step of a closure", (fun optimizer _ _ -> optimizer.Step(fun () -> 1.0) |> ignore)
                    "ZeroGrad", (fun optimizer _ _ -> optimizer.ZeroGrad false)
                    "ZeroGrad to none", (fun optimizer _ _ -> optimizer.ZeroGrad true)
                    "State", (fun optimizer _ w -> optimizer.State w |> ignore)
                    "SetState", (fun optimizer _ w -> optimizer.SetState(w, "mine", Tree.Int 1L))
                    "a new optimizer", (fun _ _ w -> SGD(parameters [ w ]) |> ignore)
                    "GradScaler", (fun optimizer _ _ -> GradScaler().Step optimizer |> ignore)
                    "Unscale", (fun optimizer _ _ -> GradScaler().Unscale optimizer)
                    "UpdateParameters", (fun _ average _ -> average.UpdateParameters())
                    "Applied", (fun _ average _ -> average.Applied().Dispose())
                    "ClipGrad", (fun _ _ w -> ClipGrad.Norm([ w ], 1.0) |> ignore)
                    "Checkpoint",
                    (fun _ _ w -> inFolder (fun file -> Checkpoint.Save(file "a.pt", struct ("w", box [| w :> IParameter |]))))
                ] do
                let w, v = make ()
                let average = AveragedParameters([ v :> IParameter; w ])
                let optimizer = Adam(parameters [ v; w ])
                optimizer.Step()
                w.Dispose()
                let before = values v
                refuses<ObjectDisposedException> name [ "'w'" ] (fun () -> call optimizer average w)
                expectSameBits (values v) before $"{name}: nothing moves"
        }

        test "views of a disposed parameter are refused, in the core, too, and a parameter unpins only what it has pinned" {
            let w = new Param("w", Array.create 3 1.0f)
            let view = w.View
            let other = Param.Of("other", view)
            let bound = Param.Zeros("bound", DType.Float32, 3L)
            bound.BindGradient view
            let options = Adam.defaults
            let gradients = Gradients.OfDense [ TensorView.Of [| 1.0f; 1.0f; 1.0f |] ]
            let parameters' = Parameters.Of [ view ]
            let state = Adam.step options parameters' gradients (Adam.init options parameters')
            other.Dispose()
            w.Data<float32>()[0] <- 2.0f
            Expect.equal (view.ToDoubles()[0]) 2.0 "the array is pinned by its own parameter"
            w.Dispose()

            for name, call in
                [
                    "ToDoubles", (fun () -> view.ToDoubles() |> ignore)
                    "Copy", (fun () -> view.Copy() |> ignore)
                    "ToHost", (fun () -> view.ToHost() |> ignore)
                    "AsSpan", (fun () -> view.AsSpan<float32>().Clear())
                    "Clear", (fun () -> view.Clear())
                    "CopyFrom", (fun () -> view.CopyFrom(TensorView.Of [| 1.0f; 2.0f; 3.0f |]))
                    "CopyFrom it", (fun () -> TensorView.Of([| 1.0f; 2.0f; 3.0f |]).CopyFrom view)
                    "ConvertFrom", (fun () -> view.ConvertFrom(TensorView.Of [| 1.0; 2.0; 3.0 |]))
                    "ConvertFrom it", (fun () -> TensorView.Of([| 1.0; 2.0; 3.0 |]).ConvertFrom view)
                    "ContentEquals", (fun () -> view.ContentEquals view |> ignore)
                    "a step", (fun () -> Adam.step options parameters' gradients state |> ignore)
                    "a pure step", (fun () -> Adam.pureStep options parameters' gradients state |> ignore)
                    "a gradient of the core",
                    (fun () ->
                        let own = Parameters.Of [ TensorView.Of [| 1.0f; 1.0f; 1.0f |] ]

                        Adam.step options own (Gradients.OfDense [ view ]) (Adam.init options own)
                        |> ignore)
                    "a bound gradient", (fun () -> SGD(parameters [ bound ]).Step())
                ] do
                refuses<ObjectDisposedException> name [ "given back" ] call
        }
    ]

let private lent =
    [
        test "while averages are applied, steps, loads and other averages of the same parameters are refused, naming the average" {
            let w, v = Param.Zeros("w", DType.Float32, 3L), Param.Zeros("v", DType.Float32, 3L)

            for p in [ w; v ] do
                p.Data<float32>().Fill 1.0f
                p.Gradient<float32>().Fill 1.0f

            let average =
                AveragedParameters([ w ], multiAvgFn = AveragedParameters.GetEmaMultiAvgFn 0.75)

            let other = AveragedParameters([ w :> IParameter; v ])

            let plain, attached =
                SGD(parameters [ w ], lr = 0.5), SGD(parameters [ w ], lr = 0.5)

            attached.Attach(average = other)
            let lbfgs = LBFGS(parameters [ w ])
            average.UpdateParameters()
            plain.Step()
            let saved = ParametersState([ w ]).SaveState().Copy()

            inFolder (fun file ->
                Checkpoint.Save(file "w.pt", struct ("w", box [| w :> IParameter |]))
                let load = ParametersState([ w ]).PrepareLoad saved

                for name, call in
                    [
                        "Step", (fun () -> plain.Step())
                        "Step with another average", (fun () -> attached.Step())
                        "Step of a closure", (fun () -> plain.Step(fun () -> (failtest "the closure was called": float)) |> ignore)
                        "LBFGS", (fun () -> lbfgs.Step(fun () -> (failtest "the closure was called": float)) |> ignore)
                        "GradScaler", (fun () -> GradScaler().Step plain |> ignore)
                        "loading", (fun () -> Checkpoint.Load(file "w.pt", struct ("w", box [| w :> IParameter |])) |> ignore)
                        "a load that was prepared before", (fun () -> load.Run() |> ignore)
                        "another average", (fun () -> other.UpdateParameters())
                        "another average applied", (fun () -> other.Applied().Dispose())
                    ] do
                    let lent = average.Applied()
                    let before = values w
                    expectSameBits before [| 1.0; 1.0; 1.0 |] "the average"

                    match thrown name call with
                    | :? InvalidOperationException as e ->
                        for word in [ "'w'"; "AveragedParameters (decay 0.75, 1 updates)"; "Applied()" ] do
                            Expect.stringContains e.Message word name
                    | e -> failtestf "%s: %O" name e

                    expectSameBits (values w) before $"{name}: nothing moves"
                    lent.Dispose()
                    expectSameBits (values w) [| 0.5; 0.5; 0.5 |] "the live values"
                    expectSameBits (average["w"].ToDoubles()) [| 1.0; 1.0; 1.0 |] "the average afterwards"

                // What has nothing to do with the average goes on.
                use _ = average.Applied()
                SGD(parameters [ v ], lr = 0.5).Step()
                expectSameBits (values v) [| 0.5; 0.5; 0.5 |] "another parameter")
        }

        test "a closure that leaves averages applied is refused before the step" {
            let w = Param.Zeros("w", DType.Float32, 3L)
            let average = AveragedParameters([ w ])
            let optimizer = SGD(parameters [ w ], lr = 0.5)
            let mutable lent: IDisposable = null

            refuses<InvalidOperationException> "step" [ "'w'" ] (fun () ->
                optimizer.Step(fun () ->
                    w.Gradient<float32>().Fill 1.0f
                    lent <- average.Applied()
                    1.0)
                |> ignore)

            lent.Dispose()
            expectSameBits (values w) [| 0.0; 0.0; 0.0 |] "nothing moved"
        }
    ]

[<Tests>]
let tests =
    testList
        "memory"
        (overlap
         @ functional
         @ shell
         @ disposed
         @ [ testSequenced (testList "lent" lent) ])
