namespace Optim.Core

open System
open System.Collections.Generic

/// Every optimizer of this library: the rules, and LBFGS, which asks for losses and gradients itself.
[<AbstractClass; Sealed>]
type Algorithms private () =
    static let all =
        [|
            for rule in Rules.All do
                rule :> Algorithm
            LBFGS.algorithm :> Algorithm
        |]
        :> IReadOnlyList<Algorithm>

    /// All of them.
    static member All = all

    /// LBFGS: steps of an objective that is asked for losses and gradients. The class LBFGS of the shell steps a model by it.
    static member LBFGS = LBFGS.algorithm

    /// The one of a name, in any case, or the rule of a chain or a wrapped rule as one writes it (Rules.Find); an ArgumentException lists the names when there is
    /// none.
    static member Find(name: string) : Algorithm =
        Argument.notNull "name" name

        if String.Equals(name, "LBFGS", StringComparison.OrdinalIgnoreCase) then
            LBFGS.algorithm :> Algorithm
        elif ChainText.isCall name then
            Rules.Find name
        else
            match Rules.TryRule name with
            | ValueSome rule -> rule :> Algorithm
            | ValueNone -> Rules.Among(all, [ for entry in Catalogue.All -> entry.Name ], name)
