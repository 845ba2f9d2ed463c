/// Steps of Adafactor as kernels: on a device that is none, against the processor's.
module AdafactorStepTests

open System
open Expecto
open Optim.Core
open Optim.Cuda
open Optim.Kernels
open Optim.Ptx
open PtxKit
open PretendKit

/// Vectors, a number, matrices of one element, of short rows and columns and of long ones, over the ends of blocks and of chunks; in batches.
let private shapes: int64 array list =
    [
        [| 7L |]
        [||]
        [| 5000L |]
        [| 1L; 1L |]
        [| 6L; 4L; 1L; 1L |]
        [| 3L; 50L |]
        [| 50L; 3L |]
        [| 70L; 31L |]
        [| 31L; 32L |]
        [| 8L; 4L; 3L; 3L |]
        [| 2L; 130L; 40L |]
        [| 3L; 1L; 33L |]
        [| 2L; 4099L |]
        [| 4099L; 2L |]
        [| 1L; 9000L |]
        [| 0L; 4L |]
    ]

let private few: int64 array list =
    [ [| 9L |]; [| 5L; 1L; 1L |]; [| 130L; 3L |]; [| 2L; 66L; 40L |]; [| 2L; 4099L |] ]

let private tensors (shapes: int64 array list) dtype seed =
    let random = Random(seed: int)

    [
        for shape in shapes ->
            let count = int (Array.fold (*) 1L shape)
            TensorView.OfDoubles(dtype, ReadOnlySpan(Array.init count (fun _ -> random.NextDouble() - 0.5)), ReadOnlySpan shape)
    ]

let private rule = Rules.Adafactor :> Rule

let private optionsOf settings =
    rule.Replace(rule.Defaults, [ for name, value in settings -> setting name value ])

let private cases =
    [
        "defaults", []
        "going up, with decay", [ "maximize", OptionValue.Bool true; "weight_decay", OptionValue.Float 0.1 ]
        "an eps that counts", [ "eps", OptionValue.TupleOf [ OptionValue.Float 0.4; OptionValue.Float 0.7 ] ]
        "clipped by more", [ "d", OptionValue.Float 1.5; "lr", OptionValue.Float infinity ]
    ]

/// What steps come to on a device and on the processor: parameters and state.
let private both (device: PretendDevice) shapes dtype options steps =
    let here = Parameters.Of(tensors shapes dtype 1)
    let there = Parameters.Of(here |> Seq.map device.Moved)
    let mutable a, b = rule.Init(options, here), rule.Init(options, there)

    for step in 1..steps do
        let gradients = tensors shapes dtype (10 + step)
        a <- rule.Step(options, here, Gradients.OfDense gradients, a)
        b <- rule.Step(options, there, Gradients.OfDense(gradients |> List.map device.Moved), b)

    struct (here, a, there, b)

let private stepTests =
    test "Adafactor's means, updates and moves are kernels, with the processor's bits" {
        let struct (device, gpu) = fresh ()

        for dtype in [ DType.Float32; DType.BFloat16; DType.Float16; DType.Float64 ] do
            for index, (name, settings) in List.indexed cases do
                if index = 0 || isWhole || dtype = DType.Float32 then
                    let what = $"{dtype.Name()}, {name}"
                    let waits = gpu.Waits
                    let shapes = if index = 0 then shapes else few
                    let struct (here, a, there, b) = both device shapes dtype (optionsOf settings) 3
                    sameTensors what here there
                    sameState what a b
                    Expect.equal (gpu.Waits - waits) 0 $"{what}: nobody waits"

        Expect.equal device.Others.Asked 0 "nobody else"
    }

let private launchTests =
    test "a step of Adafactor takes as many launches for many tensors as for one" {
        let struct (device, _) = fresh ()

        let launches (shapes: int64 array list) =
            let there = Parameters.Of(tensors shapes DType.Float32 1 |> List.map device.Moved)
            let mutable state = rule.Init(rule.Defaults, there)
            let mutable last = 0L

            for step in 1..2 do
                let gradients = tensors shapes DType.Float32 (10 + step) |> List.map device.Moved
                let before = device.Kernels.Launches
                state <- rule.Step(rule.Defaults, there, Gradients.OfDense gradients, state)
                last <- device.Kernels.Launches - before

            last

        // Sums of squares of parameters and updates with what they come to, the numbers that are made of these, and the move.
        Expect.equal (launches [ [| 70L |] ]) 7L "a vector"
        Expect.equal (launches [ [| 5L; 1L; 1L |] ]) 7L "matrices of one element"
        // Sums of rows and of columns, means, sums of means, scales and what squares are expected to be come before.
        Expect.equal (launches [ [| 40L; 3L |] ]) (7L + 5L) "a matrix"
        Expect.equal (launches [ [| 70L; 50L |]; [| 40L; 3L |]; [| 2L; 3L; 40L |] ]) (7L + 7L) "matrices"
        Expect.equal (launches shapes) (3L * 7L + 7L) "all of them"
    }

/// A change to the text that must not go unseen.
let private mutants: (string * string * string) list =
    [
        "means are of one element less", @"cvt\.rn\.f64\.u64 (\S+), (\S+);", "mov.f64 $1, 0d3FF0000000000000;"
    ]

let private mutantTests =
    test "what is wrong in the text of Adafactor's kernels is found" {
        let tells change =
            let struct (device, gpu) = fresh ()
            gpu.Change <- change
            let struct (here, a, there, b) = both device few DType.Float32 rule.Defaults 3

            try
                sameTensors "parameters" here there
                sameState "state" a b
                false
            with :? AssertException ->
                true

        Expect.equal (survivors mutants tells) [] "mutants that live"
    }

[<Tests>]
let tests = testList "cuda adafactor" [ stepTests; launchTests; mutantTests ]
