namespace Optim.Core

open System
open Optim.Kernels

/// The two views of parameters that a Schedule-Free rule has: in training they are y, where gradients are taken; for evaluation they are the average x.
[<RequireQualifiedAccess>]
module ScheduleFree =
    /// x = y + (1 - 1 / momentum) (z - y), over x that holds y, in the dtype of the state.
    let private view =
        Rule.define "Schedule-Free view" (fun r ->
            let momentum = r.Number("momentum", 0.9, Interval.between 0.0 1.0)
            Expression.Fma(1.0 - 1.0 / momentum, r.Gradient - r.Parameter, r.Parameter))

    /// Where a rule keeps z, and the option by which y lies between it and x: of Wrappers.ScheduleFree and of the catalogue's rules, which have it
    /// as momentum or as the first of betas.
    let private placeOf (rule: Rule) : struct (string * string) voption =
        if rule.ColumnNames.Contains "schedule_free.z" then
            ValueSome(struct ("schedule_free.z", "schedule_free.momentum"))
        elif rule.ColumnNames.Contains "z" && rule.Has "weight_lr_power" then
            ValueSome(struct ("z", (if rule.Has "momentum" then "momentum" else "betas")))
        else
            ValueNone

    /// Whether a rule is Schedule-Free: one of Wrappers.ScheduleFree, or of the catalogue.
    let isRule (rule: Rule) =
        Argument.notNull "rule" rule
        (placeOf rule).IsSome

    let private read (rule: Rule) (options: IOptimizerOptions) =
        match placeOf rule with
        | ValueSome(struct (column, option)) ->
            match rule.Read(options, option) with
            | OptionValue.Tuple values -> struct (column, values[0])
            | value -> struct (column, value)
        | ValueNone ->
            raise (
                ArgumentException $"{rule.Name} is not Schedule-Free: it has no view for evaluation; Wrappers.ScheduleFree makes one of it"
            )

    /// The parameters for evaluation, in memory of their own; those that have taken no step are as they are.
    let evaluation (rule: Rule) (options: IOptimizerOptions) (parameters: Parameters) (state: State) : Parameters =
        Argument.notNull "rule" rule
        Argument.notNull "options" options
        Argument.notNull "parameters" parameters
        Argument.notNull "state" state
        let struct (column, momentum) = read rule options
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
