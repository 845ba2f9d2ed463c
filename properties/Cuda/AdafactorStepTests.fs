/// Steps of Adafactor as kernels: on a device that is none, against the processor's.
module AdafactorStepTests

open System
open Expecto
open Optim
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
    [
        [| 9L |]
        [| 5L; 1L; 1L |]
        [| 130L; 3L |]
        [| 2L; 66L; 40L |]
        [| 2L; 4099L |]
    ]

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

/// Optimizers of whole tensors, of which none asks others here.
let private optimizers: (string * int64 array list * (IParameterOrGroup array -> Optimizer)) list =
    [
        "Adafactor", few, (fun parameters -> Adafactor parameters)
        "Muon", [ [| 30L; 50L |]; [| 70L; 20L |]; [| 30L; 50L |] ], (fun parameters -> Muon(parameters, nsSteps = 0))
    ]

let private stateOf (stateful: IStateful) = stateful.SaveState()

let private surroundTests =
    test "what surrounds steps of whole tensors is done on the device, with the processor's bits: clipping, unscaling, averages, zeros" {
        let struct (device, _) = fresh ()

        for name, shapes, make in optimizers do
            for dtype in [ DType.Float32; DType.BFloat16 ] do
                for scales in [ false; true ] do
                    let run (on: PretendDevice voption) =
                        let moved (tensor: TensorView) =
                            match on with
                            | ValueSome device -> device.Moved tensor
                            | ValueNone -> tensor

                        let parameters =
                            [
                                for index, tensor in List.indexed (tensors shapes dtype 1) -> Param.Of($"p{index}", moved tensor)
                            ]

                        let optimizer = parameters |> Seq.cast<IParameterOrGroup> |> Seq.toArray |> make
                        let average = AveragedParameters(parameters |> Seq.cast<IParameter>)

                        if scales then
                            optimizer.Attach(ClipGradNorm 0.5, GradScaler 4.0, average, true)
                        else
                            optimizer.Attach(ClipGradNorm 0.5, average = average)

                        for step in 1..3 do
                            let gradients = tensors shapes dtype (20 + step)

                            if scales && step = 2 then
                                // In one element of one tensor: all of them stay.
                                let spoilt = gradients[1].ToDoubles()
                                spoilt[3] <- nan
                                gradients[1].CopyFrom(TensorView.OfDoubles(dtype, ReadOnlySpan spoilt, ReadOnlySpan shapes[1]))

                            for parameter, gradient in List.zip parameters gradients do
                                parameter.BindGradient(moved gradient)

                            let before = device.Crossed
                            optimizer.Step()

                            if step > 1 then
                                Expect.equal device.Crossed before $"{name}: nothing crosses"

                        stateOf optimizer,
                        stateOf average,
                        [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ],
                        [ for p in parameters -> p.GradientView.ToDoubles() ]

                    let a, b = run ValueNone, run (ValueSome device)
                    Expect.equal b a $"{name}, {dtype.Name()}, with a scaler: {scales}"

        Expect.equal device.Others.Asked 0 "nobody else"
    }

let private strideTests =
    test "parameters, gradients and averages of whole tensors that lie in another order are brought into it on the device" {
        let struct (device, _) = fresh ()

        let turned (tensor: TensorView) =
            TensorView(tensor.Address, Layout.Strided(tensor.DType, ReadOnlySpan [| 40L; 66L |], ReadOnlySpan [| 1L; 40L |]), tensor.Owner)

        for name, _, make in optimizers do
            for dtype in [ DType.Float32; DType.BFloat16 ] do
                for turnsParameter, turnsGradient in [ true, false; false, true; true, true ] do
                    let one turns seed =
                        let tensor =
                            tensors [ (if turns then [| 66L; 40L |] else [| 40L; 66L |]) ] dtype seed
                            |> List.head

                        if turns then turned tensor else tensor

                    let run (moved: TensorView -> TensorView) =
                        let parameter = Param.Of("p", moved (one turnsParameter 1))
                        let optimizer = make [| parameter |]
                        let average = AveragedParameters [ parameter :> IParameter ]
                        optimizer.Attach(ClipGradNorm 0.5, average = average)

                        for step in 1..2 do
                            parameter.BindGradient(moved (one turnsGradient (20 + step)))
                            optimizer.Step()

                        stateOf optimizer, stateOf average, (parameter :> IParameter).Data.ToDoubles()

                    Expect.equal (run device.Moved) (run id) $"{name}, {dtype.Name()}, {turnsParameter}, {turnsGradient}"

        Expect.equal device.Others.Asked 0 "nobody else"
    }

/// A change to the text that must not go unseen.
let private mutants: (string * string * string) list =
    [
        "groups are one", @"div\.u64 (%d27), (\S+), (\S+);", "mov.u64 $1, 0;"
        "bands are one", @"div\.u64 (%d30), (\S+), (\S+);", "mov.u64 $1, 0;"
        "a group goes on in the next",
        @"min\.u64 (\S+), (\S+), (\S+);(?=\n(\tcvt.*\n)?\tadd\.s64 \S+, \S+, \S+;\n\tmov\.b64)",
        "mov.u64 $1, $2;"
        "a group is one band", @"min\.u64 (\S+), (\S+), (\S+);(?=\n(\tcvt.*\n)?\tadd\.s64 \S+, \S+, \S+;\n\tmov\.b64)", "mov.u64 $1, $3;"
        "threads of a warp begin together", @"cvt\.u64\.u32 (\S+), (\S+);(?=\n\tadd\.s64 \S+, \S+, \1;\n\tmov\.b64)", "mov.u64 $1, 0;"
        "parts take all elements",
        @"add\.s64 (\S+), (\S+), (\S+);(?=\n\tmov\.b64 \S+, \S+;\n\tshl\.b64 \S+, \S+, 2;\nFOURS)",
        "mov.u64 $1, $2;"
        "squares are not", @"fma\.rn\.f64 (\S+), (\S+), (\S+), (\S+);", "add.rn.f64 $1, $2, $4;"
        "parts are left out", @"setp\.ge\.u64 (\S+), (\S+), (\S+);(?=\n\t@\S+ bra STORE;\n\tld)", "setp.ge.u64 $1, $3, 0;"
        "the first part is of another group", @"mul\.lo\.s64 (%d27), (\S+), (\S+);(?=\n\tadd\.s64 %d28)", "mov.u64 $1, $2;"
        "means are sums", @"div\.rn\.f64 (\S+), (\S+), (\S+);(?=\n\tld\.global\.u64)", "mov.b64 $1, $2;"
        "means are rounded elsewhere", @"cvt\.rn\.f32\.f64", "cvt.rz.f32.f64"
        "means go the other way", @"sub\.rn\.f32 (\S+), (\S+), (\S+);\n\tfma", "sub.rn.f32 $1, $3, $2;\n\tfma"
        "a scale has no bound", @"selp\.b64 (\S+), (\S+), (\S+), (\S+);(?=\n\tdiv)", "mov.b64 $1, $3;"
        "an element is of another column",
        @"mul\.lo\.s64 (\S+), (\S+), (\S+);(?=\n\tadd\.s64 \S+, \1, \S+;\n\tld\.global\.u64 \S+, \[\S+\];\n\tshl)",
        "mov.u64 $1, 0;"
        "an element is of another row", @"div\.u64 (%d23), (\S+), (\S+);(?=\n.*\n.*\n\tdiv)", "mov.u64 $1, 0;"
        "a matrix has another's scale", @"div\.u64 (%d26), (\S+), (\S+);", "mov.u64 $1, 0;"
    ]

let private mutantTests =
    test "what is wrong in the text of Adafactor's kernels is found" {
        let tells change =
            let struct (device, gpu) = fresh ()
            gpu.Change <- change
            // Some matrices have larger means than this, and some have smaller ones.
            let options =
                optionsOf
                    [
                        "eps", OptionValue.TupleOf [ OptionValue.Float 0.083; OptionValue.Float 0.001 ]
                    ]

            let struct (here, a, there, b) = both device few DType.Float32 options 3

            try
                sameTensors "parameters" here there
                sameState "state" a b
                false
            with :? AssertException ->
                true

        Expect.equal (survivors mutants tells) [] "mutants that live"
    }

[<Tests>]
let tests =
    testList "cuda adafactor" [ stepTests; launchTests; surroundTests; strideTests; mutantTests ]
