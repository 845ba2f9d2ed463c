namespace Optim.Core

open System
open System.Collections.Generic

/// Names in messages.
module internal Names =
    /// What other libraries call an option, and what it is called here.
    let private synonyms =
        dict
            [
                "learningrate", "lr"
                "rate", "lr"
                "stepsize", "lr"
                "epsilon", "eps"
                "beta", "betas"
                "beta1", "betas"
                "beta2", "betas"
                "b1", "betas"
                "b2", "betas"
                "decay", "weight_decay"
                "wd", "weight_decay"
                "l2", "weight_decay"
                "mu", "momentum"
                "historylength", "history_size"
                "maxiterations", "max_iter"
            ]

    /// Insertions, deletions, replacements and exchanges of neighbours between two texts.
    let private distance (a: string) (b: string) =
        // Made and then filled: Array2D.init is not for what is compiled ahead of time.
        let rows = Array2D.zeroCreate (a.Length + 1) (b.Length + 1)

        for i in 0 .. a.Length do
            for j in 0 .. b.Length do
                rows[i, j] <- max i j

        for i in 1 .. a.Length do
            for j in 1 .. b.Length do
                let change = if a[i - 1] = b[j - 1] then 0 else 1

                let nearest =
                    min (rows[i - 1, j - 1] + change) (1 + min rows[i - 1, j] rows[i, j - 1])

                let isExchanged = i > 1 && j > 1 && a[i - 1] = b[j - 2] && a[i - 2] = b[j - 1]

                rows[i, j] <-
                    if isExchanged then
                        min nearest (rows[i - 2, j - 2] + 1)
                    else
                        nearest

        rows[a.Length, b.Length]

    let private bare (name: string) =
        name.Replace("_", "").Replace("-", "").ToLowerInvariant()

    /// The known name that is meant by one that is not known: written otherwise, another library's, or mistyped. Null when none is like it.
    let nearest (name: string) (known: IEnumerable<string>) : string | null =
        let given = bare name

        let synonym =
            match synonyms.TryGetValue given with
            | true, synonym -> synonym
            | _ -> ""

        let unlikeness (known: string) =
            if bare known = given then 0
            elif known = synonym then 1
            else 1 + distance given (bare known)

        let names = Seq.toList known

        match names with
        | [] -> null
        | names ->
            let best = List.minBy unlikeness names

            if unlikeness best <= 1 + max 1 (given.Length / 3) then
                best
            else
                null

    /// What follows the words that a name is not known.
    let didYouMean (name: string) (known: IEnumerable<string>) =
        match nearest name known with
        | null -> "."
        | best -> $"; did you mean '{best}'?"
