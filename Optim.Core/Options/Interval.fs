namespace Optim.Core

open System

/// A wrong value or kind of an option. The message names the option, its value and what is allowed.
type OptionException(message: string, option: string) =
    inherit ArgumentException(message)

    /// The option, as PyTorch spells it.
    member _.Option = option

/// What a number may be, such as <c>Interval.AtLeast(0)</c>; in F# <c>Interval.atLeast 0.0</c>.
[<NoComparison; NoEquality>]
type Interval =
    internal
        {
            /// Made when they are asked for: ranges are checked in every step.
            words: unit -> string
            holds: double -> bool
        }

    /// In words, after "must be".
    member range.Words = range.words ()

    /// Whether a number is in it; never for NaN.
    member range.Holds(value: double) = range.holds value

    /// The words.
    override range.ToString() = range.words ()

    /// Numbers by a condition of your own, in words after "must be". NaN is in none.
    static member Where(words: string, holds: Func<double, bool>) =
        Argument.notNull "words" words
        Argument.notNull "holds" holds

        {
            words = fun () -> words
            holds = fun x -> not (Double.IsNaN x) && holds.Invoke x
        }

    /// From a bound on, the bound included.
    static member AtLeast(bound: double) =
        {
            words = fun () -> $"at least {OptionValue.Float bound}"
            holds = fun x -> x >= bound
        }

    /// Up to a bound, the bound included.
    static member AtMost(bound: double) =
        {
            words = fun () -> $"at most {OptionValue.Float bound}"
            holds = fun x -> x <= bound
        }

    /// Between two bounds, of which only the first is included.
    static member UpTo(first: double, last: double) =
        {
            words = fun () -> $"in [{OptionValue.Float first}, {OptionValue.Float last})"
            holds = fun x -> x >= first && x < last
        }

    /// Between two bounds, both included.
    static member Within(first: double, last: double) =
        {
            words = fun () -> $"in [{OptionValue.Float first}, {OptionValue.Float last}]"
            holds = fun x -> x >= first && x <= last
        }

    /// Between two bounds, both excluded.
    static member Between(first: double, last: double) =
        {
            words = fun () -> $"in ({OptionValue.Float first}, {OptionValue.Float last})"
            holds = fun x -> x > first && x < last
        }

    /// Between two bounds, of which only the last is included.
    static member AboveUpTo(first: double, last: double) =
        {
            words = fun () -> $"in ({OptionValue.Float first}, {OptionValue.Float last}]"
            holds = fun x -> x > first && x <= last
        }

    /// Beyond a bound.
    static member Above(bound: double) =
        {
            words = fun () -> $"above {OptionValue.Float bound}"
            holds = fun x -> x > bound
        }

    /// Any number.
    static member Any =
        {
            words = fun () -> "a number"
            holds = fun x -> not (Double.IsNaN x)
        }

/// Ranges of numbers, in F#; the static members of Interval are the same in C#.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Interval =
    /// From a bound on, the bound included.
    let atLeast bound = Interval.AtLeast bound
    /// Up to a bound, the bound included.
    let atMost bound = Interval.AtMost bound
    /// Between two bounds, of which only the first is included.
    let upTo first last = Interval.UpTo(first, last)
    /// Between two bounds, both included.
    let within first last = Interval.Within(first, last)
    /// Between two bounds, both excluded.
    let between first last = Interval.Between(first, last)
    /// Between two bounds, of which only the last is included.
    let aboveUpTo first last = Interval.AboveUpTo(first, last)
    /// Beyond a bound.
    let above bound = Interval.Above bound
    /// Any number.
    let any = Interval.Any

    /// Numbers by a condition of your own, in words after "must be".
    let where (words: string) (holds: double -> bool) =
        Argument.notNull "holds" holds
        Interval.Where(words, Func<double, bool> holds)
