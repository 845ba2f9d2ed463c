namespace Optim.Core

open System
open System.Collections.Generic

/// The catalogue: rules that packages beside torch.optim have, with the options, defaults and state of their authors' code. Rules.Find finds them,
/// too, by their names and by those under which they are published.
[<AbstractClass; Sealed>]
type Catalogue private () =
    static let all: IReadOnlyList<CatalogueEntry> =
        [|
            yield! MomentumFamily.all
            yield! AdaptiveMomentsFamily.all
            yield! AdaptiveDenominatorsFamily.all
            yield! AdaptiveTensorsFamily.all
            yield! RectifiedMomentsFamily.all
            yield! AveragedMomentsFamily.all
            yield! StableMomentsFamily.all
            yield! ChangingMomentsFamily.all
            yield! TimmMomentsFamily.all
            yield! SignFamily.all
            yield! TrustRatioFamily.all
            yield! ParameterFreeFamily.all
            yield! AdafactorFamily.all
            yield! FactoredFamily.all
            yield! OrthogonalFamily.all
            yield! OracleFamily.all
            yield! PreconditionedFamily.all
            yield! RowNormsFamily.all
            yield! DAdaptationFamily.all
            yield! AveragesFamily.all
        |]
        |> Array.sortBy _.Name.ToUpperInvariant()
        :> IReadOnlyList<_>

    /// Published names of rules that are torch.optim's, with the same options and defaults.
    static let torch: (string * Rule) list =
        [
            "pytorch_optimizer.Adam", Adam.rule :> Rule
            "pytorch_optimizer.AdamW", AdamW.rule :> Rule
            "pytorch_optimizer.NAdam", NAdam.rule :> Rule
            "pytorch_optimizer.RMSprop", RMSprop.rule :> Rule
            "pytorch_optimizer.SGD", SGD.rule :> Rule
        ]

    /// Case, hyphens and underscores of names do not count.
    static let plain (name: string) =
        name.Replace("-", "").Replace("_", "").ToUpperInvariant()

    static let byName: IReadOnlyDictionary<string, unit -> Rule> =
        dict
            [
                for entry in all do
                    plain entry.Name, (fun () -> entry.Rule)

                    for published in entry.Published do
                        plain published.Name, (fun () -> entry.RuleAs published)

                for name, rule in torch do
                    plain name, (fun () -> rule)
            ]
        |> Dictionary
        :> IReadOnlyDictionary<_, _>

    /// All rules of the catalogue, by name.
    static member All = all

    /// The published names that stand for rules of torch.optim.
    static member internal Torch = torch

    /// The rule of a name or of a published name.
    static member internal TryRule(name: string) : Rule voption =
        match byName.TryGetValue(plain name) with
        | true, make -> ValueSome(make ())
        | _ -> ValueNone

    static member private TryEntry(name: string) =
        Argument.notNull "name" name
        let name = plain name

        all
        |> Seq.tryFind (fun entry ->
            plain entry.Name = name
            || entry.Published |> Seq.exists (fun published -> plain published.Name = name))

    /// Whether there is a rule of a name, or of a published name, in the catalogue; case, hyphens and underscores do not count.
    static member TryFind(name: string, [<System.Runtime.InteropServices.Out>] entry: byref<CatalogueEntry | null>) =
        match Catalogue.TryEntry name with
        | Some found ->
            entry <- found
            true
        | None ->
            entry <- null
            false

    /// The entry of a name or of a published name; an ArgumentException says what is near where there is none.
    static member Find(name: string) : CatalogueEntry =
        match Catalogue.TryEntry name with
        | Some entry -> entry
        | None ->
            let suggestion = Names.didYouMean name [ for entry in all -> entry.Name ]
            raise (ArgumentException $"the catalogue has no rule '{name}'{suggestion}")
