/// What surrounds a step, as PyTorch recorded it: averages, clipping and loss scaling.
module AroundGoldenTests

open System
open System.IO
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Golden
open Kit

let private close what (actual: float[]) (expected: float[]) =
    Expect.equal actual.Length expected.Length $"{what}: number of elements"

    for i in 0 .. actual.Length - 1 do
        if not (abs (actual[i] - expected[i]) <= 1e-11 * (1.0 + abs expected[i])) then
            failtestf "%s, element %d: %s, PyTorch %s" what i (text actual[i]) (text expected[i])

let private golden pattern (test: JsonElement -> unit) =
    recorded pattern (fun _ root ->
        [
            for i, case in list id root |> List.indexed -> testCase $"#{i}" (fun () -> test case)
        ])

/// Parameters and buffers of a recorded model, in its order.
let private isBuffer (name: string) =
    name.Contains("running", StringComparison.Ordinal)
    || name.EndsWith("tracked", StringComparison.Ordinal)

let private isWhole (name: string) =
    name.EndsWith("tracked", StringComparison.Ordinal)

let private asParam (name: string, values: float[]) =
    if isWhole name then
        Param.Of(name, TensorView.Of(ReadOnlySpan(Array.map int64 values), ReadOnlySpan [||]))
    else
        vector name (List.ofArray values)

let private write (p: Param) (values: float[]) =
    if p.View.DType = DType.Int64 then
        p.View.AsSpan<int64>()[0] <- int64 values[0]
    else
        values.AsSpan().CopyTo(p.View.AsSpan<float>())

let private averaging (case: JsonElement) =
    let models = field "model" case |> list (pairs numbers)
    let expected = field "average" case |> list (pairs numbers)
    let live = models.Head |> List.map asParam

    let parts buffers =
        live |> List.filter (fun p -> isBuffer p.Name = buffers) |> asParameters

    let useBuffers = (field "use_buffers" case).GetBoolean()

    let functions =
        match tryField "decay" case with
        | None ->
            [
                null, null
                null, AveragedParameters.GetSwaMultiAvgFn()
                AveragedParameters.GetSwaAvgFn(), null
            ]
        | Some decay ->
            let decay = number decay

            [
                null, AveragedParameters.GetEmaMultiAvgFn decay
                AveragedParameters.GetEmaAvgFn decay, null
            ]

    for one, many in functions do
        // The second time as functions of the user's own, which only the shell does not recognise.
        for own in [ false; true ] do
            let one =
                if own && not (isNull one) then
                    AvgFn<TensorView>(fun a x n -> one.Invoke(a, x, n))
                else
                    one

            let many =
                if own && not (isNull many) then
                    MultiAvgFn<TensorView>(fun a x n -> many.Invoke(a, x, n))
                else
                    many

            let average = AveragedParameters(parts false, one, many, useBuffers, parts true)

            for model, expected in List.zip models expected do
                for p, (_, values) in List.zip live model do
                    write p values

                average.UpdateParameters()

                for name, values in expected do
                    close name (average[name].ToDoubles()) values

            Expect.equal average.NAveraged (int64 (number (field "n_averaged" case))) "n_averaged"

let private averagingOnHost (case: JsonElement) =
    match Golden.text (field "kind" case) with
    | "swa"
    | "ema" -> averaging case
    | "update_bn" -> () // over TorchSharp's modules
    | other -> failtestf "averages of kind %s are not known" other

let private clipping (case: JsonElement) =
    let before = field "before" case |> list numbers
    let after = field "after" case |> list numbers

    let make () =
        [
            for gradient in before do
                let p = vector null (List.replicate gradient.Length 0.0)
                setGradient p (Some gradient)
                p
        ]

    let check what (list: Param list) =
        for p, expected in List.zip list after do
            close what (gradient p).Value expected

    match Golden.text (field "kind" case) with
    | "norm" ->
        let order, largest = number (field "norm_type" case), number (field "max_norm" case)

        let total = number (field "total_norm" case)
        let list = make ()
        close "total norm" [| ClipGrad.TotalNorm(asParameters list, order) |] [| total |]
        close "returned norm" [| ClipGrad.Norm(asParameters list, largest, order) |] [| total |]
        check "clip_grad_norm_" list
        let list = make ()
        ClipGrad.WithNorm(asParameters list, largest, total)
        check "clip_grads_with_norm_" list

        let gradients =
            Gradients.OfDense(
                before
                |> Seq.map (fun values -> tensor DType.Float64 [| int64 values.Length |] values)
            )

        close "in F#" [| Clipping.byNorm largest order (Clipping.copy gradients) |] [| total |]
    | "value" ->
        let list = make ()
        ClipGrad.Value(asParameters list, number (field "clip_value" case))
        check "clip_grad_value_" list
    | other -> failtestf "clipping of kind %s is not known" other

let private scaler (case: JsonElement) =
    let argument name usual =
        match field "args" case |> tryField name with
        | Some value -> number value
        | None -> usual

    let make () =
        GradScaler(
            argument "init_scale" 65536.0,
            argument "growth_factor" 2.0,
            argument "backoff_factor" 0.5,
            int64 (argument "growth_interval" 2000.0)
        )

    // By PyTorch's three calls, with and without a call of unscale_ before, and attached.
    for way in [ "step"; "unscale"; "attached" ] do
        let scaler = make ()
        let p = param "p" DType.Float32 [| 3L |] [| 1.0; 1.0; 1.0 |]
        let optimizer = SGD(parameters [ p ], lr = 0.1)

        if way = "attached" then
            optimizer.Attach(scaler = scaler)

        for row in (field "rows" case).EnumerateArray() do
            let scale = scaler.GetScale()
            let overflow = (field "overflow" row).GetBoolean()
            setGradient p (Some [| scale; 2.0 * scale; (if overflow then infinity else 3.0 * scale) |])

            let stepped =
                match way with
                | "attached" ->
                    optimizer.Step()
                    not optimizer.LastStepSkipped
                | _ ->
                    if way = "unscale" then
                        scaler.Unscale optimizer

                    let stepped = scaler.Step optimizer
                    scaler.Update()
                    stepped

            Expect.equal stepped ((field "stepped" row).GetBoolean()) "stepped"
            Expect.equal (scaler.GetScale()) (number (field "scale" row)) "scale"

            for actual, expected in Array.zip (values p) (numbers (field "params" row)) do
                Expect.isLessThan (abs (actual - expected)) (2e-5 * (1.0 + abs expected)) "parameters"

[<Tests>]
let tests =
    testList
        "around"
        [
            testList "averages" (golden "averaging*.json" averagingOnHost)
            testList "clipping" (golden "clipping*.json" clipping)
            testList "scaler" (golden "grad_scaler*.json" scaler)
        ]
