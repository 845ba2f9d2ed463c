namespace Optim.Laws

open System
open FsCheck
open FsCheck.FSharp
open Optim.Core

/// A law does not hold, or the run that should have tested it tested nothing.
exception LawBroken of Why: string with
    override this.Message = this.Why

/// What came of trying a law.
[<NoComparison>]
type Trial =
    {
        /// How many cases ran.
        Cases: int
        /// How many of them could have broken the law.
        Telling: int
        /// From which seed cases were drawn: the same seed draws the same ones.
        Seed: uint64
        /// Why the smallest counterexample that was found is one; empty when the law held.
        Why: string
        /// The smallest counterexample that was found; empty when the law held.
        Case: string
    }

    /// The smallest counterexample that was found, why it is one, and how to find it again; empty when the law held.
    member trial.Broken =
        if trial.Why = "" then
            ""
        else
            String.concat "\n" [ trial.Why; trial.Case; "(OPTIM_SEED=" + string trial.Seed + ")" ]

    /// What is wrong, in a few words: why the counterexample is one, or that the law was not tested, as fewer than one case in ten could
    /// have broken it. Empty when the law held.
    member trial.Problem =
        if trial.Why <> "" then
            trial.Why
        elif trial.Telling * 10 < trial.Cases then
            sprintf "only %d of %d cases tell anything" trial.Telling trial.Cases
        else
            ""

/// A statement about all runs of an optimizer, to be tried on any subject.
[<NoComparison; NoEquality>]
type Statement =
    {
        /// Family and number, such as E2.
        Id: string
        /// The law in words.
        Says: string
        /// The rules that it is about.
        About: Rule -> bool
        /// Whether it looks at something of the whole process (memory, threads), so that nothing else may run beside it.
        Alone: bool
        /// Tries it on so many cases, from this seed.
        Try: Subject -> int -> uint64 -> Trial
    }

/// A run, and something else that a law wants to choose.
[<NoComparison; NoEquality>]
type Beside<'b> =
    {
        Run: Scenario
        Drawn: 'b
    }

    override this.ToString() =
        sprintf "%O\n  and %O" this.Run this.Drawn

/// Making statements, and trying them.
[<RequireQualifiedAccess>]
module Statement =
    /// Tries what must hold of all that a generator draws, on so many cases from this seed.
    let trial (name: string) (cases: int) (seed: uint64) (generator: Gen<'a>) (shrink: 'a -> 'a seq) (holds: 'a -> Verdict) =
        let mutable telling = 0
        let mutable ran = 0
        let mutable why, smallest = "", ""

        let property (case: 'a) =
            ran <- ran + 1

            match holds case with
            | Verdict.Broken why -> raise (LawBroken why)
            | Verdict.Telling -> telling <- telling + 1
            | Verdict.Trivial -> ()

        let runner =
            { new IRunner with
                member _.OnStartFixture _ = ()
                member _.OnArguments(_, _, _) = ()
                member _.OnShrink(_, _) = ()

                member _.OnFinished(_, result) =
                    match result with
                    | TestResult.Failed(_, _, shrunk, outcome, _, _, _) ->
                        why <-
                            match outcome with
                            | Outcome.Failed(LawBroken why) -> why
                            | Outcome.Failed e -> e.GetType().Name + ": " + e.Message
                            | other -> string other

                        smallest <- "for " + String.Join("\nand ", shrunk)
                    | TestResult.Exhausted _ -> why <- "no case could be made"
                    | TestResult.Passed _ -> ()
            }

        let config =
            Config.Quick.WithMaxTest(cases).WithName(name).WithRunner(runner).WithReplay(Some { Rnd = Rnd seed; Size = None })

        Check.One(config, Prop.forAll (Arb.fromGenShrink (generator, shrink)) property)

        {
            Cases = ran
            Telling = telling
            Seed = seed
            Why = why
            Case = smallest
        }

    /// A statement about all that a generator draws for a rule.
    let forAll
        (id: string)
        (says: string)
        (about: Rule -> bool)
        (generator: Rule -> Gen<'a>)
        (shrink: Rule -> 'a -> 'a seq)
        (holds: Subject -> 'a -> Verdict)
        =
        {
            Id = id
            Says = says
            About = about
            Alone = false
            Try = fun subject cases seed -> trial id cases seed (generator subject.Rule) (shrink subject.Rule) (holds subject)
        }

    /// A statement about all scenarios of a recipe.
    let about (id: string) (says: string) (rules: Rule -> bool) (recipe: Rule -> Recipe) (holds: Subject -> Scenario -> Verdict) =
        forAll id says rules (fun rule -> Recipe.generate rule (recipe rule)) (recipe >> Recipe.shrink) holds

    /// A statement about scenarios and something else that is drawn beside, which is not made smaller.
    let withDraw
        (id: string)
        (says: string)
        (rules: Rule -> bool)
        (recipe: Rule -> Recipe)
        (beside: Gen<'b>)
        (holds: Subject -> 'b -> Scenario -> Verdict)
        =
        forAll
            id
            says
            rules
            (fun rule -> Gen.map2 (fun run drawn -> { Run = run; Drawn = drawn }) (Recipe.generate rule (recipe rule)) beside)
            (fun rule case ->
                Recipe.shrink (recipe rule) case.Run
                |> Seq.map (fun run -> { case with Run = run }))
            (fun subject case -> holds subject case.Drawn case.Run)

    /// The statement, to be tried while nothing else runs.
    let alone (statement: Statement) = { statement with Alone = true }

    /// The statement with at most so many cases for each thirty that are asked for: for costly ones.
    let fewer (cases: int) (statement: Statement) =
        { statement with
            Try = fun subject asked seed -> statement.Try subject (max 1 (asked * cases / 30)) seed
        }

    /// The cases of a law when nothing else is said; the environment variable OPTIM_CASES multiplies them.
    let cases =
        match Double.TryParse(Environment.GetEnvironmentVariable "OPTIM_CASES", Globalization.CultureInfo.InvariantCulture) with
        | true, factor when factor > 0.0 -> max 1 (int (30.0 * factor))
        | _ -> 30

    /// The seed of all laws: OPTIM_SEED when it is given, so that a failure can be run again; otherwise another one each time.
    let seed =
        match UInt64.TryParse(Environment.GetEnvironmentVariable "OPTIM_SEED") with
        | true, seed -> seed
        | _ -> uint64 (Random.Shared.NextInt64())

    /// The cases of a trial that held, and told something; it throws where one did not.
    let judge (name: string) (trial: Trial) =
        if trial.Problem <> "" then
            raise (
                LawBroken(
                    name
                    + (if trial.Why = "" then
                           ": " + trial.Problem
                       else
                           "\n" + trial.Broken)
                )
            )

        trial.Cases

/// A law of one rule, or of something else that has laws: a name and a check, for any test framework.
[<Sealed>]
type Law internal (owner: string, id: string, says: string, isAlone: bool, optOut: string, attempt: int -> uint64 -> Trial) =
    /// Whose law it is, such as a rule's name.
    member _.Owner = owner
    /// Family and number, such as E2.
    member _.Id = id
    /// The law in words.
    member _.Says = says
    /// Whether it looks at something of the whole process, so that nothing else may run beside it.
    member _.Alone = isAlone
    /// Why the rule opts out of it; empty where it does not.
    member _.OptOut = optOut

    /// Owner, law and id, and the reason where the rule opts out: a name for a test.
    member _.Name =
        $"{owner}: {says} ({id})"
        + if optOut = "" then "" else $"; left out, because {optOut}"

    /// Tries it on so many cases from this seed, also where the rule opts out of it.
    member _.Try(cases: int, seed: uint64) : Trial = attempt cases seed

    /// Tries it: throws a LawBroken when it is broken, and otherwise returns how many cases ran: none where the rule opts out of it.
    member law.Check() : int =
        if optOut <> "" then
            0
        else
            attempt Statement.cases Statement.seed |> Statement.judge law.Name

    override law.ToString() = law.Name

/// Statements as laws.
[<RequireQualifiedAccess>]
module Law =
    /// A statement of its own kind.
    let internal make owner id says isAlone attempt =
        Law(owner, id, says, isAlone, "", attempt)

    /// A statement about a subject, whose rule may opt out of it.
    let ofStatement (subject: Subject) (statement: Statement) : Law =
        let reason =
            match subject.Rule.OptOuts.TryGetValue statement.Id with
            | true, reason -> reason
            | _ -> ""

        Law(subject.Rule.Name, statement.Id, statement.Says, statement.Alone, reason, statement.Try subject)
