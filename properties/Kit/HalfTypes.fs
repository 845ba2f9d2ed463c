/// What half types hold, worked out in double precision.
module HalfTypes

open System
open Optim.Kernels

let halves = [ DType.Float16; DType.BFloat16 ]

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

let round dtype =
    if dtype = DType.Float16 then
        nearest 11 -14 65504.0
    else
        nearest 8 -126 (Math.ScaleB(255.0, 120))

let word dtype (bits: int) =
    if dtype = DType.Float16 then
        float (BitConverter.UInt16BitsToHalf(uint16 bits))
    else
        float (BitConverter.UInt32BitsToSingle(uint32 bits <<< 16))
