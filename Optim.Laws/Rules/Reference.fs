namespace Optim.Laws

open System

/// A rule for one element, as plain F# written from its paper: what <c>Laws.against</c> compares a rule with.
[<NoComparison; NoEquality>]
type Reference<'o, 'm> =
    {
        /// What an element remembers before its first step.
        Start: 'o -> 'm
        /// The options, the step counted from 1, the gradient, and parameter and memory before the step give those after it.
        Step: 'o -> int -> float -> float * 'm -> float * 'm
        /// State columns that are numbers of the memory, by their names: these are compared, too.
        Keeps: (string * ('m -> float)) list
    }

/// Making references.
[<RequireQualifiedAccess>]
module Reference =
    /// A reference whose memory starts in the same way under all options.
    let ofStep (start: 'm) (step: 'o -> int -> float -> float * 'm -> float * 'm) : Reference<'o, 'm> =
        {
            Start = fun _ -> start
            Step = step
            Keeps = []
        }

    /// A reference whose memory starts by the options.
    let startingAt (start: 'o -> 'm) (step: 'o -> int -> float -> float * 'm -> float * 'm) : Reference<'o, 'm> =
        {
            Start = start
            Step = step
            Keeps = []
        }

    /// With a state column that is a number of the memory.
    let keeping (column: string) (read: 'm -> float) (reference: Reference<'o, 'm>) =
        { reference with
            Keeps = reference.Keeps @ [ column, read ]
        }

/// The same in C#: <c>ReferenceOf&lt;Options&gt;.Element(o => 0.0, (o, step, gradient, element) => (element.Parameter - ..., ...))</c>.
[<AbstractClass; Sealed>]
type ReferenceOf<'o> =
    /// A reference from what an element remembers before its first step, and its step: options, step counted from 1, gradient, and
    /// parameter and memory before the step give those after it.
    static member Element
        (start: Func<'o, 'm>, step: Func<'o, int, double, struct (double * 'm), struct (double * 'm)>)
        : Reference<'o, 'm> =
        Reference.startingAt start.Invoke (fun options t gradient (parameter, memory) ->
            let struct (parameter, memory) =
                step.Invoke(options, t, gradient, struct (parameter, memory))

            parameter, memory)
