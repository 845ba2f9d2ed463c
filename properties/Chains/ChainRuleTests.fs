/// Chains as rules: in the shell, with noise, and with sums of rows and columns.
module ChainRuleTests

open System
open System.Collections.Generic
open Expecto
open Optim
open Optim.Core
open Optim.Core.Chain
open Optim.Kernels
open Optim.Laws
open ProgramKit

open ChainKit

let private shellTests =
    test "a chain in the shell: groups, schedules of any number, state dicts half-way, half types" {
        let rule =
            chain
                [
                    clipByGlobalNorm 1.0
                    scaleByAdam betas 1e-8
                    addDecayedWeights 0.1 |> where isMatrix
                    addNoise 0.01 0.5 1.0
                    scaleByLearningRate 0.1
                ]

        let parameters dtype =
            [|
                Param.Of("weight", Tensor.shaped [| 3L; 4L |] dtype (Array.init 12 (fun i -> float i / 7.0 - 0.8)))
                Param.Of("bias", Tensor.shaped [| 3L |] dtype [| 0.5; -0.25; 1.0 |])
            |]

        let step (optimizer: Optimizer) (parameters: Param array) t =
            for i in 0 .. parameters.Length - 1 do
                let shape = Seq.toArray (parameters[i] :> IParameter).Data.Shape
                let dtype = (parameters[i] :> IParameter).Data.DType
                let size = int (Array.fold (*) 1L shape)
                parameters[i].BindGradient(Tensor.shaped shape dtype (Array.init size (fun k -> sin (float (k + t * 5 + i)))))

            optimizer.Step()

        let optimizerOf (parameters: Param array) =
            RuleOptimizer(
                rule,
                [
                    ParameterGroup([ parameters[0] :> IParameter ]) :> IParameterOrGroup
                    (let group = ParameterGroup([ parameters[1] :> IParameter ])
                     group["scale_by_adam.beta1"] <- OptionValue.Float 0.5
                     group :> IParameterOrGroup)
                ]
            )

        for dtype in [ DType.Float32; DType.Float64; DType.Float16; DType.BFloat16 ] do
            let read (parameters: Param array) =
                parameters |> Array.map (fun p -> (p :> IParameter).Data.ToDoubles())

            let whole = parameters dtype
            let optimizer = optimizerOf whole

            let schedule =
                OptionSchedule(optimizer, "scale_by_adam.beta2", Schedule.linear 1.0 0.5 6.0)

            for t in 0..5 do
                step optimizer whole t
                schedule.Step()

            Expect.isLessThan (double optimizer.ParamGroups[0].["scale_by_adam.beta2"]) 0.6 "scheduled"
            let first = parameters dtype
            let half = optimizerOf first

            let schedule =
                OptionSchedule(half, "scale_by_adam.beta2", Schedule.linear 1.0 0.5 6.0)

            for t in 0..2 do
                step half first t
                schedule.Step()

            let saved = half.StateDict()

            let again =
                first |> Array.map (fun p -> Param.Of(p.Name, (p :> IParameter).Data.Copy()))

            let other = optimizerOf again
            other.LoadStateDict saved |> ignore

            let later =
                OptionSchedule(other, "scale_by_adam.beta2", Schedule.linear 1.0 0.5 6.0)

            later.LoadStateDict(schedule.StateDict()) |> ignore

            for t in 3..5 do
                step other again t
                later.Step()

            same $"resumed in {dtype.Name()}" (read whole) (read again)
    }

let private noiseTests =
    test "noise is standard normal, another one for each seed, step, parameter and element; NaN becomes zero" {
        let s =
            {
                DType = DType.Float64
                Shapes = [ "a", [ 20_000L ]; "b", [ 20_000L ] ]
                Steps = 1
                Seed = 1
            }

        let noise seed steps =
            let rule = chain [ setToZero; addNoise 1.0 0.0 seed ]
            let start, _ = made s
            let found = run rule { s with Steps = steps }
            Array.init 2 (fun row -> Array.map2 (-) found[row] (start[row].ToDoubles()))

        let one = noise 1.0 1

        for row in one do
            Expect.isLessThan (abs (Array.average row)) 0.03 "mean"
            Expect.isLessThan (abs (Array.averageBy (fun x -> x * x) row - 1.0)) 0.05 "variance"
            Expect.isLessThan (abs (Array.averageBy (fun x -> x * x * x * x) row - 3.0)) 0.3 "fourth moment"

        let correlation (a: float array) (b: float array) =
            Array.map2 (*) a b |> Array.average |> abs

        Expect.isLessThan (correlation one[0] one[1]) 0.03 "parameters"
        Expect.isLessThan (correlation one[0] (noise 2.0 1).[0]) 0.03 "seeds"
        let two = noise 1.0 2
        Expect.isLessThan (correlation one[0] (Array.map2 (-) two[0] one[0])) 0.03 "steps"
        Expect.isLessThan (correlation one[0].[..19_998] one[0].[1..]) 0.03 "elements"

        let parameters = Parameters.Of [ TensorView.Of [| 1.0; 2.0; 3.0 |] ]
        let gradients = Gradients.OfDense [ TensorView.Of [| nan; -4.0; infinity |] ]
        let rule = chain [ zeroNans; scale -0.5 ]

        rule.Step(rule.Defaults, parameters, gradients, rule.Init(rule.Defaults, parameters))
        |> ignore

        Expect.equal (parameters[0].ToDoubles()) [| 1.0; 4.0; -infinity |] "NaN alone becomes zero"
    }

let private spreadTests =
    test "sums over rows and columns are those of the elements as they lie, strided ones, too" {
        let values = Array.init 12 (fun i -> float ((i * 7) % 12) - 3.5)
        let matrix = Tensor.shaped [| 3L; 4L |] DType.Float64 values

        let transposed =
            Tensor.shaped
                [| 4L; 3L |]
                DType.Float64
                [|
                    for c in 0..3 do
                        for r in 0..2 -> values[r * 4 + c]
                |]

        let strided =
            TensorView(
                transposed.Address,
                Layout.Strided(DType.Float64, ReadOnlySpan [| 3L; 4L |], ReadOnlySpan [| 1L; 3L |]),
                transposed.Owner
            )

        let centred = chain [ centralize; scale -1.0 ]

        let parameters =
            Parameters.Of [ Tensor.shaped [| 3L; 4L |] DType.Float64 (Array.zeroCreate 12) ]

        let step (gradient: TensorView) =
            parameters[0].Clear()

            centred.Step(centred.Defaults, parameters, Gradients.OfDense [ gradient ], centred.Init(centred.Defaults, parameters))
            |> ignore

            parameters[0].ToDoubles()

        let expected =
            [|
                for r in 0..2 do
                    let row = values[r * 4 .. r * 4 + 3]
                    for x in row -> Array.average row - x
            |]

        near 1e-15 "rows" [| expected |] [| step matrix |]
        near 1e-15 "rows of a transposed tensor" [| expected |] [| step strided |]
    }

[<Tests>]
let tests =
    testSequenced <| testList "chains" [ shellTests; noiseTests; spreadTests ]
