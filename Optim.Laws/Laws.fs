namespace Optim.Laws

open System
open System.Collections.Generic
open Optim.Core
open Optim.Kernels

/// All laws, and those of a rule.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Laws =
    /// Every statement of the library, family by family.
    let all: Statement list =
        [
            Equivariance.all
            Analytic.all
            Bounds.all
            Sequences.all
            Moments.all
            Invariance.all
            Decay.all
            Reductions.all
            Equivalence.all
            Guards.all
            Partition.all
            Hooks.all
            Accumulation.all
            Surroundings.all
            Onlookers.all
            Resume.all
            NarrowState.all
            PyTorchDicts.all
            Machine.all
            List.map (fun (law: ScheduleStatement) -> law.On SchedulerShell.real) Schedules.all
        ]
        |> List.concat

    /// Laws of what a step does with one element, whatever the others are.
    let private ofElements = set [ "E1"; "E2"; "E3"; "E8"; "E10"; "G1"; "G4" ]

    /// Whether a law that is tried on vectors suits the scope of a rule.
    let private suits (rule: Rule) (statement: Statement) =
        match rule.Scope with
        | RuleScope.Elements -> true
        | RuleScope.Tensors -> not (ofElements.Contains statement.Id)
        // The model of the machine knows vectors only.
        | _ -> not (ofElements.Contains statement.Id || statement.Id = "M0")

    /// The ids of all laws of rules.
    let private ids =
        set
            [
                for statement in
                    all
                    @ Sparsity.all
                    @ SparseSurroundings.all
                    @ WholeTensors.all
                    @ Matrices.all
                    @ Convergence.all
                    @ Universal.all -> statement.Id
            ]

    /// An opt-out of what is no law is a mistake.
    let private check (rule: Rule) =
        for KeyValue(id, _) in rule.OptOuts do
            if not (ids.Contains id || id = "O1") then
                raise (ArgumentException $"{rule.Name} opts out of law '{id}', and there is none of that id")

    /// The laws of a subject. Those of sparse gradients are all that a rule has which takes no others.
    let ofSubject (subject: Subject) : Law list =
        let rule = subject.Rule
        check rule
        let takesDense = rule.Sparse rule.Defaults <> SparseGradients.Required
        let ofVectors = if takesDense then all else [ Equivariance.maximize ]

        Universal.all
        @ (ofVectors @ Sparsity.all @ SparseSurroundings.all |> List.filter (suits rule))
        @ (if takesDense then WholeTensors.all @ Matrices.all else [])
        @ Convergence.all
        |> List.filter (fun statement -> statement.About rule)
        |> List.map (Law.ofStatement (Subject.overDense subject))

    /// The laws that apply to a rule: those of every optimizer, those of every element-wise rule, and its own when it is one of this
    /// library's. Each is a name and a check, for any test framework:
    /// <code>testList "my rule" [ for law in Laws.forRule MyRule.rule -> testCase law.Name (fun () -> law.Check() |> ignore) ]</code>
    let forRule (rule: Rule) : Law list = ofSubject (Subject.ofRule rule)

    /// The laws of LBFGS.
    let forLBFGS () : Law list =
        Minimizing.all
        |> List.map (fun law -> Law.make LBFGS.algorithm.Name law.Id law.Says law.Alone (law.Try Minimizer.lbfgs))

    /// The law that an element-wise rule does what a plain function of one element does, over options, dtypes, lengths and histories. A
    /// counterexample is shrunk to the first step and the element that differ. An ArgumentException for a rule that looks at whole tensors.
    let against (reference: Reference<'o, 'm>) (rule: Rule<'o>) : Law =
        if rule.Scope <> RuleScope.Elements then
            invalidArg "rule" $"{rule.Name} looks at whole tensors: a function of one element cannot say what it does"

        check rule
        Law.ofStatement (Subject.ofRule rule) (References.statement reference)

/// The same in C#.
[<AbstractClass; Sealed>]
type Laws =
    /// The laws that apply to a rule; each is a name and a check, for any test framework.
    static member ForRule(rule: Rule) : IReadOnlyList<Law> =
        (Laws.forRule rule :> IReadOnlyList<Law>)

    /// The laws of LBFGS.
    static member ForLBFGS() : IReadOnlyList<Law> =
        (Laws.forLBFGS () :> IReadOnlyList<Law>)

    /// The law that an element-wise rule does what a plain function of one element does, which ReferenceOf makes of a delegate.
    static member Against(reference: Reference<'o, 'm>, rule: Rule<'o>) : Law = Laws.against reference rule
