namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim
open Optim.Core

/// A law of schedulers, to be tried on any way to make and step them, over optimizers of any rule with a learning rate and momentum.
[<NoComparison; NoEquality>]
type ScheduleStatement =
    {
        /// Family and number, such as L1.
        Id: string
        /// The law in words.
        Says: string
        /// The same for optimizers, once the ways are given.
        On: SchedulerShell -> Statement
    }

/// What the laws of schedulers share.
module internal ScheduleLaw =
    let u = Math.Pow(2.0, -52.0)

    let law id says (draw: Random -> ScheduleSpec) (holds: SchedulerShell -> Subject -> ScheduleCase -> Verdict) =
        {
            Id = id
            Says = says
            On =
                fun shell ->
                    Statement.forAll
                        id
                        says
                        (fun rule -> List.contains rule.Name [ "SGD"; "Adam" ])
                        (fun _ -> ScheduleCase.drawing draw)
                        (fun _ _ -> Seq.empty)
                        (holds shell)
        }

    let near tolerance what (expected: float) (actual: float) =
        abs (actual - expected) <= tolerance * max (abs expected) (abs actual)
        |> Verdict.require (fun () -> sprintf "%s: %.17g instead of %.17g" what actual expected)

    let compare tolerance (expected: float list list) (actual: float list list) =
        [
            for t, (expected, actual) in List.indexed (List.zip expected actual) do
                for i, (expected, actual) in List.indexed (List.zip expected actual) do
                    near tolerance $"step {t}, group {i}" expected actual
        ]
        |> Verdict.all

    let same = compare 0.0

    let changes (rows: float list list) = List.distinct rows |> List.length > 1

    let closed (spec: ScheduleSpec) (rates: float list) steps =
        [ for t in 0..steps -> [ for rate in rates -> spec.Closed rate t ] ]

    let alone shell subject case =
        ScheduleCase.alone shell subject case.Rates case.Spec case.Steps

    let get (key: string) (group: ParameterGroup) : float = OptionValue.op_Explicit group[key]

    let number = ScheduleSpecs.number
    let whole = ScheduleSpecs.whole
    let any = ScheduleCase.spec
    let wide = ScheduleCase.wide

    let opened subject (case: ScheduleCase) =
        ScheduleCase.openWith subject case.Rates

    let make (shell: SchedulerShell) optimizer (spec: ScheduleSpec) =
        shell.Make optimizer spec.Name spec.Settings

    /// The rates after construction and after each metric.
    let followed (shell: SchedulerShell) optimizer scheduler metrics =
        [
            ScheduleCase.rates optimizer

            for metric in metrics do
                shell.StepTo scheduler metric
                ScheduleCase.rates optimizer
        ]
