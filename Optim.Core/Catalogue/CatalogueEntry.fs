namespace Optim.Core

open System
open System.Collections.Generic
open Optim.Kernels

/// What the rules of a family have in common.
type RuleFamily =
    /// Averages of gradients.
    | Momentum = 0
    /// Gradients divided by the root of a second moment of each element.
    | AdaptiveMoments = 1
    /// Signs of gradients.
    | Sign = 2
    /// Steps in proportion to a norm of the parameter.
    | TrustRatio = 3
    /// Rates that are found while training.
    | ParameterFree = 4
    /// Averages of parameters.
    | Averages = 5
    /// Second moments of rows and columns in place of elements.
    | Factored = 6
    /// Products, roots and eigenvectors of matrices.
    | Matrix = 7

/// A name under which a package publishes a rule, and what it sets of the options there.
[<NoComparison>]
type PublishedName =
    {
        /// The package and its class, as in pytorch_optimizer.Lion.
        Name: string
        /// The options that differ from the rule's own defaults.
        Options: IReadOnlyList<KeyValuePair<string, OptionValue>>
    }

/// A rule of the catalogue, with what is known of it.
[<Sealed>]
type CatalogueEntry
    internal
    (name: string, family: RuleFamily, summary: string, paper: string, differs: string, published: PublishedName list, make: unit -> Rule) =
    let rule = lazy make ()

    let presets =
        lazy
            (dict
                [
                    for known in published do
                        if known.Options.Count > 0 then
                            known.Name,
                            lazy
                                (let rule = rule.Value
                                 let options = rule.Replace(rule.Defaults, known.Options)
                                 // The same definition with other defaults, which are checked once more when it is made.
                                 match rule with
                                 | :? WholeRule as rule -> rule.Renamed(known.Name, rule.Table.Options options) :> Rule
                                 | _ -> Rule.define known.Name (InnerRule.ofRule rule options).Write :> Rule)
                ])

    /// The rule's name.
    member _.Name = name
    /// The family that it belongs to.
    member _.Family = family
    /// What it does, in one sentence.
    member _.Summary = summary
    /// Who published it, when and where; empty where there is no paper.
    member _.Paper = paper
    /// In what it differs from the paper; empty where it does not.
    member _.Differs = differs
    /// The names under which packages publish it.
    member _.Published: IReadOnlyList<PublishedName> = (published :> IReadOnlyList<_>)

    /// What an option is, in words.
    member _.Describe(option: string) =
        Argument.notNull "option" option
        OptionWords.of' name option

    /// The rule: made when it is asked for.
    member _.Rule = rule.Value

    /// The rule with the defaults of a published name, which is called by that name where they are others than the rule's own.
    member _.RuleAs(published: PublishedName) : Rule =
        Argument.notNull "published" published

        match presets.Value.TryGetValue published.Name with
        | true, preset -> preset.Value
        | _ -> rule.Value

    /// The same, with a word on what differs from the paper.
    member internal _.WithDifference(words: string) =
        CatalogueEntry(name, family, summary, paper, words, published, make)

    /// The same, under one more published name.
    member internal _.AlsoPublished(more: PublishedName) =
        CatalogueEntry(name, family, summary, paper, differs, published @ [ more ], make)

/// How the entries are written, beside their definitions.
module internal CatalogueEntry =
    let private named name options =
        {
            Name = name
            Options =
                [|
                    for option, value in options -> KeyValuePair<string, OptionValue>(option, value)
                |]
        }

    /// An entry of a rule by definition: its family, name and paper, what it does, the names under which packages have it with the same defaults.
    let define family (name: string) paper summary (published: string list) (definition: RuleDefinition -> Expression) =
        CatalogueEntry(
            name,
            family,
            summary,
            paper,
            "",
            published |> List.map (fun name -> named name []),
            fun () -> Rule.define name _.EitherWay(definition) :> Rule
        )

    /// The same, which a package has under this name with other defaults.
    let also (name: string) (options: (string * OptionValue) list) (entry: CatalogueEntry) = entry.AlsoPublished(named name options)

    /// The same, with a word on what differs from the paper.
    let differs (words: string) (entry: CatalogueEntry) = entry.WithDifference words
