namespace Optim.Laws

open System
open FsCheck
open FsCheck.FSharp
open Optim.Kernels

/// Draws one number of a dtype; arrays are filled from a seed, so that long ones cost little.
type Palette = Random -> DType -> float

/// Where the numbers of the laws come from.
[<RequireQualifiedAccess>]
module Palette =
    let private sign (random: Random) = if random.Next 2 = 0 then 1.0 else -1.0

    /// Any magnitude from 2^low to 2^high is as likely as any other; random sign and digits.
    let logUniform (low: int) (high: int) : Palette =
        fun random dtype -> Number.round dtype (sign random * Math.ScaleB(1.0 + random.NextDouble(), random.Next(low, high)))

    /// Whole multiples of 1/8 up to 8 in magnitude: exact in any arithmetic, and readable.
    let dyadic: Palette = fun random _ -> float (random.Next(-64, 65)) / 8.0

    /// Any bit pattern: NaN, infinities and subnormal numbers among them.
    let bits: Palette =
        fun random dtype -> Number.ofBits dtype (random.NextInt64(Int64.MinValue, Int64.MaxValue))

    /// Powers of two with a random sign, from 2^low to 2^high.
    let powersOfTwo (low: int) (high: int) : Palette =
        fun random _ -> sign random * Math.ScaleB(1.0, random.Next(low, high + 1))

    /// Always the same number.
    let constant (value: float) : Palette = fun _ dtype -> Number.round dtype value

    /// Mostly ordinary numbers; now and then a zero of either sign, a subnormal number, or one whose square overflows.
    let mixture: Palette =
        let ordinary = logUniform -20 10

        fun random dtype ->
            match random.Next 40 with
            | 0 -> 0.0
            | 1 -> -0.0
            | 2 -> sign random * Number.ofBits dtype (int64 (random.Next(1, 1 <<< 20)))
            | 3 -> Number.round dtype (sign random * if dtype = DType.Float32 then 1e30 else 1e200)
            | _ -> ordinary random dtype

    /// Ordinary numbers, with zeros among them.
    let ordinary: Palette =
        let most = logUniform -12 6
        fun random dtype -> if random.Next 16 = 0 then 0.0 else most random dtype

    /// The number without its sign.
    let positive (palette: Palette) : Palette =
        fun random dtype -> abs (palette random dtype)

/// Generators of arrays and lengths.
[<RequireQualifiedAccess>]
module Generators =
    /// An array of that length from a palette.
    let array (palette: Palette) dtype (length: int) : Gen<float[]> =
        Gen.choose (0, Int32.MaxValue - 1)
        |> Gen.map (fun seed ->
            let random = Random seed
            Array.init length (fun _ -> palette random dtype))

    /// Lengths around those of vectors: nothing, one, one more and one less than a few registers; then any up to 200.
    let length: Gen<int> =
        let around =
            [
                0
                1
                for width in [ 4; 8; 16 ] do
                    yield! [ width - 1; width; width + 1; 2 * width - 1; 2 * width + 1; 3 * width + 2 ]
            ]

        Gen.frequency [ 5, Gen.elements around; 2, Gen.choose (2, 70); 1, Gen.choose (71, 200) ]

    /// float32 or float64.
    let dtype: Gen<DType> = Gen.elements [ DType.Float32; DType.Float64 ]

    /// An order of so many things.
    let permutation (count: int) : Gen<int[]> =
        Gen.choose (0, Int32.MaxValue - 1)
        |> Gen.map (fun seed ->
            let order = Array.init count id
            Random(seed).Shuffle order
            order)

/// Ways to make a counterexample smaller.
[<RequireQualifiedAccess>]
module Shrinkers =
    /// Without its last half, without its last element, without its first.
    let shorter (values: 'a[]) : 'a[] seq =
        seq {
            if values.Length > 1 then
                yield Array.truncate (values.Length / 2) values
                yield Array.truncate (values.Length - 1) values
                yield Array.skip 1 values
        }

    /// One element after the other replaced by a simpler one: by one of these numbers, or by the power of two below it.
    let simpler (numbers: float list) (values: float[]) : float[] seq =
        let rank (x: float) =
            match List.tryFindIndex (fun simple -> Number.bits DType.Float64 simple = Number.bits DType.Float64 x) numbers with
            | Some at -> at
            | None when x <> 0.0 && Double.IsFinite x && abs x = Math.ScaleB(1.0, Math.ILogB x) -> numbers.Length
            | None -> numbers.Length + 1

        let power (x: float) =
            if x = 0.0 || not (Double.IsFinite x) then
                x
            else
                Math.CopySign(Math.ScaleB(1.0, Math.ILogB x), x)

        seq {
            // First all of them at once, then one by one.
            for simple in numbers do
                if values |> Array.exists (fun x -> rank x > rank simple) then
                    yield Array.replicate values.Length simple

            for i in 0 .. min 7 (values.Length - 1) do
                for simple in numbers @ [ power values[i] ] do
                    if rank simple < rank values[i] then
                        yield Array.updateAt i simple values
        }
