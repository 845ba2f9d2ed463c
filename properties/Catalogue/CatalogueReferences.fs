// Long, because each reference is a rule written out once more.
/// Rules of the catalogue of which recordings show a defect, or do not reach what is special: a scalar reference of each, written from its paper.
module CatalogueReferences

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit
open Plain

let private shapes: int64[] list = [ [| 3L; 2L |]; [| 4L |] ]
let private sizes = [ 6; 4 ]

let private zeros () =
    [| for size in sizes -> Array.zeroCreate<float> size |]

let private noise = Random 20261126

let private initial =
    [|
        for size in sizes -> Array.init size (fun _ -> 2.0 * noise.NextDouble() - 1.0)
    |]

/// Of a direction that lasts, so that rates which are found grow.
let private gradient =
    [|
        for size in sizes -> Array.init size (fun _ -> 2.0 * noise.NextDouble() - 1.0)
    |]

let private gradients =
    [
        for _ in 1..40 ->
            [|
                for one in gradient -> one |> Array.map (fun mean -> mean + 0.5 * (2.0 * noise.NextDouble() - 1.0))
            |]
    ]

/// For each element: the tensor and its place there.
let private each (step: int -> int -> unit) =
    for tensor, size in List.indexed sizes do
        for i in 0 .. size - 1 do
            step tensor i

let private total (value: int -> int -> float) =
    let mutable sum = 0.0
    each (fun tensor i -> sum <- sum + value tensor i)
    sum

let private norm (values: float[]) =
    sqrt (Array.sumBy (fun x -> x * x) values)

/// A reference changes the parameters by the step, counted from 1, and the gradients of all tensors.
type private Reference = float[][] -> int -> float[][] -> unit

let private srmm lr beta length : Reference =
    fun x ->
        let m = zeros ()

        fun t g ->
            let w = (float (t % length) + 1.0) ** -beta

            each (fun j i ->
                m[j][i] <- (1.0 - w) * m[j][i] + w * g[j][i]
                x[j][i] <- x[j][i] - lr * m[j][i])

let private simplifiedAdEMAMix lr beta1 beta2 alpha warmup least : Reference =
    fun x ->
        let m, v = zeros (), zeros ()
        let halfLife b = log 0.5 / log (b + 1e-8) - 1.0

        fun t g ->
            let b1 =
                if float t < warmup then
                    let share = float t / warmup
                    0.5 ** (1.0 / ((1.0 - share) * halfLife least + share * halfLife beta1 + 1.0))
                else
                    beta1

            each (fun j i ->
                m[j][i] <- b1 * m[j][i] + (1.0 - b1) * g[j][i]
                v[j][i] <- beta2 * v[j][i] + (1.0 - beta2) * g[j][i] * g[j][i]
                let corrected = v[j][i] / (1.0 - beta2 ** float t)
                x[j][i] <- x[j][i] - lr * (m[j][i] + alpha * g[j][i]) / (sqrt corrected + 1e-8))

let private ranger lr beta2 k : Reference =
    fun x ->
        let m, v, slow = zeros (), zeros (), Array.map Array.copy x
        let most = 2.0 / (1.0 - beta2) - 1.0

        fun t g ->
            let rows =
                g[0]
                |> Array.mapi (fun i value -> value - (g[0][i / 2 * 2] + g[0][i / 2 * 2 + 1]) / 2.0)

            let g = [| rows; g[1] |]
            let power = beta2 ** float t
            let length = most - 2.0 * float t * power / (1.0 - power)

            each (fun j i ->
                m[j][i] <- 0.95 * m[j][i] + 0.05 * g[j][i]
                v[j][i] <- beta2 * v[j][i] + (1.0 - beta2) * g[j][i] * g[j][i]

                if length >= 5.0 then
                    let factor =
                        sqrt (
                            (1.0 - power) * (length - 4.0) * (length - 2.0) * most
                            / ((most - 4.0) * (most - 2.0) * length)
                        )

                    x[j][i] <-
                        x[j][i]
                        - lr * factor / (1.0 - 0.95 ** float t) * m[j][i] / (sqrt (v[j][i]) + 1e-5)

                if t % k = 0 then
                    slow[j][i] <- slow[j][i] + 0.5 * (x[j][i] - slow[j][i])
                    x[j][i] <- slow[j][i])

let private dAdaptAdan d0 decay isOutside : Reference =
    fun x ->
        let m, n, v, s, last = zeros (), zeros (), zeros (), zeros (), zeros ()
        let mutable d, weighted = d0, 0.0

        fun t g ->
            let change j i =
                if t = 1 then 0.0 else g[j][i] - last[j][i]

            let root j i = sqrt (v[j][i]) + 1e-8

            each (fun j i ->
                m[j][i] <- 0.98 * m[j][i] + 0.02 * d * g[j][i]
                n[j][i] <- 0.92 * n[j][i] + 0.08 * d * change j i
                v[j][i] <- 0.99 * v[j][i] + 0.01 * (g[j][i] + 0.92 * change j i) ** 2.0
                s[j][i] <- 0.99 * s[j][i] + 0.01 * d * g[j][i]
                let u = (m[j][i] + 0.92 * n[j][i]) / root j i

                x[j][i] <-
                    if isOutside then
                        x[j][i] * (1.0 - d * decay) - u
                    else
                        (x[j][i] - u) / (1.0 + d * decay))

            weighted <- 0.99 * weighted + 0.01 * d * d * total (fun j i -> g[j][i] * g[j][i] / root j i)
            let estimate = total (fun j i -> s[j][i] * s[j][i] / root j i) / 0.01 - weighted
            d <- max d (estimate / total (fun j i -> abs (s[j][i])))
            each (fun j i -> last[j][i] <- g[j][i])

let private spam lr warmup threshold wait gap : Reference =
    fun x ->
        let m, v = zeros (), zeros ()

        fun t g ->
            let taken = t - 1
            let since = taken % gap

            let rate =
                if taken >= gap && since < warmup then
                    lr
                    * (1.0
                       - 0.99 * (1.0 + cos (Math.PI * float (since + 1) / float (warmup + 1))) / 2.0)
                else
                    lr

            each (fun j i ->
                if since = 0 then
                    m[j][i] <- 0.0
                    v[j][i] <- 0.0

                let g =
                    if since >= wait && g[j][i] * g[j][i] > threshold * v[j][i] then
                        float (sign (g[j][i])) * sqrt (threshold * v[j][i])
                    else
                        g[j][i]

                m[j][i] <- 0.9 * m[j][i] + 0.1 * g
                v[j][i] <- 0.999 * v[j][i] + 0.001 * g * g
                let corrected = sqrt (1.0 - 0.999 ** float t) / (1.0 - 0.9 ** float t)
                x[j][i] <- x[j][i] - rate * corrected * m[j][i] / (sqrt (v[j][i]) + 1e-6))

let private stableSpam lr last gap : Reference =
    fun x ->
        let m, v = zeros (), zeros ()
        let largest, norms, squares = [| 0.0; 0.0 |], [| 0.0; 0.0 |], [| 0.0; 0.0 |]

        fun t g ->
            let wave steps =
                1.0 + cos (Math.PI * (steps + 1.0) / (last + 1.0))

            let scale =
                if float t < last then
                    0.5 + 0.5 * wave (float t) / wave 0.0
                else
                    0.5

            let b1, gamma1 = 0.9 * scale, 0.7 * scale
            let taken = if t < gap then t else t % gap + 1

            for j in 0..1 do
                let most = g[j] |> Array.map abs |> Array.max
                largest[j] <- 0.9 * largest[j] + 0.1 * most
                let cap = largest[j] / (1.0 - 0.9 ** float t)
                let g = g[j] |> Array.map (fun g -> if abs g > cap then g / most * cap else g)
                norms[j] <- gamma1 * norms[j] + (1.0 - gamma1) * norm g
                squares[j] <- 0.9 * squares[j] + 0.1 * norm g ** 2.0

                let length =
                    norms[j]
                    / (1.0 - gamma1 ** float t)
                    / (sqrt (squares[j] / (1.0 - 0.9 ** float t)) + 1e-8)

                for i in 0 .. g.Length - 1 do
                    if t % gap = 0 then
                        m[j][i] <- 0.0
                        v[j][i] <- 0.0

                    let g = g[i] / norm g * length
                    m[j][i] <- b1 * m[j][i] + (1.0 - b1) * g
                    v[j][i] <- 0.999 * v[j][i] + 0.001 * g * g
                    let root = sqrt (v[j][i] / (1.0 - 0.999 ** float taken)) + 1e-8
                    x[j][i] <- x[j][i] - lr / (1.0 - b1 ** float taken) * m[j][i] / root

let private swats lr eps : Reference =
    fun x ->
        let m, v, b = zeros (), zeros (), zeros ()
        let mutable average, rate = 0.0, 0.0

        fun t g ->
            if rate > 0.0 then
                each (fun j i ->
                    b[j][i] <- 0.9 * b[j][i] + g[j][i]
                    x[j][i] <- x[j][i] - rate * 0.1 * b[j][i])
            else
                let step = zeros ()

                each (fun j i ->
                    m[j][i] <- 0.9 * m[j][i] + 0.1 * g[j][i]
                    v[j][i] <- 0.999 * v[j][i] + 0.001 * g[j][i] * g[j][i]
                    let corrected = sqrt (1.0 - 0.999 ** float t) / (1.0 - 0.9 ** float t)
                    step[j][i] <- lr * corrected * m[j][i] / (sqrt (v[j][i] + 1e-15) + eps)
                    x[j][i] <- x[j][i] - step[j][i])

                let found =
                    total (fun j i -> step[j][i] ** 2.0) / total (fun j i -> step[j][i] * g[j][i])

                average <- 0.999 * average + 0.001 * found
                let settled = average / (1.0 - 0.999 ** float t)

                if t > 1 && settled > 0.0 && abs (settled - found) < 1e-8 + eps * abs found then
                    rate <- settled

            if t = gradients.Length then
                Expect.isGreaterThan rate 0.0 "SGD has taken over"

let private run (rule: Rule) (options: (string * OptionValue) list) =
    let parameters =
        List.zip shapes (List.ofArray initial)
        |> List.map (fun (shape, values) -> param null DType.Float64 shape values)

    let optimizer =
        RuleOptimizer(rule, Kit.parameters parameters, [| for name, value in options -> struct (name, value) |])

    [
        for gradients in gradients do
            List.iter2 (fun p g -> setGradient p (Some g)) parameters (List.ofArray gradients)
            optimizer.Step()
            [| for p in parameters -> values p |]
    ]

let private check (name: string) options (reference: Reference) =
    let label =
        String.Join(", ", options |> List.map (fun (option, value) -> $"{option} {value}"))

    testCase $"{name}: {label}" (fun () ->
        let x = Array.map Array.copy initial
        let step = reference x

        for t, (g, found) in List.indexed (List.zip gradients (run (Rules.Find name) options)) do
            step (t + 1) g

            each (fun j i ->
                Expect.isLessThan (abs (found[j][i] - x[j][i])) (1e-11 * (1.0 + abs (x[j][i]))) $"step {t + 1}, tensor {j}, element {i}")

        each (fun j i -> Expect.isGreaterThan (abs (x[j][i] - initial[j][i])) 1e-4 $"tensor {j}, element {i} moves")
        Cases.add "catalogue's references" 1)

let private float' value = OptionValue.Float value
let private whole value = OptionValue.Int value

let private pair a b =
    OptionValue.TupleOf [ float' a; float' b ]

/// A sum of steps, each less than half of what a bfloat16 parameter can show.
let private kahan =
    test "StableAdamW: kahan_sum keeps steps that rounding would take off" {
        let moved isOn =
            let parameter = param null DType.BFloat16 [| 2L |] [| 1.0; -1.0 |]

            let options =
                [|
                    struct ("lr", float' 1e-3)
                    struct ("weight_decay", float' 0.0)
                    struct ("kahan_sum", OptionValue.Bool isOn)
                |]

            let optimizer =
                RuleOptimizer(Rules.Find "StableAdamW", Kit.parameters [ parameter ], options)

            for _ in 1..50 do
                setGradient parameter (Some [| 0.5; -0.5 |])
                optimizer.Step()

            values parameter

        Expect.equal (moved false) [| 1.0; -1.0 |] "1 - 0.001 is 1 in bfloat16"

        for found, expected in Array.zip (moved true) [| 0.95; -0.95 |] do
            Expect.floatClose { absolute = 0.004; relative = 0.0 } found expected "fifty steps of 0.001"
    }

/// By mean of all z, as the weights are the same for a rate that stays.
let private evaluation =
    test "ScheduleFreeSGD: evaluation is by the mean of the steps of plain SGD" {
        let shape, start = shapes[1], initial[1]
        let parameter = param null DType.Float64 shape start
        let rule = Rules.Find "ScheduleFreeSGD"

        let optimizer =
            RuleOptimizer(rule, Kit.parameters [ parameter ], [| struct ("lr", float' 0.1) |])

        let z, sum = Array.copy start, Array.zeroCreate<float> start.Length

        for t, g in List.indexed gradients do
            let g = g[1]
            setGradient parameter (Some g)
            optimizer.Step()

            for i in 0 .. z.Length - 1 do
                z[i] <- z[i] - 0.1 * g[i]
                sum[i] <- sum[i] + z[i]

            let training = values parameter
            let found = (use _ = ScheduleFreeView.Applied optimizer in values parameter)
            Expect.equal (values parameter) training "the parameters of training are back"

            for i in 0 .. z.Length - 1 do
                Expect.floatClose Accuracy.high found[i] (sum[i] / float (t + 1)) $"step {t + 1}, element {i}"

        for name in [ "ScheduleFreeAdamW"; "ScheduleFreeRAdam"; "schedulefree.AdamWScheduleFree" ] do
            Expect.isTrue (ScheduleFree.isRule (Rules.Find name)) name

        Expect.isFalse (ScheduleFree.isRule (Rules.Find "SGDW")) "SGDW"
    }

[<Tests>]
let tests =
    testList
        "catalogue references"
        [
            check "SRMM" [ "memory_length", whole 7L ] (srmm 0.01 0.5 7)
            check "SimplifiedAdEMAMix" [ "lr", float' 1e-2; "alpha", float' 2.0 ] (simplifiedAdEMAMix 1e-2 0.99 0.95 2.0 0.0 0.9)
            check "SimplifiedAdEMAMix" [ "lr", float' 1e-2; "beta1_warmup", float' 20.0 ] (simplifiedAdEMAMix 1e-2 0.99 0.95 0.0 20.0 0.9)
            check "Ranger" [ "lr", float' 1e-2; "betas", pair 0.95 0.9; "k", whole 3L ] (ranger 1e-2 0.9 3)
            check "DAdaptAdan" [ "d0", float' 1e-2; "weight_decay", float' 0.1 ] (dAdaptAdan 1e-2 0.1 false)
            check
                "DAdaptAdan"
                [
                    "d0", float' 1e-2
                    "weight_decay", float' 0.1
                    "weight_decouple", OptionValue.Bool true
                ]
                (dAdaptAdan 1e-2 0.1 true)
            check
                "SPAM"
                [
                    "lr", float' 1e-2
                    "threshold", float' 2.0
                    "warmup_epoch", whole 5L
                    "grad_accu_steps", whole 3L
                    "update_proj_gap", whole 9L
                ]
                (spam 1e-2 5 2.0 3 9)
            check
                "StableSPAM"
                [
                    "lr", float' 1e-2
                    "theta", float' 0.9
                    "t_max", float' 12.0
                    "update_proj_gap", whole 9L
                ]
                (stableSpam 1e-2 12.0 9)
            check "SWATS" [ "lr", float' 1e-2; "eps", float' 0.3 ] (swats 1e-2 0.3)
            kahan
            evaluation
        ]
