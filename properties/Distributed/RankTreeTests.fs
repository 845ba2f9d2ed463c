/// The messages by which ranks sum and gather.
module RankTreeTests

open System
open Expecto
open Optim.Distributed
open DistributedKit

/// The sum one after the other.
let private wrongOrder (values: float32 array) =
    let mutable sum = values[0]

    for value in Array.tail values do
        sum <- sum + value

    sum

[<Tests>]
let tests =
    testList
        "distributed tree"
        [
            test "the tree of messages sums as the tree of neighbours does, for up to 256 ranks" {
                for ranks in [ 1; 2; 3; 4; 5; 6; 7; 8; 12; 16; 31; 64; 128; 256 ] do
                    let tree = RankTree ranks
                    // Each rank begins with a number for every segment, and its own messages, run in steps that fit each other.
                    let start =
                        Array.init ranks (fun rank -> Array.init ranks (fun place -> float32 (number (rank + 1) place)))

                    let buffers = Array.map Array.copy start

                    let moves =
                        Array.init ranks (fun rank -> Collections.Generic.Queue(tree.ReduceScatter rank))

                    let mutable left = Seq.sumBy Seq.length moves

                    while left > 0 do
                        let before = left

                        for rank in 0 .. ranks - 1 do
                            match moves[rank].TryPeek() with
                            | true, move when rank < move.Peer || moves[move.Peer].Count > 0 ->
                                match moves[move.Peer].TryPeek() with
                                | true, other when other.Peer = rank ->
                                    let mine = Array.copy buffers[rank]
                                    let theirs = Array.copy buffers[move.Peer]

                                    let take (into: float32 array) (from: float32 array) (move: Move) =
                                        for place in move.ReceiveFrom .. move.ReceiveTo - 1 do
                                            into[place] <-
                                                if not move.IsSum then from[place]
                                                elif move.IsLeft then into[place] + from[place]
                                                else from[place] + into[place]

                                    Expect.equal
                                        (move.SendFrom, move.SendTo)
                                        (other.ReceiveFrom, other.ReceiveTo)
                                        "what one sends the other expects"

                                    take buffers[rank] theirs move
                                    take buffers[move.Peer] mine other
                                    moves[rank].Dequeue() |> ignore
                                    moves[move.Peer].Dequeue() |> ignore
                                    left <- left - 2
                                | _ -> ()
                            | _ -> ()

                        Expect.isLessThan left before $"{ranks} ranks: every message meets its own"

                    let isPower = Int32.IsPow2 ranks

                    for rank in 0 .. ranks - 1 do
                        let place = tree.PlaceOf rank
                        let values = Array.init ranks (fun each -> start[each][place])
                        let found = buffers[rank][place]

                        let expected =
                            let sums = Array.copy values
                            let mutable apart = 1

                            while apart < ranks do
                                for i in 0 .. 2 * apart .. ranks - apart - 1 do
                                    sums[i] <- sums[i] + sums[i + apart]

                                apart <- 2 * apart

                            sums[0]

                        if isPower then
                            Expect.equal found expected $"rank {rank} of {ranks}: its segment has the sum of the tree"
                        else
                            Expect.floatClose Accuracy.medium (float found) (float expected) $"rank {rank} of {ranks}"

                    if ranks = 64 then
                        let others =
                            [
                                for rank in 0 .. ranks - 1 -> wrongOrder [| for each in 0 .. ranks - 1 -> start[each][tree.PlaceOf rank] |]
                            ]

                        let found = [ for rank in 0 .. ranks - 1 -> buffers[rank][tree.PlaceOf rank] ]
                        Expect.notEqual found others "sums in another order are other sums: the law can fail"

                    let longest =
                        [ for rank in 0 .. ranks - 1 -> (tree.ReduceScatter rank).Count ] |> List.max

                    let log = int (Math.Ceiling(Math.Log2(double ranks)))
                    Expect.isLessThanOrEqual longest (log + 2) "messages grow as log n"
            }
        ]
