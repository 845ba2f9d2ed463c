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
            ASGD.rule
            Muon.rule
            NAdam.rule
            RAdam.rule
            RMSprop.rule
            Rprop.rule
            SGD.rule
            SparseAdam.rule
        ]

    /// The one of a name, in any case, among some; others are what is known, but not here.
    let internal among (some: #Algorithm list) (others: string list) (name: string) =
        match
            some
            |> List.tryFind (fun one -> String.Equals(one.Name, name, StringComparison.OrdinalIgnoreCase))
        with
        | Some one -> one
        | None ->
            let names = some |> List.map _.Name
            let known = String.Join(", ", names)
            let suggestion = Names.didYouMean name (names @ others)
            raise (ArgumentException $"optimizer '{name}' is not known{suggestion} There are: {known}")

    /// The rule of a name, in any case; an ArgumentException lists the names when there is none.
    let find (name: string) =
        if String.Equals(name, "LBFGS", StringComparison.OrdinalIgnoreCase) then
            raise (
                ArgumentException
                    $"optimizer '{name}' is LBFGS, which is no rule, as it asks for losses and gradients itself: Algorithms.find finds it, LBFGS.step and new LBFGS(...) step it"
            )

        among all [ "LBFGS" ] name
