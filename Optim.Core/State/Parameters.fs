namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim
open Optim.Kernels

/// What is printed of lists: the first items, a line each, and how many more there are.
module internal Printed =
    let lines (head: string) (count: int) (lineage: int -> string) =
        let most = 10

        String.Join(
            "\n",
            [
                head

                for item in 0 .. min most count - 1 do
                    "  " + lineage item

                if count > most then
                    $"  and {count - most} more"
            ]
        )

/// Vectors over all parameters of which every rank has a slice, cut between blocks of the fixed tree.
[<AbstractClass>]
type internal VectorsAcross() =
    /// What a whole vector comes to, from the blocks of the slice that is here; every rank calls it.
    abstract Join: reduction: Reduction * blocks: double array -> double

/// Gradients of which every rank has some slices only: what slices come to is joined over all ranks.
[<AbstractClass>]
type internal SlicesAcross() =
    /// The lists and rows of all gradients that have elements on any rank, by those of them that are here, their slices, and which of these are
    /// the values of sparse ones.
    abstract Begin: here: struct (int * int) array * slices: TensorView array * areSparse: bool array -> struct (int * int) array
    /// The numbers of all of these gradients; every rank calls it.
    abstract Reduce: reduction: Reduction * slices: TensorView array * results: double array * executor: Executor * factor: double -> unit

/// The tensors that are optimized, in order, with names or without. Immutable: the tensors' elements change in place, the list does not.
/// Compared by content.
[<Sealed; StructuredFormatDisplay("{Printed}")>]
type Parameters
    private (items: TensorView array, names: ImmutableArray<string>, executor: Executor | null, isFixed: bool, dtypes: DType array | null) =
    static member private Checked(items: TensorView array, names: ImmutableArray<string>) =
        let seen = HashSet<string>(StringComparer.Ordinal)

        for name in names do
            if isNull (box name) then
                raise (ArgumentException("the name of a parameter is null; parameters without names are made by Parameters.Of", "tensors"))

            if not (seen.Add name) then
                raise (ArgumentException $"two parameters are called '{name}'; names must differ, since state is matched by name")

        Parameters(items, names, null, true, null)

    /// Without names.
    static member Of(tensors: TensorView seq) =
        let tensors = Argument.items "tensors" tensors

        for tensor in tensors do
            Argument.present "tensors" tensor

        Parameters(tensors, ImmutableArray.Empty, null, true, null)

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
        Parameters(items, names, executor, false, null)

    /// Over an array of wider tensors that stand for parameters in a part of a step.
    static member internal StandingFor(items: TensorView array, parameters: Parameters) =
        let dtypes = [| for row in 0 .. items.Length - 1 -> parameters.DTypeOf row |]
        Parameters(items, parameters.Names, parameters.Executor, false, dtypes, Totals = parameters.Totals)

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

    /// The other ranks, where these are slices of what all of them step together; null for none.
    member val internal Across: VectorsAcross | null = null with get, set

    /// What the slices of gradients on other ranks come to; null for none.
    member val internal Slices: SlicesAcross | null = null with get, set

    /// The ranks over which numbers of all parameters go, where each has slices or some of them only; null for none.
    member val internal Totals: TotalsAcross | null = null with get, set

    /// Dtype and shape of the parameter at a place as a whole, where this rank has a slice of it.
    member internal parameters.WholeLayout(index: int) : Layout =
        match parameters.Totals with
        | null -> items[index].Layout
        | ranks -> ranks.LayoutOf index

    /// The block of narrow state, counted from the first of the whole parameter, with which the one at a place begins.
    member internal parameters.FirstBlock(index: int) =
        match parameters.Totals with
        | null -> 0n
        | ranks -> ranks.FirstOf index / nativeint StateStorage.BlockLength

    /// The dtype of the parameter at a place, or of that for which the tensor there stands.
    member internal _.DTypeOf(index: int) =
        match dtypes with
        | null -> items[index].DType
        | dtypes -> dtypes[index]

    /// Whether the tensors are those that were given: nobody refreshes them, so that their memory may have been given back.
    member internal _.IsFixed = isFixed

    /// The same elements in memory of their own.
    member parameters.Copy() =
        Parameters(items |> Array.map _.Copy(), names, executor, true, dtypes, Totals = parameters.Totals)

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

    member private parameters.Printed = parameters.ToString()

    interface IReadOnlyList<TensorView> with
        member parameters.Item
            with get index = parameters[index]

    interface IReadOnlyCollection<TensorView> with
        member _.Count = items.Length

    interface IEnumerable<TensorView> with

        member _.GetEnumerator() : IEnumerator<TensorView> =
            (items :> IEnumerable<TensorView>).GetEnumerator()

        member _.GetEnumerator() : Collections.IEnumerator = items.GetEnumerator()

/// The gradients of some parameters, in the same order. Compared by content.
[<Sealed; StructuredFormatDisplay("{Printed}")>]
type Gradients private (items: Gradient array, isFixed: bool) =
    /// One for each parameter.
    static member Of(gradients: Gradient seq) =
        let gradients = Argument.items "gradients" gradients

        for i in 0 .. gradients.Length - 1 do
            if gradients[i].IsHollow then
                raise (ArgumentException($"a tensor of gradients[{i}] is absent (a default TensorView)", "gradients"))

        Gradients(gradients, true)

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

    member private gradients.Printed = gradients.ToString()

    interface IReadOnlyList<Gradient> with
        member gradients.Item
            with get index = gradients[index]

    interface IReadOnlyCollection<Gradient> with
        member _.Count = items.Length

    interface IEnumerable<Gradient> with

        member _.GetEnumerator() : IEnumerator<Gradient> =
            (items :> IEnumerable<Gradient>).GetEnumerator()

        member _.GetEnumerator() : Collections.IEnumerator = items.GetEnumerator()

/// Lists of parameters, in F#.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Parameters =
    /// Parameters without names.
    let ofSeq (tensors: TensorView seq) = Parameters.Of tensors

    /// Parameters with a name each.
    let ofNamed (tensors: (string * TensorView) seq) =
        Argument.items "tensors" tensors
        |> Seq.map (fun (name, tensor) -> struct (name, tensor))
        |> Parameters.OfNamed

    /// The tensors, in order.
    let toList (parameters: Parameters) =
        Argument.notNull "parameters" parameters
        List.ofSeq parameters

    /// The names, in order; none where parameters have no names.
    let names (parameters: Parameters) =
        Argument.notNull "parameters" parameters

        if parameters.Names.IsDefault then
            []
        else
            List.ofSeq parameters.Names

    /// The tensor of a name, if there is one.
    let tryFind (name: string) (parameters: Parameters) =
        Argument.notNull "name" name

        match names parameters |> List.tryFindIndex ((=) name) with
        | Some index -> Some parameters[index]
        | None -> None

    /// Other tensors under the same names.
    let map (change: TensorView -> TensorView) (parameters: Parameters) =
        Argument.notNull "change" change
        let changed = toList parameters |> List.map change

        match names parameters with
        | [] -> ofSeq changed
        | names -> ofNamed (List.zip names changed)

    /// The same elements in memory of their own.
    let copy (parameters: Parameters) =
        Argument.notNull "parameters" parameters
        parameters.Copy()

    /// Each parameter with its gradient; an ArgumentException when there are more of one than of the other.
    let zip (parameters: Parameters) (gradients: Gradients) =
        Argument.notNull "parameters" parameters
        Argument.notNull "gradients" gradients

        if parameters.Count <> gradients.Count then
            raise (ArgumentException($"there are {gradients.Count} gradients for {parameters.Count} parameters", "gradients"))

        List.zip (List.ofSeq parameters) (List.ofSeq gradients)

/// Lists of gradients, in F#.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Gradients =
    /// One for each parameter.
    let ofSeq (gradients: Gradient seq) = Gradients.Of gradients

    /// A dense one for each parameter.
    let ofDense (tensors: TensorView seq) = Gradients.OfDense tensors

    /// The gradients, in order.
    let toList (gradients: Gradients) =
        Argument.notNull "gradients" gradients
        List.ofSeq gradients

    /// Other gradients for the same parameters; <c>Gradients.map (Gradient.map change)</c> changes their values.
    let map (change: Gradient -> Gradient) (gradients: Gradients) =
        Argument.notNull "change" change
        toList gradients |> List.map change |> ofSeq

    /// Two gradients for each parameter, such as those of two batches; an ArgumentException when there are more of one than of the other.
    let zip (first: Gradients) (second: Gradients) =
        Argument.notNull "first" first
        Argument.notNull "second" second

        if first.Count <> second.Count then
            raise (ArgumentException($"there are {first.Count} gradients, and {second.Count}", "second"))

        List.zip (List.ofSeq first) (List.ofSeq second)
