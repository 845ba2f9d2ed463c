/// Memory that is shared: tensors that overlap are refused, and nothing has moved.
module MemoryTests

open System
open System.Collections.Immutable
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit

let private isSparseOnly (rule: Rule) =
    rule.Sparse rule.Defaults = SparseGradients.Required

/// A gradient of all rows, sparse where a rule takes no other.
let private gradientOf rule (view: TensorView) =
    if isSparseOnly rule then
        Gradient.OfSparse(TensorView.Of [| 0L .. view.Shape[0] - 1L |], view)
    else
        Gradient.OfDense view

/// What a step must refuse: parameters and gradients in one buffer, for a shape of so many numbers; and what it must take.
let private refused (rule: Rule) dtype : (string * string list * (unit -> TensorView list * Gradient list * TensorView)) list =
    let rows, columns = 4L, 6L
    let count = rows * columns

    let fresh () =
        tensor dtype [| 4L * count |] (noise 3 (int (4L * count) * dtype.Parts()))

    let matrix whole start =
        part whole start [ rows; columns ] [ columns; 1L ]

    let gradient = gradientOf rule
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
            [ part whole 0 [ 4L; 4L ] [ 4L; 1L ] ], [ gradient (part whole 0 [ 4L; 4L ] [ 1L; 4L ]) ])
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
                let gradient = gradientOf rule

                // Parameter and gradient are columns of one buffer, row by row beside each other; the second parameter is its own gradient.
                let whole = tensor DType.Float32 [| 200L |] (noise 4 200)
                let column start = part whole start [ 4L; 6L ] [ 12L; 1L ]
                let second = part whole 100 [ 4L; 6L ] [ 6L; 1L ]
                let items = [ column 0; second ]
                let parameters = Parameters.Of items

                let array =
                    [|
                        gradient (column 6)
                        (if isSparseOnly rule then
                             Gradient.Absent
                         else
                             gradient second)
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

[<Tests>]
let tests = testList "memory" (functional @ shell)
