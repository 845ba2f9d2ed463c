/// What packages beside torch.optim computed (golden/beyond/optimizers*.json*), by the rules of the catalogue under their published names.
module CatalogueGolden

open System
open System.IO
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open global.Reference
open Golden
open GoldenComparison
open Kit
open Plain
open CatalogueExceptions

let private publishedName (recorded: string) =
    packages
    |> Map.tryFind recorded
    |> Option.defaultValue (
        if recorded.Contains '.' then
            recorded
        else
            "pytorch_optimizer." + recorded
    )

let private textOf (value: Setting) = (option value).ToString()

let private settings name (rule: Rule) (given: (string * Setting) list) =
    [|
        for option', value in asPackage |> Map.tryFind name |> Option.defaultValue [] do
            struct (option', value)

        for option', value in given do
            if rule.Has option' then
                struct (option', option value)
            elif not (withoutEffect.Contains option' || leftOut.ContainsKey(name, option')) then
                failtestf "%s has no option %s, and %s sets it to %s" rule.Name option' name (textOf value)
    |]

/// The parameters after each step.
let private run name (rule: Rule) (case: Case) =
    let parameters =
        [
            for g in case.Groups do
                for p in g.Parameters -> param (Option.toObj p.Name) dtypes[case.DType] p.Shape p.Initial
        ]

    // Packages with Muon ask for a group of their own for all that is no matrix.
    let groups =
        if rule.Has "use_muon" then
            let matrices, others =
                parameters |> List.partition (fun p -> (p :> IParameter).Data.Shape.Length = 2)

            [
                for some, usesMuon in [ matrices, true; others, false ] do
                    let group = ParameterGroup(some |> Seq.map (fun p -> p :> IParameter))
                    group["use_muon"] <- OptionValue.Bool usesMuon
                    group :> IParameterOrGroup
            ]
        else
            [ for p in parameters -> p :> IParameterOrGroup ]

    let optimizer = RuleOptimizer(rule, groups, settings name rule case.Options)

    [
        for gradients in case.Gradients do
            List.iter2 setGradient parameters gradients
            optimizer.Step()
            [ for p in parameters -> values p ]
    ]

let private check name (rule: Rule) element () =
    let case = case element
    let tolerance = tolerances |> Map.tryFind name |> Option.defaultValue 1e-11
    let first = firstStep |> Map.tryFind name |> Option.defaultValue 0

    let compared =
        comparedParameters |> Map.tryFind name |> Option.defaultValue Int32.MaxValue

    let initial = case.Groups |> List.collect _.Parameters |> List.map _.Initial
    let mutable largest, share, moved = 0.0, 0.0, 0.0

    for step, (found, expected) in List.indexed (List.zip (run name rule case) case.Expected) do
        for index, (found, expected) in List.indexed (List.zip found expected) do
            if step >= first && index < compared then
                for i in 0 .. expected.Length - 1 do
                    let difference = abs (found[i] - expected[i])
                    let allowed = tolerance * (1.0 + abs expected[i])
                    moved <- max moved (abs (expected[i] - initial[index][i]))

                    if not (difference <= allowed) then
                        failtestf
                            "step %d, parameter %d, element %d: %s, recorded %s; off by %g, allowed %g"
                            step
                            index
                            i
                            (text found[i])
                            (text expected[i])
                            difference
                            allowed

                    largest <- max largest difference
                    share <- max share (difference / allowed)

    // A rule that hardly moves is near to anything that does not. AdaShift moves nothing in its first ten steps.
    if not (largest <= 1e-3 * moved) then
        failtestf "differs by %g, where the largest movement of an element is %g" largest moved

    GoldenTests.note name case.DType largest share
    Cases.add "catalogue" 1

/// The defaults of a case: those of the package's class, or what timm's factory makes of them, which the group tells of options that are not given.
let private defaultsOf (name: string) (case: JsonElement) =
    let group =
        tryField "group_at_the_end" case
        |> Option.orElse (
            tryField "groups_at_the_end" case
            |> Option.map (fun groups -> (list id groups).Head)
        )

    match tryField "defaults" case, group with
    | Some defaults, Some group when name.StartsWith("timm.", StringComparison.Ordinal) ->
        let given = field "options" case |> pairs id |> List.map fst

        [
            for option', value in pairs id defaults do
                if not (List.contains option' given) then
                    option', setting (tryField option' group |> Option.defaultValue value)
        ]
    | Some defaults, _ -> pairs setting defaults
    | None, _ -> []

/// The options that the package declares, with their defaults, are the rule's.
let private checkDefaults name (rule: Rule) (defaults: (string * Setting) list) () =
    for option', value in defaults do
        if otherDefaults.ContainsKey(name, option') then
            ()
        elif rule.Has option' then
            Expect.equal (rule.Read(rule.Defaults, option')) (option value) $"{name}: {option'}"
        elif not (withoutEffect.Contains option' || leftOut.ContainsKey(name, option')) then
            failtestf "%s has no option %s, of %s" rule.Name option' name

let private ofFile (path: string) (root: JsonElement) =
    let file = Path.GetFileName(path).Split('.')[0]

    let byName =
        root
        |> list id
        |> List.groupBy (fun element -> field "optimizer" element |> Golden.text |> publishedName)

    [
        for name, cases in byName do
            match Rules.TryFind name with
            | false, _ -> ptestCase name ignore
            | true, rule ->
                testList
                    name
                    [
                        match defaultsOf name cases.Head with
                        | [] -> ()
                        | defaults -> testCase "defaults" (checkDefaults name rule defaults)

                        for number, element in List.indexed cases do
                            let given = field "options" element |> pairs setting

                            let options =
                                String.Join(", ", given |> List.map (fun (option', value) -> $"{option'} {textOf value}"))

                            let label = $"{number + 1}: {options}"

                            match
                                defects.TryFind(file, name, options)
                                |> Option.orElse (defectiveRules.TryFind name)
                            with
                            | Some reason -> ptestCase $"{label}: {reason}" ignore
                            | None -> testCase label (check name rule element)
                    ]
    ]

[<Tests>]
let tests =
    testList
        "catalogue"
        (Golden.recorded "beyond/optimizers*.json" ofFile
         @ Golden.recorded "beyond/optimizers*.json.gz" ofFile)
