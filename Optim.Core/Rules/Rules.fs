namespace Optim.Core

open System
open System.Collections.Generic

/// The rules of this library, by name and as members: <c>Rules.Adam</c>, <c>Rules.Find("adam")</c>.
[<AbstractClass; Sealed>]
type Rules private () =
    static let all =
        ([|
            Adadelta.rule
            Adafactor.rule
            Adagrad.rule
            Adam.rule
            AdamW.rule
            Adamax.rule
            ASGD.rule
            Muon.rule
            NAdam.rule
            RAdam.rule
            RMSprop.rule
            Rprop.rule
            SGD.rule
            SparseAdam.rule
        |]
        : Rule array)
        :> IReadOnlyList<Rule>

    /// All of them, by name.
    static member All = all

    static member private TryAmong(some: IReadOnlyList<#Algorithm>, name: string) =
        some
        |> Seq.tryFind (fun one -> String.Equals(one.Name, name, StringComparison.OrdinalIgnoreCase))

    /// The rule of a name, in any case, here or in the catalogue.
    static member internal TryRule(name: string) : Rule voption =
        Argument.notNull "name" name

        match Rules.TryAmong(all, name) with
        | Some found -> ValueSome found
        | None -> Catalogue.TryRule name

    /// The one of a name, in any case, among some; others are what is known, but not here.
    static member internal Among(some: IReadOnlyList<#Algorithm>, others: string list, name: string) =
        Argument.notNull "name" name

        match Rules.TryAmong(some, name) with
        | Some one -> one
        | None ->
            let names = some |> Seq.map _.Name |> List.ofSeq
            let known = String.Join(", ", names)
            let suggestion = Names.didYouMean name (names @ others)

            raise (
                ArgumentException
                    $"optimizer '{name}' is not known{suggestion} There are: {known}, and {Catalogue.All.Count} rules of the catalogue"
            )

    /// The rule of a name, in any case, here or in the catalogue, where published names are known, too (timm.lamb); or of a chain or a wrapped rule
    /// as one writes it: "chain(clip_by_global_norm(1), scale_by_adam, scale(-1e-3))", "lookahead(5, 0.5, adamw)". An ArgumentException says what is wrong, and which names there are.
    static member Find(name: string) : Rule =
        Argument.notNull "name" name

        if String.Equals(name, "LBFGS", StringComparison.OrdinalIgnoreCase) then
            raise (
                ArgumentException
                    $"optimizer '{name}' is LBFGS, which is no rule, as it asks for losses and gradients itself: Algorithms.Find finds it, LBFGS.step and new LBFGS(...) step it"
            )

        if ChainText.isCall name then
            ChainText.rule name Rules.Find (ChainText.parse name)
        else
            match Rules.TryRule name with
            | ValueSome rule -> rule
            | ValueNone -> Rules.Among(all, "LBFGS" :: [ for entry in Catalogue.All -> entry.Name ], name)

    /// Whether there is a rule of a name, in any case, here or in the catalogue.
    static member TryFind(name: string, [<System.Runtime.InteropServices.Out>] rule: byref<Rule | null>) =
        match Rules.TryRule name with
        | ValueSome found ->
            rule <- found
            true
        | ValueNone ->
            rule <- null
            false

    /// Adadelta: Zeiler 2012.
    static member Adadelta = Adadelta.rule
    /// Adafactor: Shazeer and Stern 2018.
    static member Adafactor = Adafactor.rule
    /// Adagrad: Duchi et al. 2011.
    static member Adagrad = Adagrad.rule
    /// Adam: Kingma and Ba 2014.
    static member Adam = Adam.rule
    /// Adam with decoupled weight decay: Loshchilov and Hutter 2017.
    static member AdamW = AdamW.rule
    /// Adamax: Kingma and Ba 2014, 7.1.
    static member Adamax = Adamax.rule
    /// Averaged SGD: Polyak and Juditsky 1992.
    static member ASGD = ASGD.rule
    /// Muon: Jordan et al. 2024.
    static member Muon = Muon.rule
    /// NAdam: Dozat 2016.
    static member NAdam = NAdam.rule
    /// RAdam: Liu et al. 2019.
    static member RAdam = RAdam.rule
    /// RMSprop: Hinton 2012.
    static member RMSprop = RMSprop.rule
    /// Rprop: Riedmiller and Braun 1993.
    static member Rprop = Rprop.rule
    /// Stochastic gradient descent, with momentum.
    static member SGD = SGD.rule
    /// Adam on the rows that a sparse gradient has.
    static member SparseAdam = SparseAdam.rule
