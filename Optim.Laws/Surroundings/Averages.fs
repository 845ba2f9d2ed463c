namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim.Core
open Optim.Kernels

/// M: averages of parameters.
[<RequireQualifiedAccess>]
module Averages =
    /// What the laws look at: the averages after each update with these values.
    type Averager = Averaging -> DType -> float[][] -> float[][]

    /// The averages of the library.
    let real: Averager =
        fun averaging dtype values ->
            let parameters = Parameters.Of [ Tensor.ofFloats dtype values[0] ]
            let mutable state = Average.init parameters

            [|
                for value in values do
                    Tensor.fill parameters[0] value
                    state <- Average.update averaging parameters state
                    state.Rows[0].ToDoubles()
            |]

    /// What is averaged: how, and one value after the other.
    [<NoComparison>]
    type Case =
        {
            Averaging: Averaging
            DType: DType
            Values: float[][]
        }

        override this.ToString() =
            sprintf "%O, %s, %d updates of %A" this.Averaging (this.DType.Name()) this.Values.Length this.Values[0]

    /// A statement about averages.
    [<NoComparison; NoEquality>]
    type AverageLaw =
        {
            Id: string
            Says: string
            Try: Averager -> int -> uint64 -> Trial
        }

    let private exponential =
        gen {
            let! decay = Gen.elements [ 0.0; 0.25; 0.5; 0.9; 0.99; 0.999 ]
            let! warmup = Gen.elements [ true; false ]

            return
                { Averaging.exponential decay with
                    Warmup = warmup
                }
        }

    let private values palette dtype count =
        gen {
            let! length = Gen.choose (1, 40)

            return!
                Gen.listOfLength count (Generators.array palette dtype length)
                |> Gen.map Array.ofList
        }

    let private case averaging palette most =
        gen {
            let! averaging = averaging
            let! dtype = Generators.dtype
            let! count = Gen.choose (1, most)
            let! values = values palette dtype count

            return
                {
                    Averaging = averaging
                    DType = dtype
                    Values = values
                }
        }

    let private shrink case =
        Shrinkers.shorter case.Values
        |> Seq.map (fun values -> { case with Values = values })

    let private law id says generator holds =
        {
            Id = id
            Says = says
            Try =
                fun averager cases seed ->
                    Statement.trial id cases seed generator shrink (fun case ->
                        holds averager case |> Verdict.tellingIf (case.Values.Length > 1))
        }

    let private equal = Gen.constant Averaging.equal
    let private either = Gen.oneof [ equal; exponential ]
    let private ordinary = Palette.logUniform -6 6

    let private final (averager: Averager) case =
        averager case.Averaging case.DType case.Values |> Array.last

    let private largest (values: float[][]) =
        values |> Array.map (Array.map abs >> Array.max) |> Array.max

    let private column i (values: float[][]) = values |> Array.map (fun row -> row[i])

    let private within c case expected actual =
        Comparator.arrays (Comparator.within c (largest case.Values)) case.DType expected actual

    /// M1: the equal average is the arithmetic mean.
    let mean =
        law "M1" "the equal average is the arithmetic mean" (case equal ordinary 300) (fun averager case ->
            let mean =
                Array.init case.Values[0].Length (fun i -> column i case.Values |> Array.average)

            within 16.0 case mean (final averager case))

    /// M2: in any order.
    let order =
        law "M2" "the equal average does not depend on the order" (case equal ordinary 100) (fun averager case ->
            let reversed =
                { case with
                    Values = Array.rev case.Values
                }

            within 32.0 case (final averager case) (final averager reversed))

    /// M3: the exponential average as a sum.
    let sum =
        law
            "M3"
            "the exponential average weighs what came before by powers of the decay"
            (case exponential ordinary 60)
            (fun averager case ->
                // The weights that are left of each value, from the last one back.
                let weight = Averaging.weight case.Averaging

                let weights, _ =
                    Array.mapFoldBack
                        (fun n rest -> weight (int64 n) * rest, (1.0 - weight (int64 n)) * rest)
                        [| 0 .. case.Values.Length - 1 |]
                        1.0

                let decays =
                    if case.Averaging.Warmup then
                        weights
                    else
                        let d, last = case.Averaging.Decay.Value, case.Values.Length - 1

                        Array.init case.Values.Length (fun i ->
                            if i = 0 then
                                Math.Pow(d, float last)
                            else
                                (1.0 - d) * Math.Pow(d, float (last - i)))

                let expected =
                    Array.init case.Values[0].Length (fun i -> Array.map2 (fun w x -> w * x) decays (column i case.Values) |> Array.sum)

                within 32.0 case expected (final averager case))

    /// M4: a constant stays.
    let constant =
        law "M4" "the average of a constant is that constant" (case either ordinary 60) (fun averager case ->
            let same =
                { case with
                    Values = Array.replicate case.Values.Length case.Values[0]
                }

            Comparator.arrays Comparator.bit case.DType case.Values[0] (final averager same))

    /// M5: averages are affine.
    let affine =
        law "M5" "the average of a x + b is a times the average of x, plus b" (case either ordinary 60) (fun averager case ->
            let scale, shift = 3.0, 0.5
            let map = Array.map (fun x -> Number.round case.DType (scale * x + shift))

            let moved =
                { case with
                    Values = case.Values |> Array.map map
                }

            within 40.0 moved (map (final averager case)) (final averager moved))

    /// M6: averages stay between what was averaged.
    let between =
        law "M6" "an average stays between the smallest and the largest value so far" (case either ordinary 60) (fun averager case ->
            let averages = averager case.Averaging case.DType case.Values

            Verdict.all
                [
                    for n in 0 .. averages.Length - 1 do
                        for i in 0 .. averages[n].Length - 1 do
                            let seen = case.Values |> Array.take (n + 1) |> column i
                            let average = averages[n][i]
                            let slack = 2.0 * Number.u case.DType * (seen |> Array.map abs |> Array.max)

                            (average >= Array.min seen - slack && average <= Array.max seen + slack)
                            |> Verdict.require (fun () ->
                                sprintf "after update %d element %d is %g, and the values were %A" (n + 1) i average seen)
                ])

    /// M7: the first update copies.
    let first =
        law "M7" "the first update copies, bit for bit" (case either Palette.mixture 3) (fun averager case ->
            let first = (averager case.Averaging case.DType case.Values)[0]
            Comparator.arrays Comparator.bit case.DType case.Values[0] first)

    /// All of them.
    let all = [ mean; order; sum; constant; affine; between; first ]

    /// The laws of the library's averages, or of others.
    let laws (name: string) (averager: Averager) : Law list =
        all
        |> List.map (fun law -> Law.make name law.Id law.Says false (law.Try averager))
