namespace Optim.Laws

open System
open FsCheck
open FsCheck.FSharp
open Optim.Core

/// A law does not hold, or the run that should have tested it tested nothing.
exception LawBroken of Why: string with
    override this.Message = this.Why

/// What came of trying a law.
type Trial =
    {
        /// How many cases ran.
        Cases: int
        /// How many of them could have broken the law.
        Telling: int
        /// The smallest counterexample that was found, and why it is one; empty when the law held.
        Broken: string
    }

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

/// A law of one rule: run <c>Check</c> in any test framework; it throws when the law is broken and returns how many cases ran.
[<NoComparison; NoEquality>]
type Law =
    {
        /// Family and number, such as E2.
        Id: string
        /// Rule, law and number: a name for a test.
        Name: string
        /// Whether nothing else may run beside it.
        Alone: bool
        /// Tries it.
        Check: unit -> int
    }

/// Making statements, and trying them.
[<RequireQualifiedAccess>]
module Statement =
    /// At least one case in so many must tell something.
    let private tellingShare = 10

    /// Tries what must hold of all that a generator draws, on so many cases from this seed.
    let trial (name: string) (cases: int) (seed: uint64) (generator: Gen<'a>) (shrink: 'a -> 'a seq) (holds: 'a -> Verdict) =
        let mutable telling = 0
        let mutable ran = 0
        let mutable broken = ""

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
                        let why =
                            match outcome with
                            | Outcome.Failed(LawBroken why) -> why
                            | Outcome.Failed e -> e.GetType().Name + ": " + e.Message
                            | other -> string other

                        broken <-
                            String.concat
                                "\n"
                                [
                                    why
                                    "for " + String.Join("\nand ", shrunk)
                                    "(OPTIM_SEED=" + string seed + ")"
                                ]
                    | TestResult.Exhausted _ -> broken <- "no case could be made"
                    | TestResult.Passed _ -> ()
            }

        let config =
            Config.Quick.WithMaxTest(cases).WithName(name).WithRunner(runner).WithReplay(Some { Rnd = Rnd seed; Size = None })

        Check.One(config, Prop.forAll (Arb.fromGenShrink (generator, shrink)) property)

        {
            Cases = ran
            Telling = telling
            Broken = broken
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
            (fun rule -> Gen.zip (Recipe.generate rule (recipe rule)) beside)
            (fun rule (scenario, drawn) -> Recipe.shrink (recipe rule) scenario |> Seq.map (fun simpler -> simpler, drawn))
            (fun subject (scenario, drawn) -> holds subject drawn scenario)

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
        if trial.Broken <> "" then
            raise (LawBroken(name + "\n" + trial.Broken))

        if trial.Telling * tellingShare < trial.Cases then
            raise (LawBroken(sprintf "%s: only %d of %d cases tell anything" name trial.Telling trial.Cases))

        trial.Cases

    /// The statement as a law of one subject.
    let on (subject: Subject) (statement: Statement) : Law =
        let name = sprintf "%s: %s (%s)" subject.Rule.Name statement.Says statement.Id

        {
            Id = statement.Id
            Name = name
            Alone = statement.Alone
            Check = fun () -> statement.Try subject cases seed |> judge name
        }
