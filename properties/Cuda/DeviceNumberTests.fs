/// Numbers that are made of tensors on a device, and steps that go by what is found in their gradients there.
module DeviceNumberTests

open System
open Expecto
open Optim.Core
open Optim.Kernels
open Optim.Ptx
open PretendKit

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

/// The same on a device and on the processor, of a formula, of definitions, with sums of columns in one, and of a rule of whole tensors; says which
/// differ.
let private surroundedDiffers (device: PretendDevice) =
    [

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

            for name in [ "LAMB"; "AdamP"; "TAM" ] do
                let rule = definition name

                let here, there =
                    surroundedRun ValueNone rule rule.Defaults dtype order most,
                    surroundedRun (ValueSome device) rule rule.Defaults dtype order most

                if here <> there then
                    $"{name}, {dtype.Name()}, {order}"

            let here, there =
                surroundedRun ValueNone Adafactor.rule Adafactor.defaults dtype order most,
                surroundedRun (ValueSome device) Adafactor.rule Adafactor.defaults dtype order most

            if here <> there then
                $"Adafactor, {dtype.Name()}, {order}"
    ]

let private foundTests =
    test "gradients are looked at where they lie: one that is not finite leaves all as it was, and the step waits once, at its end" {
        let struct (device, gpu) = fresh ()
        let waits = gpu.Waits
        Expect.equal (surroundedDiffers device) [] "differences"
        Expect.equal (gpu.Waits - waits) (3 * 5 * 4) "waits"
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
        let tells change =
            let struct (device, gpu) = fresh ()
            gpu.Change <- change
            not (List.isEmpty (surroundedDiffers device))

        Expect.equal (PtxKit.survivors foundMutants tells) [] "mutants that live"
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


[<Tests>]
let tests =
    testList "cuda numbers" [ reductionTests; mixedTests; foundTests; foundMutantTests ]
