// Long, because keys, trees and maps are made of each other, and F# wants such types in one file.
namespace Optim.Core

#nowarn "842" // FSharp.Core 6 says of RequireQualifiedAccess that it is for classes; the compiler heeds it on structs as well

open System
open System.Collections.Generic
open System.Collections.Immutable
open System.Numerics
open System.Runtime.InteropServices
open Optim.Kernels

/// What a node of a tree is.
type TreeKind =
    | None = 0
    | Bool = 1
    | Int = 2
    | Float = 3
    | Text = 4
    | Tensor = 5
    | List = 6
    | Tuple = 7
    | Map = 8
    | BigInt = 9
    | Complex = 10
    | Bytes = 11
    | Tagged = 12

/// Which of Python's classes a map is.
type MapKind =
    | Dict = 0
    | OrderedDict = 1
    | Counter = 2

/// The key of an entry: a text, a whole number, or what else Python takes as one: None, flags, numbers, bytes, and tuples and tagged
/// values of such. Keys are equal where Python's are: 1, 1.0 and True are one key.
[<Struct; RequireQualifiedAccess; CustomEquality; NoComparison; StructuredFormatDisplay("{Printed}")>]
type TreeKey =
    | Text of text: string
    | Int of number: int64
    | Other of value: Tree

    /// The key that a value is; an ArgumentException for lists, dicts and tensors, which are no keys.
    static member Of(tree: Tree) =
        let rec check tree =
            match tree with
            | Tree.Tensor _
            | Tree.List _
            | Tree.Map _ -> raise (ArgumentException($"{tree.Described} cannot be a key of a dict", nameof tree))
            | Tree.Tuple items -> Seq.iter check items
            | _ -> ()

        Argument.notNull "tree" tree

        match tree with
        | Tree.Text text -> Text text
        | Tree.Int number -> Int number
        | _ ->
            check tree
            Other tree

    /// The key as a value.
    member key.Tree =
        match key with
        | Text text -> Tree.Text text
        | Int number -> Tree.Int number
        | Other value -> value

    /// As Python prints it.
    override key.ToString() =
        match key with
        | Text text -> $"'{text}'"
        | Int number -> number.ToString Globalization.CultureInfo.InvariantCulture
        | Other value -> string value

    member private key.Printed = key.ToString()

    /// Numbers of one value are one key: the whole number, where it is one.
    static member private Canonical(tree: Tree) =
        match tree with
        | Tree.Bool flag -> Tree.Int(if flag then 1L else 0L)
        | Tree.BigInt number when number >= BigInteger Int64.MinValue && number <= BigInteger Int64.MaxValue -> Tree.Int(int64 number)
        | Tree.Float number when Math.Floor number = number && abs number < 9.2e18 -> Tree.Int(int64 number)
        | Tree.Float number when Math.Floor number = number && Double.IsFinite number -> Tree.BigInt(BigInteger number)
        | _ -> tree

    static member private Same(a: Tree, b: Tree) =
        match TreeKey.Canonical a, TreeKey.Canonical b with
        | Tree.Tuple a, Tree.Tuple b ->
            a.Length = b.Length
            && Seq.forall2 (fun (x: Tree) (y: Tree) -> TreeKey.Same(x, y)) a b
        | a, b -> a.Equals b

    /// The hash of 64 bits. Not the number's own, which is no secret: a file could choose keys that all have the same.
    static member internal Mixed(bits: int64) =
        HashCode.Combine(int bits, int (bits >>> 32))

    static member private Hash(tree: Tree) : int =
        match TreeKey.Canonical tree with
        | Tree.Tuple items ->
            items
            |> Seq.fold (fun code item -> HashCode.Combine(code, TreeKey.Hash item)) items.Length
        | tree -> tree.GetHashCode()

    override key.Equals other =
        match other with
        | :? TreeKey as other -> (key :> IEquatable<TreeKey>).Equals other
        | _ -> false

    override key.GetHashCode() =
        match key with
        // The text of a default key is null.
        | Text text -> if isNull (box text) then 0 else text.GetHashCode()
        | Int number -> TreeKey.Mixed number
        | Other value -> TreeKey.Hash value

    interface IEquatable<TreeKey> with
        member key.Equals other =
            match key, other with
            | Text a, Text b -> String.Equals(a, b, StringComparison.Ordinal)
            | Int a, Int b -> a = b
            | Text _, Int _
            | Int _, Text _ -> false
            | _ -> TreeKey.Same(key.Tree, other.Tree)

    /// A text.
    static member op_Implicit(key: string) =
        Argument.notNull "key" key
        Text key

    /// A whole number.
    static member op_Implicit(key: int64) = Int key
    /// A whole number.
    static member op_Implicit(key: int) = Int(int64 key)

/// What a checkpoint is made of, immutable: None, flags, numbers, texts, bytes and tensors, and lists, tuples and maps of them, as
/// Python's plain values; what .NET has no type for is a tagged value. Compared by content, of the same kind, and numbers and tensors
/// bit for bit (all NaN of a number are one). In C#, values convert to it, and it is cast back to them. Tensors are windows of
/// memory that someone may go on changing. A tree may hold one node in several places, as Python's values may.
and [<RequireQualifiedAccess; CustomEquality; NoComparison; StructuredFormatDisplay("{Printed}")>] Tree =
    /// Nothing.
    | None
    /// A flag.
    | Bool of bool
    /// A whole number.
    | Int of int64
    /// A number.
    | Float of double
    /// A text.
    | Text of string
    /// A tensor.
    | Tensor of TensorView
    /// A list.
    | List of ImmutableArray<Tree>
    /// A tuple.
    | Tuple of ImmutableArray<Tree>
    /// A dict, with its order.
    | Map of TreeMap
    /// A whole number that does not fit into 64 bits.
    | BigInt of BigInteger
    /// A complex number.
    | Complex of Complex
    /// Bytes.
    | Bytes of ImmutableArray<byte>
    /// A value that .NET has no type for: the name that Python knows it by, such as torch.float32, and what it is made of, such as
    /// torch.device of 'cuda' and 1. Nothing is ever called or looked up by that name.
    | Tagged of Name: string * Arguments: ImmutableArray<Tree>

    /// Which of them it is.
    member tree.Kind =
        match tree with
        | None -> TreeKind.None
        | Bool _ -> TreeKind.Bool
        | Int _ -> TreeKind.Int
        | Float _ -> TreeKind.Float
        | Text _ -> TreeKind.Text
        | Tensor _ -> TreeKind.Tensor
        | List _ -> TreeKind.List
        | Tuple _ -> TreeKind.Tuple
        | Map _ -> TreeKind.Map
        | BigInt _ -> TreeKind.BigInt
        | Complex _ -> TreeKind.Complex
        | Bytes _ -> TreeKind.Bytes
        | Tagged _ -> TreeKind.Tagged

    /// A list.
    static member ListOf(items: Tree seq) =
        List((Argument.items "items" items).ToImmutableArray())

    /// A tuple.
    static member TupleOf(items: Tree seq) =
        Tuple((Argument.items "items" items).ToImmutableArray())

    /// A map; an ArgumentException when a key comes twice.
    static member MapOf(kind: MapKind, entries: KeyValuePair<TreeKey, Tree> seq) = Map(TreeMap(kind, entries))

    /// A dict whose keys are texts.
    static member Dict([<ParamArray>] entries: struct (string * Tree) array) =
        Argument.notNull "entries" entries

        Tree.MapOf(
            MapKind.Dict,
            entries
            |> Seq.map (fun (struct (key, value)) -> KeyValuePair(TreeKey.Text key, value))
        )

    /// A tagged value.
    static member TaggedOf(name: string, arguments: Tree seq) =
        Argument.notNull "name" name
        Argument.notNull "arguments" arguments
        Tagged(name, arguments.ToImmutableArray())

    /// Bytes.
    static member BytesOf(bytes: byte seq) =
        Argument.notNull "bytes" bytes
        Bytes(bytes.ToImmutableArray())

    /// How PyTorch calls tensors with attributes; they are tagged so, with the class, the tensor and the attributes.
    static member internal WithAttributes = "torch._tensor._rebuild_from_type_v2"

    /// The tensor, where it is one, with attributes or without.
    member tree.TryGetTensor([<Out>] view: byref<TensorView>) =
        match tree with
        | Tensor found ->
            view <- found
            true
        | Tagged(name, arguments) when name = Tree.WithAttributes && arguments.Length = 3 ->
            match arguments[1] with
            | Tensor found ->
                view <- found
                true
            | _ -> false
        | _ -> false

    /// In words, for messages: its kind, and a plain value's value.
    member tree.Described =
        match tree with
        | None -> "None"
        | Bool _ -> $"the flag {tree}"
        | Int _
        | Float _ -> $"the number {tree}"
        | Text text when text.Length > 60 -> $"the text '{text.Substring(0, 60)}...'"
        | Text _ -> $"the text {tree}"
        | BigInt number when BigInteger.Abs number < BigInteger.Pow(10I, 60) -> $"the number {tree}"
        | BigInt number -> $"a whole number of {number.GetByteCount()} bytes"
        | Complex _ -> $"the number {tree}"
        | Bytes bytes -> $"{bytes.Length} bytes"
        | Tagged(name, arguments) when arguments.IsEmpty -> $"the value {name}"
        | Tagged(name, _) -> $"the value {name}(...)"
        | Tensor view -> $"the tensor {view.Layout}"
        | List items -> $"a list of {items.Length}"
        | Tuple items -> $"a tuple of {items.Length}"
        | Map map -> $"a {map.Kind} of {map.Count}"

    member private tree.Refuse(kind: string) : 'a =
        raise (InvalidCastException($"{tree.Described} is not {kind}"))

    /// The entries of a map; an InvalidCastException when it is none.
    member tree.AsMap() =
        match tree with
        | Map map -> map
        | _ -> tree.Refuse "a map"

    /// The items of a list, a tuple, a torch.Size or a set; an InvalidCastException when it is none of them.
    member tree.AsItems() : ImmutableArray<Tree> =
        match tree with
        | List items
        | Tuple items -> items
        | Tagged(("torch.Size" | "builtins.set"), arguments) when arguments.Length = 1 -> arguments[0].AsItems()
        | _ -> tree.Refuse "a list or a tuple"

    /// The tensor, without its attributes where it has any; an InvalidCastException when it is none.
    member tree.AsTensor() =
        match tree.TryGetTensor() with
        | true, view -> view
        | _ -> tree.Refuse "a tensor"

    /// The elements of a tensor, in row-major order; a number is one element. An InvalidCastException when it is neither.
    member tree.ToDoubles() =
        match tree with
        | Int number -> [| double number |]
        | Float number -> [| number |]
        | BigInt number -> [| double number |]
        | _ ->
            match tree.TryGetTensor() with
            | true, view -> view.ToDoubles()
            | _ -> tree.Refuse "a tensor or a number"

    /// The value of a key of a map; a KeyNotFoundException when there is none.
    member tree.Item
        with get (key: string) =
            Argument.notNull "key" key
            tree.AsMap()[TreeKey.Text key]

    /// The item of a list or a tuple, or the value of a whole number in a map.
    member tree.Item
        with get (index: int) =
            match tree with
            | Map map -> map[TreeKey.Int(int64 index)]
            | _ ->
                let items = tree.AsItems()
                Argument.index "index" index items.Length
                items[index]

    /// The same, with tensors in memory of their own, and none of them shared.
    member tree.Copy() =
        match tree with
        | Tensor view -> Tensor(view.Copy())
        | List items -> Tree.ListOf(items |> Seq.map _.Copy())
        | Tuple items -> Tree.TupleOf(items |> Seq.map _.Copy())
        | Map map -> Tree.MapOf(map.Kind, map |> Seq.map (fun entry -> KeyValuePair(entry.Key, entry.Value.Copy())))
        | Tagged(name, arguments) -> Tree.TaggedOf(name, arguments |> Seq.map _.Copy())
        | _ -> tree

    /// As Python prints it; of a tensor its dtype and shape.
    override tree.ToString() =
        match tree with
        | None -> "None"
        | Bool flag -> string (OptionValue.Bool flag)
        | Int number -> string (OptionValue.Int number)
        | Float number when number = Math.Floor number && abs number < 1e16 ->
            number.ToString("0.0", Globalization.CultureInfo.InvariantCulture)
        | Float number -> string (OptionValue.Float number)
        | Text text -> $"'{text}'"
        | Tensor view -> string view.Layout
        | List items -> "[" + String.Join(", ", items) + "]"
        | Tuple items when items.Length = 1 -> $"({items[0]},)"
        | Tuple items -> "(" + String.Join(", ", items) + ")"
        | Map map -> string map
        | BigInt number -> number.ToString Globalization.CultureInfo.InvariantCulture
        | Complex number ->
            let imaginary = string (OptionValue.Float number.Imaginary)
            let sign = if imaginary.StartsWith '-' then "" else "+"
            $"({OptionValue.Float number.Real}{sign}{imaginary}j)"
        | Bytes bytes -> $"bytes('{Convert.ToHexStringLower(bytes.AsSpan())}')"
        | Tagged(name, arguments) when arguments.IsEmpty -> name
        | Tagged(name, arguments) -> name + "(" + String.Join(", ", arguments) + ")"

    member private tree.Printed = tree.ToString()

    override tree.Equals other =
        match other with
        | :? Tree as other ->
            match tree, other with
            | _ when Object.ReferenceEquals(tree, other) -> true
            | None, None -> true
            | Bool a, Bool b -> a = b
            | Int a, Int b -> a = b
            | Float a, Float b ->
                BitConverter.DoubleToInt64Bits a = BitConverter.DoubleToInt64Bits b
                || Double.IsNaN a && Double.IsNaN b
            | Text a, Text b -> String.Equals(a, b, StringComparison.Ordinal)
            | Tensor a, Tensor b -> a.ContentEquals b
            | List a, List b
            | Tuple a, Tuple b -> a.Length = b.Length && Seq.forall2 (fun (a: Tree) (b: Tree) -> a.Equals b) a b
            | Map a, Map b -> a.Equals b
            | BigInt a, BigInt b -> a = b
            | Complex a, Complex b ->
                (Float a.Real).Equals(Float b.Real)
                && (Float a.Imaginary).Equals(Float b.Imaginary)
            | Bytes a, Bytes b -> a.AsSpan().SequenceEqual(b.AsSpan())
            | Tagged(a, x), Tagged(b, y) ->
                a = b
                && x.Length = y.Length
                && Seq.forall2 (fun (x: Tree) (y: Tree) -> x.Equals y) x y
            | _ -> false
        | _ -> false

    /// Agrees with Equals; of tensors only dtype and size count.
    override tree.GetHashCode() =
        match tree with
        | None -> 0
        | Bool flag -> hash flag
        | Int number -> TreeKey.Mixed number
        | Float number ->
            if Double.IsNaN number then
                1
            else
                TreeKey.Mixed(BitConverter.DoubleToInt64Bits number)
        | Text text -> text.GetHashCode()
        | Tensor view -> HashCode.Combine(view.DType, view.Count)
        | List items
        | Tuple items -> items |> Seq.fold (fun code item -> HashCode.Combine(code, item)) items.Length
        | Map map -> map.GetHashCode()
        | BigInt number -> number.GetHashCode()
        | Complex number -> HashCode.Combine(Float number.Real, Float number.Imaginary)
        | Bytes bytes ->
            let mutable code = HashCode()
            code.AddBytes(bytes.AsSpan())
            code.ToHashCode()
        | Tagged(name, arguments) ->
            arguments
            |> Seq.fold (fun code item -> HashCode.Combine(code, item)) (hash name)

    /// A complex number.
    static member op_Implicit(value: Complex) = Tree.Complex value
    /// A number.
    static member op_Implicit(value: double) = Float value
    /// A whole number.
    static member op_Implicit(value: int64) = Int value
    /// A whole number.
    static member op_Implicit(value: int) = Int(int64 value)
    /// A flag.
    static member op_Implicit(value: bool) = Bool value

    /// A text; null is None.
    static member op_Implicit(value: string | null) : Tree =
        match value with
        | null -> None
        | text -> Text text

    /// A tensor; an absent one is None.
    static member op_Implicit(value: TensorView) =
        if value.IsAbsent then None else Tensor value

    /// The value of an option; several of them are a tuple.
    static member op_Implicit(value: OptionValue) =
        Argument.notNull "value" value

        match value with
        | OptionValue.None -> None
        | OptionValue.Bool flag -> Bool flag
        | OptionValue.Int number -> Int number
        | OptionValue.Float number -> Float number
        | OptionValue.Text text -> Text text
        | OptionValue.Tuple values -> Tree.TupleOf(values |> Seq.map (fun value -> Tree.op_Implicit value: Tree))

    /// The number, or that of a tensor of one element; an InvalidCastException when it is neither.
    static member op_Explicit(tree: Tree) : double =
        Argument.notNull "tree" tree

        match tree with
        | Float number -> number
        | Int number -> double number
        | BigInt number -> double number
        | _ ->
            match tree.TryGetTensor() with
            | true, view when view.Count = nativeint 1 && view.DType.Parts() = 1 -> view.ToDoubles()[0]
            | _ -> tree.Refuse "a number"

    /// The whole number; an InvalidCastException when it is none.
    static member op_Explicit(tree: Tree) : int64 =
        Argument.notNull "tree" tree

        match tree with
        | Int number -> number
        | _ ->
            let number: double = Tree.op_Explicit tree

            if Math.Floor number = number && abs number < 9e15 then
                int64 number
            else
                tree.Refuse "a whole number"

    /// The whole number; an InvalidCastException when it is none, or too large.
    static member op_Explicit(tree: Tree) : int =
        Argument.notNull "tree" tree

        let number: int64 = Tree.op_Explicit tree

        if int64 (int number) = number then
            int number
        else
            tree.Refuse "a whole number of 32 bits"

    /// The flag; an InvalidCastException when it is none.
    static member op_Explicit(tree: Tree) : bool =
        Argument.notNull "tree" tree

        match tree with
        | Bool flag -> flag
        | _ -> tree.Refuse "a flag"

    /// The text, or null for None; an InvalidCastException when it is neither.
    static member op_Explicit(tree: Tree) : string | null =
        Argument.notNull "tree" tree

        match tree with
        | Text text -> text
        | None -> null
        | _ -> tree.Refuse "a text"

    /// The tensor; an InvalidCastException when it is none.
    static member op_Explicit(tree: Tree) : TensorView =
        Argument.notNull "tree" tree
        tree.AsTensor()

    /// The value of an option; lists count as tuples, and tensors of one element as their number.
    /// An InvalidCastException when options have no such values.
    static member op_Explicit(tree: Tree) : OptionValue =
        Argument.notNull "tree" tree

        match tree with
        | None -> OptionValue.None
        | Bool flag -> OptionValue.Bool flag
        | Int number -> OptionValue.Int number
        | Float number -> OptionValue.Float number
        | Text text -> OptionValue.Text text
        | Tensor view when view.Count = nativeint 1 -> OptionValue.Float(Tree.op_Explicit tree)
        | List items
        | Tuple items -> OptionValue.TupleOf [ for item in items -> (Tree.op_Explicit item: OptionValue) ]
        | _ -> tree.Refuse "a value of an option"

/// The entries of a dict in their order. Immutable, compared by content and order.
and [<Sealed; AllowNullLiteral(false); StructuredFormatDisplay("{Printed}")>] TreeMap
    private (kind: MapKind, entries: ImmutableArray<KeyValuePair<TreeKey, Tree>>) =
    /// Entries that are found faster one by one than by an index.
    static let few = 8

    /// Where each key is; made when it is first needed.
    let mutable places: Dictionary<TreeKey, int> | null = null

    let index () =
        match places with
        | null ->
            let made = Dictionary<TreeKey, int>(entries.Length)

            for place in 0 .. entries.Length - 1 do
                made.TryAdd(entries[place].Key, place) |> ignore

            Threading.Volatile.Write(&places, made)
            made
        | made -> made

    let find (key: TreeKey) =
        if entries.Length > few then
            match index().TryGetValue key with
            | true, place -> place
            | _ -> -1
        else
            let mutable place = entries.Length - 1

            while place >= 0 && not (entries[place].Key.Equals key) do
                place <- place - 1

            place

    /// An ArgumentException when a key comes twice.
    new(kind, entries: KeyValuePair<TreeKey, Tree> seq) =
        Argument.notNull "entries" entries
        let entries = entries.ToImmutableArray()
        let keys = HashSet<TreeKey>(entries.Length)

        for entry in entries do
            if entry.Key = TreeKey.Text(Unchecked.defaultof<string>) then
                raise (ArgumentException("a key is null", nameof entries))

            if isNull (box entry.Value) then
                raise (ArgumentException($"the value of {entry.Key} is null; Tree.None is none", nameof entries))

            if not (keys.Add entry.Key) then
                raise (ArgumentException($"the key {entry.Key} comes twice", nameof entries))

        TreeMap(kind, entries)

    /// Of entries whose keys are known to be different.
    static member internal OfDistinct(kind: MapKind, entries: ImmutableArray<KeyValuePair<TreeKey, Tree>>) = TreeMap(kind, entries)

    /// Python's class.
    member _.Kind = kind
    /// The number of entries.
    member _.Count = entries.Length
    /// The entries, in order.
    member _.Entries = entries
    /// The keys, in order.
    member _.Keys = entries |> Seq.map _.Key

    /// Whether there is an entry of that key.
    member _.ContainsKey(key: TreeKey) = find key >= 0

    /// The place of a key among the entries; -1 when there is none.
    member internal _.PlaceOf(key: TreeKey) = find key

    /// The value of a key; a KeyNotFoundException when there is none.
    member _.Item
        with get (key: TreeKey) =
            match find key with
            | place when place >= 0 -> entries[place].Value
            | _ ->
                let known = String.Join(", ", entries |> Seq.truncate 20 |> Seq.map _.Key)
                raise (KeyNotFoundException $"there is no key {key}; there are: {known}")

    /// The value of a key, if there is one.
    member _.TryGetValue(key: TreeKey, [<Out>] value: byref<Tree>) =
        match find key with
        | place when place >= 0 ->
            value <- entries[place].Value
            true
        | _ -> false

    /// As Python prints it.
    override _.ToString() =
        "{"
        + String.Join(", ", entries |> Seq.map (fun entry -> $"{entry.Key}: {entry.Value}"))
        + "}"

    member private map.Printed = map.ToString()

    override _.Equals other =
        match other with
        | :? TreeMap as other ->
            kind = other.Kind
            && entries.Length = other.Count
            && Seq.forall2
                (fun (a: KeyValuePair<TreeKey, Tree>) (b: KeyValuePair<TreeKey, Tree>) ->
                    a.Key.Tree.Equals b.Key.Tree && a.Value.Equals b.Value)
                entries
                other.Entries
        | _ -> false

    override _.GetHashCode() =
        entries
        |> Seq.fold (fun code entry -> HashCode.Combine(code, entry.Key, entry.Value)) (hash kind)

    interface IEnumerable<KeyValuePair<TreeKey, Tree>> with
        member _.GetEnumerator() : IEnumerator<KeyValuePair<TreeKey, Tree>> = (entries :> seq<_>).GetEnumerator()

        member _.GetEnumerator() : System.Collections.IEnumerator =
            (entries :> System.Collections.IEnumerable).GetEnumerator()
