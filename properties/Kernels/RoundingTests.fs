/// Half types are rounded to nearest, ties to even, and widened exactly: every value of them.
module RoundingTests

open System
open System.Collections.Generic
open Expecto
open Optim.Core
open Optim.Kernels
open Optim.Laws
open KernelRuns
open Plain
open HalfTypes

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

type private NoOptions =
    {
        Unused: unit
    }

    interface IOptimizerOptions

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

let private same what dtype expected actual =
    Comparator.arrays Comparator.bit dtype expected actual |> holds what

let tests =
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
