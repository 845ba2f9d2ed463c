/// States as values: spent ones, equality, printing, and counts of steps.
module StateTests

open System
open System.Globalization
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit

let private matrix dtype seed =
    tensor dtype [| 2L; 3L |] (noise seed 6)

/// A rule's state after some steps, with what made it.
let private stepped (rule: Rule) options steps =
    let parameters =
        Parameters.OfNamed [ struct ("a", matrix DType.Float32 1); struct ("b", matrix DType.Float32 2) ]

    let gradients seed =
        Gradients.OfDense [ matrix DType.Float32 seed; matrix DType.Float32 (seed + 1) ]

    let mutable state = rule.Init(options, parameters)

    for k in 1..steps do
        state <- rule.Step(options, parameters, gradients (10 * k), state)

    parameters, gradients, state

let private dense =
    List.ofSeq Rules.All
    |> List.filter (fun rule -> rule.Sparse rule.Defaults <> SparseGradients.Required)

let private spent =
    testList
        "spent states"
        [
            testCase "every part of a spent state that may differ from its successor throws" (fun () ->
                for rule in dense do
                    let options = rule.Defaults
                    let parameters, gradients, state = stepped rule options 2
                    let next = rule.Step(options, parameters, gradients 99, state)

                    let reads: (string * (State -> obj)) list =
                        [
                            "Count", (fun s -> s.Count 0 |> box)
                            "Counts", (fun s -> s.Counts |> box)
                            "Columns", (fun s -> s.Columns |> box)
                            "=", (fun s -> (s = next) |> box)
                            "contentEquals", (fun s -> State.contentEquals next s |> box)
                            "copy", (fun s -> State.copy s |> box)
                            "toTree", (fun s -> State.toTree s |> box)
                            for name in rule.ColumnNames do
                                name, (fun s -> s[name] |> box)
                            for name in rule.ScalarNames do
                                name, (fun s -> s.Scalar(name, 0) |> box)
                        ]

                    for what, read in reads do
                        refuses<SpentStateException> $"{rule.Name}, {what}" [ rule.Name; "State.copy" ] (fun () -> read state |> ignore)
                        read next |> ignore

                    Expect.isTrue state.IsSpent "it says so"
                    Expect.equal state.RowCount 2 "what never changes is there"
                    Expect.stringContains (string state) "consumed" "and it can be printed")

            testCase "so does every part of LBFGS's, and of an average" (fun () ->
                let parameters = Parameters.Of [ matrix DType.Float64 1 ]

                let evaluate (parameters: Parameters) =
                    struct (1.0, Gradients.OfDense [ parameters[0].Copy() ])

                let first = LBFGS.init LBFGS.defaults parameters
                let struct (_, next) = LBFGS.step LBFGS.defaults parameters evaluate first

                for property in typeof<LBFGSState>.GetProperties() do
                    if not (List.contains property.Name [ "IsSpent"; "Executor"; "Threads" ]) then
                        property.GetValue next |> ignore

                        match thrown property.Name (fun () -> property.GetValue first |> ignore) with
                        | :? Reflection.TargetInvocationException as e when (e.InnerException :? SpentStateException) -> ()
                        | e -> failtestf "%s: %s" property.Name (string e)

                Expect.stringContains (string first) "consumed" "printed"
                let before = Average.init parameters
                let after = Average.update Averaging.equal parameters before

                for property in typeof<AverageState>.GetProperties() do
                    if property.Name <> "IsSpent" then
                        property.GetValue after |> ignore

                        match thrown property.Name (fun () -> property.GetValue before |> ignore) with
                        | :? Reflection.TargetInvocationException as e when (e.InnerException :? SpentStateException) -> ()
                        | e -> failtestf "%s: %s" property.Name (string e))
        ]

let private equality =
    testCase "states, parameters and gradients are compared by content" (fun () ->
        for rule in dense do
            let options = rule.Defaults
            let parameters, gradients, state = stepped rule options 2
            let otherParameters, _, other = stepped rule options 2
            Expect.isTrue (state = other && state.GetHashCode() = other.GetHashCode()) $"{rule.Name}: the same history"
            Expect.isTrue (parameters = otherParameters) "parameters"
            Expect.isTrue (gradients 1 = gradients 1 && gradients 1 <> gradients 2) "gradients"
            Expect.isTrue (State.copy state = state) "a copy"
            let struct (moved, next) = rule.PureStep(options, parameters, gradients 50, state)
            Expect.isTrue (next <> state && moved <> parameters) $"{rule.Name}: another step"

        let rows = TensorView.Of([| 1L |], [| 1L |])

        let sparse value =
            Gradients.Of [ Gradient.OfSparse(rows, tensor DType.Float32 [| 1L; 2L |] [| value; 1.0 |]) ]

        Expect.isTrue (sparse 1.0 = sparse 1.0 && sparse 1.0 <> sparse 2.0) "sparse gradients"
        Expect.isTrue (Gradients.Of [ Gradient.Absent ] <> sparse 1.0) "none and some")

let private printing =
    testList
        "printing"
        [
            testCase "a tensor prints its dtype, shape and first numbers, in every culture" (fun () ->
                let culture = CultureInfo.CurrentCulture

                try
                    CultureInfo.CurrentCulture <- CultureInfo "de-DE"

                    for view, text in
                        [
                            tensor DType.Float32 [| 2L; 2L |] [| 0.1; -2.5; infinity; nan |], "float32[2, 2] (0.1, -2.5, Infinity, NaN)"
                            tensor DType.Float64 [| 10L |] (Array.init 10 float), "float64[10] (0, 1, 2, 3, 4, 5, 6, 7, ...)"
                            tensor DType.BFloat16 [||] [| 1.5 |], "bfloat16[] (1.5)"
                            tensor DType.Complex64 [| 2L |] [| 1.0; 2.0; 0.5; -1.0 |], "complex64[2] (1+2j, 0.5-1j)"
                            tensor DType.Float32 [| 0L; 3L |] [||], "float32[0, 3]"
                            TensorView.Of([| 3L; -1L |], [| 2L |]), "int64[2] (3, -1)"
                            TensorView(), "absent"
                            TensorView(0n, Layout.Contiguous(DType.Float32, ReadOnlySpan [| 3L |]), (null: obj | null)), "float32[3]"
                        ] do
                        Expect.equal (string view) text "ToString"
                        Expect.equal (sprintf "%A" view) text "%A"

                    let whole = tensor DType.Float32 [| 2L; 3L |] [| 1.0; 2.0; 3.0; 4.0; 5.0; 6.0 |]

                    let turned =
                        TensorView(
                            whole.Address,
                            Layout.Strided(DType.Float32, ReadOnlySpan [| 3L; 2L |], ReadOnlySpan [| 1L; 3L |]),
                            whole.Owner
                        )

                    Expect.equal (string turned) "float32[3, 2] (1, 4, 2, 5, 3, 6)" "in row-major order, whatever the strides"
                finally
                    CultureInfo.CurrentCulture <- culture)

            testCase "states, parameters and gradients print dtypes, shapes and first numbers" (fun () ->
                let parameters =
                    Parameters.OfNamed [ struct ("w", tensor DType.Float32 [| 2L |] [| 1.0; 2.0 |]) ]

                let gradients = Gradients.OfDense [ tensor DType.Float32 [| 2L |] [| 0.5; 0.25 |] ]

                let options = { SGD.defaults with Momentum = 0.5 }
                let state = SGD.step options parameters gradients (SGD.init options parameters)

                for text in [ string state; sprintf "%A" state ] do
                    Expect.equal
                        text
                        "state of SGD for 1 parameters\n  parameter 0: 1 steps; momentum_buffer float32[2] (0.5, 0.25)"
                        "state"

                Expect.equal (sprintf "%A" gradients) "1 gradients\n  parameter 0: float32[2] (0.5, 0.25)" "gradients"
                Expect.stringContains (sprintf "%A" parameters) "1 parameters\n  parameter 'w': float32[2] (0.99" "parameters"
                Expect.equal (string (Gradients.Of [ Gradient.Absent ])) "1 gradients\n  parameter 0: absent" "absent"

                let many =
                    Parameters.Of [ for _ in 1..30 -> tensor DType.Float32 [| 1L |] [| 1.0 |] ]

                Expect.equal ((string many).Split('\n') |> Array.last) "  and 20 more" "many"

                Expect.stringContains
                    (string (
                        NAdam.step NAdam.defaults many (Gradients.OfDense [ for i in 0..29 -> many[i] ]) (NAdam.init NAdam.defaults many)
                    ))
                    "mu_product 0."
                    "numbers kept beside")
        ]

let private counts =
    testList
        "counts of steps"
        [
            testCase "every rule counts the steps that each parameter has taken" (fun () ->
                for rule in dense do
                    for options in
                        [
                            rule.Defaults
                            if rule.Has "momentum" then
                                rule.Replace(rule.Defaults, "momentum", OptionValue.Float 0.5)
                                rule.Replace(rule.Defaults, "momentum", OptionValue.Float 0.0)
                        ] do
                        let parameters, _, state = stepped rule options 3
                        Expect.equal [ state.Count 0; state.Count 1 ] [ 3L; 3L ] rule.Name

                        let some =
                            Gradients.Of [ Gradient.Absent; Gradient.OfDense(matrix DType.Float32 5) ]

                        let next = rule.Step(options, parameters, some, state)
                        Expect.equal [ next.Count 0; next.Counts[1] ] [ 3L; 4L ] $"{rule.Name}: of those that step"
                        let restored = State.ofTree rule parameters (State.toTree next)
                        Expect.equal [ restored.Count 0; restored.Count 1 ] [ 3L; 4L ] $"{rule.Name}: from a tree")

            testCase "momentum that is turned on after steps without it begins with the gradient, also after a restore" (fun () ->
                let without = SGD.defaults

                let with' =
                    { without with
                        Momentum = 0.5
                        Dampening = 0.25
                    }

                let parameters, gradients, state = stepped SGD.rule without 2

                let check state =
                    let struct (_, next) = SGD.pureStep with' parameters (gradients 7) state
                    let given = gradients 7
                    let column = next["momentum_buffer"]
                    expectSameBits (column[0].ToDoubles()) (given[0].Values.ToDoubles()) "the first momentum"
                    Expect.equal (next.Count 0) 3L "its count"

                check (State.ofTree SGD.rule parameters (State.toTree state))
                check state)

            testCase "counts beyond 2^24 and 2^53 are saved and loaded as they are, and stop at 2^62" (fun () ->
                for name, given in everyRule |> List.filter (fun (name, _) -> (rule name).KeepsStep) do
                    for start in [ (1L <<< 24) - 2L; (1L <<< 53) - 2L; 1L <<< 60; (1L <<< 62) - 2L ] do
                        let p = vector "w" [ 1.0 ]
                        let optimizer = optimizer name given [ p ]
                        setGradient p (Some [| 0.5 |])
                        optimizer.Step()
                        let dict = optimizer.StateDict().Clone()
                        dict.State[0]["step"] <- Tree.Int start
                        optimizer.LoadStateDict dict |> ignore

                        for k in 1L .. 4L do
                            optimizer.Step()
                            let count = (StateDict.FromTree(optimizer.StateDict().ToTree())).State[0]["step"]
                            Expect.equal (Counting.ofTree "step" count) (min (start + k) (1L <<< 62)) $"{name} from {start}"
                            optimizer.LoadStateDict(optimizer.StateDict().Clone()) |> ignore

                        Expect.all (values p) Double.IsFinite $"{name} from {start}"

                        inFolder (fun within ->
                            Checkpoint.Save(within "run.pt", struct ("optimizer", box optimizer))
                            Checkpoint.Load(within "run.pt", struct ("optimizer", box optimizer)) |> ignore))

            testCase "counts that are none are refused with the limit, by the shell and in F#" (fun () ->
                let p = vector "w" [ 1.0 ]
                let adam = optimizer "Adam" [] [ p ]
                setGradient p (Some [| 0.5 |])
                adam.Step()
                let words = [ "step of parameter 'w'"; "4611686018427387904" ]

                for bad in
                    [
                        Tree.Int -1L
                        Tree.Int Int64.MaxValue
                        Tree.Float 0.5
                        Tree.Float nan
                        Tree.Float 1e300
                        Tree.Float -infinity
                        Tree.Tensor(TensorView.Of([| 1e19 |], [||]))
                        Tree.Tensor(TensorView.Of([| Int64.MinValue |], [||]))
                    ] do
                    let dict = adam.StateDict().Clone()
                    dict.State[0]["step"] <- bad
                    refuses<ArgumentException> $"{bad}" words (fun () -> adam.LoadStateDict dict |> ignore)
                    let parameters = Parameters.OfNamed [ struct ("w", p.View) ]

                    let tree =
                        Tree.MapOf(
                            MapKind.Dict,
                            [
                                Collections.Generic.KeyValuePair(TreeKey.Int 0L, Tree.Dict(struct ("step", bad)))
                            ]
                        )

                    refuses<ArgumentException> $"{bad} in F#" words (fun () -> State.ofTree Adam.rule parameters tree |> ignore)
                    let average = new AveragedParameters([ p :> IParameter ])
                    let state = average.StateDict()

                    let spoiled =
                        Tree.MapOf(
                            MapKind.Dict,
                            [
                                for entry in state.AsMap() ->
                                    if entry.Key = TreeKey.Text "n_averaged" then
                                        Collections.Generic.KeyValuePair(entry.Key, bad)
                                    else
                                        entry
                            ]
                        )

                    refuses<ArgumentException> $"{bad} averages" [ "n_averaged"; "4611686018427387904" ] (fun () ->
                        average.LoadStateDict spoiled |> ignore))
        ]

[<Tests>]
let tests = testList "states" [ spent; equality; printing; counts ]
