/// Reductions: against exact sums, bit for bit in every setting (law F6), and what spreads through them.
module ReductionTests

open System
open System.Numerics
open Expecto
open Optim.Kernels
open Optim.Laws
open Kit
open KernelRuns
open Plain

let private lengths =
    [ 0; 1; 2; 31; 32; 33; 63; 100; 4095; 4096; 4097; 8192; 20_001 ]

let private numbers dtype seed length =
    let random = Random(seed: int)
    Array.init length (fun _ -> Palette.logUniform -10 10 random dtype)

/// Sums over 20 thousand elements may be off by the depth of the tree: 128 + 5 + 3 additions in double.
let private close what expected actual =
    if abs (expected - actual) > 140.0 * Math.ScaleB(1.0, -53) * abs expected then
        failtestf "%s: %s instead of %s" what (text actual) (text expected)

let private exactTests =
    test "sums, sums of squares, magnitudes and powers, dot products and extremes equal exact ones" {
        for dtype in dtypes do
            for length in lengths do
                let values = numbers dtype length length
                let others = numbers dtype (length + 1) length
                let x = Tensor.ofFloats dtype values
                let what = sprintf "%d of %s" length (dtype.Name())
                let magnitudes = Array.map abs values
                // Where signs cancel, the bound is against the sum of magnitudes.
                let slack = ExactSums.sum magnitudes * Math.ScaleB(1.0, -46)

                Expect.isTrue (abs (Reduction.Sum.Of x - ExactSums.sum values) <= slack) ("sum, " + what)

                close ("squares, " + what) (ExactSums.products values values) (Reduction.SumOfSquares.Of x)
                close ("magnitudes, " + what) (ExactSums.sum magnitudes) (Reduction.SumOfMagnitudes.Of x)

                close
                    ("products, " + what)
                    (ExactSums.products magnitudes (Array.map abs others))
                    (Reduction.Dot.Of(Tensor.ofFloats dtype magnitudes, Tensor.ofFloats dtype (Array.map abs others)))

                let largest = if length = 0 then 0.0 else Array.max magnitudes
                let smallest = if length = 0 then infinity else Array.min magnitudes
                Expect.equal (Reduction.LargestMagnitude.Of x) largest ("largest, " + what)
                Expect.equal (Reduction.SmallestMagnitude.Of x) smallest ("smallest, " + what)

                for p in [ 0.5; 3.0; -1.0 ] do
                    let expected = magnitudes |> Seq.map (fun m -> Math.Pow(m, p)) |> ExactSums.sum
                    close (sprintf "powers %g, %s" p what) expected ((Reduction.SumOfPowers p).Of x)

                Expect.equal ((Reduction.SumOfPowers 2.0).Of x) (Reduction.SumOfSquares.Of x) "power 2"
                Expect.equal ((Reduction.SumOfPowers 1.0).Of x) (Reduction.SumOfMagnitudes.Of x) "power 1"
                Cases.add "reductions" 1

        Expect.equal ((Reduction.SumOfPowers 0.0).Of(TensorView.Of [| 0.0; -0.0; 2.0; nan |])) 2.0 "power 0 counts"
    }

let private accuracyTests =
    test "a million float32 of one size lose no digit of float32" {
        let x = TensorView.Of(Array.create 1_000_003 0.1f)
        close "sum" (1_000_003.0 * float 0.1f) (Reduction.Sum.Of x)
        close "squares" (1_000_003.0 * float 0.1f * float 0.1f) (Reduction.SumOfSquares.Of x)

        let large = TensorView.Of(Array.create 5 3e38f)
        close "squares beyond float32" (5.0 * float 3e38f * float 3e38f) (Reduction.SumOfSquares.Of large)
    }

let private everything =
    [
        "sum", Reduction.Sum
        "squares", Reduction.SumOfSquares
        "magnitudes", Reduction.SumOfMagnitudes
        "largest", Reduction.LargestMagnitude
        "smallest", Reduction.SmallestMagnitude
        "cubes", Reduction.SumOfPowers 3.0
    ]

let private reduceBy (reduction: Reduction) : FixedTree.Reduce =
    fun executor x -> reduction.Of(x, executor)

let private dot: FixedTree.Reduce =
    fun executor x -> Reduction.Dot.Of(x, x, executor)

let private lawTests =
    [
        for name, reduction in everything do
            FixedTree.law name (reduceBy reduction)
        FixedTree.law "dot product" dot
    ]
    |> List.map (fun law -> testCase law.Name (fun () -> Cases.add "laws" (law.Check())))

/// Sums whose parts depend on the setting: what law F6 is there to find.
let private mutants: (string * FixedTree.Reduce) list =
    let sum (values: float[]) = Array.fold (+) 0.0 values

    [
        "a part for each thread",
        (fun executor x ->
            let values = x.ToDoubles()

            if executor.Name = "caller" || values.Length = 0 then
                sum values
            else
                values |> Array.splitInto Optim.Threads.Count |> Array.sumBy sum)
        "a running sum for each element of a register",
        (fun _ x ->
            let count = max 1 (int Lanes.Width / 64)
            let sums = Array.zeroCreate count
            x.ToDoubles() |> Array.iteri (fun i v -> sums[i % count] <- sums[i % count] + v)
            sum sums)
        "blocks counted from the last aligned address",
        (fun _ x ->
            let values = x.ToDoubles()
            let first = int (x.Address % 64n) / 8

            if values.Length <= first then
                sum values
            else
                sum values[.. first - 1] + sum values[first..])
    ]

let private mutantTests =
    [
        for defect, reduce in mutants ->
            testCase (sprintf "F6 finds: %s" defect) (fun () ->
                let trial = FixedTree.trial reduce 100 20261123UL
                Cases.add "mutants" 1
                Expect.isNotEmpty trial.Broken "the law held"
                Expect.isFalse (trial.Broken.Contains "Exception: ") trial.Broken)
    ]

let private listTests =
    test "a list gives what each of its tensors gives alone, in any company and dtype, and allocates nothing that grows" {
        let tensors =
            [|
                for i in 0..300 ->
                    let dtype = if i % 3 = 0 then DType.Float64 else DType.Float32
                    Tensor.ofFloats dtype (numbers dtype i (if i % 50 = 7 then 9_000 else i % 67))
            |]

        for name, reduction in everything do
            let expected = tensors |> Array.map (fun x -> reduction.Of(x, Executor.Caller))
            let results = Array.zeroCreate tensors.Length

            for threads in [ 1; 2; 5 ] do
                Setting.withThreads threads (fun () ->
                    for _ in 1..6 do
                        Array.Clear results
                        reduction.Each(ReadOnlySpan tensors, Span results)
                        expectSameBits results expected (sprintf "%s, %d threads" name threads))

            let each () =
                reduction.Each(ReadOnlySpan tensors, Span results, Executor.Caller)

            each ()
            Expect.isLessThan (bytesOf each) 64L "bytes"

        let results = Array.zeroCreate tensors.Length
        Reduction.Dot.Each(ReadOnlySpan tensors, ReadOnlySpan tensors, Span results)

        for i in 0 .. tensors.Length - 1 do
            Expect.equal results[i] (Reduction.Dot.Of(tensors[i], tensors[i])) "dot"
    }

let private layoutTests =
    test "gaps and the order of dimensions do not matter" {
        let shape = [| 70L; 99L |]
        let values = numbers DType.Float32 1 (70 * 99)

        for name, reduction in everything do
            let expected = reduction.Of(Tensor.shaped shape DType.Float32 values)

            for way in 1..3 do
                Expect.equal (reduction.Of(Memory.lay way shape DType.Float32 values)) expected (sprintf "%s, laid %d" name way)
    }

let private spreadTests =
    test "NaN and infinities spread, wherever they are" {
        for dtype in dtypes do
            for length in [ 1; 33; 5_000 ] do
                for at in [ 0; length / 2; length - 1 ] do
                    for width in widths do
                        for bad in [ nan; -nan; infinity; -infinity ] do
                            let values = numbers dtype length length
                            values[at] <- bad
                            let x = Tensor.ofFloats dtype values

                            Setting.withWidth width (fun () ->
                                for name, reduction in everything do
                                    let found = reduction.Of x
                                    let what = sprintf "%s of %d with %g at %d, %O" name length bad at width

                                    if Double.IsNaN bad then
                                        Expect.isTrue (BitConverter.DoubleToInt64Bits found = BitConverter.DoubleToInt64Bits nan) what
                                    elif name = "sum" then
                                        Expect.equal found bad what
                                    elif name <> "smallest" || length = 1 then
                                        Expect.equal found infinity what)

                            Cases.add "reductions" 1
    }

let private otherTypes =
    test "half types are widened, complex numbers go by their magnitudes, sums and products by their reals" {
        let halves =
            Array.init 5_000 (fun i -> Half.op_Explicit (float32 (i % 90) - 40.5f): Half)

        let floats = halves |> Array.map (fun h -> float32 h)

        let brains =
            TensorView.Zeros(DType.BFloat16, ReadOnlySpan [| 5_000L |])
            |> fun view ->
                let bits =
                    floats |> Array.map (fun f -> int16 (BitConverter.SingleToInt32Bits f >>> 16))

                let same =
                    TensorView(view.Address, Layout.Contiguous(DType.Int16, ReadOnlySpan [| 5_000L |]), view.Owner)

                bits.AsSpan().CopyTo(same.AsSpan<int16>())
                view

        for name, reduction in everything do
            let expected = reduction.Of(TensorView.Of floats)
            Expect.equal (reduction.Of(TensorView.Of halves)) expected (name + " of float16")
            Expect.equal (reduction.Of brains) expected (name + " of bfloat16")

        let pairs = TensorView.Of [| Complex(3.0, -4.0); Complex(0.0, 1.0) |]
        Expect.equal (Reduction.SumOfMagnitudes.Of pairs) 6.0 "magnitudes"
        Expect.equal (Reduction.LargestMagnitude.Of pairs) 5.0 "largest"
        Expect.equal (Reduction.SumOfSquares.Of pairs) 26.0 "squares"
        Expect.equal ((Reduction.SumOfPowers 3.0).Of pairs) 126.0 "cubes"
        Expect.equal (Reduction.Dot.Of(pairs, pairs)) 26.0 "dot"
    }

/// A device whose addresses mean nothing to the processor: whoever reads them as memory of its own dies of it.
let private opaque =
    lazy
        let here (view: TensorView) =
            match view.Owner with
            | :? TensorView as here when not view.Layout.IsOnCpu -> here
            | _ -> view

        DeviceMemory.Register(
            "opaque",
            { new DeviceMemory() with
                member _.Zeros layout =
                    TensorView(16n, layout, TensorView.Zeros(layout.DType, layout.Shape.AsSpan()))

                member _.Fill(target, value) =
                    (here target)
                        .CopyFrom(
                            TensorView.OfDoubles(target.DType, ReadOnlySpan(Array.create (int target.Count) value), target.Shape.AsSpan())
                        )

                member _.Copy(source, target) = (here target).CopyFrom(here source)
            }
        )

        Nullable(Device("opaque", 0))

let private deviceTests =
    test "tensors of other devices are reduced, changed and compared over copies" {
        let there (values: float[]) =
            let here = TensorView.Of values

            let view =
                TensorView.Zeros(Layout.Strided(DType.Float64, here.Shape.AsSpan(), here.Strides.AsSpan(), opaque.Force()))

            view.CopyFrom here
            view

        let x, y = there [| 1.0; -2.0; 4.0 |], there [| 1.0; 1.0; 0.5 |]
        Expect.equal (Reduction.Sum.Of x) 3.0 "sum"
        Expect.equal (Reduction.Dot.Of(x, y)) 1.0 "dot"
        Expect.isTrue (x.ContentEquals(there [| 1.0; -2.0; 4.0 |])) "the same elsewhere"
        Expect.isTrue (x.ContentEquals(TensorView.Of [| 1.0; -2.0; 4.0 |])) "the same here"
        Expect.isFalse (x.ContentEquals y) "others"
        Optim.Core.Clipping.scale 2.0 (Optim.Core.Gradients.OfDense [ x ]) Executor.Team
        Expect.equal (x.ToDoubles()) [| 2.0; -4.0; 8.0 |] "changed"
    }

let private refusalTests =
    test "what cannot be reduced is refused, and says why" {
        let x = TensorView.Of [| 1.0; 2.0 |]
        refuses<ArgumentException> "absent" [ "absent" ] (fun () -> Reduction.Sum.Of(TensorView()) |> ignore)
        refuses<NotSupportedException> "integers" [ "int64[2]" ] (fun () -> Reduction.Sum.Of(TensorView.Of [| 1L; 2L |]) |> ignore)
        refuses<ArgumentException> "one of two" [ "dot product"; "two tensors" ] (fun () -> Reduction.Dot.Of x |> ignore)
        refuses<ArgumentException> "two of one" [ "sum"; "single tensor" ] (fun () -> Reduction.Sum.Of(x, x) |> ignore)

        refuses<ArgumentException> "shapes" [ "float64[2]"; "float64[3]" ] (fun () ->
            Reduction.Dot.Of(x, TensorView.Of [| 1.0; 2.0; 3.0 |]) |> ignore)

        refuses<ArgumentException> "results" [ "1 tensors and 2 results" ] (fun () ->
            Reduction.Sum.Each(ReadOnlySpan [| x |], Span(Array.zeroCreate 2)))

        for p in [ nan; infinity ] do
            refuses<ArgumentOutOfRangeException> "power" [ "finite"; "LargestMagnitude" ] (fun () -> Reduction.SumOfPowers p |> ignore)
    }

[<Tests>]
let tests =
    testSequenced
    <| testList
        "reductions"
        ([
            exactTests
            accuracyTests
            listTests
            layoutTests
            spreadTests
            otherTypes
            deviceTests
            refusalTests
         ]
         @ lawTests
         @ mutantTests)
