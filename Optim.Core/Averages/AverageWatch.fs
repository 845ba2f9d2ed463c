namespace Optim.Core

open System
open Optim.Kernels

/// Refuses averages that share memory with each other or with the values that they average. It looks when something has moved.
[<Sealed>]
type internal AverageWatch() =
    let written = WrittenMemory()
    let mutable averages: TensorView array = [||]
    let mutable values: TensorView array = [||]

    let isAsLaid (known: TensorView array) (found: TensorView array) =
        let mutable same = known.Length = found.Length
        let mutable row = 0

        while same && row < found.Length do
            same <-
                known[row].Address = found[row].Address
                && obj.ReferenceEquals(known[row].Layout, found[row].Layout)

            row <- row + 1

        same

    /// Checks the averages of values; absent ones are passed over.
    member _.Check(label: Func<int, string>, averagesNow: TensorView array, valuesNow: TensorView array) =
        if not (isAsLaid averages averagesNow && isAsLaid values valuesNow) then
            averages <- [||]
            let pair = written.Lay(Array.copy averagesNow)

            if pair.HasValue then
                let struct (first, second) = pair.Value

                raise (
                    ArgumentException
                        $"the averages of {label.Invoke first} and {label.Invoke second} share memory: give each memory of its own"
                )

            for row in 0 .. valuesNow.Length - 1 do
                match written.Find(&valuesNow[row], -1) with
                | -1 -> ()
                | place ->
                    raise (
                        ArgumentException
                            $"{label.Invoke row} shares memory with the average of {label.Invoke place}: an average needs memory of its own"
                    )

            values <- Array.copy valuesNow
            averages <- Array.copy averagesNow
