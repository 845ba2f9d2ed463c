/// The laws of averages and of clipping, with what each of them finds.
module AverageLawTests

open Expecto
open Optim.Core
open Optim.Kernels
open Optim.Laws

/// Averages in plain arithmetic, with a weight of its own for each update.
let private weighing (weight: Averaging -> int64 -> float) : Averages.Averager =
    fun averaging dtype values ->
        values
        |> Array.indexed
        |> Array.scan
            (fun (average: float[]) (n, value) ->
                if n = 0 then
                    value
                else
                    Array.map2 (fun a x -> Number.round dtype (a + weight averaging (int64 n) * (x - a))) average value)
            [||]
        |> Array.tail

let private averageMutants: (Averages.AverageLaw * string * Averages.Averager) list =
    [
        Averages.mean, "an update is counted twice", weighing (fun averaging n -> Averaging.weight averaging (n + 1L))
        Averages.mean, "what was worked out is kept nowhere", (fun _ _ values -> values |> Array.map (fun _ -> values[0]))
        Averages.order, "later values weigh more", weighing (fun averaging n -> 1.5 * Averaging.weight averaging n)
        Averages.sum, "the decay is the weight of the new value", weighing (fun averaging n -> 1.0 - Averaging.weight averaging n)
        Averages.constant,
        "d a + (1 - d) x",
        (fun averaging dtype values ->
            values
            |> Array.indexed
            |> Array.scan
                (fun (average: float[]) (n, value) ->
                    let w = Averaging.weight averaging (int64 n)

                    if n = 0 then
                        value
                    else
                        Array.map2
                            (fun a x -> Number.round dtype (Number.round dtype ((1.0 - w) * a) + Number.round dtype (w * x)))
                            average
                            value)
                [||]
            |> Array.tail)
        Averages.affine,
        "large values are clipped",
        (fun averaging dtype values -> Averages.real averaging dtype (values |> Array.map (Array.map (fun x -> min x 1.0))))
        Averages.between, "the average runs ahead", weighing (fun averaging n -> 1.0 + Averaging.weight averaging n)
        Averages.first,
        "the first value is taken from zero",
        (fun averaging dtype values ->
            Averages.real averaging dtype (Array.append [| Array.zeroCreate values[0].Length |] values)
            |> Array.tail)
    ]

let private clipMutants: (Clips.ClipLaw * string * Clips.Clipper) list =
    [
        Clips.byNorm,
        "short gradients are made long",
        { Clips.real with
            ByNorm =
                fun largest order gradients ->
                    let total = Clipping.totalNorm order gradients
                    Clipping.scale (largest / (total + 1e-6)) gradients Executor.Caller
                    total
        }
        Clips.byNorm,
        "each tensor by its own norm",
        { Clips.real with
            ByNorm =
                fun largest order gradients ->
                    let total = Clipping.totalNorm order gradients

                    for row in 0 .. gradients.Count - 1 do
                        Clipping.byNorm largest order (Gradients.Of [ gradients[row] ]) |> ignore

                    total
        }
        Clips.byValue,
        "only upwards",
        { Clips.real with
            ByValue =
                fun limit gradients ->
                    for row in 0 .. gradients.Count - 1 do
                        let view = gradients[row].Values
                        Tensor.fill view (view.ToDoubles() |> Array.map (fun x -> min x limit))
        }
    ]

let private lawTests =
    [
        for law in Averages.laws "averages" Averages.real @ Clips.laws "clipping" Clips.real do
            testCase law.Name (fun () -> Plain.Cases.add "laws" (law.Check()))
        for law, defect, averager in averageMutants do
            test $"{law.Id} finds: {defect}" { Expect.notEqual (law.Try averager 200 20261125UL).Broken "" "the law held" }
        for law, defect, clipper in clipMutants do
            test $"{law.Id} finds: {defect}" { Expect.notEqual (law.Try clipper 200 20261125UL).Broken "" "the law held" }
        test "each of these laws has a mutant" {
            for law in Averages.all do
                Expect.exists averageMutants (fun (other, _, _) -> obj.ReferenceEquals(other, law)) law.Id

            for law in Clips.all do
                Expect.exists clipMutants (fun (other, _, _) -> obj.ReferenceEquals(other, law)) law.Id
        }
    ]

[<Tests>]
let tests = testList "around" [ testList "laws" lawTests ]
