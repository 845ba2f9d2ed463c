namespace Optim.Core

/// Every optimizer of this library: the rules, and LBFGS, which asks for losses and gradients itself.
[<RequireQualifiedAccess>]
module Algorithms =
    /// All of them.
    let all: Algorithm list =
        [
            for rule in Rules.all do
                rule :> Algorithm
            LBFGS.algorithm
        ]

    /// The one of a name, in any case; an ArgumentException lists the names when there is none.
    let find (name: string) = Rules.among all [] name
