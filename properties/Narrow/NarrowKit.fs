/// Runs with narrow state, and what they are compared with.
module NarrowKit

open System
open Optim
open Optim.Core
open Optim.Kernels

let formats = [ StateStorage.BFloat16; StateStorage.Blockwise8 ]

/// For parameters of any size.
let always = formats |> List.map _.From(0)

/// The same with other seeds of the rounding: a small one, and the largest.
let seeded =
    List.map2 (fun (storage: StateStorage) (seed: int64) -> storage.WithSeed seed) always [ 7L; StateStorage.LargestSeed ]

/// The rules whose state may be narrow.
let rules =
    [
        yield! Rules.All

        for entry in Catalogue.All do
            entry.Rule
    ]
    |> List.filter (fun (rule: Rule) -> rule.Has "state_storage")

/// A storage as options by name.
let optionsOf (storage: StateStorage) =
    [
        "state_storage", OptionValue.Text storage.Name
        "state_storage_minimum", OptionValue.Int(int64 storage.Minimum)
        "state_storage_seed", OptionValue.Int storage.Seed
    ]

/// The same options with state in another form.
let stored (rule: Rule) (storage: StateStorage) (options: IOptimizerOptions) =
    rule.Replace(options, optionsOf storage |> List.map Collections.Generic.KeyValuePair)

/// Options by which state is narrow, of rules that have them and take them beside these.
let optionsBeside (rule: Rule) options (storage: StateStorage) =
    let parameters =
        Parameters.OfNamed [ struct ("p", TensorView.Zeros(DType.Float32, [| 8L; 6L |])) ]

    try
        if storage.Format <> StateFormat.Float32 && rule.Has "state_storage" then
            rule.Init(stored rule storage options, parameters) |> ignore

            optionsOf storage
        else
            []
    with :? NotSupportedException ->
        []

let bits (values: float32 array) =
    values |> Array.map BitConverter.SingleToInt32Bits

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
