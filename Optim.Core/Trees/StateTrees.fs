namespace Optim.Core

open System
open System.Collections.Generic
open Optim.Kernels

/// States and parameters as trees, for files and for whoever has no optimizer.
[<AutoOpen>]
module StateTrees =
    let private dict entries = Tree.MapOf(MapKind.Dict, entries)

    let private fail where what =
        raise (ArgumentException $"{where} {what}")

    let private tensorAt (where: string) (tree: Tree) =
        match tree.TryGetTensor() with
        | true, view -> view
        | _ -> fail where $"must be a tensor; it is {tree.Described}"

    let private mapAt (where: string) (tree: Tree) =
        match tree with
        | Tree.Map map -> map
        | other -> fail where $"must be a dict; it is {other.Described}"

    [<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
    module State =
        /// The state by the numbers of the parameters, in the layout of PyTorch's state_dict()["state"]: step and the rule's columns.
        /// The tensors are the state's own, not copies. Narrow rows have keys of their own: codes, scales, and the name of the map.
        let toTree (state: State) =
            Argument.notNull "state" state
            state.Live()

            dict
                [
                    for row in 0 .. state.RowCount - 1 do
                        let columns =
                            [
                                if state.Count row > 0L then
                                    for name in state.ScalarNames do
                                        KeyValuePair(TreeKey.Text name, Tree.Float(state.Scalar(name, row)))

                                for column in state.Columns do
                                    if column[row].IsAbsent then
                                        ()
                                    elif column.IsNarrow row then
                                        for KeyValue(key, value) in NarrowTrees.entries column row do
                                            KeyValuePair(TreeKey.Text key, value)
                                    else
                                        KeyValuePair(TreeKey.Text column.Name, Tree.Tensor column[row])
                            ]

                        let steps = state.Count row

                        if steps > 0L || not columns.IsEmpty then
                            let step = KeyValuePair(TreeKey.Text "step", Tree.Int steps)
                            KeyValuePair(TreeKey.Int(int64 row), dict (step :: columns))
                ]

        /// The state of a rule for these parameters, from a tree of that layout: what toTree gives, or PyTorch. Tensors are copied.
        /// An ArgumentException when it does not fit; it says where.
        let ofTree (rule: Rule) (parameters: Parameters) (tree: Tree) =
            Argument.notNull "rule" rule
            Argument.notNull "parameters" parameters
            Argument.notNull "tree" tree
            let rows = mapAt "the state" tree
            let counts = Array.zeroCreate<int64> parameters.Count

            let columns =
                rule.ColumnNames
                |> Seq.map (fun name -> KeyValuePair(name, Array.zeroCreate<TensorView> parameters.Count))
                |> Seq.toArray

            let scalars =
                rule.ScalarNames
                |> Seq.map (fun name -> KeyValuePair(name, Array.create parameters.Count nan))
                |> Seq.toArray

            for KeyValue(key, value) in rows do
                match key with
                | TreeKey.Int number when number >= 0L && number < int64 parameters.Count ->
                    let row = int number

                    let entries =
                        [
                            for KeyValue(name, value) in mapAt $"the state of {parameters.Label row}" value do
                                match name with
                                | TreeKey.Text name -> KeyValuePair(name, value)
                                | _ -> fail $"{name} of {parameters.Label row}" "must have a name"
                        ]

                    for KeyValue(name, value) in NarrowTrees.widened rule (parameters.Label row) parameters[row].Shape entries do
                        let where = $"'{name}' of {parameters.Label row}"

                        match name with
                        | "step"
                        | NarrowTrees.Step -> counts[row] <- Counting.ofTree $"the step of {parameters.Label row}" value
                        | name when rule.ScalarNames.Contains name ->
                            let scalar = scalars |> Array.find (fun scalar -> scalar.Key = name)
                            scalar.Value[row] <- Tree.op_Explicit value
                        | name ->
                            match columns |> Array.tryFind (fun column -> column.Key = name) with
                            | Some column ->
                                if not value.IsNone then
                                    column.Value[row] <- tensorAt where value
                            | None ->
                                let known = String.Join(", ", rule.ColumnNames)
                                fail where $"is not kept by {rule.Name}; it keeps: {known}"
                | _ -> fail "the state" $"has the key {key}; it must be the number of one of {parameters.Count} parameters"

            rule.Restore(parameters, counts, scalars, columns)

    [<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
    module Parameters =
        /// The tensors by name, or by number where they have none, as a model's state_dict(). They are the parameters' own, not copies.
        let toTree (parameters: Parameters) =
            Argument.notNull "parameters" parameters

            let key row =
                if parameters.Names.IsDefaultOrEmpty then
                    TreeKey.Int(int64 row)
                else
                    TreeKey.Text parameters.Names[row]

            Tree.MapOf(
                MapKind.OrderedDict,
                [
                    for row in 0 .. parameters.Count - 1 -> KeyValuePair(key row, Tree.Tensor parameters[row])
                ]
            )

        /// Parameters over the tensors of a tree of that layout, under its names. They are not copied.
        let ofTree (tree: Tree) =
            Argument.notNull "tree" tree
            let map = mapAt "the parameters" tree
            let tensor (entry: KeyValuePair<TreeKey, Tree>) = tensorAt $"{entry.Key}" entry.Value

            if map |> Seq.forall _.Key.IsText then
                Parameters.OfNamed(
                    map
                    |> Seq.map (fun entry ->
                        match entry.Key with
                        | TreeKey.Text name -> struct (name, tensor entry)
                        | _ -> struct ("", tensor entry))
                )
            else
                Parameters.Of(map |> Seq.map tensor)
