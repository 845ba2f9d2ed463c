/// State dicts of bitsandbytes and torchao, as these packages wrote them.
module NarrowGoldenTests

open System
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Golden
open NarrowKit

let private ruleOf (optimizer: string) =
    match optimizer with
    | "bitsandbytes.Lion8bit" -> Rules.Find "Lion"
    | "bitsandbytes.SGD8bit" -> Rules.Find "SGD"
    | "torchao.Adam8bit" -> Rules.Find "Adam"
    | _ -> Rules.Find "AdamW"

let private bytesOf (hex: JsonElement) = Convert.FromHexString(Golden.text hex)

let private floats (values: float array) =
    TensorView.Of(Array.map float32 values, [| int64 values.Length |])

/// The numbers of codes by their map and scales, as double precision says.
let private expected (codes: byte array) (map: float array) (scales: float array) block =
    codes
    |> Array.mapi (fun i code -> float (float32 (float32 map[int code] * float32 scales[i / block])))

/// float8_e4m3fn.
let private float8 (code: byte) =
    let sign = if code >= 128uy then -1.0 else 1.0
    let exponent, mantissa = int (code >>> 3) &&& 15, float (int code &&& 7)

    if exponent = 0 then
        sign * mantissa / 8.0 * Math.Pow(2.0, -6.0)
    else
        sign * (1.0 + mantissa / 8.0) * Math.Pow(2.0, float (exponent - 7))

/// The entries of a parameter as they are loaded, and what its columns should be.
let private entriesOf (root: JsonElement) (case: JsonElement) (rule: Rule) =
    let map name =
        field name (field "maps" root) |> numbers

    let state = field "state" case
    let entries = ParameterState()

    if (Golden.text (field "optimizer" case)).StartsWith("bitsandbytes", StringComparison.Ordinal) then
        entries["step"] <- Tree.Int(int64 (number (field "step" state)))

        let columns =
            [
                for n in 1..2 do
                    match tryField $"state{n}" state with
                    | Some codes ->
                        let bytes = bytesOf (field "hex" codes)
                        let qmap = map (Golden.text (field $"qmap{n}" state))
                        let scales = field "values" (field $"absmax{n}" state) |> numbers
                        entries[$"state{n}"] <- Tree.Tensor(TensorView.Of(bytes, [| int64 bytes.Length |]))
                        entries[$"qmap{n}"] <- Tree.Tensor(floats qmap)
                        entries[$"absmax{n}"] <- Tree.Tensor(floats scales)
                        rule.ColumnNames[n - 1], expected bytes qmap scales 256
                    | None -> ()
            ]

        entries, columns
    else
        entries["step"] <- Tree.Float((field "values" (field "step" state) |> numbers)[0])

        let columns =
            [
                for name in [ "exp_avg"; "exp_avg_sq" ] do
                    let part = field name state
                    let scales = field "scale" part |> numbers
                    let block = int (number (field "block_size" part))
                    let codes = bytesOf (field "hex" (field "codes" part))

                    let parts, values =
                        match tryField "qmap" part with
                        | Some qmap ->
                            let qmap = map (Golden.text qmap)

                            let all =
                                if qmap.Length = 16 then
                                    codes |> Array.collect (fun pair -> [| pair >>> 4; pair &&& 15uy |])
                                else
                                    codes

                            [|
                                struct ("codes", Tree.Tensor(TensorView.Of(codes, [| int64 codes.Length |])))
                                struct ("scale", Tree.Tensor(floats scales))
                                struct ("qmap", Tree.Tensor(floats qmap))
                            |],
                            expected all qmap scales block
                        | None ->
                            let view = TensorView.Zeros(DType.Float8_E4M3FN, [| int64 codes.Length |])
                            Runtime.InteropServices.Marshal.Copy(codes, 0, view.Address, codes.Length)

                            [|
                                struct ("codes", Tree.Tensor view)
                                struct ("scale", Tree.Tensor(floats scales))
                            |],
                            codes
                            |> Array.mapi (fun i code -> float (float32 (float32 (float8 code) * float32 scales[i / block])))

                    // As a class of tensors stands in a file.
                    let kind = Golden.text (field "class" part)
                    entries[name] <- Tree.TaggedOf($"torchao.{kind}", [ Tree.TupleOf [ Tree.Dict parts ] ])

                    name, values
            ]

        entries, columns

let private hasCodes (case: JsonElement) =
    match tryField "exp_avg" (field "state" case) with
    | Some part -> (tryField "codes" part).IsSome
    | None -> true

[<Tests>]
let tests =
    testList
        "narrow state, recorded"
        (recorded "beyond/narrow.json" (fun _ root ->
            [
                test "the draws of the recordings" {
                    for name, values in field "first_draws" root |> pairs numbers do
                        values
                        |> Array.iteri (fun i value -> Expect.equal (draw (int name) (i + 1)) value $"draw {name}, {i}")
                }

                for index, case in field "cases" root |> list id |> List.indexed do
                    if hasCodes case then
                        let name = Golden.text (field "optimizer" case)

                        test $"{name}, {index}: its state dict loads, value for value what its maps say" {
                            let rule = ruleOf name
                            let elements = int (number (field "elements" case))
                            let entries, columns = entriesOf root case rule

                            for storage in [ StateStorage.Float32; StateStorage.Blockwise8 ] do
                                use w = new Param("w", Array.zeroCreate<float32> elements)

                                let optimizer =
                                    RuleOptimizer(
                                        rule,
                                        [ w :> IParameterOrGroup ],
                                        struct ("lr", OptionValue.Float 0.01),
                                        struct ("state_storage", OptionValue.Text storage.Name)
                                    )

                                let dict = StateDict()
                                dict.State[0] <- entries
                                let group = GroupState()

                                for key, value in field "group" case |> pairs id do
                                    group[key] <- Kit.option (setting value)

                                group.Params.Add 0
                                dict.ParamGroups.Add group
                                optimizer.LoadStateDict dict |> ignore

                                for column, values in columns do
                                    let wide = optimizer.StateDict(widen = true)
                                    let loaded = (wide.State[0]).[column]
                                    let found = loaded.AsTensor().ToDoubles()
                                    let largest = values |> Array.map abs |> Array.max

                                    for i in 0 .. values.Length - 1 do
                                        let allowed =
                                            if storage.Format = StateFormat.Float32 then
                                                0.0
                                            else
                                                0.3 * abs values[i] + 1e-3 * largest

                                        if not (abs (found[i] - values[i]) <= allowed) then
                                            failtestf "%s, %O, %s[%d] is %g, and should be %g" name storage column i found[i] values[i]
                        }
            ]))
