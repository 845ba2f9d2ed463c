namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// Rows that kernels of a device step together, with their columns and averages.
[<NoEquality; NoComparison>]
type internal KernelGroup<'o> =
    {
        Kernels: TensorKernels<'o>
        Device: ProgramDevice | null
        Around: Surroundings
        First: TensorRow
        Rows: struct (StepTensors * TensorView array) array
    }

    member group.Tensors = group.Rows |> Array.map (fun struct (tensors, _) -> tensors)

/// A step of a rule of whole tensors, kept between steps.
[<Sealed>]
type internal PreparedTensors<'o when 'o: not null and 'o: not struct and 'o :> IOptimizerOptions>
    (name: string, arithmetic: TensorArithmetic<'o>) =
    inherit PreparedOptions<'o>()
    let workspace = Workspace()
    let prologue = GradientPrologue()
    /// Gradients as a surrounded step takes them, in row-major order.
    let mutable changed: TensorView array = [||]
    let kernelRows = KernelRows()
    /// What steps rows on devices that run programs.
    let onDevices = Dictionary<ProgramDevice, TensorKernels<'o> voption>()
    /// Which rows our kernels step.
    member val OnKernels: bool array = [||] with get, set
    /// Copies of what does not lie in row-major order, or is narrower than its state; absent ones are stepped where they lie.
    member val Copies: struct (TensorView * TensorView) array = [||] with get, set

    /// What steps a row where it lies; none where whole lanes do it all.
    member private prepared.KernelsOf(tensorRow: TensorRow) : TensorKernels<'o> voption =
        let parameter, gradient =
            prepared.Parameters[tensorRow.Row], prepared.Gradients[tensorRow.Row]

        match prepared.Parameters.Executor with
        | :? TensorExecutor -> ValueNone
        | _ when gradient.Values.DType <> parameter.DType || parameter.DType.IsComplex() -> ValueNone
        | _ ->
            match ProgramDevice.Find parameter.Device with
            | null -> ValueNone
            | device ->
                let known =
                    match onDevices.TryGetValue device with
                    | true, known -> known
                    | _ ->
                        let made = arithmetic.KernelsOf device
                        onDevices.Add(device, made)
                        made

                match known with
                | ValueSome kernels when kernels.Takes prepared.Options -> known
                | _ -> ValueNone

    override prepared.Executor =
        let rows = prepared.State.Lineage.TensorRows

        match
            if rows.Length = 0 then
                ValueNone
            else
                prepared.KernelsOf rows[0]
        with
        | ValueSome kernels when kernels.IsAlone ->
            match ProgramDevice.Find prepared.Parameters[rows[0].Row].Device with
            | null -> base.Executor
            | device -> device :> Executor
        | _ -> base.Executor

    override prepared.MakeKernels() =
        if prepared.Kinds.ChangesGradients then
            if changed.Length <> prepared.Gradients.Count then
                changed <- Array.zeroCreate prepared.Gradients.Count

            for row in 0 .. changed.Length - 1 do
                if prepared.OnKernels[row] then
                    let layout = prepared.Gradients[row].Values.Layout.ToContiguous()

                    if changed[row].IsAbsent || not (changed[row].Layout.Equals layout) then
                        changed[row] <- TensorView.Zeros layout
                else
                    changed[row] <- TensorView()

    override prepared.Complete() =
        prepared.Finish()
        Planning.next prepared.State arithmetic.Counts

    override prepared.GuardDevice =
        let lineage = prepared.State.Lineage
        let isOnKernels = prepared.OnKernels |> Array.exists id

        match
            lineage.TensorRows
            |> Array.map (fun tensorRow -> prepared.Parameters[tensorRow.Row].Device)
            |> Array.distinct
        with
        | [| home |] when
            not isOnKernels
            && lineage.TensorRows |> Array.forall (prepared.KernelsOf >> _.IsSome)
            ->
            ProgramDevice.Find home
        | _ -> null

    override prepared.IsIdle =
        prepared.State.Lineage.TensorRows.Length = 0
        && not (prepared.OnKernels |> Array.exists id)

    override prepared.Launch() =
        let state = prepared.State
        state.Live()
        let lineage = state.Lineage
        let parameters, gradients = prepared.Parameters, prepared.Gradients
        prepared.ThreadsUsed <- 1
        let changes = prepared.Kinds.ChangesGradients

        let gradientOf row =
            if changes then changed[row] else gradients[row].Values

        let stepOf row =
            lineage.NextCounts.OfClass(lineage.NextCounts.Class row) + 1L

        let kernels = lineage.TensorRows |> Array.map prepared.KernelsOf

        let byKernels =
            [|
                for index in 0 .. kernels.Length - 1 do
                    match kernels[index] with
                    | ValueNone -> ()
                    | ValueSome found ->
                        let tensorRow = lineage.TensorRows[index]
                        let struct (around, columns) = prepared.SurroundTensorRow(tensorRow, lineage)
                        struct (found, tensorRow, around, columns)
            |]
            |> Array.groupBy (fun struct (_, tensorRow, around, _) ->
                let row = tensorRow.Row
                struct (parameters[row].Device, parameters[row].DType, parameters.DTypeOf row, stepOf row, around))
            |> Array.map (fun (struct (home, _, _, _, around), members) ->
                let struct (found, first, _, _) = members[0]

                let rows =
                    members
                    |> Array.map (fun struct (_, tensorRow, around, columns) ->
                        let row = tensorRow.Row

                        struct (kernelRows.Place(row, parameters[row], gradients[row].Values, around.ChangesGradients, lineage.Columns),
                                columns))

                {
                    Kernels = found
                    Device = ProgramDevice.Find home
                    Around = around
                    First = first
                    Rows = rows
                })

        kernelRows.Survey <- prepared.Survey

        for group in byKernels do
            let row = group.First.Row
            group.Kernels.Prepare(prepared.Options, stepOf row, parameters.DTypeOf row, group.Tensors, prepared.Survey)
            kernelRows.Prepare(group.Device, group.Around, prepared.Numbers, group.Rows, parameters, gradients)

        // First of all: whoever steps them may run out of memory, and then nothing should have moved.
        for tensorRow in
            Array.zip kernels lineage.TensorRows
            |> Array.filter (fst >> _.IsNone)
            |> Array.map snd do
            let row = tensorRow.Row

            let struct (around, _) = prepared.SurroundTensorRow(tensorRow, lineage)

            WholeUpdate<'o>(
                name,
                arithmetic,
                prepared.Options,
                stepOf row,
                parameters.DTypeOf row,
                parameters[row],
                gradients[row],
                tensorRow.State,
                around,
                prepared.Numbers
            )
            |> tensorRow.Executor.Step

            if around.Moves <> 0UL then
                prepared.MoveAverages row

        for group in byKernels do
            let row = group.First.Row
            group.Kernels.Step(prepared.Options, stepOf row, parameters.DTypeOf row, group.Tensors, group.First.Executor, prepared.Survey)
            kernelRows.Finish(group.Device, group.Around, prepared.Numbers, group.Rows, parameters)

        if changes then
            let values = [| for row in 0 .. gradients.Count - 1 -> gradients[row].Values |]

            prologue.Run(
                prepared.Kinds,
                prepared.Numbers,
                ReadOnlySpan changed,
                ReadOnlySpan values,
                ReadOnlySpan(),
                prepared.KernelExecutor
            )

        let tensorsOf row =
            let struct (parameterCopy, gradientCopy) = prepared.Copies[row]

            if not gradientCopy.IsAbsent then
                gradientCopy.ConvertFrom(gradientOf row)

            if not parameterCopy.IsAbsent then
                parameterCopy.ConvertFrom parameters[row]

            {
                Parameter =
                    if parameterCopy.IsAbsent then
                        parameters[row]
                    else
                        parameterCopy
                Gradient =
                    if gradientCopy.IsAbsent then
                        gradientOf row
                    else
                        gradientCopy
                Row = row
                Columns = lineage.Columns
            }

        if arithmetic.Looks then
            let home = workspace.Whole
            home.ClearTotals()

            let look row =
                arithmetic.Look(prepared.Options, stepOf row, tensorsOf row, workspace, prepared.KernelExecutor)

            match parameters.Totals with
            | null ->
                for row in 0 .. parameters.Count - 1 do
                    if prepared.OnKernels[row] then
                        look row
            | ranks ->
                let here =
                    [|
                        for row in 0 .. parameters.Count - 1 do
                            if prepared.OnKernels[row] then
                                look row
                                struct (row, home.TakeTotals())
                    |]

                // In the order of the parameters, whoever has them.
                for struct (_, parts) in ranks.Gather([| here :> seq<_> |])[0] do
                    home.AddTotals parts

        for row in 0 .. parameters.Count - 1 do
            if prepared.OnKernels[row] then
                let tensors = tensorsOf row

                prepared.ThreadsUsed <-
                    max
                        prepared.ThreadsUsed
                        (arithmetic.Step(prepared.Options, stepOf row, parameters.DTypeOf row, tensors, workspace, prepared.KernelExecutor))

                let struct (parameterCopy, _) = prepared.Copies[row]

                if not parameterCopy.IsAbsent then
                    parameters[row].ConvertFrom parameterCopy

        GC.KeepAlive prepared.Copies
