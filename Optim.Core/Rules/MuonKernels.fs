namespace Optim.Core

open System
open System.Collections.Generic
open Optim.Kernels

/// A direction on its way to being made orthogonal, by whoever multiplies matrices on its device.
[<Sealed>]
type internal OrthogonalUpdate(direction: TensorView, isTransposed: bool, numbers: MuonNumbers) =
    inherit TensorUpdate(direction, Gradient.OfDense direction, SparseGradients.Refused, [||])

    override _.Run _ =
        raise (NotSupportedException "Muon looks at whole matrices: its formula runs on lanes that are such (RunWhole)")

    override _.RunWhole<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>>(row: 'v array) =
        row[0] <- MuonWhole<'v>.Orthogonal(row[0], isTransposed, numbers)

/// Steps of Muon on a device that runs programs: momentum, norm and direction, and the move, are kernels over all matrices of a batch; the
/// products between them are those of whoever steps whole tensors there. Buffers and parameters are written when all products of a batch are there.
[<Sealed>]
type internal MuonKernels(device: ProgramDevice) =
    /// Elements whose directions are kept at a time.
    let most = 1n <<< 26
    let runs = Dictionary<struct (bool * double * bool * double), ProgramRun>()
    let tables = List<SliceTable>()
    let mutable room = TensorView()

    let column = Expression.Input

    let run isAfter (numbers: MuonNumbers) =
        let key =
            struct (isAfter, numbers.Momentum, numbers.Nesterov, (if isAfter then 0.0 else numbers.Eps))

        match runs.TryGetValue key with
        | true, known -> known
        | _ ->
            let mutable buffer = Recorder(column "column0")
            let grad = Recorder(column StepProgram.Gradient)
            let weight, rest = Recorder.Of(1.0 - numbers.Momentum), Recorder.Of numbers.Momentum

            let direction =
                MuonFormula.Momentum<Recorder>(&buffer, grad, numbers.Momentum, weight, rest, numbers.Nesterov)

            let given name =
                Recorder(Expression.OfNumber(Expression.Named(Operation.Given, name)))

            let changes =
                if isAfter then
                    let moved =
                        TensorMath.Against<Recorder>(
                            Recorder(column StepProgram.Parameter),
                            Recorder(column "column1"),
                            given "keep",
                            given "rate"
                        )

                    [
                        Assignment("column0", buffer.Expression)
                        Assignment(StepProgram.Parameter, moved.Expression)
                    ]
                else
                    let norm =
                        Expression.Max(Expression.Norm direction.Expression, Expression.Of numbers.Eps)

                    [ Assignment("column1", direction.Expression / norm) ]

            let made =
                ProgramRun(StepProgram([| StepProgram.Parameter; StepProgram.Gradient; "column0"; "column1" |], changes))

            runs.Add(key, made)
            made

    /// Matrices of one dtype, those of one shape after the other, in batches whose directions have room.
    let batches (rows: StepTensors array) =
        let found = List<StepTensors array>()
        let batch = List<StepTensors>()
        let mutable length = 0n

        for row in rows |> Array.sortBy (fun row -> row.Parameter.Shape[0], row.Parameter.Shape[1]) do
            if batch.Count > 0 && length + row.Parameter.Count > most then
                found.Add(batch.ToArray())
                batch.Clear()
                length <- 0n

            batch.Add row
            length <- length + row.Parameter.Count

        if batch.Count > 0 then
            found.Add(batch.ToArray())

        found.ToArray()

    let directionOf (row: StepTensors) =
        row.Parameter.Layout.WithDType(row.Parameter.DType.ToStateDType()).ToContiguous()

    /// Directions begin at multiples of 256 bytes.
    let roomOf (direction: Layout) = (direction.Bytes + 255n) / 256n * 256n

    /// Where the directions of a batch lie.
    let directions (rows: StepTensors array) (whole: TensorView) =
        let mutable start = whole.Address

        [|
            for row in rows do
                let layout = directionOf row
                TensorView(start, layout, whole.Owner)
                start <- start + roomOf layout
        |]

    let reserve (all: StepTensors array array) =
        let bytes = all |> Array.map (Array.sumBy (directionOf >> roomOf)) |> Array.max

        let needed = int64 ((bytes + 7n) / 8n)
        let home = all[0].[0].Parameter.Device

        if room.IsAbsent || room.Shape[0] < needed || room.Device <> home then
            room <- TensorView.Zeros(Layout.Contiguous(DType.Float64, ReadOnlySpan [| needed |]).On home)

    let lay index (rows: StepTensors array) =
        while tables.Count <= index do
            tables.Add(SliceTable())

        let table = tables[index]
        let found = directions rows room
        table.Reset(rows.Length, 2)

        for i in 0 .. rows.Length - 1 do
            table.Add(rows[i].Parameter.Count, rows[i].Parameter.Address, rows[i].Gradient.Address)
            table.SetColumn(0, rows[i].Address 0)
            table.SetColumn(1, found[i].Address)

        struct (table, found)

    /// Makes what steps of some matrices need.
    member _.Prepare(rows: StepTensors array, numbersOf: Layout -> MuonNumbers, survey: DeviceSurvey | null) =
        let all = batches rows
        reserve all

        for index in 0 .. all.Length - 1 do
            let struct (table, _) = lay index all[index]
            let first = all[index].[0].Parameter
            let numbers = numbersOf first.Layout

            for isAfter in [ false; true ] do
                let own = run isAfter numbers

                let segment =
                    ProgramSegment(table, 0, table.Count, first.DType, Array.zeroCreate own.Leaves.Length, null, device, Survey = survey)

                own.Prepare &segment

    /// Steps them.
    member _.Step(rows: StepTensors array, numbersOf: Layout -> MuonNumbers, executor: TensorExecutor, survey: DeviceSurvey | null) =
        let all = batches rows
        reserve all

        for index in 0 .. all.Length - 1 do
            let own = all[index]
            let struct (table, found) = lay index own
            let dtype = own[0].Parameter.DType

            let runOn (run: ProgramRun) first count (numbers: MuonNumbers) =
                let leaves =
                    run.Leaves
                    |> Array.map (fun leaf -> if leaf.Name = "keep" then numbers.Keep else numbers.Rate)

                let segment =
                    ProgramSegment(table, first, count, dtype, leaves, null, device, Survey = survey)

                run.Run(ReadOnlySpan [| segment |], Executor.Caller) |> ignore

            let numbers = numbersOf own[0].Parameter.Layout
            runOn (run false numbers) 0 own.Length numbers

            if numbers.Steps > 0 then
                for direction in found do
                    executor.Step(OrthogonalUpdate(direction, direction.Shape[0] > direction.Shape[1], numbers))

            // The rate is one for each shape.
            let mutable first = 0

            while first < own.Length do
                let shape = own[first].Parameter.Layout
                let mutable last = first + 1

                while last < own.Length && own[last].Parameter.Layout.SameShape shape do
                    last <- last + 1

                runOn (run true numbers) first (last - first) (numbersOf shape)
                first <- last

            for row in own do
                GC.KeepAlive row.Parameter.Owner
                GC.KeepAlive row.Gradient.Owner
