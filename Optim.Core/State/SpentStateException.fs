namespace Optim.Core

open System

/// A state was used after a step had consumed it: the step has changed its memory in place. State.copy keeps one.
type SpentStateException(message: string) =
    inherit InvalidOperationException(message)
