namespace Optim.Core

open System.Collections.Immutable
open Optim.Kernels

/// Where a step finds the averages that move with it, kept from step to step.
module internal AverageLayout =
    let private areLaid (known: TensorView array array) (averages: ImmutableArray<MovingAverage>) =
        let mutable same = known.Length = averages.Length
        let mutable index = 0

        while same && index < known.Length do
            let laid, rows = known[index], averages[index].Rows
            let mutable row = 0

            while same && row < laid.Length do
                same <-
                    laid[row].Address = rows[row].Address
                    && obj.ReferenceEquals(laid[row].Layout, rows[row].Layout)

                row <- row + 1

            index <- index + 1

        same

    /// Puts averages into the table, where they do not lie there already. They move in the step where every slice has all of them.
    let lay (lineage: Lineage) (parameters: Parameters) (averages: ImmutableArray<MovingAverage>) =
        if not (averages.IsEmpty || areLaid lineage.Averages averages) then
            lineage.Averages <- [||]
            let rows = parameters.Count
            let all = Array.init averages.Length (fun index -> Array.copy averages[index].Rows)

            let has row =
                all |> Array.forall (fun rows -> not rows[row].IsAbsent)

            for row in 0 .. rows - 1 do
                for average in all do
                    if not average[row].IsAbsent then
                        Average.checkPair (parameters.Label row) average[row] parameters[row]

            let slices =
                seq { 0 .. rows - 1 } |> Seq.filter (fun row -> lineage.SliceOf row >= 0)

            let moves =
                averages.Length <= Surroundings.MostAverages
                && Seq.exists (fun _ -> true) slices
                && Seq.forall has slices

            let copies = ResizeArray()

            if moves then
                lineage.Table.Widen averages.Length
                let order = Array.init rows (fun row -> parameters[row].Layout)

                for strided in lineage.Strided do
                    if not strided.Parameter.IsAbsent then
                        order[strided.Row] <- strided.Parameter.Layout

                for row in slices do
                    for index in 0 .. all.Length - 1 do
                        let average = all[index].[row]

                        let laid =
                            if average.Device = order[row].Device && average.Layout.SameOrder order[row] then
                                average
                            else
                                let copy = TensorView.Zeros(order[row].WithDType average.DType)

                                copies.Add
                                    {
                                        Average = index
                                        Row = row
                                        Copy = copy
                                    }

                                copy

                        lineage.Table.SetAverage(lineage.Slices[row], index, laid.Address)

            // Whole tensors move their averages with them where these lie on the same device.
            let together =
                set
                    [
                        for tensorRow in lineage.TensorRows do
                            let row = tensorRow.Row

                            if
                                has row
                                && row < lineage.Kinds.Length
                                && lineage.Kinds[row] = GradientKind.Dense
                                && all |> Array.forall (fun rows -> rows[row].Device = parameters[row].Device)
                            then
                                row
                    ]

            let isLeft row =
                not (together.Contains row || (moves && lineage.SliceOf row >= 0))

            lineage.AveragesLeft <-
                all
                |> Array.map (Array.mapi (fun row view -> if isLeft row then view else TensorView()))

            lineage.LeavesAverages <-
                lineage.AveragesLeft
                |> Array.exists (Array.exists (fun view -> not view.IsAbsent))

            lineage.AverageCopies <- copies.ToArray()
            lineage.AveragesMove <- moves
            lineage.Averages <- all
