/// Chains and wrapped rules as one writes them: in `optim train`, `optim explain` and Rules.Find.
module ChainCommandTests

open Expecto
open Optim.Core
open Command

let private written =
    "chain(clip_by_global_norm(1), scale_by_adam, add_decayed_weights(0.1), scale(-1e-3))"

let private trainTests =
    test "a chain trains by a schedule of its rate, with options by path; so does a wrapped rule" {
        let quick =
            [ "--epochs"; "1"; "--batch-size"; "256"; "--hidden"; "8"; "--threads"; "1" ]

        for optimizer, more in
            [
                written,
                [
                    "--scheduler"
                    "hf:cosine"
                    "--warmup"
                    "2"
                    "--set"
                    "scale_by_adam.beta1=0.8"
                ]
                "lookahead(2, 0.5, adamw)", [ "--scheduler"; "cosine"; "--set"; "lookahead.k=3" ]
                "chain(freeze('layer1.*'), scale_by_lion, scale_by_learning_rate(1e-3))", [ "--group"; "*.bias:lr=1e-4" ]
                "schedule_free(chain(scale_by_adam(beta1=0), scale(-1e-2)))", []
            ] do
            let code, output, error = run ([ "train"; "--optimizer"; optimizer ] @ more @ quick)
            Expect.equal (code, error) (0, "") optimizer
            Expect.stringContains output "accuracy" optimizer
    }

let private refusalTests =
    test "what is wrong with a chain is said, with the names that there are" {
        let refused words text =
            try
                Rules.Find text |> ignore
                failtestf "taken: %s" text
            with :? System.ArgumentException as e ->
                Expect.stringContains e.Message words text

        refused "there is no transform 'scale_by_adm'; did you mean 'scale_by_adam'? There are: identity, scale" "chain(scale_by_adm)"
        refused "scale needs step_size" "chain(scale)"
        refused "scale takes 1 arguments, and 2 are given" "chain(scale(1, 2))"
        refused "scale_by_adam has no 'beta3'" "chain(scale_by_adam(beta3=0.9))"
        refused "beta1 of scale_by_adam is given twice" "chain(scale_by_adam(0.9, beta1=0.8))"
        refused "beta1 is 2; it must be in [0, 1)" "chain(scale_by_adam(2))"
        refused "expected ',' or ')' at character 12, and there is the end" "chain(scale"
        refused "expected a name or a number at character 7, and there is ','" "chain(,)"
        refused "expected the end at character 9" "chain() x"
        refused "there is no 'lookahed' of rules; did you mean 'lookahead'?" "lookahed(3, adamw)"
        refused "the last argument of lookahead must be the rule" "lookahead(3, 0.5)"
        refused "optimizer 'adamm' is not known" "lookahead(3, 0.5, adamm)"
        refused "k is 2.5; it must be a whole number" "lookahead(2.5, 0.5, adamw)"
        refused "where begins with a pattern of names in quotes" "chain(where(scale(1)))"

        let found = Rules.Find written :?> DefinedRule
        Expect.equal (found.Read(found.Defaults, "scale.step_size")) (OptionValue.Float -1e-3) "a number"
        Expect.equal (found.Read(found.Defaults, "lr")) (OptionValue.Float 1e-3) "the rate"
        Expect.equal (Rules.Find "chain(trace(0.9, nesterov=True), scale(-1))").Name "chain(trace, scale)" "a flag"
    }

[<Tests>]
let tests =
    testSequenced <| testList "chains in the command" [ trainTests; refusalTests ]
