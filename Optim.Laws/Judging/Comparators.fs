namespace Optim.Laws

open System
open Optim.Kernels

/// What one case of a law came to.
[<RequireQualifiedAccess>]
[<NoComparison>]
type Verdict =
    /// The law held, and something happened that could have broken it.
    | Telling
    /// The law held because nothing happened: nothing moved, or there was nothing to compare.
    | Trivial
    /// The law did not hold, and how.
    | Broken of string

/// Putting verdicts together.
[<RequireQualifiedAccess>]
module Verdict =
    /// Holds where both hold; tells something where either does.
    let both first second =
        match first, second with
        | Verdict.Broken why, _
        | _, Verdict.Broken why -> Verdict.Broken why
        | Verdict.Trivial, Verdict.Trivial -> Verdict.Trivial
        | _ -> Verdict.Telling

    /// Holds where all hold; the first that is broken says why.
    let all (verdicts: Verdict seq) =
        let mutable sum = Verdict.Trivial
        use each = verdicts.GetEnumerator()

        while not sum.IsBroken && each.MoveNext() do
            sum <- both sum each.Current

        sum

    /// Telling, where the condition holds; otherwise broken, for this reason.
    let require (why: unit -> string) condition =
        if condition then
            Verdict.Telling
        else
            Verdict.Broken(why ())

    /// The verdict, but trivial unless the condition says that the case tells something.
    let tellingIf condition verdict =
        match verdict with
        | Verdict.Telling when not condition -> Verdict.Trivial
        | other -> other

    /// The verdict, with words before what was wrong.
    let where (what: string) verdict =
        match verdict with
        | Verdict.Broken why -> Verdict.Broken(what + ": " + why)
        | other -> other

/// What is known of the numbers of a dtype, float32 or float64. Their values travel as <c>float</c>, which holds both.
[<RequireQualifiedAccess>]
module Number =
    let private narrow dtype = (dtype = DType.Float32)

    /// The distance from 1 to the next number: 2^-23 or 2^-52.
    let u dtype =
        if narrow dtype then
            Math.ScaleB(1.0, -23)
        else
            Math.ScaleB(1.0, -52)

    /// The smallest positive number with all its digits.
    let tiny dtype =
        if narrow dtype then
            Math.ScaleB(1.0, -126)
        else
            Math.ScaleB(1.0, -1022)

    /// The nearest number of that dtype.
    let round dtype (x: float) =
        if narrow dtype then float (float32 x) else x

    /// The bits, as they lie in memory.
    let bits dtype (x: float) =
        if narrow dtype then
            int64 (BitConverter.SingleToUInt32Bits(float32 x))
        else
            BitConverter.DoubleToInt64Bits x

    /// The number with these bits.
    let ofBits dtype (bits: int64) =
        if narrow dtype then
            float (BitConverter.Int32BitsToSingle(int32 bits))
        else
            BitConverter.Int64BitsToDouble bits

    /// Where the number stands among all of its dtype: neighbours differ by one, both zeros stand at 0.
    let rank dtype (x: float) =
        if narrow dtype then
            let bits = BitConverter.SingleToInt32Bits(float32 x)
            int64 (if bits < 0 then Int32.MinValue - bits else bits)
        else
            let bits = BitConverter.DoubleToInt64Bits x
            if bits < 0L then Int64.MinValue - bits else bits

    /// How many numbers of the dtype lie between two: 0 for equal ones, the largest number there is where one is NaN.
    let ulps dtype (a: float) (b: float) =
        if Double.IsNaN a && Double.IsNaN b then
            0UL
        elif Double.IsNaN a || Double.IsNaN b then
            UInt64.MaxValue
        else
            let low, high = min (rank dtype a) (rank dtype b), max (rank dtype a) (rank dtype b)
            uint64 (high - low)

    /// a * b + c, rounded once, as the kernels do where they mean it.
    let fma dtype (a: float) (b: float) (c: float) =
        if narrow dtype then
            float (MathF.FusedMultiplyAdd(float32 a, float32 b, float32 c))
        else
            Math.FusedMultiplyAdd(a, b, c)

    /// a * b, rounded once.
    let multiply dtype (a: float) (b: float) =
        // The product of two float32 is exact in float64.
        round dtype (a * b)

    /// The number with its digits and its bits.
    let describe dtype (x: float) =
        let digits =
            if narrow dtype then
                (float32 x).ToString("R", Globalization.CultureInfo.InvariantCulture)
            else
                x.ToString("R", Globalization.CultureInfo.InvariantCulture)

        if narrow dtype then
            digits + " (0x" + (bits dtype x).ToString("x8") + ")"
        else
            digits + " (0x" + (bits dtype x).ToString("x16") + ")"

/// When two numbers count as equal.
type Comparator =
    {
        /// Such as <c>ULP 2</c>.
        Name: string
        /// Whether, for numbers of this dtype, the second may stand for the first.
        Close: DType -> float -> float -> bool
    }

/// The comparators of the laws, and arrays compared by them.
[<RequireQualifiedAccess>]
module Comparator =
    /// Identical bits; any NaN equals any other, +0 and -0 differ.
    let bit =
        {
            Name = "BIT"
            Close = fun dtype a b -> Number.bits dtype a = Number.bits dtype b || (Double.IsNaN a && Double.IsNaN b)
        }

    /// Identical bits, but the two zeros are equal.
    let bitButZeros =
        {
            Name = "BIT, zeros equal"
            Close = fun dtype a b -> a = b || bit.Close dtype a b
        }

    /// At most so many representable numbers apart.
    let ulp (most: int) =
        {
            Name = "ULP " + string most
            Close = fun dtype a b -> Number.ulps dtype a b <= uint64 most
        }

    /// |a - b| at most c u max(|a|, |b|), plus the smallest normal number.
    let rel (c: float) =
        {
            Name = "REL " + string c
            Close =
                fun dtype a b ->
                    bit.Close dtype a b
                    || abs (a - b) <= c * Number.u dtype * max (abs a) (abs b) + Number.tiny dtype
        }

    /// |a - b| at most c u of a length given from outside, such as the sum of all steps.
    let within (c: float) (scale: float) =
        {
            Name = "within " + string c + " u of " + string scale
            Close = fun dtype a b -> bit.Close dtype a b || abs (a - b) <= c * Number.u dtype * scale
        }

    /// For parameters after a number of steps of at most lr * scale each: c u of the way that they can have gone, and half a unit of
    /// their own for each step.
    let step (c: float) (steps: int) (lr: float) (scale: float) =
        {
            Name = "STEP " + string c
            Close =
                fun dtype a b ->
                    let way = float steps * abs lr * scale

                    bit.Close dtype a b
                    || abs (a - b)
                       <= Number.u dtype * (c * way + float steps * max (abs a) (abs b) / 2.0)
                          + Number.tiny dtype
        }

    /// Where the arrays differ first, if they do: index, digits, bits and distance.
    let arrays (comparator: Comparator) dtype (expected: float[]) (actual: float[]) =
        if expected.Length <> actual.Length then
            Verdict.Broken(sprintf "%d elements instead of %d" actual.Length expected.Length)
        else
            match Seq.tryFindIndex (fun i -> not (comparator.Close dtype expected[i] actual[i])) (seq { 0 .. expected.Length - 1 }) with
            | None when expected.Length = 0 -> Verdict.Trivial
            | None -> Verdict.Telling
            | Some i ->
                let distance = Number.ulps dtype expected[i] actual[i]

                let apart =
                    if distance = UInt64.MaxValue then
                        "one of them NaN"
                    else
                        string distance + " numbers apart"

                Verdict.Broken(
                    sprintf
                        "element %d of %d: %s instead of %s, %s (%s)"
                        i
                        expected.Length
                        (Number.describe dtype actual[i])
                        (Number.describe dtype expected[i])
                        apart
                        comparator.Name
                )
