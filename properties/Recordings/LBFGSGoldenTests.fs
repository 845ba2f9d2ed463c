/// LBFGS against what PyTorch computed: golden/lbfgs*.json.
module LBFGSGoldenTests

open System
open System.Collections.Generic
open System.Text.Json
open Expecto
open Optim.Core
open Optim.Kernels
open Golden
open Objectives

let optionValue (element: JsonElement) : OptionValue =
    match element.ValueKind with
    | JsonValueKind.Null -> OptionValue.None
    | JsonValueKind.True -> OptionValue.Bool true
    | JsonValueKind.False -> OptionValue.Bool false
    | JsonValueKind.String -> OptionValue.Text(text element)
    | _ ->
        match element.TryGetInt64() with
        | true, whole -> OptionValue.Int whole
        | _ -> OptionValue.Float(number element)

let options element : LBFGSOptions =
    let given =
        pairs optionValue element
        |> List.map (fun (name, value) -> KeyValuePair(name, value))

    LBFGS.algorithm.Replace(LBFGS.defaults, given) |> unbox

let private objective element =
    let f =
        match text (field "objective" element) with
        | "rosenbrock" -> rosenbrock
        | "logcosh" -> logcosh
        | "quadratic" -> quadratic (field "A" element |> list numbers |> Array.ofList) (field "b" element |> numbers)
        | other -> failtestf "no objective %s" other

    match tryField "negated" element with
    | Some flag when flag.ValueKind = JsonValueKind.True -> negated f
    | _ -> f

let private near what (actual: float) (expected: float) =
    if not (abs (actual - expected) <= 1e-8 * (1.0 + abs expected)) then
        failtestf "%s: %s, PyTorch has %s" what (Kit.text actual) (Kit.text expected)

let private check element () =
    let f = objective element
    let options = options (field "options" element)
    let parameters = point DType.Float64 (field "initial" element |> numbers)
    let mutable calls = 0
    let mutable largest = 0.0
    let evaluate = over f (fun _ _ _ -> calls <- calls + 1) parameters
    let mutable state = LBFGS.init options parameters

    for index, step in field "steps" element |> list id |> List.indexed do
        let struct (loss, next) = LBFGS.step options parameters evaluate state
        state <- next
        near $"loss of step {index}" loss (number (field "loss" step))
        let expected = field "params" step |> numbers
        let actual = parameters[0].ToDoubles()

        // Where a run has converged, the last bits of a gradient near zero decide where it ends: there the loss is compared.
        let value, gradient = f expected

        if gradient |> Array.forall (fun g -> abs g < 1e-5) then
            near $"loss after step {index}" (fst (f actual)) value
        else
            for i in 0 .. expected.Length - 1 do
                largest <- max largest (abs (actual[i] - expected[i]) / (1.0 + abs expected[i]))
                near $"element {i} after step {index}" actual[i] expected[i]

        let count name = int (number (field name step))
        Expect.equal calls (count "closure_calls") $"closure calls after step {index}"
        Expect.equal state.FuncEvals (int64 (count "func_evals")) $"func_evals after step {index}"
        Expect.equal state.NIter (int64 (count "n_iter")) $"n_iter after step {index}"

    GoldenTests.note "LBFGS" "float64" largest (largest / 1e-8)

[<Tests>]
let tests =
    testList
        "golden LBFGS"
        [
            for file in files "lbfgs*.json" do
                use document = JsonDocument.Parse(IO.File.ReadAllText file)

                for index, element in document.RootElement.Clone() |> list id |> List.indexed do
                    let search =
                        field "options" element
                        |> tryField "line_search_fn"
                        |> Option.map text
                        |> Option.defaultValue "no line search"

                    let objective = text (field "objective" element)
                    testCase $"{IO.Path.GetFileName file} {index}: {objective}, {search}" (check element)
        ]
