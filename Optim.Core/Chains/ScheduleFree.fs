namespace Optim.Core

open System
open Optim.Kernels

/// The two views of parameters that a Schedule-Free rule has: in training they are y, where gradients are taken; for evaluation they are the average x.
[<RequireQualifiedAccess>]
module ScheduleFree =
    let private column = "schedule_free.z"

    /// x = y + (1 - 1 / momentum) (z - y), over x that holds y, in the dtype of the state.
    let private view =
        Rule.define "Schedule-Free view" (fun r ->
            let momentum = r.Number("momentum", 0.9, Interval.between 0.0 1.0)
            Expression.Fma(1.0 - 1.0 / momentum, r.Gradient - r.Parameter, r.Parameter))

    /// Whether a rule is one of Wrappers.ScheduleFree.
    let isRule (rule: Rule) =
        Argument.notNull "rule" rule
        rule.ColumnNames.Contains column

    let private beta (rule: Rule) (options: IOptimizerOptions) =
        if not (isRule rule) then
            raise (
                ArgumentException $"{rule.Name} is not Schedule-Free: it has no view for evaluation; Wrappers.ScheduleFree makes one of it"
            )

        rule.Read(options, "schedule_free.momentum")

    /// The parameters for evaluation, in memory of their own; those that have taken no step are as they are.
    let evaluation (rule: Rule) (options: IOptimizerOptions) (parameters: Parameters) (state: State) : Parameters =
        Argument.notNull "rule" rule
        Argument.notNull "options" options
        Argument.notNull "parameters" parameters
        Argument.notNull "state" state
        let momentum = beta rule options
        let z = state[column]

        if z.Rows.Length <> parameters.Count then
            raise (ArgumentException $"the state is of {z.Rows.Length} parameters, and there are {parameters.Count}")

        let steps =
            [
                for row in 0 .. parameters.Count - 1 do
                    if not z[row].IsAbsent then
                        row
            ]

        let wide =
            [
                for row in steps -> parameters[row].ConvertTo(parameters[row].DType.ToStateDType())
            ]

        let given = Parameters.Of wide
        let options = view.With(struct ("momentum", momentum))

        if not wide.IsEmpty then
            view.Step(options, given, Gradients.OfDense [ for row in steps -> z[row] ], view.Init(options, given))
            |> ignore

        let copies = parameters.Copy()

        for row, x in List.zip steps wide do
            copies[row].ConvertFrom x

        copies
