// Long, because one pretend device, and what is compared on it, serves all kinds of steps.
/// Steps on a device that is none: kernels are interpreted, and everything else is as on one of NVIDIA's.
module DeviceStepTests

open System
open System.Collections.Immutable
open System.Text
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Optim.Ptx
open PtxKit

let mutable private made = 0

/// A device of its own for each test.
let private fresh () =
    let number = Threading.Interlocked.Increment &made
    let heap = PretendHeap()
    let gpu = InterpretedGpu heap
    struct (PretendDevice($"pretend-cuda-{number}", heap, gpu), gpu)

let private shapes = [ [| 3L; 50L |]; [| 7L |]; [| 5000L |]; [| 2L; 3L; 4L |] ]

let private tensors dtype seed =
    let random = Random(seed: int)

    [
        for shape in shapes ->
            let count = int (Array.fold (*) 1L shape) * (dtype: DType).Parts()

            let flat =
                Tensor.ofFloats dtype (Array.init count (fun _ -> Palette.ordinary random dtype))

            TensorView(flat.Address, Layout.Contiguous(dtype, ReadOnlySpan shape), flat.Owner)
    ]

let private sameState what (expected: State) (found: State) =
    for a, b in Seq.zip expected.Columns found.Columns do
        for row in 0 .. expected.RowCount - 1 do
            if not (a[row].IsAbsent && b[row].IsAbsent) then
                ProgramKit.difference [| [| a[row].ToDoubles() |] |] [| [| b[row].ToDoubles() |] |]
                |> Option.iter (failtestf "%s, %s of %d: %s" what a.Name row)

let private sameTensors what (expected: TensorView seq) (found: TensorView seq) =
    for a, b in Seq.zip expected found do
        ProgramKit.difference [| [| a.ToDoubles() |] |] [| [| b.ToDoubles() |] |]
        |> Option.iter (failtestf "%s: %s" what)

/// Some steps of a rule there and here, which agree; says how often the processor has waited, where kernels made all of them.
let private agree (device: PretendDevice) (gpu: InterpretedGpu) (rule: Rule) dtype steps =
    let options = rule.Defaults
    let here = Parameters.Of(tensors dtype 1)
    let there = Parameters.Of(here |> Seq.map device.Moved)
    let mutable a, b = rule.Init(options, here), rule.Init(options, there)
    let asked, waits = device.Others.Asked, gpu.Waits

    for step in 1..steps do
        let gradients = tensors dtype (10 + step)
        a <- rule.Step(options, here, Gradients.OfDense gradients, a)
        b <- rule.Step(options, there, Gradients.OfDense(gradients |> List.map device.Moved), b)

    if device.Others.Asked = asked then
        let what = $"{rule.Name}, {dtype.Name()}"
        sameTensors what here there
        sameState what a b
        Some(gpu.Waits - waits)
    else
        None

/// Rules that keep a number which is made of all tensors, which the processor works out for the next step: they wait once in a step. So do those with
/// sums of rows beside reductions of tensors, for each visit that makes some.
let private waiting =
    [
        "AdaTAM"
        "AdamP: 4 in 2 steps"
        "AvaGrad"
        "DAdaptAdaGrad"
        "DAdaptAdam"
        "DAdaptAdan"
        "DAdaptLion"
        "DAdaptSGD"
        "DoG"
        "DoWG"
        "Prodigy"
        "SGDP: 4 in 2 steps"
        "SWATS"
        "TAM"
        "dadaptation.DAdaptAdaGrad"
        "dadaptation.DAdaptAdam"
        "dadaptation.DAdaptAdan"
        "dadaptation.DAdaptLion"
        "dadaptation.DAdaptSGD"
        "pytorch_optimizer.ASGD"
        "timm.adamp: 4 in 2 steps"
        "timm.sgdp: 4 in 2 steps"
    ]

let private ruleTests =
    test "every element-wise rule and definition, the catalogue's too, is stepped by kernels with the processor's bits, and few wait" {
        let struct (device, gpu) = fresh ()

        let rules =
            Seq.append Rules.All (Catalogue.All |> Seq.map _.Rule)
            |> Seq.distinctBy _.Name
            |> Seq.filter (fun rule -> (rule :> obj) :? IRecorded && rule.Name <> "SparseAdam")
            |> Seq.toList

        Expect.isGreaterThan rules.Length 100 "rules"

        let steps =
            [
                for index, rule in List.indexed rules do
                    let dtypes =
                        if isWhole then
                            [ DType.Float32; DType.BFloat16; DType.Float64 ]
                        elif index % 8 = 0 then
                            [ DType.Float32; DType.BFloat16 ]
                        else
                            [ DType.Float32 ]

                    for dtype in dtypes do
                        let waits = agree device gpu rule dtype 2

                        if dtype = DType.Float32 then
                            rule.Name, waits
            ]

        let others = steps |> List.filter (snd >> Option.isNone) |> List.map fst
        Expect.isEmpty others "rules that kernels do not step"

        let waits =
            steps
            |> List.choose (function
                | name, Some waits when waits > 0 -> Some(if waits = 2 then name else $"{name}: {waits} in 2 steps")
                | _ -> None)

        Expect.sequenceEqual (List.sort waits) (List.sort waiting) "rules whose steps wait for the device"
    }

let private muonTests =
    test "Muon's momentum, norm and move are kernels over all matrices, with the processor's bits, and products are asked of others" {
        let struct (device, _) = fresh ()
        let rule = Rules.Find "Muon"
        let shapes = [ [| 30L; 50L |]; [| 70L; 20L |]; [| 30L; 50L |]; [| 1L; 4099L |] ]

        let matrices dtype seed =
            let random = Random(seed: int)

            [
                for shape in shapes ->
                    let count = int (shape[0] * shape[1])
                    TensorView.OfDoubles(dtype, ReadOnlySpan(Array.init count (fun _ -> random.NextDouble() - 0.5)), ReadOnlySpan shape)
            ]

        for dtype in [ DType.Float32; DType.BFloat16; DType.Float64 ] do
            for nesterov in [ true; false ] do
                let options =
                    rule.Replace(
                        rule.Defaults,
                        [
                            PtxKit.setting "ns_steps" (OptionValue.Int 0L)
                            PtxKit.setting "nesterov" (OptionValue.Bool nesterov)
                        ]
                    )

                let here = Parameters.Of(matrices dtype 1)
                let there = Parameters.Of(here |> Seq.map device.Moved)
                let mutable a, b = rule.Init(options, here), rule.Init(options, there)

                for step in 1..3 do
                    let gradients = matrices dtype (10 + step)
                    a <- rule.Step(options, here, Gradients.OfDense gradients, a)
                    let before = device.Kernels.Launches
                    b <- rule.Step(options, there, Gradients.OfDense(gradients |> List.map device.Moved), b)
                    // Sums and what they come to, directions, and a move for each shape.
                    Expect.isLessThanOrEqual (device.Kernels.Launches - before) 8L "launches"

                sameTensors $"{dtype.Name()}, nesterov {nesterov}" here there
                sameState $"{dtype.Name()}, nesterov {nesterov}" a b

        Expect.equal device.Others.Asked 0 "nobody multiplies"
        let there = Parameters.Of(matrices DType.Float32 1 |> List.map device.Moved)

        rule.Step(
            rule.Defaults,
            there,
            Gradients.OfDense(matrices DType.Float32 2 |> List.map device.Moved),
            rule.Init(rule.Defaults, there)
        )
        |> ignore

        Expect.equal device.Others.Asked shapes.Length "each direction is made orthogonal by others"
    }

let private parametersOf (device: PretendDevice voption) dtype =
    [
        for index, tensor in List.indexed (tensors dtype 1) ->
            let data =
                match device with
                | ValueSome device -> device.Moved tensor
                | ValueNone -> tensor

            Param.Of($"{dtype.Name()}.{index}", data)
    ]

let private bind (device: PretendDevice voption) (parameters: Param list) dtype seed =
    for parameter, gradient in List.zip parameters (tensors dtype seed) do
        let gradient: TensorView =
            match device with
            | ValueSome device -> device.Moved gradient
            | ValueNone -> gradient

        parameter.BindGradient gradient

let private stateOf (optimizer: Optimizer) = (optimizer :> IStateful).SaveState()

let private launchTests =
    test "a list of tensors takes one launch for each dtype and step count, and the table is uploaded where an address has changed" {
        let struct (device, _) = fresh ()

        let single, double =
            parametersOf (ValueSome device) DType.Float32, parametersOf (ValueSome device) DType.Float64

        let optimizer = Adam(single @ double |> Seq.cast<IParameterOrGroup> |> Seq.toArray)
        let mutable launches, uploads = 0L, 0L

        let step seed =
            bind (ValueSome device) single DType.Float32 seed
            bind (ValueSome device) double DType.Float64 seed
            let before = device.Kernels.Launches, device.Kernels.Uploads
            optimizer.Step()
            launches <- device.Kernels.Launches - fst before
            uploads <- device.Kernels.Uploads - snd before

        step 1
        Expect.equal launches 2L "a launch for each dtype"
        optimizer.Step()
        let before = device.Kernels.Launches, device.Kernels.Uploads
        optimizer.Step()
        Expect.equal (device.Kernels.Launches - fst before, device.Kernels.Uploads - snd before) (2L, 0L) "nothing has moved"
        step 2
        Expect.equal (launches, uploads) (2L, 2L) "new gradients"
        // One that waits counts for itself.
        single[0].DropGradient()
        optimizer.Step()
        bind (ValueSome device) single DType.Float32 3
        let before = device.Kernels.Launches
        optimizer.Step()
        Expect.equal (device.Kernels.Launches - before) 3L "and for each step count"
        Expect.stringContains optimizer.LastExecutor "kernels on" "who stepped"
        Expect.equal device.Others.Asked 0 "nobody else"
    }

let private surroundTests =
    test "what surrounds a step is part of its launch: state dicts, averages and gradients are the host's" {
        let struct (device, gpu) = fresh ()

        for dtype in [ DType.Float32; DType.BFloat16 ] do
            let run (on: PretendDevice voption) =
                let parameters = parametersOf on dtype

                let optimizer =
                    AdamW(parameters |> Seq.cast<IParameterOrGroup> |> Seq.toArray, 0.01)

                let average = AveragedParameters(parameters |> Seq.cast<IParameter>)
                optimizer.Attach(ClipGradNorm 0.5, average = average, zeroGrad = true)

                for step in 1..3 do
                    bind on parameters dtype (20 + step)
                    let waits = gpu.Waits
                    optimizer.Step()
                    // It is known when the step is over whether it was made, and not before it is launched.
                    Expect.equal (gpu.Waits - waits) (if on.IsSome then 1 else 0) "waits"

                stateOf optimizer,
                (average :> IStateful).SaveState(),
                [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ],
                [ for p in parameters -> p.GradientView.ToDoubles() ]

            let a, b = run ValueNone, run (ValueSome device)
            Expect.equal b a (dtype.Name())
    }

let private scalerTests =
    test "a scaler unscales gradients on a device, and passes over a step in which one of them is not finite, as on the host" {
        let struct (device, _) = fresh ()

        for dtype in [ DType.Float32; DType.BFloat16 ] do
            let run (on: PretendDevice voption) =
                let parameters = parametersOf on dtype

                let optimizer =
                    AdamW(parameters |> Seq.cast<IParameterOrGroup> |> Seq.toArray, 0.01)

                let scaler = GradScaler(1024.0, growthInterval = 2L)
                optimizer.Attach(ClipGradNorm 0.5, scaler)

                let scales =
                    [
                        for step in 1..6 do
                            bind on parameters dtype (20 + step)

                            if step = 3 then
                                // In one element of one tensor: all of them stay.
                                let spoilt = parameters[2].GradientView.ToDoubles()
                                spoilt[4321] <- infinity

                                let spoilt =
                                    TensorView.OfDoubles(dtype, ReadOnlySpan spoilt, ReadOnlySpan shapes[2])

                                parameters[2].GradientView.CopyFrom spoilt

                            let before = [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ]
                            optimizer.Step()
                            let after = [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ]
                            Expect.equal (before = after) (step = 3) $"step {step}"
                            scaler.GetScale()
                    ]

                Expect.isTrue (scales[2] < scales[1]) $"the overflow shrinks the scale: {scales}"
                stateOf optimizer, scales, [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ]

            let a, b = run ValueNone, run (ValueSome device)
            Expect.equal b a (dtype.Name())
    }

/// A step of a rule with what surrounds it, of gradients of which some are not finite; on a device, or on the processor.
let private surroundedRun (device: PretendDevice voption) (rule: Rule<'o>) (options: 'o) dtype order most =
    // More of them than are joined at once.
    let tensors dtype seed =
        tensors dtype seed @ tensors dtype (seed + 100) @ tensors dtype (seed + 200)

    let moved (tensor: TensorView) =
        match device with
        | ValueSome device -> device.Moved tensor
        | ValueNone -> tensor

    let parameters = Parameters.Of(tensors dtype 1 |> List.map moved)
    let mutable state = rule.Init(options, parameters)

    let mutable around =
        Step.around
            [
                Step.unscale
                    { LossScaling.defaults with
                        Scale = 16.0
                        GrowthInterval = 2L
                    }
                Step.clipByGlobalNormOf order most
                Step.zero
            ]

    [
        for step in 1..4 do
            let gradients = tensors dtype (50 + step)

            if step = 2 then
                let spoilt = gradients[0].ToDoubles()
                spoilt[149] <- nan
                gradients[0].CopyFrom(TensorView.OfDoubles(dtype, ReadOnlySpan spoilt, ReadOnlySpan shapes[0]))

            let given = Gradients.OfDense(gradients |> List.map moved)

            let result = around |> Step.run rule options parameters given state

            state <- result.State
            around <- result.Around

            result.Kind,
            result.LossScale,
            (if Double.IsNaN result.Norm then -1.0 else result.Norm),
            [ for p in parameters -> p.ToDoubles() ],
            [ for row in 0 .. given.Count - 1 -> given[row].Values.ToDoubles() ],
            [ for row in 0 .. state.RowCount - 1 -> state.Count row ],
            [
                for column in state.Columns -> [ for row in column.Rows -> if row.IsAbsent then [||] else row.ToDoubles() ]
            ]
    ]

let private definition name =
    Rules.Find name :?> Rule<DefinedOptions>

/// The same on a device and on the processor, of a formula and of a definition; says which differ.
let private surroundedDiffers (device: PretendDevice) =
    [
        let lamb = definition "LAMB"

        for dtype, order, most in
            [
                DType.Float32, 2.0, 0.25
                DType.BFloat16, infinity, 0.25
                DType.Float32, infinity, 1e6
            ] do
            let here, there =
                surroundedRun ValueNone AdamW.rule AdamW.defaults dtype order most,
                surroundedRun (ValueSome device) AdamW.rule AdamW.defaults dtype order most

            if here <> there then
                $"AdamW, {dtype.Name()}, {order}"

            let here, there =
                surroundedRun ValueNone lamb lamb.Defaults dtype order most,
                surroundedRun (ValueSome device) lamb lamb.Defaults dtype order most

            if here <> there then
                $"LAMB, {dtype.Name()}, {order}"
    ]

let private foundTests =
    test "gradients are looked at where they lie: one that is not finite leaves all as it was, and the step waits once, at its end" {
        let struct (device, gpu) = fresh ()
        let waits = gpu.Waits
        Expect.equal (surroundedDiffers device) [] "differences"
        Expect.equal (gpu.Waits - waits) (3 * 2 * 4) "waits"
        Expect.equal device.Others.Asked 0 "nobody else"
    }

/// What may be wrong in the text that looks at gradients, and in what goes by what it finds.
let private foundMutants =
    [
        "the step is made in spite of it", @"(setp\.ne\.s64 (%p\d+), %d\d+, 0;\n)\t@\2 bra END;\n", "$1"
        "the flag is an old one", @"\tst\.global\.f64 \[(%d\d+)\], %w\d+;\n(?=\tst\.global\.f64 \[\1\+16\])", ""
        "the norm is the factor", @"(ld\.global\.f64 %w\d+, \[%d\d+)\+8\]", "$1+16]"
        "the norm is its square", @"sqrt\.rn\.f64 (%w\d+), (%w\d+);(?=\n\tld\.param\.u64 %d\d+, \[p_out\])", "abs.f64 $1, $2;"
        "the factor is above 1", @"selp\.b64 (%w\d+), (%w\d+), (%w\d+), (%p\d+);(?=\n\tst\.global\.f64 \[%d\d+\+8\])", "mov.b64 $1, $3;"
        "eight parts are seven", @"add\.s64 (%d\d+), \1, 8;(?=\n\tbra MANY)", "add.s64 $1, $1, 9;"
        "a tensor has the other's norm", @"mul\.lo\.s64 (\S+), (\S+), 1;", "mul.lo.s64 $1, $2, 0;"
        "numbers are of double size", @"st\.global\.f32 (\[%d\d+\+0\]), (%v\d+);", "st.global.f64 $1, %w0;"
    ]

let private foundMutantTests =
    test "what is wrong in the text that looks at gradients, or goes by what was found, is seen" {
        let survivors =
            [
                for name, from, replacement in foundMutants do
                    let struct (device, gpu) = fresh ()
                    let mutable changed = false

                    gpu.Change <-
                        Func<_, _>(fun text ->
                            let mutant = RegularExpressions.Regex(from).Replace(text, replacement, 1)
                            changed <- changed || mutant <> text
                            mutant)

                    let isSeen =
                        try
                            not (List.isEmpty (surroundedDiffers device))
                        with :? PtxException ->
                            true

                    if not changed then
                        failtestf "%s: changes nothing" name

                    if not isSeen then
                        name
            ]

        Expect.equal (String.concat "; " survivors) "" "mutants that live"
    }


/// Rules with numbers of tensors, of all of them, and of both; a chain, too.
let private withNumbers =
    [
        "LAMB"
        "Prodigy"
        "DAdaptSGD"
        "DoG"
        "Amos"
        "chain(clip_by_global_norm(0.5), scale_by_adam, scale_by_trust_ratio, scale(-1e-2))"
    ]

let private mixedTests =
    test "numbers of tensors are the processor's where parameters of several dtypes, some of which join later, step together" {
        let struct (device, _) = fresh ()

        let dtypes =
            [ DType.Float32; DType.BFloat16; DType.Float32; DType.Float64; DType.Float32 ]

        let mixed seed =
            [
                for index, dtype in List.indexed dtypes -> (tensors dtype (seed + index))[index % shapes.Length]
            ]

        for name in withNumbers do
            let rule = Rules.Find name
            let options = rule.Defaults
            let here = Parameters.Of(mixed 1)
            let there = Parameters.Of(here |> Seq.map device.Moved)
            let mutable a, b = rule.Init(options, here), rule.Init(options, there)

            for step in 1..4 do
                let given (move: TensorView -> TensorView) =
                    Gradients.Of
                        [
                            for index, gradient in List.indexed (mixed (60 + 7 * step)) ->
                                // One comes in the second step, and one leaves out the third.
                                if (index = 2 && step = 1) || (index = 0 && step = 3) then
                                    Gradient.Absent
                                else
                                    Gradient.OfDense(move gradient)
                        ]

                a <- rule.Step(options, here, given id, a)
                b <- rule.Step(options, there, given device.Moved, b)

            sameTensors name here there
            sameState name a b

        Expect.equal device.Others.Asked 0 "nobody else"
    }

let private strideTests =
    test "tensors of other strides are brought into order on the device" {
        let struct (device, _) = fresh ()
        let rule = Rules.Find "AdamW"

        let turned (tensor: TensorView) =
            TensorView(tensor.Address, Layout.Strided(tensor.DType, ReadOnlySpan [| 50L; 3L |], ReadOnlySpan [| 1L; 50L |]), tensor.Owner)

        let data = tensors DType.Float32 1 |> List.head
        let gradient = tensors DType.Float32 2 |> List.head

        let straight =
            TensorView(gradient.Address, Layout.Contiguous(DType.Float32, ReadOnlySpan [| 50L; 3L |]), gradient.Owner)

        let here, there =
            Parameters.Of [ turned data ], Parameters.Of [ device.Moved(turned data) ]

        let mutable a, b = rule.Init(rule.Defaults, here), rule.Init(rule.Defaults, there)

        for _ in 1..2 do
            a <- rule.Step(rule.Defaults, here, Gradients.OfDense [ straight ], a)
            b <- rule.Step(rule.Defaults, there, Gradients.OfDense [ device.Moved straight ], b)

        sameTensors "turned" here there
        sameState "turned" a b
        Expect.equal device.Others.Asked 0 "nobody else"
    }

let private streamTests =
    test "what a step keeps on the device is made anew where the stream is another" {
        let struct (device, gpu) = fresh ()
        let rule = Rules.Find "LAMB"
        let here = Parameters.Of(tensors DType.Float32 1)
        let there = Parameters.Of(here |> Seq.map device.Moved)
        let mutable a, b = rule.Init(rule.Defaults, here), rule.Init(rule.Defaults, there)

        for step in 1..3 do
            gpu.StreamNow <- nativeint step
            let gradients = tensors DType.Float32 (30 + step)
            a <- rule.Step(rule.Defaults, here, Gradients.OfDense gradients, a)
            b <- rule.Step(rule.Defaults, there, Gradients.OfDense(gradients |> List.map device.Moved), b)

        sameTensors "streams" here there
    }

let private reductionTests =
    test "sums, norms and largest magnitudes of tensors are worked out where these lie, with the processor's bits" {
        let struct (device, _) = fresh ()

        for dtype in PtxKit.allDTypes do
            let here = tensors dtype 4 |> List.toArray
            let there = here |> Array.map device.Moved

            for reduction in
                [
                    Reduction.Sum
                    Reduction.SumOfSquares
                    Reduction.LargestMagnitude
                    Reduction.SumOfMagnitudes
                ] do
                for factor in [ 1.0; 0.3; double 0.3f ] do
                    let a, b = Array.zeroCreate<float> here.Length, Array.zeroCreate<float> here.Length
                    let before = device.Kernels.Launches
                    reduction.Each(ReadOnlySpan here, Span a, Executor.Caller, factor)
                    reduction.Each(ReadOnlySpan there, Span b, Executor.Caller, factor)
                    Expect.isTrue (Array.forall2 ProgramKit.same a b) $"{reduction.Name}, {dtype.Name()}, {factor}: %A{a}, %A{b}"

                    if dtype = DType.Float32 || (dtype = DType.BFloat16 && factor <> 0.3) then
                        Expect.equal (device.Kernels.Launches - before) 3L "launches for all tensors together"

            let partners = tensors dtype 5 |> List.toArray
            let a, b = Array.zeroCreate<float> here.Length, Array.zeroCreate<float> here.Length
            let before = device.Kernels.Launches
            Reduction.Dot.Each(ReadOnlySpan here, ReadOnlySpan partners, Span a)
            Reduction.Dot.Each(ReadOnlySpan there, ReadOnlySpan(partners |> Array.map device.Moved), Span b)
            Expect.isTrue (Array.forall2 ProgramKit.same a b) $"dot products, {dtype.Name()}: %A{a}, %A{b}"

            if dtype = DType.Float32 || dtype = DType.Float64 then
                Expect.equal (device.Kernels.Launches - before) (3L * int64 here.Length) "launches for each pair"
    }

[<Tests>]
let tests =
    testList
        "cuda steps"
        [
            reductionTests
            ruleTests
            muonTests
            launchTests
            surroundTests
            scalerTests
            mixedTests
            foundTests
            foundMutantTests
            strideTests
            streamTests
        ]
