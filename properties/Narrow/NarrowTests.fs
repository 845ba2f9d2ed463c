// Long, because maps, engines, files, shells and refusals of narrow state are tested with the same kit.
/// State in two bytes an element: StateStorage.
module NarrowTests

open System
open System.Collections.Generic
open System.IO
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Laws
open NarrowKit

let private random = Random 20261126

/// Numbers over many powers of two, zeros and denormal ones among them.
let private numbers isNonNegative count =
    let middle, span = random.NextDouble() * 60.0 - 40.0, random.NextDouble() * 80.0

    Array.init count (fun _ ->
        match random.Next 20 with
        | 0 -> 0.0f
        | 1 -> BitConverter.Int32BitsToSingle(random.Next(1 <<< 22))
        | _ ->
            let x = Math.Pow(2.0, middle + span * (random.NextDouble() - 0.5))
            float32 (if isNonNegative || random.Next 2 = 0 then x else -x))

let private kinds =
    [ NarrowKind.BFloat16; NarrowKind.Signed8; NarrowKind.NonNegative8 ]

let private makeRow (kind: NarrowKind) count =
    let codes = TensorView.Zeros(NarrowKinds.CodesOf kind, [| int64 count |])

    let scales =
        if NarrowKinds.HasScales kind then
            TensorView.Zeros(DType.Float32, [| int64 (NarrowKinds.Blocks(nativeint count)) |])
        else
            TensorView()

    struct (codes, scales)

let private narrowed kind (values: float32 array) step =
    let struct (codes, scales) = makeRow kind values.Length
    NarrowMemory.Narrow(TensorView.Of(values, [| int64 values.Length |]), kind, codes, scales, 0L, step, 0, 0n)
    struct (codes, scales)

let private widened kind (struct (codes, scales)) =
    NarrowMemory.Widen(kind, codes, scales).AsSpan<float32>().ToArray()

let private codecTests =
    testList
        "codes"
        [
            test "second moments from nothing and denormal numbers up to the largest have the same codes at every width" {
                let values =
                    Array.init 512 (fun i ->
                        match i % 3 with
                        | 0 -> 0.0f
                        | 1 -> float32 (1 + i) * 1e-43f
                        | _ -> 1e36f * float32 (1 + i % 300))

                let codesAt width =
                    let struct (codes, scales) =
                        Setting.withWidth width (fun () -> narrowed NarrowKind.NonNegative8 values 3L)

                    codes.AsSpan<byte>().ToArray(), bits (scales.AsSpan<float32>().ToArray())

                for width in KernelRuns.widths do
                    Expect.equal (codesAt width) (codesAt Width.Single) $"{width}"
            }

            for kind in kinds do
                let isNonNegative = kind = NarrowKind.NonNegative8

                test $"{kind}: widened and narrowed again nothing changes, at every width, in any step" {
                    for trial in 0..300 do
                        let values = numbers isNonNegative (1 + random.Next 600)

                        if trial % 7 = 0 then
                            values[random.Next values.Length] <- nanf
                            values[random.Next values.Length] <- infinityf

                        let rows =
                            KernelRuns.widths
                            |> List.map (fun width -> Setting.withWidth width (fun () -> narrowed kind values (int64 trial)))

                        let once = widened kind rows.Head

                        for struct (codes, scales) as row in rows do
                            let struct (first, firstScales) = rows.Head
                            Expect.isTrue (codes.ContentEquals first) "the same codes"
                            Expect.isTrue (scales.ContentEquals firstScales) "the same scales"

                            for width in KernelRuns.widths do
                                Expect.equal (bits (Setting.withWidth width (fun () -> widened kind row))) (bits once) "the same numbers"

                        let again = widened kind (narrowed kind once (int64 trial + 1000003L))
                        Expect.equal (bits again) (bits once) "narrowed again"

                        for i in 0 .. values.Length - 1 do
                            Expect.equal (Single.IsNaN once[i]) (Single.IsNaN values[i]) "NaN stays NaN, and spreads to none"

                            if isNonNegative && values[i] > 0.0f then
                                Expect.isGreaterThan once[i] 0.0f "above 0 stays above 0"

                            if values[i] = 0.0f then
                                Expect.equal once[i] 0.0f "0 stays 0"
                }

                test $"{kind}: rounding is right in the mean over steps" {
                    let values = Array.init 256 (fun i -> float32 (1.0 + double i / 300.0))
                    let sums = Array.zeroCreate<double> values.Length
                    let steps = 2000

                    for step in 1..steps do
                        widened kind (narrowed kind values (int64 step))
                        |> Array.iteri (fun i x -> sums[i] <- sums[i] + double x)

                    for i in 0 .. values.Length - 1 do
                        let mean = sums[i] / double steps
                        // A step of codes is 4 % here; across a power of two it is right in their logarithm.
                        Expect.isLessThan (abs (mean - double values[i])) (4e-3 * double values[i]) $"element {i}"
                }
        ]

let private resume =
    testList
        "resume"
        [
            for rule in rules do
                testCase $"{rule.Name}: goes on bit for bit, from narrow state and through float32" (fun () ->
                    let elements = 700

                    for storage in always @ seeded do
                        let options = stored rule storage rule.Defaults
                        let whole = Run(rule, options, elements, recordedStart)
                        let first = Run(rule, options, elements, recordedStart)

                        for step in 0..4 do
                            whole.Step(recordedGradient step)
                            first.Step(recordedGradient step)

                        let second =
                            Run(rule, options, elements, (let values = first.Values in fun i -> values[i]))

                        second.State <- State.ofTree rule second.Parameters (State.toTree first.State)

                        for step in 5..8 do
                            whole.Step(recordedGradient step)
                            second.Step(recordedGradient step)

                        Expect.equal (bits second.Values) (bits whole.Values) $"{storage}: the parameters"
                        Expect.isTrue (State.contentEquals second.State whole.State) $"{storage}: the state")
        ]

let private sameBits =
    testList
        "the same bits"
        [
            for name in [ "AdamW"; "SGD"; "Lion"; "Adagrad"; "AdaBelief"; "RMSprop" ] do
                testCase $"{name}: any width, threads, executor and engine" (fun () ->
                    let rule = Rules.Find name

                    let settings =
                        if name = "SGD" || name = "RMSprop" then
                            rule.Replace(rule.Defaults, "momentum", OptionValue.Float 0.9)
                        else
                            rule.Defaults

                    for storage in always @ seeded do
                        let options = stored rule storage settings

                        let run () =
                            // Several blocks and a short one, and more than one share.
                            let run = Run(rule, options, 40000 + 77, recordedStart)

                            for step in 0..4 do
                                run.Step(motleyGradient step)

                            struct (run.Values, run.State)

                        let struct (expected, state) = Setting.withThreads 1 run

                        let same what (struct (values, other): struct (float32 array * State)) =
                            Expect.equal (bits values) (bits expected) what
                            Expect.isTrue (State.contentEquals other state) $"{what}: the state"

                        for threads in [ 2; 3; 8 ] do
                            same $"{threads} threads" (Setting.withThreads threads run)

                        for width in KernelRuns.widths do
                            same $"{width}" (Setting.withWidth width run)

                        let engine, formulas = ProgramEngine.Current, ProgramEngine.RunsFormulas

                        try
                            for other in [ Engine.Emitted; Engine.Blocks ] do
                                for asProgram in [ false; true ] do
                                    ProgramEngine.Current <- other
                                    ProgramEngine.RunsFormulas <- asProgram
                                    same $"{other}, {asProgram}" (run ())
                        finally
                            ProgramEngine.Current <- engine
                            ProgramEngine.RunsFormulas <- formulas)
        ]
    |> testSequenced

let private param name elements =
    new Param(name, Array.init elements recordedStart)

let private columnsOf (rule: Rule) options =
    let run = Run(rule, options, 300, recordedStart)

    for step in 0..1 do
        run.Step(recordedGradient step)

    [
        for column in run.State.Columns do
            if not column[0].IsAbsent then
                column.Name, column.MapOf 0
    ]

let private kept =
    testList
        "what is kept"
        [
            test "second moments as numbers that are never below 0, differences and step sizes wide" {
                let blockwise (rule: Rule) (options: IOptimizerOptions) =
                    columnsOf rule (stored rule (StateStorage.Blockwise8.From 0) options)

                let signed, root, wide = "optim.signed8.256", "optim.nonnegative8.256", "float32"
                Expect.equal (blockwise Adam.rule Adam.defaults) [ "exp_avg", signed; "exp_avg_sq", root ] "Adam"
                Expect.equal (blockwise Rprop.rule Rprop.defaults) [ "prev", signed; "step_size", wide ] "Rprop"

                Expect.equal
                    (blockwise
                        RMSprop.rule
                        { RMSprop.defaults with
                            Centered = true
                            Momentum = 0.9
                        })
                    [ "square_avg", wide; "momentum_buffer", signed; "grad_avg", wide ]
                    "RMSprop, centered"

                Expect.equal
                    (blockwise (Rules.Find "AdaBelief") (Rules.Find "AdaBelief").Defaults)
                    [ "exp_avg", signed; "exp_avg_var", root ]
                    "AdaBelief"

                Expect.equal (blockwise (Rules.Find "Lion") (Rules.Find "Lion").Defaults) [ "exp_avg", signed ] "Lion"
            }

            test "at most 2.1 bytes of Adam's state an element" {
                use w = param "w" 100_000

                let optimizer =
                    AdamW([ w :> IParameterOrGroup ], stateStorage = StateStorage.Blockwise8)

                w.SetGradient<float32>(ReadOnlySpan(Array.init 100_000 (recordedGradient 0)))
                optimizer.Step()

                let bytes =
                    optimizer.State(w)
                    |> Seq.sumBy (fun entry ->
                        match entry.Value with
                        | Tree.Tensor view when entry.Key <> "step" -> int64 view.Count * int64 (view.DType.Size())
                        | _ -> 0L)

                Expect.isLessThanOrEqual (double bytes / 100_000.0) 2.1 "bytes an element"
            }

            test "smaller parameters stay wide, groups and minima choose" {
                use large = param "large" 4096
                use small = param "small" 4095
                use other = param "other" 5000

                let groups: IParameterOrGroup list =
                    [
                        ParameterGroup [ large :> IParameter; small ]
                        (let group = ParameterGroup [ other :> IParameter ]
                         group["state_storage"] <- OptionValue.Text "float32"
                         group)
                    ]

                let optimizer = AdamW(groups, stateStorage = StateStorage.Blockwise8)

                for p in [ large; small; other ] do
                    p.SetGradient<float32>(ReadOnlySpan(Array.init (int p.View.Count) (recordedGradient 0)))

                optimizer.Step()
                Expect.isTrue (optimizer.State(large).ContainsKey "exp_avg.codes") "4096"
                Expect.isTrue (optimizer.State(small).ContainsKey "exp_avg") "4095"
                Expect.isTrue (optimizer.State(other).ContainsKey "exp_avg") "the group says float32"
            }
        ]

let private filesTests =
    let steps = 3

    let made (storage: StateStorage) (name: string) =
        let w = param "w" 5000

        let optimizer: Optimizer =
            match name with
            | "SGD" -> SGD([ w :> IParameterOrGroup ], lr = 0.1, momentum = 0.9, stateStorage = storage)
            | "Lion" ->
                RuleOptimizer(
                    Rules.Find "Lion",
                    [ w :> IParameterOrGroup ],
                    struct ("state_storage", OptionValue.Text(StateStorage.NameOf storage.Format))
                )
            | _ -> AdamW([ w :> IParameterOrGroup ], lr = 0.01, stateStorage = storage)

        w, optimizer

    let step (w: Param, optimizer: Optimizer) number =
        w.SetGradient<float32>(ReadOnlySpan(Array.init 5000 (recordedGradient number)))
        optimizer.Step()

    testList
        "state dicts"
        [
            for name in [ "AdamW"; "SGD"; "Lion" ] do
                for storage in formats do
                    testCase $"{name}, {storage}: exact through a file, to float32 and back" (fun () ->
                        let w, optimizer = made storage name

                        for number in 0 .. steps - 1 do
                            step (w, optimizer) number

                        let path = Path.Combine(Path.GetTempPath(), $"narrow-{Guid.NewGuid():N}.pt")

                        try
                            Optim.Core.Checkpoint.write path (Tree.Dict [| struct ("optimizer", optimizer.StateDict().ToTree()) |])
                            let tree = Optim.Core.Checkpoint.read path
                            let saved = StateDict.FromTree((tree.AsMap())[TreeKey.Text "optimizer"])
                            let w2, second = made storage name
                            w.View.AsSpan<float32>().CopyTo(w2.View.AsSpan<float32>())
                            second.LoadStateDict saved |> ignore
                            Expect.equal (string (second.StateDict())) (string (optimizer.StateDict())) "the same dict"

                            // Into float32, and from it.
                            let w3, wide = made StateStorage.Float32 name
                            w.View.AsSpan<float32>().CopyTo(w3.View.AsSpan<float32>())
                            wide.LoadStateDict saved |> ignore
                            Expect.isTrue (wide.State(w3) |> Seq.forall (fun entry -> not (entry.Key.EndsWith ".codes"))) "wide"
                            let w4, fourth = made storage name
                            w.View.AsSpan<float32>().CopyTo(w4.View.AsSpan<float32>())
                            fourth.LoadStateDict(optimizer.StateDict(widen = true)) |> ignore

                            for number in steps .. steps + 2 do
                                step (w, optimizer) number
                                step (w2, second) number

                                if name = "AdamW" then
                                    step (w4, fourth) number

                            Expect.equal (bits (w2.View.AsSpan<float32>().ToArray())) (bits (w.View.AsSpan<float32>().ToArray())) "goes on"

                            if name = "AdamW" then
                                Expect.equal
                                    (bits (w4.View.AsSpan<float32>().ToArray()))
                                    (bits (w.View.AsSpan<float32>().ToArray()))
                                    "by way of float32"
                        finally
                            File.Delete path)

            test "widened it has PyTorch's keys" {
                let w, optimizer = made StateStorage.Blockwise8 "AdamW"
                step (w, optimizer) 0
                let dict = optimizer.StateDict(widen = true)
                let state, group = dict.State[0], dict.ParamGroups[0]
                Expect.equal (List.ofSeq state.Keys) [ "step"; "exp_avg"; "exp_avg_sq" ] "keys"
                Expect.isFalse (group.ContainsKey "state_storage") "the storage is the optimizer's"
                let moment = state["exp_avg"]
                Expect.equal (moment.AsTensor().DType) DType.Float32 "dtype"
            }
        ]

let private refused (message: string) (act: unit -> unit) =
    try
        act ()
        failtestf "nothing was refused; expected: %s" message
    with
    | :? AssertException -> reraise ()
    | error -> Expect.stringContains error.Message message (string (error.GetType()))

let private refusals =
    testList
        "refused"
        [
            for name in
                [
                    "Muon"
                    "Adafactor"
                    "SparseAdam"
                    "ASGD"
                    "Adadelta"
                    "COCOB"
                    "LAMB"
                    "SOAP"
                ] do
                testCase name (fun () ->
                    let rule = Rules.Find name

                    refused $"{rule.Name} has no option 'state_storage': it keeps its state in float32" (fun () ->
                        rule.Replace(rule.Defaults, "state_storage", OptionValue.Text "blockwise8")
                        |> ignore))

            test "float64, sparse gradients, and unknown formats, by name" {
                use w = Param.Zeros("w", DType.Float64, [| 5000L |])

                refused "AdamW: state_storage is blockwise8, and parameter 'w' is of dtype float64" (fun () ->
                    AdamW([ w :> IParameterOrGroup ], stateStorage = StateStorage.Blockwise8)
                    |> ignore)

                use v = Param.Zeros("v", DType.Float32, [| 5000L; 2L |])

                let optimizer =
                    Adagrad([ v :> IParameterOrGroup ], stateStorage = StateStorage.BFloat16)

                let rows, values = [| 3L |], [| 1.0f; 2.0f |]
                v.SetSparseGradient<float32>(ReadOnlySpan rows, ReadOnlySpan values)
                refused "parameter 'v' has a sparse gradient, which steps some rows" (fun () -> optimizer.Step())

                refused "state_storage is int4; it must be one of 'float32', 'bfloat16', 'blockwise8'" (fun () ->
                    (Adam.rule :> Rule).Replace(Adam.defaults, "state_storage", OptionValue.Text "int4")
                    |> ignore)

                refused "state_storage_minimum is -1; it must be a whole number in [0, 2147483647]" (fun () ->
                    (Adam.rule :> Rule).Replace(Adam.defaults, "state_storage_minimum", OptionValue.Int -1L)
                    |> ignore)
            }
        ]

let private purity =
    test "a pure step leaves narrow state as it was, and a spent one is refused" {
        let options = stored Adam.rule (StateStorage.Blockwise8.From 0) Adam.defaults
        let run = Run(Adam.rule, options, 600, recordedStart)
        run.Step(recordedGradient 0)
        let before = State.copy run.State

        let gradients =
            Gradients.OfDense [ TensorView.Of(Array.init 600 (recordedGradient 1), [| 600L |]) ]

        let struct (_, next) =
            (Adam.rule :> Rule).PureStep(options, run.Parameters, gradients, run.State)

        Expect.isTrue (State.contentEquals run.State before) "as it was"
        Expect.isFalse (State.contentEquals next before) "another one"
        let spent = run.State
        run.Step(recordedGradient 1)
        Expect.throwsT<SpentStateException> (fun () -> spent.Columns |> ignore) "spent"
        Expect.isTrue (State.contentEquals run.State next) "the same step"
    }

let private quality =
    test "200 steps of the recordings' gradients stay within 0.005 of float32 state in the mean" {
        let options =
            { AdamW.defaults with
                Lr = 0.01
                WeightDecay = 0.1
            }

        let wide = Run(AdamW.rule, options, 8192, recordedStart)

        for storage in always do
            let wide =
                if storage.Format = StateFormat.BFloat16 then
                    wide
                else
                    Run(AdamW.rule, options, 8192, recordedStart)

            let narrow = Run(AdamW.rule, stored AdamW.rule storage options, 8192, recordedStart)

            for step in 0..199 do
                wide.Step(recordedGradient step)
                narrow.Step(recordedGradient step)

            let difference =
                Array.map2 (fun (a: float32) (b: float32) -> (double a - double b) ** 2.0) wide.Values narrow.Values
                |> Array.average
                |> sqrt

            Expect.isLessThanOrEqual difference 0.005 $"{storage}"
    }

let private halfTypes =
    test "half-type parameters have narrow state, too" {
        for dtype in [ DType.BFloat16; DType.Float16 ] do
            for storage in always do
                let options = stored AdamW.rule storage AdamW.defaults

                let tensor (of': int -> float32) =
                    let values = Array.init 900 (fun i -> double (of' i))
                    let shape = [| 30L; 30L |]
                    TensorView.OfDoubles(dtype, ReadOnlySpan values, ReadOnlySpan shape)

                let start = tensor recordedStart
                let parameters = Parameters.Of [ start ]
                let gradient = tensor (recordedGradient 0)
                let before = start.ToDoubles()
                let rule = AdamW.rule :> Rule

                let state =
                    rule.Step(options, parameters, Gradients.OfDense [ gradient ], rule.Init(options, parameters))

                Expect.isTrue (state["exp_avg"].FormatOf 0 = storage.Format) "the format"
                Expect.isTrue (Array.exists2 (<>) before (start.ToDoubles())) "it moved"
    }

[<Tests>]
let tests =
    testList
        "narrow state"
        [
            codecTests
            resume
            sameBits
            kept
            filesTests
            refusals
            purity
            quality
            halfTypes
        ]
