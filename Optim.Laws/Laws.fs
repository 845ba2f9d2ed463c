namespace Optim.Laws

open Optim.Core

/// All laws, and those of a rule.
[<RequireQualifiedAccess>]
module Laws =
    /// Every statement of the library, family by family.
    let all: Statement list =
        [
            Equivariance.all
            Analytic.all
            Invariance.all
            Decay.all
            Reductions.all
            Equivalence.all
            Guards.all
            Partition.all
            Hooks.all
            Resume.all
            PyTorchDicts.all
            Machine.all
        ]
        |> List.concat

    /// The laws of a subject.
    let ofSubject (subject: Subject) : Law list =
        all
        |> List.filter (fun statement -> statement.About subject.Rule)
        |> List.map (Statement.on subject)

    /// The laws that apply to a rule: those of every element-wise rule, and its own when it is one of this library's. Each is a name
    /// and a check, for any test framework:
    /// <code>testList "my rule" [ for law in Laws.forRule MyRule.rule -> testCase law.Name (fun () -> law.Check() |> ignore) ]</code>
    let forRule (rule: Rule) : Law list = ofSubject (Subject.ofRule rule)
