namespace Optim.Laws

/// How exactly a law holds that does not hold bit for bit.
[<NoComparison>]
type Tolerance =
    {
        /// The law.
        Id: string
        /// The constant of its comparator, in units of the last place (u).
        Allowed: float
        /// The largest that was seen, in the same units, over 20,000 cases.
        Measured: float
        /// What the units are counted against.
        Of: string
    }

/// All tolerances of the laws, in one place.
[<RequireQualifiedAccess>]
module Tolerances =
    /// The table: law, allowed, measured, counted against.
    let table =
        [
            "A1", 8.0, 2.7, "the update"
            "A2", 8.0, 1.9, "T lr; where 1 - beta^t is worked out in the parameters' own precision, its error comes on top"
            "A3", 4.0, 0.9, "T times the way gone; the first step: numbers apart"
            "A4", 32.0, 1.0, "the bound; T comes on top"
            "A5", 32.0, 0.6, "the bound; T comes on top"
            "A7", 8.0, 1.7, "the update; T / 8 comes on top"
            "A6", 32.0, 1.9, "the bound"
            "A14", 8.0, 4.0, "lr"
            "A11", 4.0, 0.1, "the largest iterate; half of T comes on top"
            "A12", 4.0, 1.4, "T times the product; twice it and T for the update, counted against its two parts"
            "A13", 8.0, 2.8, "the update; in float64 the conditioning of the length comes on top"
            "O3", 4.0, 1.4, "T times the sum of the terms' sizes"
            "A15", 64.0, 8.0, "the largest parameter"
            "A17", 2.0, 1.3, "T times the parameter"
            "I1", 8.0, 1.6, "T lr times the longest step, for factors that are no power of two"
            "I3", 1.0, 1.0, "T times the parameter, half a unit for each run"
            "R2", 4.0, 1.9, "T times the way gone"
            "R3", 16.0, 2.7, "lr times the longest step"
            "R4", 2.0, 1.0, "numbers apart"
        ]
        |> List.map (fun (id, allowed, measured, against) ->
            {
                Id = id
                Allowed = allowed
                Measured = measured
                Of = against
            })

    /// What a law allows.
    let allowed (id: string) =
        (table |> List.find (fun row -> row.Id = id)).Allowed
