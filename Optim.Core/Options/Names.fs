namespace Optim.Core

open System.Collections.Generic

/// Names in messages.
module internal Names =
    /// Insertions, deletions and replacements between two texts.
    let distance (a: string) (b: string) =
        let mutable row = [| 0 .. b.Length |]

        for i in 1 .. a.Length do
            let next = Array.zeroCreate (b.Length + 1)
            next[0] <- i

            for j in 1 .. b.Length do
                let change = if a[i - 1] = b[j - 1] then 0 else 1
                next[j] <- min (row[j - 1] + change) (1 + min row[j] next[j - 1])

            row <- next

        row[b.Length]

    /// The known name that is most like one that is not known.
    let nearest (name: string) (known: IEnumerable<string>) =
        known |> Seq.minBy (distance (name.ToLowerInvariant()))
