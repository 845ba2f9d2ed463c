/// LBFGS over parameters of a device that is none: its vectors lie there, and kernels are interpreted.
module LBFGSStepTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Optim.Ptx
open PtxKit

let mutable private made = 0

let private fresh () =
    let number = Threading.Interlocked.Increment &made
    let heap = PretendHeap()
    PretendDevice($"pretend-lbfgs-{number}", heap, InterpretedGpu heap)

let private shapes = [ [| 3L; 40L |]; [| 7L |]; [| 4100L |]; [| 2L; 3L |] ]

/// Parameters, of which the last is stored column after column.
let private start (dtypes: DType list) =
    [
        for index, (dtype, shape) in List.indexed (List.zip dtypes shapes) do
            let random = Random(index + 1)
            let count = int (Array.fold (*) 1L shape) * dtype.Parts()

            let straight =
                TensorView.OfDoubles(dtype, ReadOnlySpan(Array.init count (fun _ -> random.NextDouble() - 0.5)), ReadOnlySpan shape)

            if index = 3 then
                let turned =
                    TensorView.Zeros(Layout.Strided(dtype, ReadOnlySpan shape, ReadOnlySpan [| 1L; 2L |]))

                turned.CopyFrom straight
                turned
            else
                straight
    ]

/// The mean of x^4 / 4 + x^2 / 2 - x over all but the second, whose gradient is missing.
let private objective move (parameters: Parameters) =
    let mutable loss = 0.0

    let gradients =
        [
            for row in 0 .. parameters.Count - 1 do
                if row = 1 then
                    Gradient.Absent
                else
                    let x = parameters[row].ToDoubles()
                    loss <- loss + (x |> Array.sumBy (fun x -> x * x * x * x / 4.0 + x * x / 2.0 - x))
                    let slopes = x |> Array.map (fun x -> x * x * x + x - 1.0)

                    TensorView.OfDoubles(parameters[row].DType, ReadOnlySpan slopes, parameters[row].Shape.AsSpan())
                    |> move
                    |> Gradient.OfDense
        ]

    struct (loss, Gradients.Of gradients)

let private options search =
    { LBFGS.defaults with
        Lr = (if search = LineSearch.None then 0.1 else 1.0)
        MaxIter = 4
        HistorySize = 3
        LineSearchFn = search
    }

let private bitsOf (parameters: Parameters) (state: LBFGSState) =
    [|
        for parameter in parameters do
            yield! parameter.ToDoubles()

        for vector in Seq.concat [ Seq.ofList [ state.D; state.PrevFlatGrad ]; state.OldDirs; state.OldStps ] do
            yield! vector.ToDoubles()

        state.T
        state.HDiag
        state.PrevLoss
        float state.FuncEvals
        float state.NIter
        yield! state.Ro
    |]

let private agree what (expected: float array) (found: float array) =
    ProgramKit.difference [| [| expected |] |] [| [| found |] |]
    |> Option.iter (failtestf "%s: %s" what)

let private same = [ DType.Float32; DType.Float64; DType.BFloat16; DType.Complex64 ]

let private bitTests =
    test "LBFGS's vectors lie on the device of its parameters, with the processor's bits, and nothing but numbers comes back" {
        for search in [ LineSearch.None; LineSearch.StrongWolfe ] do
            for dtypes in
                [
                    for dtype in same do
                        List.replicate 4 dtype

                    [ DType.Float32; DType.BFloat16; DType.Float16; DType.Float32 ]
                ] do
                let device = fresh ()
                let options = options search
                let here = Parameters.Of(start dtypes)
                let there = Parameters.Of(here |> Seq.map device.Moved)
                let mutable a, b = LBFGS.init options here, LBFGS.init options there
                let mutable byObjective = 0n

                for step in 1..3 do
                    let struct (_, next) = LBFGS.step options here (objective id) a
                    a <- next
                    let before, outside = device.Crossed, byObjective

                    let asked parameters =
                        let before = device.Crossed
                        let found = objective device.Moved parameters
                        byObjective <- byObjective + device.Crossed - before
                        found

                    let struct (_, next) = LBFGS.step options there asked b
                    b <- next
                    Expect.equal (device.Crossed - before) (byObjective - outside) "elements that crossed"

                    if step = 1 then
                        // Vectors follow into a copy, and into what is restored of a state dict, which the processor has.
                        b <- LBFGS.copy b
                        b <- LBFGS.ofTree there (LBFGS.toTree b)

                agree $"{search}, %A{dtypes}" (bitsOf here a) (bitsOf there b)
                Expect.isFalse b.D.Layout.IsOnCpu "the direction"
                Expect.stringContains b.Executor.Name "kernels on" "who stepped"
                Expect.isGreaterThan device.Kernels.Launches 20L "launches"

                match LBFGS.toTree b with
                | tree -> Expect.isTrue ((tree["d"]).AsTensor().Layout.IsOnCpu) "state dicts are the processor's"
    }

let private movedTests =
    test "parameters that move to another device take LBFGS's vectors with them; of two widths or devices, vectors are the processor's" {
        let device = fresh ()
        let options = options LineSearch.StrongWolfe
        let here = Parameters.Of(start (List.replicate 4 DType.Float32))

        let struct (_, state) =
            LBFGS.step options here (objective id) (LBFGS.init options here)

        let copy = LBFGS.copy state
        let moved = Parameters.Of(here |> Seq.map device.Moved)
        let struct (_, a) = LBFGS.step options here (objective id) state
        let struct (_, b) = LBFGS.step options moved (objective device.Moved) copy
        agree "there" (bitsOf here a) (bitsOf moved b)
        let back = Parameters.Of(moved |> Seq.map _.ToHost())
        let struct (_, a) = LBFGS.step options here (objective id) a
        let struct (_, b) = LBFGS.step options back (objective id) b
        agree "and back" (bitsOf here a) (bitsOf back b)

        for dtypes in [ [ DType.Float32; DType.Float64; DType.Float32; DType.Float32 ] ] do
            let here = Parameters.Of(start dtypes)
            let there = Parameters.Of(here |> Seq.map device.Moved)
            let struct (_, a) = LBFGS.step options here (objective id) (LBFGS.init options here)

            let struct (_, b) =
                LBFGS.step options there (objective device.Moved) (LBFGS.init options there)

            agree "two widths" (bitsOf here a) (bitsOf there b)
            Expect.isTrue b.D.Layout.IsOnCpu "the direction"

        let own = Parameters.Of(start (List.replicate 4 DType.Float32))

        let mixed =
            Parameters.Of(
                own.Copy()
                |> Seq.mapi (fun row parameter -> if row = 0 then device.Moved parameter else parameter)
            )

        let at (parameters: Parameters) row (gradient: TensorView) =
            if parameters[row].Layout.IsOnCpu then
                gradient
            else
                device.Moved gradient

        let asked parameters =
            let struct (loss, gradients) = objective id parameters

            let placed =
                [
                    for row in 0 .. parameters.Count - 1 do
                        if gradients[row].Kind = GradientKind.Absent then
                            Gradient.Absent
                        else
                            Gradient.OfDense(at parameters row gradients[row].Values)
                ]

            struct (loss, Gradients.Of placed)

        let struct (_, a) = LBFGS.step options own (objective id) (LBFGS.init options own)
        let struct (_, b) = LBFGS.step options mixed asked (LBFGS.init options mixed)
        agree "two devices" (bitsOf own a) (bitsOf mixed b)
    }

let private throwingTests =
    test "an objective that throws leaves parameters and state on a device as they were" {
        let device = fresh ()
        let options = options LineSearch.StrongWolfe

        let parameters =
            Parameters.Of(start (List.replicate 4 DType.BFloat16) |> Seq.map device.Moved)

        let mutable state = LBFGS.init options parameters

        let struct (_, next) = LBFGS.step options parameters (objective device.Moved) state

        state <- next
        let before = bitsOf parameters state

        for last in [ 0; 1; 2 ] do
            let mutable calls = 0

            Expect.throwsT<InvalidOperationException>
                (fun () ->
                    LBFGS.step
                        options
                        parameters
                        (fun parameters ->
                            calls <- calls + 1

                            if calls > last then
                                raise (InvalidOperationException "told to")

                            objective device.Moved parameters)
                        state
                    |> ignore)
                "it throws"

            agree $"after {last} evaluations" before (bitsOf parameters state)
    }

[<Tests>]
let tests = testList "cuda lbfgs" [ bitTests; movedTests; throwingTests ]
