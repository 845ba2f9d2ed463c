namespace Optim.Core

open System
open System.Collections.Immutable
open Optim.Kernels

/// What is printed of lists: the first items, a line each, and how many more there are.
module internal Printed =
    let lines (head: string) (count: int) (line: int -> string) =
        let most = 10

        String.Join(
            "\n",
            [
                head

                for item in 0 .. min most count - 1 do
                    "  " + line item

                if count > most then
                    $"  and {count - most} more"
            ]
        )

/// What is known of a parameter's gradient.
type GradientKind =
    /// There is none: a step leaves the parameter and its state alone.
    | Absent = 0
    /// A tensor of the parameter's shape and dtype.
    | Dense = 1
    /// Some rows and their values; a row may come more than once.
    | Sparse = 2

/// The gradient of one parameter: absent, dense or sparse.
[<Struct; NoEquality; NoComparison>]
type Gradient internal (kind: GradientKind, values: TensorView, rows: TensorView) =
    /// Which of the three it is.
    member _.Kind = kind
    /// The values: of every element, or of the rows that are there.
    member _.Values = values
    /// The indices of the rows that are there (int64), when it is sparse.
    member _.Rows = rows
    /// No gradient.
    static member Absent = Gradient()

    /// What it is, and dtypes, shapes and first numbers.
    override _.ToString() =
        match kind with
        | GradientKind.Dense -> $"{values}"
        | GradientKind.Sparse -> $"rows {rows} of values {values}"
        | _ -> "absent"

    /// A gradient of the parameter's shape and dtype.
    static member OfDense(values: TensorView) =
        Argument.present "values" values
        Gradient(GradientKind.Dense, values, TensorView())

    /// A gradient of some rows of the parameter: their indices (int64, one dimension) and their values.
    static member OfSparse(rows: TensorView, values: TensorView) =
        Argument.present "rows" rows
        Argument.present "values" values
        Gradient(GradientKind.Sparse, values, rows)

    /// The coalesced gradient: of a sparse one each row once, in order and in memory of its own, with the sum of its values; any
    /// other as it is.
    member gradient.Coalesce() =
        if kind = GradientKind.Sparse then
            let struct (rows, values) =
                CoalescedRows.Coalesce(ReadOnlySpan [| struct (rows, values) |])

            Gradient.OfSparse(rows, values)
        else
            gradient

    /// Sums repeated rows up where they lie: the first of them becomes the sum, the others zero.
    member internal _.SumRows() =
        if kind = GradientKind.Sparse then
            CoalescedRows.SumInPlace(rows, values)

/// The tensors that are optimized, in order, with names or without. Immutable: the tensors' elements change in place, the list does not.
/// Compared by content.
[<Sealed>]
type Parameters private (items: TensorView array, names: ImmutableArray<string>, executor: Executor | null, isFixed: bool) =
    static member private Checked(items: TensorView array, names: ImmutableArray<string>) =
        let seen = System.Collections.Generic.HashSet<string>(StringComparer.Ordinal)

        for name in names do
            if isNull (box name) then
                raise (ArgumentException("the name of a parameter is null; parameters without names are made by Parameters.Of", "tensors"))

            if not (seen.Add name) then
                raise (ArgumentException $"two parameters are called '{name}'; names must differ, since state is matched by name")

        Parameters(items, names, null, true)

    /// Without names.
    static member Of(tensors: TensorView seq) =
        let tensors = Argument.items "tensors" tensors

        for tensor in tensors do
            Argument.present "tensors" tensor

        Parameters(tensors, ImmutableArray.Empty, null, true)

    /// With a name each.
    static member OfNamed(tensors: struct (string * TensorView) seq) =
        let tensors = Argument.items "tensors" tensors

        for struct (_, tensor) in tensors do
            Argument.present "tensors" tensor

        let names = tensors |> Array.map (fun (struct (name, _)) -> name)
        Parameters.Checked(tensors |> Array.map (fun (struct (_, tensor)) -> tensor), names.ToImmutableArray())

    /// Over an array that is not copied, so that whoever owns it can move the tensors between steps, and run by a given executor (null: the team).
    static member Over(items: TensorView array, names: ImmutableArray<string>, executor: Executor | null) =
        Argument.notNull "items" items
        Parameters(items, names, executor, false)

    /// How many there are.
    member _.Count = items.Length

    /// The tensor at a place.
    member _.Item
        with get (index: int) =
            Argument.index "index" index items.Length
            items[index]

    /// The names, or none at all.
    member _.Names = names

    /// How a parameter is called in messages.
    member _.Label(index: int) =
        Argument.index "index" index items.Length

        if names.IsDefaultOrEmpty then
            $"parameter {index}"
        else
            $"parameter '{names[index]}'"

    /// Who runs steps over them; null for our own team.
    member _.Executor = executor
    member internal _.Items = items

    /// Whether the tensors are those that were given: nobody refreshes them, so that their memory may have been given back.
    member internal _.IsFixed = isFixed

    /// The same elements in memory of their own.
    member _.Copy() =
        Parameters(items |> Array.map _.Copy(), names, executor, true)

    /// The names, and dtype, shape and first numbers of each.
    override parameters.ToString() =
        Printed.lines $"{items.Length} parameters" items.Length (fun row -> $"{parameters.Label row}: {items[row]}")

    /// Whether both have the same names, shapes, dtypes and bits.
    override _.Equals other =
        match other with
        | :? Parameters as other ->
            items.Length = other.Count
            && (names.IsDefaultOrEmpty && other.Names.IsDefaultOrEmpty
                || not names.IsDefaultOrEmpty
                   && not other.Names.IsDefaultOrEmpty
                   && Seq.forall2 (=) names other.Names)
            && Array.forall2 (fun (a: TensorView) (b: TensorView) -> a.ContentEquals b) items other.Items
        | _ -> false

    override _.GetHashCode() = items.Length

/// The gradients of some parameters, in the same order. Compared by content.
[<Sealed>]
type Gradients private (items: Gradient array, isFixed: bool) =
    /// One for each parameter.
    static member Of(gradients: Gradient seq) =
        Gradients(Argument.items "gradients" gradients, true)

    /// A dense one for each parameter.
    static member OfDense(tensors: TensorView seq) =
        let tensors = Argument.items "tensors" tensors

        for tensor in tensors do
            Argument.present "tensors" tensor

        Gradients(tensors |> Array.map Gradient.OfDense, true)

    /// Over an array that is not copied, so that whoever owns it can write the gradients of the next step into it.
    static member Over(items: Gradient array) =
        Argument.notNull "items" items
        Gradients(items, false)

    /// How many there are.
    member _.Count = items.Length

    /// The gradient at a place.
    member _.Item
        with get (index: int) =
            Argument.index "index" index items.Length
            items[index]

    member internal _.Items = items

    /// As of parameters.
    member internal _.IsFixed = isFixed

    /// What each of them is.
    override _.ToString() =
        Printed.lines $"{items.Length} gradients" items.Length (fun row -> $"parameter {row}: {items[row]}")

    /// Whether both are of the same kinds, shapes, dtypes and bits.
    override _.Equals other =
        match other with
        | :? Gradients as other ->
            items.Length = other.Count
            && Array.forall2
                (fun (a: Gradient) (b: Gradient) ->
                    a.Kind = b.Kind
                    && a.Values.ContentEquals b.Values
                    && a.Rows.ContentEquals b.Rows)
                items
                other.Items
        | _ -> false

    override _.GetHashCode() = items.Length
