/// Sums of doubles and of products of two, as exact as a whole number of 2^-2148, rounded once at the end.
module ExactSums

open System
open System.Numerics

let private unit = 1074

/// A double in units of 2^-1074.
let private whole (x: float) =
    let bits = BitConverter.DoubleToInt64Bits x
    let exponent = int ((bits >>> 52) &&& 0x7FFL)
    let digits = bits &&& 0xFFFFFFFFFFFFFL

    let magnitude =
        if exponent = 0 then
            BigInteger digits
        else
            BigInteger(digits ||| (1L <<< 52)) <<< (exponent - 1)

    if x < 0.0 then -magnitude else magnitude

/// The double next to a whole number of units of 2^-places; the error of this conversion is below one unit in the last place.
let private toDouble (places: int) (sum: BigInteger) =
    let surplus = int ((BigInteger.Abs sum).GetBitLength()) - 64

    if surplus <= 0 then
        Math.ScaleB(float sum, -places)
    else
        Math.ScaleB(float (sum >>> surplus), surplus - places)

let sum (values: float seq) =
    values |> Seq.sumBy whole |> toDouble unit

let products (xs: float[]) (ys: float[]) =
    Array.map2 (fun x y -> whole x * whole y) xs ys
    |> Array.sum
    |> toDouble (2 * unit)
