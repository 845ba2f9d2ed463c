/// Records of options: what is wrong with them is told at once and in full, and they are printed in a way that can be read.
module OptionTests

open System
open System.Collections.Generic
open Expecto
open Microsoft.FSharp.Reflection
open Optim.Core

let private errors result =
    match result with
    | Ok _ -> []
    | Error(errors: OptionError list) -> errors

/// A record of options whose numbers are all NaN, which no range has.
let private ofNaN (options: IOptimizerOptions) =
    FSharpValue.MakeRecord(
        options.GetType(),
        FSharpValue.GetRecordFields options
        |> Array.map (fun value ->
            match value with
            | :? double -> box nan
            | :? (struct (double * double)) -> box (struct (nan, nan))
            | :? (struct (Nullable<double> * double)) -> box (struct (Nullable nan, nan))
            | :? (struct (double * double * double)) -> box (struct (nan, nan, nan))
            | value -> value)
    )
    :?> IOptimizerOptions

let private hasNaN (value: OptionValue) =
    match value with
    | OptionValue.Float number -> Double.IsNaN number
    | OptionValue.Tuple(Items items) -> items |> List.contains (OptionValue.Float nan)
    | _ -> false

[<Tests>]
let tests =
    testList
        "options"
        [
            test "validate reports every wrong option, with its value and what is allowed" {
                let flags =
                    { Execution.Default with
                        Foreach = Nullable true
                        Fused = Nullable true
                    }

                let found =
                    Adam.validate
                        { Adam.defaults with
                            Lr = -1.0
                            Betas = struct (1.5, -2.0)
                            Eps = nan
                            Execution = flags
                        }
                    |> errors

                Expect.equal
                    (found |> List.map _.Message)
                    [
                        "lr is -1; lr must be at least 0"
                        "betas is (1.5, -2); betas[0] must be in [0, 1); betas[1] must be in [0, 1)"
                        "eps is nan; eps must be at least 0"
                        "fused is True; fused and foreach cannot be True together"
                    ]
                    "in the order of the options"

                Expect.equal found[0].Option "lr" "option"
                Expect.equal found[0].Value (OptionValue.Float -1.0) "value"
            }
            test "validate returns right options as they are" {
                let options = { SGD.defaults with Lr = 0.5 }
                Expect.equal (SGD.validate options) (Ok options) "SGD"
                Expect.equal (LBFGS.validate LBFGS.defaults) (Ok LBFGS.defaults) "LBFGS"
            }
            test "validate tells of flags that are null once" {
                let found =
                    RMSprop.validate
                        { RMSprop.defaults with
                            Execution = Unchecked.defaultof<Execution>
                        }
                    |> errors

                Expect.equal
                    (found |> List.map _.Message)
                    [ "execution is None; it must be Execution.Default, or that with other flags" ]
                    "one"
            }
            for algorithm in Algorithms.All do
                test $"{algorithm.Name}: validate reports each number that is NaN, and nothing of the defaults" {
                    Expect.isEmpty (algorithm.Validate algorithm.Defaults) "defaults"
                    let wrong = ofNaN algorithm.Defaults

                    let expected =
                        [
                            for option in algorithm.OptionNames do
                                if hasNaN (algorithm.Read(wrong, option)) then
                                    option
                        ]

                    Expect.isNonEmpty expected "numbers"
                    Expect.equal [ for error in algorithm.Validate wrong -> error.Option ] expected "options"
                }
            for rule in Rules.All do
                test $"{rule.Name}: the record is printed by its fields, and flags as they are set" {
                    let printed = $"%A{rule.Defaults}"
                    Expect.stringContains printed "Lr = " "a field"

                    if rule.Has "foreach" then
                        Expect.stringContains printed "Execution = default" "the flags"

                    Expect.isLessThan (printed.Split '\n').Length 12 "short"
                }
            test "options of a rule by definition are printed by their names" {
                let rule =
                    Rule.define "Plain" (fun r -> r.Parameter - r.Number("lr", 0.5, Interval.atLeast 0.0) * r.Gradient)

                Expect.equal $"%A{rule.Defaults}" "{ lr = 0.5 }" "%A"
                Expect.equal (string (rule.With(struct ("lr", OptionValue.Float 2.0)))) "{ lr = 2 }" "ToString"

                let wrong = rule.Validate(rule.Defaults)
                Expect.isEmpty wrong "defaults"
            }
            test "a range of one's own refuses by its words" {
                let even = Interval.where "an even number" (fun x -> x % 2.0 = 0.0)

                let rule =
                    Rule.define "Even" (fun r -> r.Parameter - r.Number("lr", 2.0, even) * r.Gradient)

                let replaced () =
                    rule.Replace(rule.Defaults, [ KeyValuePair("lr", OptionValue.Float 3.0) ])
                    |> ignore

                Expect.throwsC replaced (fun refused -> Expect.stringContains refused.Message "must be an even number" "words")
                Expect.isFalse (even.Holds nan) "NaN"
            }
        ]
