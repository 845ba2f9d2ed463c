namespace Optim.Core

open System
open System.Collections.Immutable
open Optim.Kernels

/// The leaves of a segment on a device, and what the processor knows of them.
[<Sealed>]
type internal LeavesOfSegment(nodes: Node array, rates: Nullable<RateTensor> array, device: ProgramDevice, stepClass: int) =
    let leaves = device.NewLeaves(nodes, rates)
    let written: double array = Array.zeroCreate nodes.Length
    member _.Leaves = leaves
    /// The device.
    member _.Device = device
    /// The class whose counts they are.
    member _.Class = stepClass

    /// Writes all of them, before the first step.
    member _.Begin(valueOf: Node -> double) =
        for leaf in 0 .. nodes.Length - 1 do
            written[leaf] <- valueOf nodes[leaf]

        leaves.Write(0, ReadOnlySpan(Array.append written [| 0.0 |]))

    /// Writes those that the processor has set anew since it wrote them; what counts is left alone, as the device counts by itself.
    member _.Renew(valueOf: Node -> double) =
        for leaf in 0 .. nodes.Length - 1 do
            let isCounting =
                nodes[leaf].Operation = Operation.StepCount
                || nodes[leaf].Operation = Operation.Kept

            if not isCounting && not rates[leaf].HasValue then
                let value = valueOf nodes[leaf]

                if not (written[leaf].Equals value) then
                    written[leaf] <- value
                    leaves.Write(leaf, ReadOnlySpan(written, leaf, 1))

    /// Waits for the device: how many steps it has made, and what a number is that is kept.
    member _.Read() : struct (int64 * (string -> double)) =
        let values = leaves.Read()

        let kept (name: string) =
            values[Array.FindIndex(nodes, (fun leaf -> leaf.Operation = Operation.Kept && leaf.Name = name))]

        struct (int64 values[nodes.Length], kept)

/// Steps whose counts and numbers are a device's: a graph that was captured repeats them without the processor, which learns of them when it asks.
[<Sealed; AllowNullLiteral>]
type internal StepsThere
    (
        nodes: Node array,
        rates: RateTensors,
        counts: Counts,
        scalarNames: ImmutableArray<string>,
        counted: bool,
        segments: LeavesOfSegment array
    ) =
    /// The leaves that there are.
    member _.Nodes = nodes
    /// The options that are read from tensors.
    member _.Rates = rates
    /// The leaves, segment by segment.
    member _.Segments = segments
    /// Whether the device may have made steps, or kept numbers, that the processor does not know.
    member val IsAhead = false with get, set

    /// Whether the last step that was launched was noted for a graph, and not made.
    member val IsNoted = false with get, set

    /// A step is launched, which may be completed when the graph has been captured.
    member there.Launch() =
        there.IsNoted <- segments |> Array.exists _.Device.IsCapturing
        // Numbers that are kept may differ from the processor's in the last bits.
        there.IsAhead <- there.IsAhead || there.IsNoted || not scalarNames.IsEmpty

    /// The counts as they are there now.
    member _.Counts() : Counts =
        let read = segments |> Array.map _.Read()

        counts.After(
            counted,
            fun index ->
                match segments |> Array.tryFindIndex (fun segment -> segment.Class = index) with
                | None -> ValueNone
                | Some at ->
                    let struct (made, kept) = read[at]
                    ValueSome(struct (made, [| for name in scalarNames -> Real(kept name) |]))
        )
