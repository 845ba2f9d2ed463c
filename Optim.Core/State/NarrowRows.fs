namespace Optim.Core

open System
open System.Collections.Immutable
open Optim
open Optim.Kernels

/// What a column holds, for how it may be kept.
type internal ColumnKind =
    /// Numbers of either sign, of which very small ones are nothing beside the largest.
    | Signed = 0
    /// Numbers that are at least 0, by whose roots something may be divided: one above 0 must stay above it.
    | NonNegative = 1
    /// Numbers that must stay as exact as they are.
    | Wide = 2

/// How the columns of a rule are kept under some options.
[<NoEquality; NoComparison>]
type internal ColumnStorage =
    {
        Storage: StateStorage
        /// What each column holds; none where all are wide.
        Kinds: ColumnKind array
    }

    /// All columns as wide as the arithmetic.
    static member wide =
        {
            Storage = StateStorage.Float32
            Kinds = [||]
        }

    /// Bytes of some columns for each element in a format.
    static member Bytes(kinds: ColumnKind seq, format: StateFormat) =
        kinds
        |> Seq.sumBy (fun kind ->
            if kind = ColumnKind.Wide then
                double sizeof<float32>
            else
                (StateStorage.Of format).BytesPerElement)

    /// Whether the parameter of a row is one with narrow state.
    member storage.IsNarrow (parameters: Parameters) (row: int) =
        storage.Storage.IsNarrow((parameters.WholeLayout row).Count)
        && storage.Kinds |> Array.exists (fun kind -> kind <> ColumnKind.Wide)

    /// How a column is kept for the parameter of a row.
    member storage.KindOf(column: int, parameters: Parameters, row: int) : NarrowKind =
        if
            not (storage.Storage.IsNarrow((parameters.WholeLayout row).Count))
            || parameters[row].DType.ToStateDType() <> DType.Float32
        then
            NarrowKind.Wide
        else
            match storage.Kinds[column], storage.Storage.Format with
            | ColumnKind.Wide, _ -> NarrowKind.Wide
            | _, StateFormat.BFloat16 -> NarrowKind.BFloat16
            | ColumnKind.NonNegative, _ -> NarrowKind.NonNegative8
            | _ -> NarrowKind.Signed8

/// Rows of narrow state: how they are made, and made of wide ones.
module internal NarrowRows =
    let private refuse rule (storage: ColumnStorage) (parameters: Parameters) row (reason: string) : exn =
        NotSupportedException
            $"{rule}: state_storage is {StateStorage.NameOf storage.Storage.Format}, and {parameters.Label row} {reason}; keep its state in float32"

    /// Refuses parameters that lie where no kernel of ours steps them.
    let refuseDevice rule storage (parameters: Parameters) row =
        let who =
            match parameters.Executor with
            | :? TensorExecutor as executor -> $"is stepped by {executor.Name}"
            | _ -> $"lies on {parameters[row].Device}"

        raise (refuse rule storage parameters row who)

    let private checkParameter rule (storage: ColumnStorage) (parameters: Parameters) row =
        if parameters[row].DType.ToStateDType() <> DType.Float32 then
            raise (refuse rule storage parameters row $"is of dtype {parameters[row].DType.Name()}, whose state is as wide as it is")

    /// Refuses what narrow state is not for.
    let check rule (storage: ColumnStorage) (parameters: Parameters) row (gradient: Gradient) =
        checkParameter rule storage parameters row

        if gradient.Kind = GradientKind.Sparse then
            raise (refuse rule storage parameters row "has a sparse gradient, which steps some rows")

    /// Whether kernels of ours step a parameter where it lies.
    let private hasKernels (parameters: Parameters) row =
        match parameters.Executor with
        | _ when parameters[row].Layout.IsOnCpu -> true
        | :? TensorExecutor -> false
        | _ -> not (isNull (ProgramDevice.Find parameters[row].Device))

    /// Refuses parameters that narrow state is not for, before the first step.
    let checkAll rule (storage: ColumnStorage) (parameters: Parameters) =
        for row in 0 .. parameters.Count - 1 do
            if storage.IsNarrow parameters row then
                checkParameter rule storage parameters row

                if not (hasKernels parameters row) then
                    refuseDevice rule storage parameters row

    let private zeros (home: Device) (layout: Layout) = TensorView.Zeros(layout.On home)

    let private makeScales (home: Device) kind (elements: nativeint) =
        if NarrowKinds.HasScales kind then
            zeros home (Layout.Contiguous(DType.Float32, ReadOnlySpan [| int64 (NarrowKinds.Blocks elements) |]))
        else
            TensorView()

    let private make (home: Device) kind (shape: ImmutableArray<int64>) =
        let codes = zeros home (Layout.Contiguous(NarrowKinds.CodesOf kind, shape.AsSpan()))

        struct (codes, makeScales home kind codes.Count)

    /// What the processor made, where it is to lie.
    let private at (home: Device) (view: TensorView) =
        if view.IsAbsent || view.Device = home then
            view
        else
            let there = zeros home view.Layout
            there.CopyFrom view
            there

    /// The rows' kinds and scales, to be changed.
    let private narrowOf (column: Column) =
        if column.Narrow.IsEmpty then
            (ImmutableArray.CreateRange(
                Seq.replicate
                    column.Rows.Length
                    {
                        Kind = NarrowKind.Wide
                        Scales = TensorView()
                    }
            ))
                .ToBuilder()
        else
            column.Narrow.ToBuilder()

    /// New rows for a column, each kept as the storage says.
    let grow
        (storage: ColumnStorage)
        index
        (parameters: Parameters)
        (column: Column)
        (missing: ResizeArray<int>)
        (orders: Layout array)
        start
        =
        let isNarrow row =
            storage.KindOf(index, parameters, row) <> NarrowKind.Wide

        let wide = ResizeArray(Seq.filter (isNarrow >> not) missing)
        let narrow = Seq.filter isNarrow missing |> Seq.toArray

        let column =
            if wide.Count > 0 then
                Rows.grow column wide orders start
            else
                column

        if narrow.Length = 0 then
            column
        else
            let rows, kept = column.Rows.ToBuilder(), narrowOf column

            for row in narrow do
                let kind = storage.KindOf(index, parameters, row)
                let home = parameters[row].Device

                let struct (codes, scales) =
                    make (if start = 0.0 then home else Device.Cpu) kind parameters[row].Shape

                if start <> 0.0 then
                    NarrowMemory.Fill(kind, codes, scales, start, storage.Storage.Seed, parameters.FirstBlock row)

                rows[row] <- at home codes

                kept[row] <- { Kind = kind; Scales = at home scales }

            Column(column.Name, rows.ToImmutable(), kept.ToImmutable())

    /// A column whose rows are kept as the storage says: the same one where they are.
    let store (storage: ColumnStorage) index (parameters: Parameters) (counts: Counts) (column: Column) =
        let differs row =
            not column[row].IsAbsent
            && (column.NarrowRow row).Kind <> storage.KindOf(index, parameters, row)

        let differing = [ 0 .. column.Rows.Length - 1 ] |> List.filter differs

        if differing.IsEmpty then
            column
        else
            let rows, kept = column.Rows.ToBuilder(), narrowOf column

            for row in differing do
                let wide, home = (column.Widen row).InOrder(), parameters[row].Device
                let kind = storage.KindOf(index, parameters, row)

                if kind = NarrowKind.Wide then
                    rows[row] <- at home wide

                    kept[row] <- { Kind = kind; Scales = TensorView() }
                else
                    let struct (codes, scales) = make Device.Cpu kind wide.Shape
                    let seed = storage.Storage.Seed
                    NarrowMemory.Narrow(wide, kind, codes, scales, seed, counts[row], index, parameters.FirstBlock row)
                    rows[row] <- at home codes

                    kept[row] <- { Kind = kind; Scales = at home scales }

            Column(column.Name, rows.ToImmutable(), kept.ToImmutable())

    /// A state whose rows are kept as the storage says: the same one where they are.
    let stored (storage: ColumnStorage) (holdsNumber: int -> bool) (parameters: Parameters) (state: State) =
        let columns =
            state.Columns
            |> Seq.mapi (fun index column ->
                if holdsNumber index then
                    column
                else
                    store storage index parameters state.Counts column)
            |> ImmutableArray.CreateRange

        if Seq.forall2 (fun (a: Column) (b: Column) -> obj.ReferenceEquals(a, b)) columns state.Columns then
            state
        else
            State(state.Rule, state.RowCount, state.ScalarNames, state.Counts, columns, Lineage())
