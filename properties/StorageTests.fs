/// Parameters that are stored otherwise than computed with: half types, rounded once a step, and complex numbers, pairs of reals.
module StorageTests

open System
open System.Collections.Generic
open Expecto
open Optim.Core
open Optim.Kernels
open Optim.Laws
open KernelRuns
open Plain

/// The nearest number of so many significant bits, ties to even, worked out in float64, which holds every step of it exactly.
let private nearest bits lowest (largest: float) (x: float) =
    if x = 0.0 || not (Double.IsFinite x) then
        x
    else
        let place = Math.ScaleB(1.0, max (Math.ILogB x) lowest - (bits - 1))
        let rounded = Math.Round(x / place, MidpointRounding.ToEven) * place

        if abs rounded > largest then
            Math.CopySign(infinity, x)
        else
            Math.CopySign(rounded, x)

let private round dtype =
    if dtype = DType.Float16 then
        nearest 11 -14 65504.0
    else
        nearest 8 -126 (Math.ScaleB(255.0, 120))

let private word dtype (bits: int) =
    if dtype = DType.Float16 then
        float (BitConverter.UInt16BitsToHalf(uint16 bits))
    else
        float (BitConverter.UInt32BitsToSingle(uint32 bits <<< 16))

/// Exchanges parameter and state: a load, a widening, a rounding and a store, without arithmetic.
[<Struct>]
type private Exchange =
    interface IFormula1<Exchange> with
        static member Update<'v, 'is when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> ILane<'v> and 'is :> ISwitches>
            (_: inref<Coefficients<'v>>, param: byref<'v>, _: 'v, wide: byref<'v>)
            =
            let before = param
            param <- wide
            wide <- before

type private NoOptions = { Unused: unit }

let private exchange: Rule =
    let arithmetic =
        { new Arithmetic<NoOptions>() with
            member _.Switches _ = 0
            member _.Coefficients(read, _, _) = Coefficients<_>(read.Of("one", 1.0))
        }

    Rule.elementWise<NoOptions, Exchange> "Exchange" { Unused = () } [] [ zeros "wide" always ] arithmetic :> Rule

/// What lies in parameters of `dtype`, and in their state, after an exchange.
let private exchanged dtype width (stored: float[]) (wide: float[]) =
    let parameters = Parameters.Of [ Tensor.ofFloats dtype stored ]
    let column = KeyValuePair("wide", [| Tensor.ofFloats DType.Float32 wide |])
    let state = exchange.Restore(parameters, [| 0L |], [], [ column ])

    Setting.withWidth width (fun () ->
        let gradients = Run.gradients dtype [| ValueSome(Array.zeroCreate stored.Length) |]

        let state = exchange.Step(exchange.Defaults, parameters, gradients, state)
        parameters[0].ToDoubles(), (state["wide"][0]).ToDoubles())

/// Every finite number of the dtype, the ties between neighbours and the float32 on both sides of each, with both signs; and what is not finite.
let private critical dtype =
    [|
        for bits in 0..0x7FFF do
            let low, high = word dtype bits, word dtype (bits + 1)

            if Double.IsFinite low then
                // Beyond the largest, the next power of two would follow.
                let high =
                    if Double.IsFinite high then
                        high
                    else
                        low + (low - word dtype (bits - 1))

                let tie = float32 ((low + high) / 2.0)

                for x in [ float32 low; MathF.BitDecrement tie; tie; MathF.BitIncrement tie ] do
                    float x
                    float -x

        infinity
        -infinity
        nan
        float Single.MaxValue
        float Single.Epsilon
    |]

let private halves = [ DType.Float16; DType.BFloat16 ]

let private same what dtype expected actual =
    Comparator.arrays Comparator.bit dtype expected actual |> holds what

let private differs dtype expected actual =
    match Comparator.arrays Comparator.bit dtype expected actual with
    | Verdict.Broken _ -> ()
    | _ -> failtest "a wrong rounding is not seen"

let private roundingTests =
    [
        for dtype in halves do
            test $"{dtype.Name()}: all 65536 values, the ties between them and their neighbours are rounded to nearest, ties to even" {
                let wide = critical dtype
                let expected = wide |> Array.map (round dtype)

                for width in widths do
                    let stored, _ = exchanged dtype width (Array.zeroCreate wide.Length) wide
                    same $"stored, {width}" dtype expected stored

                let all = Array.init 65536 (word dtype)

                for width in widths do
                    let _, loaded = exchanged dtype width all (Array.zeroCreate all.Length)
                    same $"loaded, {width}" DType.Float32 all loaded

                // Roundings that are not to nearest, or not to even, are seen.
                let parts = if dtype = DType.Float16 then 13 else 16

                let towardsZero x =
                    let bits = BitConverter.SingleToUInt32Bits(float32 x)
                    float (BitConverter.UInt32BitsToSingle((bits >>> parts) <<< parts))

                let awayAtTies x = round dtype (x * (1.0 + 1e-12))
                differs dtype expected (Array.map towardsZero wide)
                differs dtype expected (Array.map awayAtTies wide)
                Cases.add "kernels" (8 * (wide.Length + all.Length) / 2)
            }
    ]

let private lengths = [ 0; 1; 2; 7; 16; 33 ]

let private rounded dtype (s: Scenario) =
    { s with
        DType = DType.Float32
        Start = s.Start |> Array.map (Array.map (round dtype))
        History = s.History |> Array.map (Array.map (ValueOption.map (Array.map (round dtype))))
    }

let private steps (rule: Rule) = if rule.Name = "RAdam" then 7 else 3

let private halfTests =
    test "half types: every combination of switches is float32 arithmetic, with parameters rounded once a step, at every width and tail" {
        for rule, options in combinations do
            for dtype in halves do
                for length in lengths do
                    let s = scenario rule options dtype (steps rule) length
                    let expected = finalStored (round dtype) (rounded dtype s)

                    for width in widths do
                        let what = $"{describe rule options dtype}, {length} elements, {width}"

                        Setting.withWidth width (fun () -> run rule s)
                        |> Snapshot.compare Comparator.bit expected
                        |> holds what

                        Cases.add "kernels" 1

        // Without the rounding between the steps it would be something else.
        let rule = Rules.find "SGD"
        let s = scenario rule rule.Defaults DType.BFloat16 3 33
        differs DType.Float32 (final (rounded DType.BFloat16 s)).Theta[0] (run rule s).Theta[0]
    }

/// E10.
let private complexTests =
    test "complex numbers are stepped as pairs of reals, at every width and tail" {
        for rule, options in combinations do
            for dtype, part in [ DType.Complex64, DType.Float32; DType.Complex128, DType.Float64 ] do
                for length in lengths do
                    let s = scenario rule options part (steps rule) (2 * length)
                    let expected = run rule s

                    for width in widths do
                        Setting.withWidth width (fun () -> run rule { s with DType = dtype })
                        |> Snapshot.compare Comparator.bit expected
                        |> holds $"{describe rule options dtype}, {length} elements, {width}"

                        Cases.add "kernels" 1

        // Steps by the magnitude of a number, of which its parts share one, are seen.
        let rule = Rules.find "Adam"
        let s = scenario rule rule.Defaults DType.Float64 1 8

        let byMagnitude =
            s.First
            |> Array.chunkBySize 2
            |> Array.collect (fun z -> let r = sqrt (z[0] * z[0] + z[1] * z[1]) in Array.map (fun x -> x / r) z)
            |> Array.map2 (fun p g -> p - 1e-3 * g) s.Start[0]

        differs DType.Float64 byMagnitude (run rule { s with DType = DType.Complex128 }).Theta[0]
    }

/// E1, E2.
let private elementTests =
    test "half and complex parameters: the order of elements and cuts into pieces change no bit" {
        for rule in Kit.denseRules do
            for dtype in storedDTypes do
                let parts = DTypes.Parts dtype
                let s = scenario rule (full rule) dtype (steps rule) (36 * parts)
                let expected = run rule s
                let turned = Array.chunkBySize parts >> Array.rev >> Array.concat

                let backwards =
                    run
                        rule
                        { s with
                            Start = Array.map turned s.Start
                            History = s.History |> Array.map (Array.map (ValueOption.map turned))
                        }

                let what = $"{rule.Name}, {dtype.Name()}"
                same $"{what}, turned round" dtype expected.Theta[0] (turned backwards.Theta[0])

                inPieces rule (7 * parts) s
                |> Snapshot.compare Comparator.bit expected
                |> holds $"{what}, in pieces"

                Cases.add "kernels" 2
    }

/// F5.
let private threadTests =
    test "half and complex parameters: every number of threads gives the same bits" {
        for rule in Kit.denseRules do
            for dtype in storedDTypes do
                let length = 40_003 * DTypes.Parts dtype
                let s = scenario rule (full rule) dtype 2 length

                let with' threads =
                    Setting.withThreads threads (fun () -> run rule s)

                let expected = with' 1

                for threads in [ 2; 3; 8 ] do
                    with' threads
                    |> Snapshot.compare Comparator.bit expected
                    |> holds $"{rule.Name}, {dtype.Name()}, {threads} threads"

                    Cases.add "kernels" 1
    }

/// G1.
let private nothingTests =
    test "half and complex parameters: a gradient of zero moves nothing at first, and makes no NaN" {
        let still options (rule: Rule) dtype =
            let start =
                Array.init (66 * DTypes.Parts dtype) (fun i ->
                    if dtype = DType.Float16 then
                        word dtype (i * 400)
                    else
                        word DType.BFloat16 (i * 400))

            let s =
                { scenario rule (Options.set options rule rule.Defaults) dtype 0 0 with
                    Start = [| start |]
                    History = Array.replicate 3 [| ValueSome(Array.zeroCreate start.Length) |]
                }

            let final = run rule s

            Array.forall2 (fun (a: float) b -> a = b) start final.Theta[0]
            && Snapshot.finite final

        let noDecay (rule: Rule) =
            [ "weight_decay", Options.ofNumber 0.0; "lambd", Options.ofNumber 0.0 ]
            |> List.filter (fun (name, _) -> Seq.contains name rule.OptionNames)

        for rule in Kit.denseRules do
            for dtype in storedDTypes do
                Expect.isTrue (still (noDecay rule) rule dtype) $"{rule.Name}, {dtype.Name()}"
                Cases.add "kernels" 1

        // 0 / 0 is seen.
        for dtype in storedDTypes do
            Expect.isFalse (still [ "eps", Options.ofNumber 0.0 ] (Rules.find "Adam") dtype) "without eps"
    }

[<Tests>]
let tests =
    testSequenced
    <| testList
        "storage"
        (roundingTests
         @ [ halfTests; complexTests; elementTests; threadTests; nothingTests ])
