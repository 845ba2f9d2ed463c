namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable

/// What a rule says of itself beside its arithmetic. The laws of Optim.Laws test what is declared, and print what is opted out of.
/// In C#: RuleOf.StepBound, RuleOf.BiasCorrected, RuleOf.OptOut.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type Declaration<'o> =
    /// The longest way that an element goes in a step, weight decay apart, for these options in that step (counted from 1);
    /// infinity where there is no bound.
    | StepBound of length: ('o -> int64 -> double)
    /// Under which options the first steps are as long as later ones while the gradient stays the same.
    | BiasCorrected of under: ('o -> bool)
    /// A law that does not hold for the rule, by its id (such as U4), and the reason.
    | OptOut of law: string * reason: string

/// All that a rule declares.
[<NoComparison; NoEquality>]
type internal Declared<'o> =
    {
        StepBound: ('o -> int64 -> double) voption
        BiasCorrected: ('o -> bool) voption
        OptOuts: ImmutableSortedDictionary<string, string>
    }

module internal Declared =
    let nothing<'o> : Declared<'o> =
        {
            StepBound = ValueNone
            BiasCorrected = ValueNone
            OptOuts = ImmutableSortedDictionary.Create<string, string> StringComparer.Ordinal
        }

    /// a / b, and 0 where a is 0.
    let ratio (a: double) (b: double) = if a = 0.0 then 0.0 else a / b

    /// 1 + r + ... + r^(terms - 1).
    let geometricSum (r: double) (terms: int64) =
        if terms = 1L then 1.0
        elif r = 1.0 then double terms
        elif Double.IsPositiveInfinity r then infinity
        else (1.0 - Math.Pow(r, double terms)) / (1.0 - r)

    /// 1 - beta^step: how much of a constant gradient is in a moment.
    let approach (beta: double) (step: int64) = 1.0 - Math.Pow(beta, double step)

    /// One more declaration; an ArgumentException where it is the second of its kind, or an opt-out without a reason.
    let add (rule: string) (declared: Declared<'o>) (declaration: Declaration<'o>) =
        let refuse (problem: string) =
            raise (ArgumentException $"{rule} declares {problem}")

        match declaration with
        | Declaration.StepBound _ when declared.StepBound.IsSome -> refuse "two bounds of its step"
        | Declaration.StepBound length ->
            { declared with
                StepBound = ValueSome length
            }
        | Declaration.BiasCorrected _ when declared.BiasCorrected.IsSome -> refuse "twice when its bias is corrected"
        | Declaration.BiasCorrected under ->
            { declared with
                BiasCorrected = ValueSome under
            }
        | Declaration.OptOut(law, _) when declared.OptOuts.ContainsKey law -> refuse $"twice that law {law} does not hold"
        | Declaration.OptOut(law, reason) when String.IsNullOrWhiteSpace reason ->
            refuse $"that law {law} does not hold, and gives no reason"
        | Declaration.OptOut(law, reason) ->
            { declared with
                OptOuts = declared.OptOuts.Add(law, reason)
            }
