/// What is written from the table of the catalogue, and committed: the C# constructors, the page of rules and the lines of the README.
module Written

open System
open System.Globalization
open Optim.Core

/// Families, in the order in which they are read, and what their rules have in common.
let private families =
    [
        RuleFamily.Momentum, "Momentum", "averages of gradients"
        RuleFamily.AdaptiveMoments, "Adaptive moments", "gradients divided by the root of a second moment of each element"
        RuleFamily.Sign, "Sign", "signs of gradients"
        RuleFamily.TrustRatio, "Trust ratio", "steps in proportion to a norm of the parameter"
        RuleFamily.ParameterFree, "Parameter-free", "rates that are found while training"
        RuleFamily.Averages, "Averages", "averages of parameters"
        RuleFamily.Factored, "Factored", "second moments of rows and columns in place of elements"
        RuleFamily.Matrix, "Matrix", "products, roots and eigenvectors of matrices"
    ]

let private rulesOf family =
    Catalogue.All |> Seq.filter (fun entry -> entry.Family = family) |> List.ofSeq

let private names separator (items: string seq) = String.Join((separator: string), items)

let private capital (text: string) =
    string (Char.ToUpperInvariant text[0]) + text[1..]

/// What a rule is called in C#: the package goes before the name where it is a part of it.
let classOf (entry: CatalogueEntry) =
    entry.Name.Split '.'
    |> Array.collect (fun part -> part.Split([| '_'; '-' |], StringSplitOptions.RemoveEmptyEntries))
    |> Array.map capital
    |> String.Concat

let private argumentOf (option: string) =
    match List.ofArray (option.Split '_') with
    | first :: rest -> first + String.Concat(rest |> List.map capital)
    | [] -> option

let private number (value: float) =
    if Double.IsPositiveInfinity value then
        "double.PositiveInfinity"
    else
        let text = value.ToString("R", CultureInfo.InvariantCulture)
        let mantissa = text.IndexOf 'E'

        if mantissa < 0 && value <> 0.0 && abs value < 1e-2 then
            // 0.001 as 1e-3, where that is as short.
            let exponent = int (floor (log10 (abs value) + 1e-12))
            let digits = Math.Round(value / Math.Pow(10.0, float exponent), 12)
            String.Format(CultureInfo.InvariantCulture, "{0}e{1}", digits, exponent)
        elif mantissa < 0 then
            text
        else
            text[.. mantissa - 1]
            + "e"
            + (int text[mantissa + 1 ..]).ToString CultureInfo.InvariantCulture

/// The type of an option in C#, its default, what becomes of it, and a word on a default that is no constant.
let private typed (entry: CatalogueEntry) (option: string) =
    let rule = entry.Rule
    let range = rule.RangeOf option
    let value = rule.Read(rule.Defaults, option)
    let name = argumentOf option

    let mayBeNone =
        range.StartsWith("None or", StringComparison.Ordinal)
        || range.EndsWith(", None", StringComparison.Ordinal)

    let isWhole = range.Contains "a whole number"

    match value with
    | OptionValue.Bool flag -> "bool", (if flag then "true" else "false"), name, ""
    | OptionValue.Int value -> (if mayBeNone then "int?" else "int"), value.ToString CultureInfo.InvariantCulture, name, ""
    | OptionValue.Float value when isWhole -> "int", (int value).ToString CultureInfo.InvariantCulture, name, ""
    | OptionValue.Float value -> (if mayBeNone then "double?" else "double"), number value, name, ""
    | OptionValue.Text text -> (if mayBeNone then "string?" else "string"), $"\"{text}\"", name, ""
    | OptionValue.Tuple values ->
        let numbers =
            values
            |> Seq.map (function
                | OptionValue.Float value -> number value
                | other -> failwithf "%s.%s: %O" entry.Name option other)
            |> names ", "

        let kind = names ", " (values |> Seq.map (fun _ -> "double"))
        $"({kind})?", "null", $"{name} ?? ({numbers})", $"; ({numbers}) when null"
    | OptionValue.None when range.StartsWith("one of", StringComparison.Ordinal) -> "string?", "null", name, ""
    | OptionValue.None when range.Contains ';' -> "(double, double)?", "null", name, ""
    | OptionValue.None when isWhole -> "int?", "null", name, ""
    | OptionValue.None -> "double?", "null", name, ""

let private escaped (text: string) =
    text.Replace("&", "&amp;").Replace("<", "&lt;").Replace(">", "&gt;")

/// Where packages have a rule under a name of theirs.
let private published (entry: CatalogueEntry) =
    entry.Published |> Seq.map _.Name |> names ", "

let private constructorOf (entry: CatalogueEntry) =
    let options = List.ofSeq entry.Rule.OptionNames
    let hasStorage = entry.Rule.Has StorageFields.format

    [
        $"/// <summary>{escaped entry.Summary}</summary>"
        "/// <remarks>"

        if entry.Paper <> "" then
            $"/// {escaped entry.Paper}."

        if entry.Published.Count > 0 then
            $"/// Published as {published entry}."

        if entry.Differs <> "" then
            $"/// Differs from the paper: {escaped entry.Differs}."

        "/// </remarks>"
        "/// <param name=\"parameters\">Parameters, or groups of them with options of their own, of any shape and strides; float16, bfloat16, float32 or float64, and complex ones where the rule takes pairs of reals. Half types are stepped in float32.</param>"

        for option in options do
            let kind, _, _, otherwise = typed entry option

            let range =
                if kind = "bool" then
                    ""
                else
                    $": {escaped (entry.Rule.RangeOf option)}{otherwise}"

            $"/// <param name=\"{argumentOf option}\">{escaped (entry.Describe option)}{range}.</param>"

        if hasStorage then
            "/// <param name=\"stateStorage\">How state is kept: float32 when null, <see cref=\"StateStorage.BFloat16\"/> or <see cref=\"StateStorage.Blockwise8\"/>.</param>"

        "/// <exception cref=\"OptionException\">An option is outside of its range.</exception>"
        $"public sealed class {classOf entry}("
        "    IEnumerable<IParameterOrGroup> parameters"
        + String.Concat
            [
                for option in options do
                    let kind, value, _, _ = typed entry option
                    $",\n    {kind} {argumentOf option} = {value}"

                if hasStorage then
                    ",\n    StateStorage? stateStorage = null"
            ]

        ")"
        "    : RuleOptimizer("
        $"        Rules.Find(\"{entry.Name}\"),"
        "        parameters"
        + String.Concat
            [
                for option in options do
                    let _, _, argument, _ = typed entry option
                    $",\n        (\"{option}\", {argument})"

                if hasStorage then
                    ",\n        (\"state_storage\", (stateStorage ?? StateStorage.Float32).Name)"
                    ",\n        (\"state_storage_minimum\", (stateStorage ?? StateStorage.Float32).Minimum)"
                    ",\n        (\"state_storage_seed\", (stateStorage ?? StateStorage.Float32).Seed)"
            ]

        "    );"
        ""
    ]

/// The files of the C# constructors, by their names.
let constructors () =
    [
        for family, _, _ in families do
            $"{family}.cs",
            names
                "\n"
                [
                    "// Long, because it is written from the table of the catalogue (properties/Catalogue/Written.fs), a class for each rule: change the table, and have"
                    "// it written anew (WrittenTests.fs says how)."
                    ""
                    "using Optim.Core;"
                    ""
                    "namespace Optim;"
                    ""

                    for entry in rulesOf family do
                        yield! constructorOf entry
                ]
    ]

let private arXiv (paper: string) =
    Text.RegularExpressions.Regex.Replace(paper, @"arXiv:(\d{4}\.\d{4,5})", "[arXiv:$1](https://arxiv.org/abs/$1)")

let private cell (text: string) =
    text.Replace("|", "\\|").Replace("<", "&lt;")

let private stateOf (entry: CatalogueEntry) =
    let explained = Explanation.ofRule entry.Rule entry.Rule.Defaults

    let state =
        Seq.append explained.Columns (explained.Numbers |> Seq.map (fun number -> number + " (a number)"))
        |> names ", "

    if state = "" then "none" else state

/// The page of the catalogue: what each rule does, its options with defaults, its state, where it is from, and where packages have it.
let page () =
    names
        "\n"
        [
            "# The catalogue"
            ""
            "The rules that people install beside torch.optim, with the options, defaults and state of their authors' code. `Rules.Find(\"lion\")` finds one, in `optim train`, `race` and `explain` it is `--optimizer lion`, and in C# each has a constructor: `new Lion(parameters, lr: 1e-4)`. A published name such as `timm.cadamw` finds the rule with the defaults that it has there. Case, hyphens and underscores of names do not count."
            "They are [rules by definition](guide/own-rule.md): fused and block-wise steps, half types, groups, schedules, files, [laws](verifying.md) and other devices come by themselves. Steps are counted for each parameter by itself, as torch.optim does, where some packages count for a group. `./optim explain lion` prints the formula with all options."
            "State dicts of pytorch_optimizer and timm load where their keys can be matched ([files](guide/files.md))."
            "This page is written from the table in Optim.Core/Catalogue."
            ""

            for family, title, what in families do
                $"## {title}"
                ""
                $"{capital what}."
                ""
                "| rule | what | options with defaults | state | after | published as |"
                "|---|---|---|---|---|---|"

                for entry in rulesOf family do
                    let rule = entry.Rule

                    let options =
                        rule.OptionNames
                        |> Seq.map (fun option -> $"{option} {rule.Read(rule.Defaults, option)}")
                        |> names ", "

                    let what =
                        if entry.Differs = "" then
                            entry.Summary
                        else
                            $"{entry.Summary} Differs from the paper: {entry.Differs}."

                    $"| {entry.Name} | {cell what} | {cell options} | {cell (stateOf entry)} | {arXiv (cell entry.Paper)} | {published entry} |"

                ""
        ]

/// The lines of the README's table of rules, one for each family.
let readme () =
    [
        for family, title, what in families do
            let rules = rulesOf family |> List.map _.Name |> names ", "
            $"| [{title}](docs/catalogue.md#{title.ToLowerInvariant().Replace(' ', '-')}) | {what} | {rules} | |"
    ]
