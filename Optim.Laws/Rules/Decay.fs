namespace Optim.Laws

open FsCheck.FSharp
open Optim.Core

/// D: the two kinds of weight decay.
[<RequireQualifiedAccess>]
module Decay =
    open Terms

    let private adams = named [ "Adam"; "AdamW" ]

    /// Those whose decay can be decoupled.
    let private decouples = named [ "Adam"; "AdamW"; "NAdam"; "RAdam" ]

    let private decoupled = [ "decoupled_weight_decay", Options.ofFlag true ]

    /// The factor by which decoupled decay shrinks a parameter in one step.
    let private shrink (s: Scenario) (values: float[]) =
        let keep = Number.round s.DType (1.0 - number s "lr" * number s "weight_decay")
        values |> Array.map (Number.multiply s.DType keep)

    /// Options of one rule as those of another, as far as it has them.
    let private convert (target: Rule) (s: Scenario) =
        let values =
            s.Rule.OptionNames
            |> Seq.filter (fun name -> name <> "decoupled_weight_decay")
            |> Seq.map (fun name -> name, s.Rule.Read(s.Options, name))
            |> Seq.toList

        { s with
            Rule = target
            Options = Options.set values target target.Defaults
        }

    /// D1: without decay its kind does not matter.
    let none =
        Statement.about
            "D1"
            "with weight_decay 0, Adam and AdamW are the same, bit for bit"
            adams
            (fun rule -> Recipe.any rule |> Recipe.withOptions noDecay)
            (fun subject s ->
                let other = Rules.Find(if subject.Rule.Name = "Adam" then "AdamW" else "Adam")
                let expected = Run.final (Subject.ofRule other) (convert other s)

                Snapshot.compare Comparator.bit expected (Run.final subject s)
                |> Verdict.tellingIf (Run.moves subject s))

    /// D2: decoupled decay is shrinking first.
    let shrinkFirst =
        Statement.about
            "D2"
            "decoupled decay is shrinking by 1 - lr weight_decay before each step"
            decouples
            (fun rule -> Recipe.one rule |> Recipe.withOptions decoupled)
            (fun subject s ->
                let bare = Run.withOptions noDecay s
                let struct (parameters, state) = Run.start subject bare
                let mutable state = state

                for row in s.History do
                    Tensor.fill parameters[0] (shrink s (parameters[0].ToDoubles()))
                    state <- subject.Step bare.Options parameters (Run.gradients s.DType row) state

                Snapshot.compare Comparator.bit (Snapshot.read s.DType parameters state) (Run.final subject s)
                |> Verdict.tellingIf (number s "lr" * number s "weight_decay" <> 0.0))

    /// D3: what decay does alone.
    let alone =
        Statement.about
            "D3"
            "under zero gradients decoupled decay multiplies by 1 - lr weight_decay, and L2 decay does not"
            decouples
            (fun rule ->
                { Recipe.one rule with
                    Starts = Palette.logUniform -4 4
                    Gradients = Palette.constant 0.0
                    Simple = []
                }
                |> Recipe.withOptions
                    [
                        "lr", Options.ofNumber 0.01
                        "eps", Options.ofNumber 1e-8
                        "betas", Options.ofPair (0.9, 0.999)
                    ])
            (fun subject s ->
                let strong = Run.withOptions [ "weight_decay", Options.ofNumber 0.1 ] s
                let shrunk = Array.fold (fun values _ -> shrink strong values) s.Start[0] s.History

                let expected =
                    { Run.final subject strong with
                        Theta = [| shrunk |]
                    }

                let multiplies =
                    Run.final subject (Run.withOptions decoupled strong)
                    |> Snapshot.compareTheta Comparator.bitButZeros expected

                let coupled () =
                    Run.withOptions [ "decoupled_weight_decay", off ] strong
                    |> Run.final subject
                    |> Snapshot.compareTheta Comparator.bitButZeros expected
                    |> fun same -> same.IsBroken |> Verdict.require (fun () -> "L2 decay does the same")

                // AdamW has no L2 decay, and the first steps of RAdam do not divide: L2 decay is decoupled decay there.
                if named [ "Adam"; "NAdam" ] s.Rule then
                    Verdict.both multiplies (coupled ())
                else
                    multiplies)

    /// D4: L2 decay is a part of the gradient.
    let coupled =
        Statement.about
            "D4"
            "L2 decay is adding weight_decay theta to the gradients"
            (named
                [
                    "Adadelta"
                    "Adagrad"
                    "Adam"
                    "Adamax"
                    "ASGD"
                    "NAdam"
                    "RAdam"
                    "RMSprop"
                    "SGD"
                ])
            (fun rule -> Recipe.one rule |> Recipe.withOptions [ "decoupled_weight_decay", off ])
            (fun subject s ->
                let bare = Run.withOptions [ "weight_decay", zero ] s
                let struct (parameters, state) = Run.start subject bare
                let decay = Number.round s.DType (number s "weight_decay")
                let sign = direction s
                let mutable state = state

                for row in s.History do
                    let theta = parameters[0].ToDoubles()

                    // Negated before the decay is added, and once more by the step.
                    let decayed =
                        Row.only row
                        |> Array.mapi (fun i g ->
                            if decay = 0.0 then
                                g
                            else
                                sign * Number.fma s.DType decay theta[i] (sign * g))

                    state <- subject.Step bare.Options parameters (Run.gradients s.DType [| ValueSome decayed |]) state

                Snapshot.compare Comparator.bitButZeros (Snapshot.read s.DType parameters state) (Run.final subject s)
                |> Verdict.tellingIf (decay > 0.0 && Run.moves subject s))

    /// D5: decoupled decay stays out of the moments.
    let moments =
        Statement.about
            "D5"
            "decoupled decay does not enter the state"
            decouples
            (fun rule -> Recipe.any rule |> Recipe.withOptions decoupled)
            (fun subject s ->
                let with' = Run.withOptions [ "weight_decay", Options.ofNumber 0.3 ] s

                Snapshot.compareState Comparator.bit (Run.final subject (Run.withOptions noDecay s)) (Run.final subject with')
                |> Verdict.tellingIf (Run.moves subject with'))

    /// The laws of this family.
    let all = [ none; shrinkFirst; alone; coupled; moments ]
