namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim
open Optim.Kernels

/// What can be said of the codes of a narrow row.
type internal NarrowDescription =
    {
        Layout: Layout

        /// The map's name.
        Map: string

        /// Of 256 elements, the last one may have fewer.
        Blocks: nativeint

        /// The least number.
        Min: double

        /// The greatest number.
        Max: double

        /// The largest distance between two neighbouring numbers: rounding moves none farther.
        LargestError: double
    }

    override this.ToString() =
        String.Format(
            Globalization.CultureInfo.InvariantCulture,
            "{0} of {1}, {2} blocks, min {3:g6}, max {4:g6}, largest error {5:g3}",
            [|
                box this.Layout
                box this.Map
                box this.Blocks
                box this.Min
                box this.Max
                box this.LargestError
            |]
        )

/// Narrow state in state dicts: our own keys beside PyTorch's, and what bitsandbytes and torchao write.
module internal NarrowTrees =
    /// The steps that a parameter has taken, of rules of which PyTorch keeps no count: rounding goes by it.
    [<Literal>]
    let Step = "narrow.step"

    let private codes, scales, map = ".codes", ".scales", ".map"

    /// The entries of a narrow row: its codes, the scales of its blocks, and the name of the map.
    let entries (column: Column) (row: int) : KeyValuePair<string, Tree> list =
        [
            KeyValuePair(column.Name + codes, Tree.Tensor column[row])

            if not (column.ScalesOf row).IsAbsent then
                KeyValuePair(column.Name + scales, Tree.Tensor(column.ScalesOf row))

            KeyValuePair(column.Name + map, Tree.Text(column.MapOf row))
        ]

    /// The column whose narrow row has an entry of this key.
    let columnOf (names: ImmutableArray<string>) (key: string) : string option =
        [ codes; scales; map ]
        |> List.tryPick (fun suffix ->
            if key.EndsWith(suffix, StringComparison.Ordinal) then
                let stem = key.Substring(0, key.Length - suffix.Length)
                if names.Contains stem then Some stem else None
            else
                None)

    /// Whether the key is that of the scales of a column, one for each block.
    let isScales (names: ImmutableArray<string>) (key: string) =
        key.EndsWith(scales, StringComparison.Ordinal) && (columnOf names key).IsSome

    /// The entries with what a slice of the parameter has of narrow rows: codes and scales are cut by a function. A row of which nothing is left goes.
    let cut
        (names: ImmutableArray<string>)
        (part: Func<TensorView, TensorView, struct (TensorView * TensorView)>)
        (entries: KeyValuePair<string, Tree> seq)
        =
        let given = List.ofSeq entries

        let tensor (key: string) =
            given
            |> List.tryPick (fun entry ->
                match entry.Value with
                | Tree.Tensor view when entry.Key = key -> Some view
                | _ -> None)

        let parts =
            dict
                [
                    for name in names do
                        match tensor (name + codes) with
                        | Some view ->
                            let struct (ofCodes, ofScales) =
                                part.Invoke(view, tensor (name + scales) |> Option.defaultValue (TensorView()))

                            name + codes, ofCodes
                            name + scales, ofScales
                        | None -> ()
                ]

        [
            for KeyValue(key, value) in given do
                match columnOf names key with
                | Some name when parts.ContainsKey(name + codes) ->
                    if not parts[name + codes].IsAbsent then
                        match value with
                        | Tree.Tensor _ when parts.ContainsKey key -> KeyValuePair(key, Tree.Tensor parts[key])
                        | _ -> KeyValuePair(key, value)
                | _ -> KeyValuePair(key, value)
        ]

    let private refuse (what: string) : 'a = raise (ArgumentException what)

    let private tensorOf (where: string) (tree: Tree) =
        match tree with
        | Tree.Tensor view -> view
        | other -> refuse $"{where} is {other.Described}; it must be a tensor"

    let private numbersOf (where: string) (tree: Tree) : double array =
        match tree with
        | Tree.Tensor _
        | Tree.List _
        | Tree.Tuple _ -> tree.ToDoubles()
        | other -> refuse $"{where} is {other.Described}; it must be a tensor"

    /// The bytes of a tensor in row-major order.
    let private bytesOf (view: TensorView) : byte array =
        let ordered = (view.ToHost()).InOrder()
        let bytes: byte array = Array.zeroCreate (int view.Count * view.DType.Size())
        Runtime.InteropServices.Marshal.Copy(ordered.Address, bytes, 0, bytes.Length)
        GC.KeepAlive ordered.Owner
        bytes

    /// What our own codes stand for, as float32.
    let private own (name: string) (label: string) (find: string -> Tree voption) : Tree =
        let where suffix = $"{name}{suffix} of {label}"

        let given suffix =
            match find (name + suffix) with
            | ValueSome tree -> tree
            | ValueNone -> refuse $"{where suffix} is missing; narrow state has {name}.codes, {name}.scales and {name}.map"

        let kind =
            match given map with
            | Tree.Text text ->
                try
                    NarrowKinds.OfMap text
                with :? ArgumentException as wrong ->
                    refuse $"{where map}: {wrong.Message}"
            | other -> refuse $"{where map} is {other.Described}; it must be a text"

        let view = tensorOf (where codes) (given codes)

        if view.DType <> NarrowKinds.CodesOf kind then
            refuse $"{where codes} is {view.Layout}; of the map {NarrowKinds.MapOf kind} it must be {(NarrowKinds.CodesOf kind).Name()}"

        let scaling =
            if NarrowKinds.HasScales kind then
                let scaling = tensorOf (where scales) (given scales)

                if scaling.DType <> DType.Float32 || scaling.Count <> NarrowKinds.Blocks view.Count then
                    refuse $"{where scales} is {scaling.Layout}; for {view.Layout} it must be float32[{NarrowKinds.Blocks view.Count}]"

                (scaling.ToHost()).InOrder()
            else
                TensorView()

        Tree.Tensor(NarrowMemory.Widen(kind, (view.ToHost()).InOrder(), scaling))

    /// What is said of the codes of a narrow row in the dict of a parameter; none for other entries, and where the row is not whole.
    let described (entries: TreeMap) (key: string) : NarrowDescription voption =
        let find (key: string) =
            match entries.TryGetValue(TreeKey.Text key) with
            | true, value -> ValueSome value
            | _ -> ValueNone

        if not (key.EndsWith(codes, StringComparison.Ordinal)) then
            ValueNone
        else
            let name = key.Substring(0, key.Length - codes.Length)

            match find key, find (name + map) with
            | ValueSome(Tree.Tensor view), ValueSome(Tree.Text text) ->
                try
                    match own name "the file" find with
                    | Tree.Tensor wide when wide.Count > 0n ->
                        let numbers = wide.ToDoubles()

                        let scaling =
                            match find (name + scales) with
                            | ValueSome(Tree.Tensor scaling) -> (scaling.ToHost()).InOrder()
                            | _ -> TensorView()

                        ValueSome
                            {
                                Layout = view.Layout
                                Map = text
                                Blocks = NarrowKinds.Blocks view.Count
                                Min = Array.min numbers
                                Max = Array.max numbers
                                LargestError = NarrowMemory.LargestStep(NarrowKinds.OfMap text, (view.ToHost()).InOrder(), scaling)
                            }
                    | _ -> ValueNone
                with :? ArgumentException ->
                    ValueNone
            | _ -> ValueNone

    /// Numbers by the code of each element and the scale of its block.
    let private byMap
        (where: string)
        (shape: ImmutableArray<int64>)
        (codes: int array)
        (scales: double array)
        (value: int -> double)
        : Tree =
        if scales.Length = 0 || codes.Length = 0 then
            refuse $"{where} has {codes.Length} codes and {scales.Length} scales"

        // Blocks are of a power of two elements, the last one may be shorter.
        let mutable block = 1

        while (codes.Length + block - 1) / block > scales.Length do
            block <- 2 * block

        if (codes.Length + block - 1) / block <> scales.Length then
            refuse $"{where} has {codes.Length} codes and {scales.Length} scales; these must be one for each block"

        let numbers =
            codes
            |> Array.mapi (fun index code -> double (float32 (value code) * float32 scales[index / block]))

        Tree.Tensor(TensorView.OfDoubles(DType.Float32, ReadOnlySpan numbers, shape.AsSpan()))

    let private ofTable (where: string) (map: double array) (code: int) =
        if code < map.Length then
            map[code]
        else
            refuse $"{where} has the code {code}, and its map {map.Length} numbers"

    /// A state of bitsandbytes, 1 or 2: codes with a map and the largest number of each block.
    let private bitsAndBytes (number: string) (label: string) (find: string -> Tree voption) (state: Tree) : Tree =
        let where = $"state{number} of {label}"

        match find ("qmap" + number), find ("absmax" + number) with
        | ValueSome map, ValueSome scales ->
            let view = tensorOf where state
            let numbers = numbersOf $"qmap{number} of {label}" map
            byMap where view.Shape (bytesOf view |> Array.map int) (numbersOf $"absmax{number} of {label}" scales) (ofTable where numbers)
        | _ -> state

    /// What a class of torchao's tensors is made of, wherever it stands in its arguments.
    let rec private partsOf depth (tree: Tree) : TreeMap option =
        let among (items: Tree seq) = Seq.tryPick (partsOf (depth + 1)) items

        match tree with
        | _ when depth > 6 -> None
        | Tree.Map map when map.ContainsKey(TreeKey.Text "codes") && map.ContainsKey(TreeKey.Text "scale") -> Some map
        | Tree.Map map when depth > 0 -> among (map |> Seq.map _.Value)
        | Tree.Tagged(_, arguments) -> among arguments
        | Tree.Tuple items
        | Tree.List items when depth > 0 -> among items
        | _ -> None

    /// A tensor of torchao: 8 or 4 bits with a map, or float8, and a scale of each block.
    let private torchao (where: string) (shape: ImmutableArray<int64>) (parts: TreeMap) : Tree =
        let part name = parts[TreeKey.Text name]
        let view = tensorOf $"codes of {where}" (part "codes")
        let scales = numbersOf $"scale of {where}" (part "scale")

        if view.DType = DType.Float8_E4M3FN then
            let values = view.ToDoubles()
            byMap where shape [| 0 .. values.Length - 1 |] scales (fun index -> values[index])
        else
            let map = numbersOf $"qmap of {where}" (part "qmap")
            let bytes = bytesOf view

            let codes =
                if map.Length > 16 then
                    Array.map int bytes
                else
                    // The first of two is in the upper half.
                    bytes |> Array.collect (fun pair -> [| int pair >>> 4; int pair &&& 15 |])

            byMap where shape codes scales (ofTable where map)

    /// The entries of a parameter with float32 in the place of narrow rows, of any of these packages.
    let widened (rule: Rule) (label: string) (shape: ImmutableArray<int64>) (entries: KeyValuePair<string, Tree> seq) =
        let given = List.ofSeq entries

        let find (key: string) =
            match given |> List.tryFind (fun entry -> entry.Key = key) with
            | Some entry -> ValueSome entry.Value
            | None -> ValueNone

        let isBitsAndBytes =
            not (rule.ColumnNames.Contains "state1") && (find "state1").IsSome

        [
            for KeyValue(key, value) in given do
                match columnOf rule.ColumnNames key with
                | Some name ->
                    if key = name + codes then
                        KeyValuePair(name, own name label find)
                    elif (find (name + codes)).IsNone then
                        KeyValuePair(key, value)
                | None when isBitsAndBytes && (key = "state1" || key = "state2") ->
                    let number = key.Substring 5

                    if rule.ColumnNames.Length < int number then
                        refuse $"{key} of {label}: {rule.Name} keeps {rule.ColumnNames.Length} columns"

                    KeyValuePair(rule.ColumnNames[int number - 1], bitsAndBytes number label find value)
                | None when
                    isBitsAndBytes
                    && (key.StartsWith("qmap", StringComparison.Ordinal)
                        || key.StartsWith("absmax", StringComparison.Ordinal))
                    ->
                    ()
                | None when isBitsAndBytes && key = "step" && not rule.KeepsStep -> KeyValuePair(Step, value)
                | None when rule.ColumnNames.Contains key ->
                    match partsOf 0 value with
                    | Some parts -> KeyValuePair(key, torchao $"{key} of {label}" shape parts)
                    | None -> KeyValuePair(key, value)
                | None -> KeyValuePair(key, value)
        ]
