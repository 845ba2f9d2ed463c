namespace Optim.Core

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

    /// The one of a name, in any case; an ArgumentException lists the names when there is none.
    static member Find(name: string) = Rules.Among(all, [], name)
