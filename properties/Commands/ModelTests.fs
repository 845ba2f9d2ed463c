/// The data and the model of `optim train`: the digits, batches, numbers at random, and the model's gradients.
module ModelTests

open System
open Expecto
open Optim
open Optim.Cli.Data
open Optim.Cli.Models
open Kit

let private backward (model: IModel) (rows: int[]) = model.Backward(ReadOnlySpan rows)

let private countRight (model: IModel) (rows: int[]) = model.CountRight(ReadOnlySpan rows)

let private weightsOf (sizes: int[]) seed =
    let random = SplitMix seed
    InitialWeights.Draw(ReadOnlySpan sizes, Func<float>(random.NextSigned))

let private data =
    [
        testCase "the digits are all there" (fun () ->
            let digits = Digits.Load()
            Expect.equal digits.Count 1797 "rows"

            let perLabel =
                Seq.init digits.Count digits.Label |> Seq.countBy id |> Seq.sort |> List.ofSeq

            // As the archive says of this file.
            Expect.equal
                perLabel
                [
                    0, 178
                    1, 182
                    2, 177
                    3, 183
                    4, 181
                    5, 182
                    6, 181
                    7, 179
                    8, 174
                    9, 180
                ]
                "labels"

            let images = digits.All<float>()
            Expect.equal (Array.sub images 0 6) [| 0.0; 0.0; 0.3125; 0.8125; 0.5625; 0.0625 |] "first pixels"
            Expect.equal (Array.min images, Array.max images) (0.0, 1.0) "range")

        testCase "an epoch of shuffled batches holds every row once, and no two epochs are in the same order" (fun () ->
            let rows = [| 0..99 |]

            let batches =
                Batches.Shuffled(rows, 32, 3, SplitMix 1L) |> Seq.map List.ofSeq |> List.ofSeq

            let epochs = batches |> List.chunkBySize 4 |> List.map List.concat
            Expect.equal (batches |> List.map List.length) (List.replicate 3 [ 32; 32; 32; 4 ] |> List.concat) "sizes"

            for epoch in epochs do
                Expect.equal (List.sort epoch) (List.ofArray rows) "rows"

            Expect.equal (List.distinct epochs).Length 3 "orders"
            Expect.equal rows [| 0..99 |] "what was given is as it was")

        testCase "the generator gives SplitMix64's numbers on every machine" (fun () ->
            // The published sequence from seed 0 begins E220A8397B1DCDAF, 6E789E6AA1B965F4, 06C45D188009454F.
            let random = SplitMix 0L
            let expected = [ 0xE220A8397B1DCDAFUL; 0x6E789E6AA1B965F4UL; 0x06C45D188009454FUL ]

            for bits in expected do
                let unit = float (bits >>> 11) * Math.ScaleB(1.0, -53)
                Expect.equal (random.NextSigned()) (2.0 * unit - 1.0) "number")
    ]

let private gradients =
    let rows = [| 3; 500; 17; 1200; 42 |]
    let hidden = [| 6; 5 |]
    let digits = lazy Digits.Load()

    let weights () =
        weightsOf [| digits.Value.Features; 6; 5; digits.Value.Classes |] 7L

    let double () =
        new Mlp<float>(digits.Value, ReadOnlySpan hidden, weights ())

    let single () =
        new Mlp<float32>(digits.Value, ReadOnlySpan hidden, weights ())

    let all (model: Mlp<float>) =
        model.Parameters
        |> Seq.map (fun p -> (p :?> Param).Gradient<float>().ToArray())
        |> Array.concat

    [
        testCase "the gradients are those of central differences" (fun () ->
            use model = double ()
            use probe = double ()
            backward model rows |> ignore
            let step = 1e-6

            for i in 0 .. model.Parameters.Count - 1 do
                let parameter, moved = model.Parameters[i] :?> Param, probe.Parameters[i] :?> Param
                let gradient = parameter.Gradient<float>().ToArray()
                Expect.isTrue (gradient |> Array.exists (fun g -> abs g > 1e-3)) $"parameter {i} has a gradient"

                for k in 0 .. max 1 (gradient.Length / 40) .. gradient.Length - 1 do
                    let value = parameter.Data<float>()[k]

                    let loss x =
                        moved.Data<float>()[k] <- x
                        backward probe rows

                    let difference = (loss (value + step) - loss (value - step)) / (2.0 * step)
                    moved.Data<float>()[k] <- value
                    Expect.floatClose { absolute = 1e-8; relative = 1e-6 } gradient[k] difference $"parameter {i}, element {k}")

        testCase "gradients add up, and float32 agrees with float64" (fun () ->
            use model = double ()
            use narrow = single ()
            let loss = backward model rows
            let once = all model
            Expect.equal (backward model rows) loss "the same loss again"
            let twice = all model
            Expect.all (Array.zip once twice) (fun (a, b) -> abs (2.0 * a - b) <= 1e-14) "twice the gradient"
            Expect.floatClose Accuracy.medium (backward narrow rows) loss "loss"

            let singles =
                narrow.Parameters
                |> Seq.map (fun p -> (p :?> Param).Gradient<float32>().ToArray() |> Array.map float)
                |> Array.concat

            Expect.all (Array.zip once singles) (fun (a, b) -> abs (a - b) <= 1e-6) "gradients")

        testCase "counting right answers does not depend on how many rows are asked for at once" (fun () ->
            use model = single ()
            let rows = [| 0 .. digits.Value.Count - 1 |]
            let alone = rows |> Array.sumBy (fun row -> countRight model [| row |])
            Expect.equal (countRight model rows) alone "right answers")
    ]

[<Tests>]
let tests =
    testSequenced
    <| testList "train" [ testList "data" data; testList "gradients" gradients ]
