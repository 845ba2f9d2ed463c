namespace Optim.Core

open System
open System.Collections.Generic
open Optim.Kernels

/// What kernels of devices take for rows that they step as whole tensors, and what comes after: copies of tensors that lie in another order, gradients
/// as what surrounds the step makes them, and averages that move with it. Copies are kept from step to step.
[<Sealed>]
type internal KernelRows() =
    let copies = Dictionary<struct (int * int), TensorView>()
    let prologue = GradientPrologue()
    let epilogues = Dictionary<Surroundings, ProgramRun>()
    let table = SliceTable()

    let parameterAt, gradientAt, averagesAt = 0, 1, 2

    /// Where a tensor of a row is found: where it lies, or in its copy.
    let placeOf row place isChanged (tensor: TensorView) =
        if tensor.Layout.IsContiguous && not isChanged then
            tensor
        else
            let layout = tensor.Layout.ToContiguous()

            match copies.TryGetValue(struct (row, place)) with
            | true, known when known.Layout.Equals layout -> known
            | _ ->
                let made = TensorView.Zeros layout
                copies[struct (row, place)] <- made
                made

    let isCopy (tensor: TensorView) (found: TensorView) = tensor.Address <> found.Address

    let gather (tensor: TensorView) (found: TensorView) =
        if isCopy tensor found then
            found.CopyFrom tensor

    let scatter (tensor: TensorView) (found: TensorView) =
        if isCopy tensor found then
            tensor.CopyFrom found

    /// The averages of a row, which come after its columns.
    let averagesOf (around: Surroundings) (columns: TensorView array) =
        columns[columns.Length - around.Averages ..]

    /// The averages of rows of one device and dtype, as a program goes over them.
    let epilogue
        (device: ProgramDevice | null)
        (survey: DeviceSurvey | null)
        (numbers: double array)
        around
        (rows: struct (StepTensors * TensorView array) array)
        =
        let run =
            match epilogues.TryGetValue around with
            | true, known -> known
            | _ ->
                let made = ProgramRun(around.After 0)
                epilogues.Add(around, made)
                made

        table.Reset(rows.Length, around.Averages)

        for struct (tensors, columns) in rows do
            table.Add(tensors.Parameter.Count, tensors.Parameter.Address, tensors.Gradient.Address)

            for index, average in Array.indexed (averagesOf around columns) do
                table.SetColumn(index, (placeOf tensors.Row (averagesAt + index) false average).Address)

        let leaves =
            run.Leaves |> Array.map (fun leaf -> numbers[Surroundings.PlaceOf leaf.Name])

        let (struct (first, _)) = rows[0]
        struct (run, ProgramSegment(table, 0, rows.Length, first.Parameter.DType, leaves, null, device, Survey = survey))

    /// What was found in the gradients on the device; null where nobody has looked there.
    member val Survey: DeviceSurvey | null = null with get, set

    /// Where kernels find a row.
    member _.Place(row, parameter: TensorView, gradient: TensorView, changesGradients, columns) : StepTensors =
        {
            Parameter = placeOf row parameterAt false parameter
            Gradient = placeOf row gradientAt changesGradients gradient
            Row = row
            Columns = columns
        }

    /// Brings rows of one device there as their step takes them, and makes what comes after it; no parameter moves.
    member rows.Prepare
        (
            device,
            around: Surroundings,
            numbers,
            group: struct (StepTensors * TensorView array) array,
            parameters: Parameters,
            gradients: Gradients
        ) =
        if around.Moves <> 0UL then
            let struct (run, segment) = epilogue device rows.Survey numbers around group
            run.Prepare &segment

        for struct (tensors, _) in group do
            gather parameters[tensors.Row] tensors.Parameter

        if around.ChangesGradients then
            prologue.Run(
                around,
                numbers,
                ReadOnlySpan [| for struct (tensors, _) in group -> tensors.Gradient |],
                ReadOnlySpan [| for struct (tensors, _) in group -> gradients[tensors.Row].Values |],
                ReadOnlySpan(),
                Executor.Caller,
                device,
                rows.Survey
            )
        else
            for struct (tensors, _) in group do
                gather gradients[tensors.Row].Values tensors.Gradient

    /// What comes after their step.
    member rows.Finish
        (device, around: Surroundings, numbers, group: struct (StepTensors * TensorView array) array, parameters: Parameters)
        =
        if around.Moves <> 0UL then
            let each action =
                for struct (tensors, columns) in group do
                    for index, average in Array.indexed (averagesOf around columns) do
                        action average (placeOf tensors.Row (averagesAt + index) false average)

            let struct (run, segment) = epilogue device rows.Survey numbers around group
            each gather
            run.Run(ReadOnlySpan [| segment |], Executor.Caller) |> ignore
            each scatter

        for struct (tensors, _) in group do
            scatter parameters[tensors.Row] tensors.Parameter
