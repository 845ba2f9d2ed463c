namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim.Core
open Optim.Kernels

/// G5 and G6: clipping of gradients.
[<RequireQualifiedAccess>]
module Clips =
    /// What the laws look at: clipping in place of tensors of one dtype.
    [<NoComparison; NoEquality>]
    type Clipper =
        {
            /// By the norm of an order; returns the norm before.
            ByNorm: float -> float -> Gradients -> float
            /// By value.
            ByValue: float -> Gradients -> unit
        }

    /// The library's.
    let real =
        {
            ByNorm = fun largest order gradients -> Clipping.byNorm largest order gradients
            ByValue = Clipping.byValue
        }

    /// Gradients and what they are clipped to.
    [<NoComparison>]
    type Case =
        {
            DType: DType
            Limit: float
            Order: float
            Values: float[][]
        }

    /// A statement about clipping.
    [<NoComparison; NoEquality>]
    type ClipLaw =
        {
            Id: string
            Says: string
            Try: Clipper -> int -> uint64 -> Trial
        }

    let private generator =
        gen {
            let! dtype = Generators.dtype
            let! limit = Gen.elements [ 0.125; 1.0; 7.5; 1e4; 1e9 ]
            let! order = Gen.elements [ 1.0; 2.0; 3.0; infinity ]
            let! count = Gen.choose (1, 4)
            let! lengths = Gen.listOfLength count (Gen.choose (1, 70))

            let! values =
                lengths
                |> List.map (Generators.array (Palette.logUniform -12 8) dtype)
                |> Gen.sequenceToArray

            return
                {
                    DType = dtype
                    Limit = limit
                    Order = order
                    Values = values
                }
        }

    let private shrink case =
        Shrinkers.shorter case.Values
        |> Seq.map (fun values -> { case with Values = values })

    let private law id says holds =
        {
            Id = id
            Says = says
            Try = fun clipper cases seed -> Statement.trial id cases seed generator shrink (holds clipper)
        }

    let private tensors case =
        case.Values |> Array.map (Tensor.ofFloats case.DType)

    let private read (tensors: TensorView[]) = tensors |> Array.map _.ToDoubles()

    /// The norm of all, worked out by itself.
    let private norm (order: float) (values: float[][]) =
        let all = Array.concat values |> Array.map abs

        if Double.IsInfinity order then
            Array.max all
        else
            Math.Pow(all |> Array.sumBy (fun x -> Math.Pow(x, order)), 1.0 / order)

    let private same dtype (expected: float[][]) (actual: float[][]) =
        Array.map2 (Comparator.arrays Comparator.bit dtype) expected actual
        |> Verdict.all

    /// G5: by norm.
    let byNorm =
        law
            "G5"
            "clipping by norm leaves short gradients alone, and makes others as short as asked, in their direction"
            (fun clipper case ->
                let tensors = tensors case
                let before = norm case.Order case.Values
                let total = clipper.ByNorm case.Limit case.Order (Gradients.OfDense tensors)
                let clipped = read tensors
                let after = norm case.Order clipped

                let told =
                    abs (total - before) <= 1e-9 * before
                    |> Verdict.require (fun () -> sprintf "the norm is %g, and not %g" before total)

                // By the norm that was told: two sums of the same numbers in different orders differ in float64's last places.
                let factor = case.Limit / (total + 1e-6)
                let summed = float (Array.sumBy Array.length case.Values) * Number.u DType.Float64

                let outcome =
                    if total + 1e-6 <= case.Limit then
                        same case.DType case.Values clipped
                    else
                        Verdict.all
                            [
                                after <= case.Limit * (1.0 + 4.0 * Number.u case.DType + summed)
                                |> Verdict.require (fun () -> sprintf "the norm is %g after clipping to %g" after case.Limit)
                                for before, after in Array.zip case.Values clipped do
                                    Comparator.arrays
                                        (Comparator.rel 4.0)
                                        case.DType
                                        (before |> Array.map (fun x -> Number.round case.DType (x * factor)))
                                        after
                            ]

                Verdict.both told outcome)

    /// G6: by value.
    let byValue =
        law
            "G6"
            "clipping by value is the smaller of limit and the larger of -limit and x, and doing it twice changes nothing"
            (fun clipper case ->
                let tensors = tensors case
                clipper.ByValue case.Limit (Gradients.OfDense tensors)
                let once = read tensors
                clipper.ByValue case.Limit (Gradients.OfDense tensors)
                let limit = Number.round case.DType case.Limit

                let expected =
                    case.Values |> Array.map (Array.map (fun x -> min (max x -limit) limit))

                Verdict.both (same case.DType expected once) (same case.DType once (read tensors)))

    /// All of them.
    let all = [ byNorm; byValue ]

    /// The laws of the library's clipping, or of another.
    let laws (name: string) (clipper: Clipper) : Law list =
        all
        |> List.map (fun law -> Law.make name law.Id law.Says false (law.Try clipper))
