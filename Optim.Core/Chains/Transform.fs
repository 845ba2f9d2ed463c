namespace Optim.Core

open System
open System.Collections.Generic
open Optim.Kernels

/// What decides whether a transform applies to a parameter: one of some alternatives. Compared by reference.
type internal Mask(alternatives: int, decide: ParameterDescription -> int) =
    member _.Alternatives = alternatives
    member _.Decide = decide

/// A transform, where it stands in a chain.
type internal TransformItem =
    {
        /// What it is called, such as scale_by_adam.
        Name: string
        /// The name that a chain of named ones gives it; empty for none.
        Given: string
        /// What its names begin with: the labels of partitions.
        Group: string
        /// The alternatives on which it applies.
        Masks: (Mask * int) list
        /// The next update, from the one before.
        Apply: RuleDefinition -> Expression -> Expression
    }

/// A part of an optimizer: it makes of an update the next one, given parameter, gradient and step, by options and state of its own. An
/// immutable value, which may stand in any number of chains. Made by the functions of Chain, in C# by those of Transforms, or from one's own
/// formula by Transform.Define.
[<Sealed>]
type Transform internal (items: TransformItem list) =
    member internal _.Items = items

    /// What it is called in options, states and messages: the names of its parts.
    override _.ToString() =
        String.Join(
            ", ",
            items
            |> List.map (fun item -> item.Group + (if item.Given = "" then item.Name else item.Given))
        )

    /// A transform from a function that is given the update before and returns the next one; it declares options and state as the definition of
    /// a rule does, under the transform's name. Updates are added to parameters, so that of gradient descent is a negative multiple of the gradient.
    /// <code>let halved = Transform.Define("halve", fun r update -> r.Number("factor", 0.5, Interval.any) * update)</code>
    static member Define(name: string, next: Func<RuleDefinition, Expression, Expression>) : Transform =
        Argument.notNull "name" name
        Argument.notNull "next" next

        if String.IsNullOrWhiteSpace name || name.Contains '.' then
            raise (ArgumentException($"'{name}' is no name of a transform: it must not be empty, and hold no dot", "name"))

        Transform
            [
                {
                    Name = name
                    Given = ""
                    Group = ""
                    Masks = []
                    Apply = fun r update -> next.Invoke(r, update)
                }
            ]

    /// Several, one after the other, as one.
    static member Sequence([<ParamArray>] transforms: Transform array) : Transform =
        let transforms = Argument.items "transforms" transforms

        for transform in transforms do
            Argument.notNull "transforms" transform

        Transform(
            transforms
            |> Seq.collect (fun (transform: Transform) -> transform.Items)
            |> List.ofSeq
        )

    /// The same, of parameters for which a function holds; of others it changes nothing and keeps no state.
    member _.Where(holds: Func<ParameterDescription, bool>) : Transform =
        Argument.notNull "holds" holds
        let mask = Mask(2, (fun parameter -> if holds.Invoke parameter then 0 else 1))

        Transform
            [
                for item in items do
                    { item with
                        Masks = (mask, 0) :: item.Masks
                    }
            ]

module internal Transforming =
    /// The items of a chain with the paths of their options and columns: names that come several times are numbered from 1.
    let paths (items: TransformItem list) =
        let nameOf item =
            item.Group + (if item.Given = "" then item.Name else item.Given)

        let counts = items |> List.countBy nameOf |> dict
        let seen = Dictionary<string, int>()

        [
            for item in items do
                let name = nameOf item

                if counts[name] = 1 then
                    name, item
                else
                    let number =
                        match seen.TryGetValue name with
                        | true, before -> before + 1
                        | _ -> 1

                    seen[name] <- number
                    $"{name}_{number}", item
        ]

    /// The update of a step, from the gradient.
    let update (items: TransformItem list) : RuleDefinition -> Expression =
        let paths = paths items

        let masks =
            items |> List.collect (fun item -> List.map fst item.Masks) |> List.distinct

        fun r ->
            let applies (mask: Mask, alternative: int) =
                let place = masks |> List.findIndex (fun known -> obj.ReferenceEquals(known, mask))

                r.Recording.Ask
                    {
                        Key = $"mask{place + 1}"
                        Alternatives = mask.Alternatives
                        Decide = mask.Decide
                    }
                    =
                    alternative

            paths
            |> List.fold
                (fun update (path, item) ->
                    if List.forall applies item.Masks then
                        let next = item.Apply (r.Within path) update

                        if isNull (box next) then
                            raise (ArgumentException $"{path} returns null; a transform returns the next update")

                        next
                    else
                        update)
                r.Gradient

    /// The rule of some transforms.
    let rule (items: TransformItem list) : DefinedRule =
        let names = paths items |> List.map fst
        let update = update items

        DefinedRule.Define(
            $"""chain({String.Join(", ", names)})""",
            Func<_, _>(fun r ->
                let update = update r

                // Of frozen parameters nothing is read or written.
                if update.Operation = Operation.Constant && update.Value = 0.0 then
                    r.Parameter
                else
                    r.Parameter + update)
        )
