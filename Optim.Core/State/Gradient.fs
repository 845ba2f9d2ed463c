namespace Optim.Core

#nowarn "842" // FSharp.Core 6 says of RequireQualifiedAccess that it is for classes; the compiler heeds it on structs as well

open System
open System.Runtime.CompilerServices
open Optim.Kernels

/// What is known of a parameter's gradient.
type GradientKind =
    /// There is none: a step leaves the parameter and its state alone.
    | Absent = 0
    /// A tensor of the parameter's shape and dtype.
    | Dense = 1
    /// Some rows and their values; a row may come more than once.
    | Sparse = 2

/// The gradient of one parameter. In C#: Gradient.Absent, OfDense and OfSparse make it, Kind, Values and Rows read it.
[<Struct; RequireQualifiedAccess; NoEquality; NoComparison>]
type Gradient =
    /// There is none: a step leaves the parameter and its state alone.
    | Absent
    /// A tensor of the parameter's shape and dtype.
    | Dense of values: TensorView
    /// Some rows of the parameter: their indices (int64, one dimension) and their values. A row may come more than once.
    | Sparse of rows: TensorView * values: TensorView

    // Steps ask for these of each parameter: they are to cost no call.

    /// Which of the three it is.
    member gradient.Kind =
        if gradient.IsDense then GradientKind.Dense
        elif gradient.IsAbsent then GradientKind.Absent
        else GradientKind.Sparse

    /// The values: of every element, or of the rows that are there; an absent tensor where there is no gradient.
    [<MethodImpl(MethodImplOptions.AggressiveInlining)>]
    member gradient.Values =
        match gradient with
        | Dense values -> values
        | Sparse(_, values) -> values
        | Absent -> TensorView()

    /// The indices of the rows that are there (int64), when it is sparse; an absent tensor otherwise.
    [<MethodImpl(MethodImplOptions.AggressiveInlining)>]
    member gradient.Rows =
        match gradient with
        | Sparse(rows, _) -> rows
        | _ -> TensorView()

    /// What it is, and dtypes, shapes and first numbers.
    override gradient.ToString() =
        match gradient with
        | Dense values -> $"{values}"
        | Sparse(rows, values) -> $"rows {rows} of values {values}"
        | Absent -> "absent"

    /// A gradient of the parameter's shape and dtype.
    static member OfDense(values: TensorView) =
        Argument.present "values" values
        Dense values

    /// A gradient of some rows of the parameter: their indices (int64, one dimension) and their values.
    static member OfSparse(rows: TensorView, values: TensorView) =
        Argument.present "rows" rows
        Argument.present "values" values
        Sparse(rows, values)

    /// The coalesced gradient: of a sparse one each row once, in order and in memory of its own, with the sum of its values; any
    /// other as it is.
    member gradient.Coalesce() =
        match gradient with
        | Sparse(rows, values) ->
            let struct (rows, values) =
                CoalescedRows.Coalesce(ReadOnlySpan [| struct (rows, values) |])

            Gradient.OfSparse(rows, values)
        | other -> other

    /// Sums repeated rows up where they lie: the first of them becomes the sum, the others zero.
    member internal gradient.SumRows() =
        match gradient with
        | Sparse(rows, values) -> CoalescedRows.SumInPlace(rows, values)
        | _ -> ()

    /// Whether a tensor that it is made of is missing: a case that was made of a default TensorView.
    member internal gradient.IsHollow =
        match gradient with
        | Absent -> false
        | Dense values -> values.IsAbsent
        | Sparse(rows, values) -> rows.IsAbsent || values.IsAbsent

/// What is done with a gradient, in F#.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Gradient =
    /// The gradient with other values, of all elements or of the rows that are there; an absent one stays absent.
    let map (change: TensorView -> TensorView) (gradient: Gradient) =
        Argument.notNull "change" change

        match gradient with
        | Gradient.Absent -> Gradient.Absent
        | Gradient.Dense values -> Gradient.OfDense(change values)
        | Gradient.Sparse(rows, values) -> Gradient.OfSparse(rows, change values)

    /// The coalesced gradient: of a sparse one each row once, in order, with the sum of its values; any other as it is.
    let coalesce (gradient: Gradient) = gradient.Coalesce()
