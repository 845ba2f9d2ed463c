/// Runs with narrow state, and what they are compared with.
module NarrowKit

open System
open Optim
open Optim.Core
open Optim.Kernels

let formats = [ StateStorage.BFloat16; StateStorage.Blockwise8 ]

/// For parameters of any size.
let always = formats |> List.map _.From(0)

/// The rules whose state may be narrow.
let rules =
    [
        yield! Rules.All

        for entry in Catalogue.All do
            entry.Rule
    ]
    |> List.filter (fun (rule: Rule) -> rule.Has "state_storage")

/// The same options with state in another form.
let stored (rule: Rule) (storage: StateStorage) (options: IOptimizerOptions) =
    rule.Replace(
        options,
        [
            Collections.Generic.KeyValuePair("state_storage", OptionValue.Text(StateStorage.NameOf storage.Format))
            Collections.Generic.KeyValuePair("state_storage_minimum", OptionValue.Int(int64 storage.Minimum))
        ]
    )

/// Options by which state is narrow, of rules that have them and take them beside these.
let optionsBeside (rule: Rule) options (storage: StateStorage) =
    let parameters =
        Parameters.OfNamed [ struct ("p", TensorView.Zeros(DType.Float32, [| 8L; 6L |])) ]

    try
        if storage.Format <> StateFormat.Float32 && rule.Has "state_storage" then
            rule.Init(stored rule storage options, parameters) |> ignore

            [
                "state_storage", OptionValue.Text storage.Name
                "state_storage_minimum", OptionValue.Int(int64 storage.Minimum)
            ]
        else
            []
    with :? NotSupportedException ->
        []

/// The draws of the recordings: in [-1, 1), by stream and number from 1.
let draw (stream: int) (index: int) =
    let mutable z = (uint64 stream * 4294967296UL + uint64 index) * 0x9E3779B97F4A7C15UL
    z <- (z ^^^ (z >>> 30)) * 0xBF58476D1CE4E5B9UL
    z <- (z ^^^ (z >>> 27)) * 0x94D049BB133111EBUL
    z <- z ^^^ (z >>> 31)
    double (z >>> 40) / 8388608.0 - 1.0

/// The gradient of a step of the recordings, whose seed is 1.
let recordedGradient step index =
    let g = draw (100 + step) (index + 1)
    let g = double (float32 (g * g * g))
    let g = if index % 50 = 0 then 0.0 else g
    let g = if index >= 512 && index < 768 then g * 0.001 else g
    float32 (if index = 7 then g * 30.0 else g)

/// Gradients of which each block is of another kind: with zeros, over many powers of two, plain, not finite in a step, far below what numbers are made for.
let motleyGradient step index =
    let g = float32 (draw (300 + step) (index + 1))
    let plain = if g = 0.0f then 1.0f else g

    match index / 256 % 6 with
    | 0 -> recordedGradient step index
    | 1 -> plain * MathF.Pow(2.0f, float32 (index % 40 - 30))
    | 2
    | 3 -> plain
    | 4 when step = 2 && index % 256 < 2 -> if index % 2 = 0 then nanf else infinityf
    | 4 when index % 256 = 9 -> plain * 1e6f
    | 4 -> plain * 1e-3f
    | _ -> plain * 1e-41f

let recordedStart index = float32 (draw 199 (index + 1))

/// A run of a rule over one parameter, with memory that is used again.
type Run(rule: Rule, options: IOptimizerOptions, elements: int, start: int -> float32) =
    let values = Array.init elements start
    let parameter = TensorView.Of(values, [| int64 elements |])
    let gradient = TensorView.Zeros(DType.Float32, [| int64 elements |])
    let parameters = Parameters.OfNamed [ struct ("w", parameter) ]
    let gradients = Gradients.OfDense [ gradient ]
    let mutable state = rule.Init(options, parameters)
    member _.Parameters = parameters
    member _.Values = parameter.AsSpan<float32>().ToArray()

    member _.State
        with get () = state
        and set value = state <- value

    /// A step by gradients that are the same in each run.
    member _.StepBy(values: float32 array) =
        values.AsSpan().CopyTo(gradient.AsSpan<float32>())
        state <- rule.Step(options, parameters, gradients, state)

    member run.Step(of': int -> float32) = run.StepBy(Array.init elements of')

/// The longest way of an element in a step, over some steps.
let longest (rule: Rule) options (gradients: float32 array array) =
    let elements = gradients[0].Length
    let run = Run(rule, options, elements, recordedStart)
    let mutable farthest = 0.0
    let mutable before = run.Values

    for gradient in gradients do
        run.StepBy gradient
        let now = run.Values

        for i in 0 .. elements - 1 do
            let way = abs (double now[i] - double before[i])
            // What is not finite is farther than anything.
            farthest <- if Double.IsFinite way then max farthest way else infinity

        before <- now

    farthest

/// How large the gradients of an element are, from 1e-3 to 1.
let private size index =
    Math.Pow(10.0, -1.5 + 1.5 * draw 7000 (index + 1))

/// Gradients at which second moments go wrong, by name: of a step and an element.
let private hard: (string * (int -> int -> float32)) list =
    [
        "one outlier of 1e6, then 1e-3 to 1",
        fun step i ->
            if step = 5 && i % 256 = 5 then
                1e6f
            else
                float32 (size i * draw (900 + step) (i + 1))
        "an outlier of 1e6 in the first step, then steady ones",
        fun step i ->
            if step = 0 && i % 256 = 5 then
                1e6f
            else
                float32 (size i * (1.0 + 0.1 * draw (900 + step) (i + 1)))
        "blocks of zeros and of denormal numbers",
        fun step i ->
            match i / 256 % 3 with
            | 0 -> 0.0f
            | 1 -> float32 (draw (900 + step) (i + 1) * 1e-40)
            | _ when i % 256 = 9 -> float32 (draw (900 + step) (i + 1))
            | _ -> float32 (draw (900 + step) (i + 1) * 1e-38)
        "one element far above the rest",
        fun step i ->
            let g = draw (900 + step) (i + 1)
            float32 (if i % 256 = 77 then 1e6 * g else size i * g)
    ]

/// A thousand steps of them, for three blocks.
let hardGradients: (string * float32 array array) list =
    hard
    |> List.map (fun (name, of') -> name, Array.init 1000 (fun step -> Array.init 768 (of' step)))

/// Adam as bitsandbytes and torchao keep it: the nearest of 256 numbers times the largest of a block, zero among them.
let packagesLongest (signed: double array) (unsigned: double array) (isRoot: bool) (gradients: float32 array array) =
    let elements = gradients[0].Length
    let m, v = Array.zeroCreate<double> elements, Array.zeroCreate<double> elements

    let nearest (map: double array) (values: double array) =
        for first in 0..256 .. elements - 1 do
            let last = min elements (first + 256) - 1
            let largest = Seq.max (seq { for i in first..last -> abs values[i] })

            if largest > 0.0 then
                for i in first..last do
                    let x = values[i] / largest
                    let found = Array.BinarySearch(map, x)
                    let above = if found >= 0 then found else min (map.Length - 1) ~~~found
                    let below = max 0 (above - 1)

                    values[i] <-
                        largest
                        * (if abs (map[above] - x) <= abs (map[below] - x) then
                               map[above]
                           else
                               map[below])

    let mutable farthest = 0.0

    for step in 0 .. gradients.Length - 1 do
        let c1, c2 =
            1.0 - Math.Pow(0.9, double (step + 1)), 1.0 - Math.Pow(0.999, double (step + 1))

        for i in 0 .. elements - 1 do
            let g = double gradients[step].[i]
            m[i] <- m[i] + 0.1 * (g - m[i])
            v[i] <- v[i] + 0.001 * (g * g - v[i])
            farthest <- max farthest (abs (1e-2 * (m[i] / c1) / (sqrt v[i] / sqrt c2 + 1e-8)))

        nearest signed m

        if isRoot then
            let roots = Array.map sqrt v
            nearest unsigned roots
            roots |> Array.iteri (fun i root -> v[i] <- root * root)
        else
            nearest unsigned v

    farthest

/// The dynamic map of bitsandbytes: an exponent of base 10 and linear steps within it.
let dynamicMap isSigned =
    [|
        for exponent in 0..6 do
            let items =
                if isSigned then
                    (1 <<< exponent) + 1
                else
                    (1 <<< (exponent + 1)) + 1

            let bounds = Array.init items (fun i -> 0.1 + 0.9 * double i / double (items - 1))

            for i in 0 .. items - 2 do
                let mean = (bounds[i] + bounds[i + 1]) / 2.0 * Math.Pow(10.0, double (exponent - 6))
                mean

                if isSigned then
                    -mean

        0.0
        1.0
    |]
    |> Array.sort
