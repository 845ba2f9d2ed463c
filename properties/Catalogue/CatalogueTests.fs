/// The table of the catalogue: names, what entries say, and how they are found.
module CatalogueTests

open System
open System.Text.RegularExpressions
open Expecto
open Optim.Core

let private plain (name: string) =
    name.Replace("-", "").Replace("_", "").ToUpperInvariant()

let private names =
    test "no two rules have one name, whatever its case, and no rule that of torch.optim's" {
        let all =
            [
                for rule in Algorithms.All do
                    plain rule.Name

                for entry in Catalogue.All do
                    plain entry.Name

                    for published in entry.Published do
                        if plain published.Name <> plain entry.Name then
                            plain published.Name

                for name, _ in Catalogue.Torch do
                    plain name
            ]

        Expect.sequenceEqual
            (all
             |> List.countBy id
             |> List.filter (fun (_, count) -> count > 1)
             |> List.map fst)
            []
            "names that come twice"
    }

let private words =
    test "every entry has its rule's name, a sentence, a paper with its year, and published names with their package" {
        for entry in Catalogue.All do
            Expect.equal entry.Rule.Name entry.Name "the rule's name"
            Expect.isTrue (entry.Summary.EndsWith('.') && entry.Summary.Length > 20) $"{entry.Name}: {entry.Summary}"

            if entry.Paper <> "" then
                Expect.isTrue (Regex.IsMatch(entry.Paper, "(19|20)[0-9]{2}|arXiv:[0-9]{4}|no paper")) $"{entry.Name}: {entry.Paper}"

            for published in entry.Published do
                Expect.stringContains published.Name "." $"{entry.Name}: {published.Name}"
    }

let private finding =
    test "rules are found by name, by published name, in any case, with hyphens or without" {
        for entry in Catalogue.All do
            // A factory may set other defaults under the class's own name.
            let isPreset =
                entry.Published
                |> Seq.exists (fun published -> published.Name = entry.Name && published.Options.Count > 0)

            let own =
                [ entry.Name; entry.Name.ToLowerInvariant(); entry.Name.Replace('_', '-') ]

            for name in (if isPreset then [] else own) do
                Expect.isTrue (Object.ReferenceEquals(Rules.Find name, entry.Rule)) name

            Expect.isTrue (Object.ReferenceEquals(Catalogue.Find(entry.Name.ToUpperInvariant()), entry)) entry.Name

            for published in entry.Published do
                let rule = Rules.Find published.Name
                Expect.isTrue (Object.ReferenceEquals(rule, entry.RuleAs published)) published.Name

                for option in published.Options do
                    Expect.equal (rule.Read(rule.Defaults, option.Key)) option.Value $"{published.Name}: {option.Key}"

        Expect.isTrue (Object.ReferenceEquals(Rules.Find "pytorch_optimizer.adamw", Rules.AdamW)) "torch.optim's"
        Expect.isTrue (Object.ReferenceEquals(Algorithms.Find "adabelief", Rules.Find "AdaBelief")) "among algorithms"
        Expect.equal ((Rules.Find "lookahead(5, 0.5, grams)").Name) "lookahead(Grams)" "in a wrapper"

        let refused words (wrong: unit -> unit) =
            Expect.throwsC wrong (fun error ->
                Expect.isTrue (error :? ArgumentException) words
                Expect.stringContains error.Message words "message")

        refused "AdaBelief" (fun () -> Rules.Find "adabelif" |> ignore)
        refused "AdaBelief" (fun () -> Catalogue.Find "adabelif" |> ignore)
        Expect.isFalse (fst (Catalogue.TryFind "adam")) "torch.optim's rules are no entries"
        Expect.isFalse (fst (Rules.TryFind "no such rule")) "unknown"
    }

[<Tests>]
let tests = testList "catalogue" [ names; words; finding ]
