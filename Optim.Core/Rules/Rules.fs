namespace Optim.Core

open System

/// The rules of this library. A further one is listed here.
[<RequireQualifiedAccess>]
module Rules =
    /// All of them, by name.
    let all: Rule list =
        [
            Adadelta.rule
            Adafactor.rule
            Adagrad.rule
            Adam.rule
            AdamW.rule
            Adamax.rule
            Muon.rule
            RMSprop.rule
            Rprop.rule
            SGD.rule
            SparseAdam.rule
        ]

    /// The rule of a name, in any case; an ArgumentException lists the names when there is none.
    let find (name: string) =
        match
            all
            |> List.tryFind (fun rule -> String.Equals(rule.Name, name, StringComparison.OrdinalIgnoreCase))
        with
        | Some rule -> rule
        | None ->
            let known = String.Join(", ", all |> List.map _.Name)
            let nearest = Names.nearest name (all |> List.map _.Name)
            raise (ArgumentException $"optimizer '{name}' is not known; did you mean {nearest}? There are: {known}")
