/// `optim verify`: laws on the product's rules and on those of an assembly.
module VerifyTests

open System
open System.IO
open System.Text.Json
open System.Threading
open Expecto
open Command

let private beside name =
    Path.Combine(AppContext.BaseDirectory, name)

let private broken = beside "BrokenRules.dll"

let private parsed (arguments: string list) =
    let code, output, error = run (arguments @ [ "--json" ])
    Expect.isEmpty error "no message"
    use document = JsonDocument.Parse output
    code, document.RootElement.Clone()

let private text (name: string) (json: JsonElement) =
    string (json.GetProperty(name).GetString())

let private rules (json: JsonElement) =
    [ for rule in json.GetProperty("rules").EnumerateArray() -> rule ]

let private laws (rule: JsonElement) =
    [ for law in rule.GetProperty("laws").EnumerateArray() -> law ]

[<Tests>]
let tests =
    testSequenced (
        testList
            "verify"
            [
                test "rules of the product hold, whatever they take" {
                    for name in [ "adamw"; "sparseadam"; "Muon"; "lbfgs" ] do
                        let code, json = parsed [ "verify"; name; "--cases"; "10"; "--seed"; "1" ]
                        Expect.equal code 0 (json.GetRawText())
                        Expect.equal (number "broken" json) 0.0 name
                        Expect.isGreaterThan (number "held" json) 5.0 name

                    let _, json = parsed [ "verify"; "muon"; "--law"; "u3" ]
                    let law = json |> rules |> List.exactlyOne |> laws |> List.exactlyOne
                    Expect.equal (text "outcome" law) "left_out" "Muon opts out"
                    Expect.stringContains (text "reason" law) "orthogonal" "reason"
                }

                test "rules of an assembly in F# and in C# are found, and are Optim's own kind of rule" {
                    for file, place in
                        [
                            "OwnRuleFSharp.dll", "OwnRuleFSharp.Lion.rule"
                            "OwnRuleCSharp.dll", "OwnRuleCSharp.Lion.TheRule"
                        ] do
                        let output = succeeds "verify --cases 10 --seed 1" [ beside file ]
                        Expect.stringContains output $"Lion ({place}): " "the rule"
                        Expect.stringContains output "left out  U5" "what it opts out of"
                        Expect.stringContains output "because a step is lr times a sign" "why"
                        Expect.stringContains output " held, 0 broken, 1 left out (10 cases a law, seed 1, " "summary"
                }

                test "what is broken is shown with its case, the defect that it looks like, and how to repeat it" {
                    let code, output, _ = run [ "verify"; broken; "--seed"; "7" ]
                    Expect.equal code 1 output

                    for part in
                        [
                            "Climber (BrokenRules.Rules.Climber)"
                            "BROKEN    U1"
                            "BROKEN    U3"
                            "BROKEN    U7"
                            "for Cold(lr=0.01, beta=0.9), float"
                            "looks like mlx Adam: no bias correction"
                            $"repeat: optim verify {broken} --rule Climber --law U3 --cases 30 --seed 7"
                            "Sound (BrokenRules.Rules.All)"
                        ] do
                        Expect.stringContains output part "report"

                    let again =
                        "verify" :: broken :: words "--rule Climber --law U3 --cases 30 --seed 7"

                    let code, first, _ = run again
                    let _, second, _ = run again

                    let found (text: string) =
                        text.Split '\n' |> Array.filter (fun line -> not (line.Contains " held, "))

                    Expect.equal code 1 "broken again"
                    Expect.equal (found first) (found second) "the same case"

                    Expect.isTrue
                        (found first
                         |> Array.forall (fun line -> output.Contains(line.TrimEnd()) || line.Contains " laws"))
                        "as in the whole run"
                }

                test "a report as JSON" {
                    let code, json = parsed [ "verify"; broken; "--rule"; "cold"; "--seed"; "7" ]
                    Expect.equal code 1 "exit code"
                    Expect.equal (number "seed" json, number "cases" json) (7.0, float Optim.Laws.Statement.cases) "how"
                    let rule = json |> rules |> List.exactlyOne
                    Expect.equal (text "name" rule, text "place" rule) ("Cold", "BrokenRules.Rules.Cold") "which"
                    let law = laws rule |> List.find (fun law -> text "id" law = "U7")
                    Expect.equal (text "outcome" law) "broken" "outcome"
                    Expect.stringContains (text "why" law) "times as far" "why"
                    Expect.stringContains (text "case" law) "gradients:" "case"
                    let known = law.GetProperty("looks_like").EnumerateArray() |> Seq.map (text "where")
                    Expect.contains known "mlx Adam" "known defects"
                    Expect.stringContains (text "repeat" law) "--law U7" "how to repeat it"
                    let others = laws rule |> List.filter (fun law -> text "id" law <> "U7")
                    Expect.all others (fun law -> text "outcome" law = "held") "all others hold"
                }

                test "what cannot be verified is refused in one sentence" {
                    refused [ "verify"; "missing.dll" ] [ "missing.dll"; "no such file" ]
                    refused [ "verify"; "adamx" ] [ "adamx"; "Adam" ]
                    refused [ "verify"; beside "Optim.Kernels.dll" ] [ "has no rules"; "public static" ]
                    refused [ "verify"; broken; "--rule"; "Lion" ] [ "--rule is 'Lion'"; "Climber" ]
                    refused [ "verify"; "adam"; "--law"; "Z1" ] [ "--law is 'Z1'"; "U1" ]
                    refused [ "verify"; "adam"; "--cases"; "0" ] [ "--cases is '0'" ]
                    let file = Path.Combine(Path.GetTempPath(), $"optim-{Guid.NewGuid()}.dll")

                    try
                        File.WriteAllText(file, "no assembly")
                        refused [ "verify"; file ] [ file; "not a .NET assembly" ]
                    finally
                        File.Delete file
                }

                test "it stops when it is interrupted" {
                    let code, output, error = command (CancellationToken true) [ "verify"; "adam" ]
                    Expect.equal code 130 "exit code"
                    Expect.stringContains output "0 held, 0 broken" "nothing was tried"
                    Expect.stringContains error "stopped before all laws were tried" "said so"
                }
            ]
    )
