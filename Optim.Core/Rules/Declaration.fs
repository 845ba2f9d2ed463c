namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable

/// What a rule says of itself beside its arithmetic. The laws of Optim.Laws test what is declared, and print what is opted out of.
/// Made by the module Declaration, and in C# by RuleOf.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type Declaration<'o> =
    internal
    | StepBound of length: ('o -> int64 -> double)
    | BiasCorrected of under: ('o -> bool)
    | OptOut of law: string * reason: string

/// What rules declare, in F#; RuleOf makes the same in C#.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Declaration =
    /// The longest way that an element goes in a step, weight decay apart, for these options in that step (counted from 1);
    /// infinity where there is no bound.
    let stepBound (length: 'o -> int64 -> double) : Declaration<'o> =
        Argument.notNull "length" length
        Declaration.StepBound length

    /// Under which options the first steps are as long as later ones while the gradient stays the same.
    let biasCorrected (under: 'o -> bool) : Declaration<'o> =
        Argument.notNull "under" under
        Declaration.BiasCorrected under

    /// A law that does not hold for the rule, by its id (such as U4), and the reason.
    let optOut (law: string) (reason: string) : Declaration<'o> =
        Argument.notNull "law" law
        Argument.notNull "reason" reason
        Declaration.OptOut(law, reason)

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
