// Long, because vectors of the processor and those of a device share how parameters lie in them.
namespace Optim.Core

open System
open System.Collections.Generic
open Optim.Kernels

module internal FlatPrograms =
    /// A column becomes the parameter, rounded to its dtype.
    let copy =
        StepProgram(
            [| StepProgram.Parameter; StepProgram.Gradient; "column0" |],
            [ Assignment(StepProgram.Parameter, Expression.Input "column0") ]
        )

/// All parameters as one vector, in order and row-major, as PyTorch lays them out: of float64 where a parameter is float64 or
/// complex128, of float32 otherwise; complex numbers are pairs of reals, a missing gradient is zero. The parameters stay where they
/// are, and are stepped there. Where all lie on one device that runs programs, so do the vectors; otherwise what lies on other devices is
/// copied to the processor and back. Vectors are blocks that are taken and given back, so that steps after the first allocate none.
[<Sealed>]
type internal FlatParameters(first: Parameters) =
    let rows = first.Count
    let given = Array.init rows (fun row -> first[row].Layout)

    let isWide dtype =
        dtype = DType.Float64 || dtype = DType.Complex128

    let dtype =
        if given |> Array.exists (fun layout -> isWide layout.DType) then
            DType.Float64
        else
            DType.Float32

    /// Who runs programs where all parameters lie: there are the vectors, too. Null for those of the processor.
    let device: ProgramDevice | null =
        let isThere (layout: Layout) =
            layout.Device = given[0].Device && isWide layout.DType = (dtype = DType.Float64)

        match first.Executor with
        | :? TensorExecutor -> null
        | _ when rows = 0 || given[0].IsOnCpu || not (isNull first.Across) -> null
        | _ when Array.forall isThere given -> ProgramDevice.Find given[0].Device
        | _ -> null

    let home = if isNull device then Device.Cpu else given[0].Device

    /// How a parameter's elements lie within a vector.
    let layouts =
        given
        |> Array.map (fun layout ->
            let inVector =
                if not (layout.DType.IsComplex()) then dtype
                elif dtype = DType.Float64 then DType.Complex128
                else DType.Complex64

            Layout.Contiguous(inVector, layout.Shape.AsSpan()).On home)

    let reals =
        given
        |> Array.map (fun layout ->
            if layout.DType.IsComplex() then
                2n * layout.Count
            else
                layout.Count)

    let starts = Array.scan (fun start length -> Checked.(+) start length) 0n reals

    let layout = Layout.Contiguous(dtype, ReadOnlySpan [| int64 starts[rows] |]).On home

    let kinds = given |> Array.map _.DType |> Array.distinct

    /// Parameters that a kernel steps where they are, or where they are copied to from another device: their elements lie in the vector's
    /// order, and are computed with in its dtype.
    let direct =
        given
        |> Array.map (fun layout ->
            (layout.IsContiguous || not layout.IsOnCpu)
            && isWide layout.DType = (dtype = DType.Float64))

    /// Memory beside the vectors for what lies on other devices, or in another order there, parameters as well as gradients.
    let landings =
        given
        |> Array.map (fun layout -> lazy TensorView.Zeros(Layout.Contiguous(layout.DType, layout.Shape.AsSpan()).On home))

    let free = Stack<TensorView>()
    let taken = List<TensorView>()
    let table = SliceTable()
    let runs = Dictionary<StepProgram, ProgramRun>()
    let work = lazy TensorView.Zeros layout
    let mutable parameters = first
    let sparse = SparseRows()
    let mutable threads = 1

    // Where vectors are the processor's, they are so whoever steps tensors.
    let executor () : Executor =
        match device with
        | null -> TensorExecutor.OrTeam parameters.Executor
        | device -> device :> Executor

    /// Whether kernels find a tensor only in its landing.
    let lands (view: TensorView) =
        if isNull device then
            not view.Layout.IsOnCpu
        else
            not view.Layout.IsContiguous

    /// The address beside the vectors of a parameter or a gradient that is there, or is copied there.
    let fetch row (view: TensorView) =
        if lands view then
            landings[row].Value.CopyFrom view
            landings[row].Value.Address
        else
            view.Address

    /// A parameter's row in the table, there or where it is copied from.
    let addRow row =
        let parameter =
            if lands parameters[row] then
                landings[row].Value.Address
            else
                parameters[row].Address

        table.Add(reals[row], parameter, parameter)

    let address (vector: TensorView) row =
        vector.Address + starts[row] * nativeint (dtype.Size())

    let slice (vector: TensorView) row =
        TensorView(address vector row, layouts[row], vector.Owner)

    /// What complex numbers are computed in.
    let real =
        function
        | DType.Complex64 -> DType.Float32
        | DType.Complex128 -> DType.Float64
        | dtype -> dtype

    /// A formula's program over the table where the vectors lie.
    let runThere (device: ProgramDevice) (program: StepProgram) dtype a =
        let run =
            match runs.TryGetValue program with
            | true, known -> known
            | _ ->
                let made = ProgramRun program
                runs.Add(program, made)
                made

        let leaves = Array.create run.Leaves.Length a

        run.Run(ReadOnlySpan [| ProgramSegment(table, 0, table.Count, real dtype, leaves, null, device) |], Executor.Caller)
        |> ignore

    let run (driver: Driver) dtype a =
        match device with
        | null ->
            if table.Count > 0 then
                let coefficients = Coefficients<Real>(Real a)
                threads <- max threads (driver.Run(table, 0, table.Count, real dtype, 0, &coefficients, executor ()))
        | device ->
            if table.Length > 0n then
                runThere device (driver.Surrounded(0, Surroundings())) dtype a

    /// One pass of a formula over the rows that are asked for, those of each dtype by themselves; `add` puts a row into the table.
    let passBy columns (includes: int -> bool) (add: int -> unit) (run: DType -> unit) =
        for kind in kinds do
            table.Reset(rows, columns)

            for row in 0 .. rows - 1 do
                if given[row].DType = kind && reals[row] > 0n && includes row then
                    add row

            run kind

    let pass driver columns a includes add =
        passBy columns includes add (fun kind -> run driver kind a)

    /// One pass of a formula over whole vectors: its parameter and gradient, and its columns.
    let whole driver a (x: TensorView) (y: TensorView) (columns: TensorView list) =
        table.Reset(1, columns.Length)
        table.Add(layout.Count, x.Address, y.Address)

        columns
        |> List.iteri (fun column vector -> table.SetColumn(column, vector.Address))

        run driver dtype a

    /// The elements in one dimension.
    let flatten (view: TensorView) =
        let view = if view.Layout.IsContiguous then view else view.Copy()
        TensorView(view.Address, Layout.Contiguous(view.DType, ReadOnlySpan [| int64 view.Count |]), view.Owner)

    /// A sparse gradient as a dense one: the sums of its rows, and zero elsewhere.
    let scatter (gradient: Gradient) row (target: TensorView) =
        let indices, values = gradient.Rows.ToHost(), gradient.Values.ToHost()
        Checks.sort "LBFGS" sparse parameters row indices values

        if target.Layout.IsOnCpu then
            sparse.WriteOver(target, indices, values.DType)
        else
            let here = TensorView.Zeros(target.DType, target.Shape.AsSpan())
            sparse.WriteOver(here, indices, values.DType)
            target.CopyFrom here

        GC.KeepAlive indices
        GC.KeepAlive values

    let reduce (reduction: Reduction) (x: TensorView) =
        match parameters.Across with
        | null -> reduction.Of(x, executor ())
        | across -> across.Join(reduction, reduction.Blocks(ReadOnlySpan [| x |], executor (), 1.0))

    let isAtHand (gradient: Gradient) row =
        direct[row]
        && gradient.Kind = GradientKind.Dense
        && (gradient.Values.Layout.IsContiguous || lands gradient.Values)

    /// How vectors lie.
    member _.Layout = layout

    /// How many threads took part in a pass, since this was last set.
    member _.Threads
        with get () = threads
        and set value = threads <- value

    member _.Executor = executor ()

    /// The same for other states.
    member _.Fork() = FlatParameters parameters

    /// Whether the parameters lie as those that this was made for; if so, they are the ones that it works on from now on.
    member _.Takes(others: Parameters) =
        let same =
            others.Count = rows
            && (isNull device || isNull others.Across && not (others.Executor :? TensorExecutor))
            && Seq.forall (fun row -> given[row].Equals others[row].Layout) (seq { 0 .. rows - 1 })

        if same then
            parameters <- others

        same

    /// A vector where the others lie: itself, or a copy there.
    member _.Placed(vector: TensorView) =
        if vector.IsAbsent || vector.Device = home then
            vector
        else
            let there = TensorView.Zeros layout
            there.CopyFrom vector
            there

    /// A vector to write to; what is in it means nothing.
    member _.Take() =
        let vector =
            match free.TryPop() with
            | true, vector -> vector
            | _ -> TensorView.Zeros layout

        taken.Add vector
        vector

    /// Gives back a vector that this step took; one that the state before it has is left alone.
    member _.Release(vector: TensorView) =
        match taken.FindIndex(fun other -> other.Address = vector.Address) with
        | -1 -> ()
        | index ->
            taken.RemoveAt index
            free.Push vector

    /// The end of a step: vectors that it took, and those of the state before it, are free again unless they are kept.
    member _.Settle(before: TensorView seq, kept: TensorView seq) =
        let kept = kept |> Seq.map _.Address |> HashSet

        for vector in Seq.append before taken do
            if kept.Add vector.Address then
                free.Push vector

        taken.Clear()

    /// target = sign * gradients; those of rows that a sparse one lacks are zero.
    member _.Gather(gradients: Gradients, sign: float, target: TensorView) =
        let add row =
            let gradient = fetch row gradients[row].Values
            table.Add(reals[row], gradient, gradient)
            table.SetColumn(0, address target row)

        pass Driver<ScaledFormula>.Instance 1 sign (fun row -> isAtHand gradients[row] row) add
        let mutable others = false

        for row in 0 .. rows - 1 do
            if not (isAtHand gradients[row] row) then
                others <- true

                let target = slice target row

                match gradients[row].Kind with
                | GradientKind.Absent -> target.Clear()
                | GradientKind.Sparse -> scatter gradients[row] row target
                | _ -> target.ConvertFrom gradients[row].Values

        if others && sign <> 1.0 then
            table.Reset(rows, 1)

            for row in 0 .. rows - 1 do
                if reals[row] > 0n && not (isAtHand gradients[row] row) then
                    table.Add(reals[row], address target row, address target row)
                    table.SetColumn(0, address target row)

            run Driver<ScaledFormula>.Instance dtype sign

        GC.KeepAlive gradients

    /// target = the parameters.
    member _.Read(target: TensorView) =
        let add row =
            let parameter = fetch row parameters[row]
            table.Add(reals[row], parameter, parameter)
            table.SetColumn(0, address target row)

        pass Driver<ScaledFormula>.Instance 1 1.0 (fun row -> direct[row]) add

        for row in 0 .. rows - 1 do
            if not direct[row] then
                (slice target row).ConvertFrom parameters[row]

    /// The parameters become what was read from them.
    member _.Restore(x: TensorView) =
        match device with
        | null ->
            for row in 0 .. rows - 1 do
                parameters[row].ConvertFrom(slice x row)
        | device ->
            let add row =
                addRow row
                table.SetColumn(0, address x row)

            passBy 1 (fun _ -> true) add (fun kind ->
                if table.Length > 0n then
                    runThere device FlatPrograms.copy kind nan)

            for row in 0 .. rows - 1 do
                if lands parameters[row] then
                    parameters[row].CopyFrom landings[row].Value

    /// The parameters become x + t d.
    member _.Move(t: float, d: TensorView, x: TensorView) =
        let add row =
            addRow row
            table.SetColumn(0, address d row)
            table.SetColumn(1, address x row)

        pass Driver<CombinedFormula>.Instance 2 t (fun row -> direct[row]) add

        for row in 0 .. rows - 1 do
            if direct[row] && lands parameters[row] then
                parameters[row].CopyFrom landings[row].Value

        if not (Array.forall id direct) then
            let work = work.Value
            threads <- max threads (Vectors.Combine(work, t, d, x, executor ()))

            for row in 0 .. rows - 1 do
                if not direct[row] then
                    parameters[row].ConvertFrom(slice work row)

    /// target = the elements of a vector of any dtype that was laid out for the same parameters in another order: `order` has the row
    /// of each parameter there.
    member _.Rearrange(order: IReadOnlyList<int>, saved: TensorView, target: TensorView) =
        if Seq.forall2 (=) order (seq { 0 .. rows - 1 }) then
            target.ConvertFrom(flatten saved)
        else
            let all = TensorView.Zeros layout
            all.ConvertFrom(flatten saved)
            let mutable start = 0n

            for row in order do
                let from =
                    TensorView(all.Address + start * nativeint (dtype.Size()), layouts[row], all.Owner)

                (slice target row).CopyFrom from
                start <- start + reals[row]

    /// target = a x.
    member _.Scale(target: TensorView, a: float, x: TensorView) =
        if isNull device then
            threads <- max threads (Vectors.Scale(target, a, x, executor ()))
        else
            whole Driver<ScaledFormula>.Instance a x x [ target ]

    /// target = target + a x.
    member _.Add(target: TensorView, a: float, x: TensorView) =
        if isNull device then
            threads <- max threads (Vectors.Add(target, a, x, executor ()))
        else
            whole Driver<AddedFormula>.Instance a target x []

    /// target = x - y.
    member _.Subtract(target: TensorView, x: TensorView, y: TensorView) =
        if isNull device then
            threads <- max threads (Vectors.Combine(target, -1.0, y, x, executor ()))
        else
            whole Driver<CombinedFormula>.Instance -1.0 target target [ y; x ]

    /// sum x y.
    member _.Dot(x: TensorView, y: TensorView) =
        match parameters.Across with
        | null -> Reduction.Dot.Of(x, y, executor ())
        | across -> across.Join(Reduction.Dot, Reduction.Dot.Blocks(x, y, executor ()))

    /// max |x|.
    member _.Largest(x: TensorView) = reduce Reduction.LargestMagnitude x

    /// sum |x|.
    member _.SumOfMagnitudes(x: TensorView) = reduce Reduction.SumOfMagnitudes x

    /// A number as vectors hold it.
    member _.Rounded(number: float) =
        if dtype = DType.Float32 then
            float (float32 number)
        else
            number
