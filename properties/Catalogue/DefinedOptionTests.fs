/// The kinds of options that definitions declare: what they take, what they refuse, and how formulas and columns differ by them.
module DefinedOptionTests

open System
open Expecto
open Optim.Core
open Optim.Core.Definitions
open Optim.Kernels
open Optim.Laws

let private any = Interval.any

/// Adds to a parameter what its options come to.
let private rule =
    Rule.define "kinds" (fun r ->
        let struct (one, two, three) =
            r.Triple("betas", 0.1, any, 0.2, any, 0.3, Interval.upTo 0.0 1.0)

        let whole = r.Whole("steps", 5, Interval.atLeast 0.0)

        let struct (isGiven, given) =
            r.NumberOrNone("limit", Nullable(), Interval.above 0.0)

        let struct (isOn, number) = r.NumberOrZero("momentum", 0.0, Interval.upTo 0.0 1.0)
        let kind = r.Choice("kind", "plain", "plain", "double", "")
        let count = r.Count("length", 2, 1, 3)
        let isSwitched = r.Switch("switched", false)
        let sum = one + 10.0 * two + 100.0 * three + 1000.0 * whole
        let sum = if isGiven then sum + 1e4 * given else sum

        let sum =
            match kind with
            | "double" -> 2.0 * sum
            | "" -> -sum
            | _ -> sum

        if isOn then
            let m = r.Column "momentum_buffer"
            r.Set(m, number * m + r.Gradient)

        let queue = [ for place in 1..count -> r.Column $"queue{place}" ]
        queue |> List.iter (fun column -> r.Set(column, r.Gradient))
        r.Parameter + where isSwitched (Expression.Of 0.5) (Expression.Of 0.0) + sum)

let private step (options: DefinedOptions) =
    let parameters = Parameters.Of [ TensorView.Of [| 0.0 |] ]
    let gradients = Gradients.OfDense [ TensorView.Of [| 1.0 |] ]

    let struct (moved, _) =
        rule.PureStep(options, parameters, gradients, rule.Init(options, parameters))

    moved[0].ToDoubles()[0]

let private withOption name value = rule.With(struct (name, value))
let private usual = 0.1 + 2.0 + 30.0 + 5000.0

let private values: (string * OptionValue * float) list =
    [
        "betas", OptionValue.TupleOf [ OptionValue.Float 1.0; OptionValue.Float 2.0; OptionValue.Float 0.0 ], 5021.0
        "steps", OptionValue.Float 7.0, usual + 2000.0
        "limit", OptionValue.Float 2.0, usual + 2e4
        "limit", OptionValue.None, usual
        "momentum", OptionValue.Float 0.5, usual
        "kind", OptionValue.Text "double", 2.0 * usual
        "kind", OptionValue.None, -usual
        "length", OptionValue.Int 3L, usual
        "switched", OptionValue.Bool true, usual + 0.5
    ]

let private taken =
    test "formulas read the numbers, and differ by what is chosen" {
        Expect.floatClose Accuracy.veryHigh (step rule.Defaults) usual "defaults"

        for name, value, expected in values do
            let options = withOption name value
            Expect.equal (rule.Read(options, name)) value name
            Expect.floatClose Accuracy.veryHigh (step options) expected name

        let columns options =
            List.sort (List.ofSeq (rule.ColumnsUnder options))

        Expect.equal (columns rule.Defaults) [ "queue1"; "queue2" ] "columns"
        Expect.equal (columns (withOption "length" (OptionValue.Int 1L))) [ "queue1" ] "fewer"

        Expect.equal
            (columns (withOption "momentum" (OptionValue.Float 0.5)))
            [ "momentum_buffer"; "queue1"; "queue2" ]
            "a column of an option that is on"

        Expect.sequenceEqual (rule.ChoicesOf "kind") [ OptionValue.Text "plain"; OptionValue.Text "double"; OptionValue.None ] "choices"

        Expect.isEmpty (rule.ChoicesOf "steps") "no choices"

        // Whole numbers and switches are not what derivatives are taken by.
        let numbers =
            [
                for number in rule.Numbers(withOption "limit" (OptionValue.Float 1.0)) -> number.Name
            ]

        Expect.equal numbers [ "beta1"; "beta2"; "beta3"; "limit" ] "numbers"
    }

let private refused =
    test "what is no value of an option is refused with its name" {
        for name, value, words in
            [
                "betas", Options.ofPair (1.0, 2.0), "three numbers"
                "betas", OptionValue.TupleOf [ for x in [ 0.0; 0.0; 1.0 ] -> OptionValue.Float x ], "betas[2]"
                "steps", OptionValue.Float 0.5, "a whole number"
                "steps", OptionValue.Int -1L, "at least 0"
                "limit", OptionValue.Float 0.0, "above 0"
                "limit", OptionValue.Text "x", "a number or None"
                "momentum", OptionValue.Float 1.0, "in [0, 1)"
                "momentum", OptionValue.None, "a number"
                "kind", OptionValue.Text "triple", "one of 'plain', 'double', None"
                "length", OptionValue.Int 4L, "in [1, 3]"
                "switched", OptionValue.Float 1.0, "True or False"
            ] do
            Expect.throwsC (fun () -> step (withOption name value) |> ignore) (fun error ->
                Expect.isTrue (error :? OptionException) name
                Expect.stringContains error.Message name "the option"
                Expect.stringContains error.Message words "what is allowed")

        let tooMany () =
            Rule.define "many" (fun r ->
                let flags = [ for i in 1..7 -> r.Flag($"flag{i}", false) ]

                if List.contains true flags then
                    -r.Parameter
                else
                    r.Parameter + r.Gradient)
            |> ignore

        Expect.throwsC tooMany (fun error -> Expect.stringContains error.Message "many: flags and choices have 128 settings" "too many")

        let stranger () =
            Rule.define "stranger" (fun r ->
                r.Choice("kind", "other", "plain", "double") |> ignore
                r.Parameter + r.Gradient)
            |> ignore

        Expect.throwsC stranger (fun error -> Expect.stringContains error.Message "kind" "a default that is no choice")
    }

[<Tests>]
let tests = testList "options of definitions" [ taken; refused ]
