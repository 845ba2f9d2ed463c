/// Reads what PyTorch computed (golden/README.md). A file or case that is not of that form is a FormatException which says where.
module Golden

open System
open System.IO
open System.IO.Compression
open System.Text.Json
open Expecto
open Reference

/// golden/ as it was built in, or the folder that OPTIM_GOLDEN names.
let folder =
    match Environment.GetEnvironmentVariable "OPTIM_GOLDEN" with
    | null
    | "" -> Path.Combine(AppContext.BaseDirectory, "golden")
    | folder -> folder

/// The files of a pattern, which may begin with a folder of golden/.
let files (pattern: string) =
    let folder = Path.Combine(folder, string (Path.GetDirectoryName pattern))

    if Directory.Exists folder then
        Directory.GetFiles(folder, string (Path.GetFileName pattern))
        |> Array.sortWith (fun a b -> String.CompareOrdinal(a, b))
        |> List.ofArray
    else
        []

let private malformed what (element: JsonElement) =
    let text = element.GetRawText()

    let text =
        if text.Length > 60 then
            text.Substring(0, 60) + "..."
        else
            text

    raise (FormatException $"expected {what}, got {text}")

let tryField (name: string) (element: JsonElement) =
    match element.ValueKind with
    | JsonValueKind.Object ->
        match element.TryGetProperty name with
        | true, value when value.ValueKind <> JsonValueKind.Null -> Some value
        | _ -> None
    | _ -> malformed $"an object with \"{name}\"" element

let field name element =
    match tryField name element with
    | Some value -> value
    | None -> malformed $"a field \"{name}\"" element

let number (element: JsonElement) =
    match element.ValueKind with
    | JsonValueKind.Number -> element.GetDouble()
    | JsonValueKind.String ->
        match element.GetString() with
        | "nan" -> nan
        | "inf" -> infinity
        | "-inf" -> -infinity
        | _ -> malformed "a number" element
    | _ -> malformed "a number" element

let text (element: JsonElement) =
    match element.ValueKind with
    | JsonValueKind.String -> element.GetString() |> Option.ofObj |> Option.defaultValue ""
    | _ -> malformed "a string" element

let list read (element: JsonElement) =
    match element.ValueKind with
    | JsonValueKind.Array -> [ for item in element.EnumerateArray() -> read item ]
    | _ -> malformed "a list" element

let pairs read (element: JsonElement) =
    match element.ValueKind with
    | JsonValueKind.Object -> [ for item in element.EnumerateObject() -> item.Name, read item.Value ]
    | _ -> malformed "an object" element

let rec setting (element: JsonElement) =
    match element.ValueKind with
    | JsonValueKind.True -> Flag true
    | JsonValueKind.False -> Flag false
    | JsonValueKind.Null -> Unset
    | JsonValueKind.Array ->
        match list setting element with
        | [ Number first; Number second ] -> Pair(first, second)
        | several -> Several several
    | JsonValueKind.String when not (Array.contains (element.GetString()) [| "nan"; "inf"; "-inf" |]) -> Text(text element)
    | _ -> Number(number element)

let numbers element = list number element |> Array.ofList

type Tensor =
    {
        Shape: int64[]
        DType: string
        Values: float[]
    }

let private shape element = numbers element |> Array.map int64

let private tensor element =
    {
        Shape = field "shape" element |> shape
        DType = field "dtype" element |> text
        Values = field "values" element |> numbers
    }

type Parameter =
    {
        Name: string option
        Shape: int64[]
        Initial: float[]
    }

type Group =
    {
        Options: (string * Setting) list
        Parameters: Parameter list
    }

/// One run of an optimizer: what went in, and what PyTorch made of it.
type Case =
    {
        Optimizer: string
        DType: string
        Options: (string * Setting) list
        Groups: Group list
        /// [step][parameter], counted over all groups; None: no gradient.
        Gradients: float[] option list list
        /// [step][parameter], after the step.
        Expected: float[] list list
        /// [step][group], set before the step.
        Rates: float list list option
        State: (int * (string * Tensor) list) list option
        ParamGroups: (string * JsonElement) list list option
        /// For half types: the parameters with arithmetic and state in double precision, rounded after each step.
        WideState: float[] list list option
        /// By how much PyTorch's own implementations differ.
        Spread: float
    }

let private stateValue element =
    match element |> tryField "tensor" with
    | Some value -> tensor value
    | None -> malformed "a tensor" element

let private parameter element =
    {
        Name = element |> tryField "name" |> Option.map text
        Shape = field "shape" element |> shape
        Initial = field "initial" element |> numbers
    }

let private group element =
    {
        Options =
            element
            |> tryField "options"
            |> Option.map (pairs setting)
            |> Option.defaultValue []
        Parameters = field "params" element |> list parameter
    }

let case element =
    let read =
        {
            Optimizer = field "optimizer" element |> text
            DType = field "dtype" element |> text
            Options = field "options" element |> pairs setting
            Groups = field "groups" element |> list group
            Gradients =
                field "grads" element
                |> list (
                    list (fun gradient ->
                        if gradient.ValueKind = JsonValueKind.Null then
                            None
                        else
                            Some(numbers gradient))
                )
            Expected = field "params" element |> list (list numbers)
            Rates = element |> tryField "lr_by_step" |> Option.map (list (list number))
            State =
                element
                |> tryField "state"
                |> Option.map (pairs (pairs stateValue) >> List.map (fun (id, state) -> int id, state))
            ParamGroups = element |> tryField "param_groups" |> Option.map (list (pairs id))
            WideState = element |> tryField "wide_state_params" |> Option.map (list (list numbers))
            Spread =
                match element |> tryField "spread" with
                | None -> 0.0
                | Some spread ->
                    (0.0, spread |> pairs id)
                    ||> List.fold (fun widest (_, value) ->
                        match value.ValueKind with
                        | JsonValueKind.Number -> max widest (value.GetDouble())
                        | _ -> widest)
        }

    let steps = read.Gradients.Length
    let parameters = read.Groups |> List.collect _.Parameters

    if read.Expected.Length <> steps then
        raise (FormatException $"{steps} rows of grads, but {read.Expected.Length} of params")

    if read.Rates |> Option.exists (fun rates -> rates.Length <> steps) then
        raise (FormatException $"{steps} rows of grads, but another number in lr_by_step")

    for step in 0 .. steps - 1 do
        let gradients, expected = read.Gradients[step], read.Expected[step]

        if gradients.Length <> parameters.Length || expected.Length <> parameters.Length then
            raise (FormatException $"step {step}: the groups have {parameters.Length} parameters, the rows have not")

        for parameter, gradient, expected in List.zip3 parameters gradients expected do
            let count = parameter.Initial.Length

            if
                expected.Length <> count
                || gradient |> Option.exists (fun g -> g.Length <> count)
            then
                raise (FormatException $"step {step}: rows of a parameter of {count} elements with another number")

    read

/// How close a number must come to `expected` (golden/README.md).
let tolerance dtype spread (expected: float) =
    let own =
        match dtype with
        | "float32"
        | "complex64" -> 2e-5
        | _ -> 1e-11

    if Double.IsFinite expected then
        max (own * (1.0 + abs expected)) (4.0 * spread)
    else
        0.0

/// How close the result of a case must come to `expected`.
let allowed (case: Case) (expected: float) =
    match case.Optimizer with
    // PyTorch has the numbers that these keep for a parameter in float32.
    | "ASGD"
    | "NAdam" when Double.IsFinite expected -> max (1e-6 * (1.0 + abs expected)) (tolerance case.DType case.Spread expected)
    | _ -> tolerance case.DType case.Spread expected

/// A file's content, which may be packed.
let parse (file: string) =
    use stream = File.OpenRead file

    use content =
        if file.EndsWith(".gz", StringComparison.Ordinal) then
            new GZipStream(stream, CompressionMode.Decompress) :> Stream
        else
            stream :> Stream

    use document = JsonDocument.Parse content
    document.RootElement.Clone()

/// The cases of a file, unread.
let cases (file: string) = parse file |> list id

/// A list of tests for each file of a pattern, called by its folder and name, from its path and what is in it. A file that cannot be read is one failing test, and a
/// pattern without files a pending one.
let recorded (pattern: string) (tests: string -> JsonElement -> Test list) : Test list =
    [
        match files pattern with
        | [] -> ptestCase $"golden {pattern}: no such file" ignore
        | found ->
            for path in found do
                let name = $"golden {pattern[.. pattern.LastIndexOf '/']}{Path.GetFileName path}"

                try
                    testList name (tests path (parse path))
                with e ->
                    testCase name (fun () -> failtestf "%s cannot be read: %s" path e.Message)
    ]
