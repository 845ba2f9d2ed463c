/// The tree that checkpoints are made of, and what parameters and groups keep in it.
module TreeTests

open System
open System.Collections.Generic
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit

let private numbers = [| 1.0; -2.5; 0.1 |]

let private sample () =
    Tree.Dict(
        struct ("none", Tree.None),
        struct ("flag", Tree.Bool true),
        struct ("int", Tree.Int 3L),
        struct ("float", Tree.Float 3.0),
        struct ("text", Tree.Text "cos"),
        struct ("tensor", Tree.Tensor(tensor DType.Float32 [| 3L |] numbers)),
        struct ("list", Tree.ListOf [ Tree.Int 1L; Tree.Tensor(tensor DType.Float64 [||] [| 0.5 |]) ]),
        struct ("tuple", Tree.TupleOf [ Tree.Float 0.9 ]),
        struct ("map", Tree.MapOf(MapKind.Counter, [ KeyValuePair(TreeKey.Int 30L, Tree.Int 1L) ]))
    )

let private values =
    testList
        "values"
        [
            testCase "trees of the same content are equal, and so are their hash codes" (fun () ->
                Expect.equal (sample ()) (sample ()) "twice the same"
                Expect.equal (hash (sample ())) (hash (sample ())) "hash codes"
                Expect.equal (sample().Copy()) (sample ()) "a copy")

            testCase "kinds, order and bits count" (fun () ->
                let map kind keys =
                    Tree.MapOf(kind, [ for key in keys -> KeyValuePair(TreeKey.Text key, Tree.None) ])

                for a, b in
                    [
                        Tree.Int 3L, Tree.Float 3.0
                        Tree.Int 1L, Tree.Bool true
                        Tree.Float 0.0, Tree.Float -0.0
                        Tree.ListOf [], Tree.TupleOf []
                        map MapKind.Dict [ "a"; "b" ], map MapKind.Dict [ "b"; "a" ]
                        map MapKind.Dict [ "a" ], map MapKind.OrderedDict [ "a" ]
                        Tree.Tensor(tensor DType.Float32 [| 1L |] [| 1.0 |]), Tree.Tensor(tensor DType.Float64 [| 1L |] [| 1.0 |])
                        Tree.Tensor(tensor DType.Float32 [| 1L |] [| 1.0 |]), Tree.Tensor(tensor DType.Float32 [||] [| 1.0 |])
                        Tree.Tensor(tensor DType.Float32 [||] [| 0.0 |]), Tree.Tensor(tensor DType.Float32 [||] [| -0.0 |])
                    ] do
                    Expect.notEqual a b $"{a} and {b}"

                Expect.equal (Tree.Float nan) (Tree.Float -nan) "NaN")

            testCase "it prints as Python does" (fun () ->
                Expect.equal
                    (string (sample ()))
                    "{'none': None, 'flag': True, 'int': 3, 'float': 3.0, 'text': 'cos', 'tensor': float32[3], 'list': [1, float64[]], 'tuple': (0.9,), 'map': {30: 1}}"
                    "text")

            testCase "it is read by key and place, and says what it is when it is something else" (fun () ->
                let tree = sample ()
                Expect.equal (tree["int"].Kind) TreeKind.Int "kind"
                Expect.equal (tree["map"].[30]) (Tree.Int 1L) "a whole number as key"
                Expect.equal (tree["list"].[0]) (Tree.Int 1L) "a place in a list"
                expectSameBits (tree["tensor"].ToDoubles()) (numbers |> Array.map (float32 >> float)) "elements"
                Expect.equal (Tree.op_Explicit (tree["list"].[1]): float) 0.5 "a tensor of one element is a number"
                refuses<KeyNotFoundException> "a key" [ "lr"; "'none'" ] (fun () -> tree["lr"] |> ignore)
                refuses<InvalidCastException> "a text" [ "cos"; "tensor" ] (fun () -> tree["text"].AsTensor() |> ignore)

                refuses<InvalidCastException> "a fraction" [ "0.5"; "whole" ] (fun () ->
                    (Tree.op_Explicit (Tree.Float 0.5): int) |> ignore))

            testCase "a key twice is refused" (fun () ->
                refuses<ArgumentException> "twice" [ "'a'"; "twice" ] (fun () ->
                    Tree.Dict(struct ("a", Tree.None), struct ("a", Tree.None)) |> ignore))

            testCase "options go in and come out" (fun () ->
                for value in
                    [
                        OptionValue.None
                        OptionValue.Bool false
                        OptionValue.Int 3L
                        OptionValue.Float 0.1
                        OptionValue.Text "match_rms_adamw"
                        OptionValue.TupleOf [ OptionValue.None; OptionValue.Float 1e-3 ]
                    ] do
                    let tree: Tree = Tree.op_Implicit value
                    Expect.equal (Tree.op_Explicit tree: OptionValue) value (string value)

                refuses<InvalidCastException> "a dict" [ "option" ] (fun () -> (Tree.op_Explicit (sample ()): OptionValue) |> ignore))
        ]

/// An optimizer that has stepped.
let private trained name given =
    let list = [ vector "a" [ 1.0; 2.0 ]; vector "b" [ 3.0 ] ]
    let optimizer = optimizer name given list

    for p in list do
        setGradient p (Some(noise 1 (Kit.values p).Length))

    optimizer.Step()
    optimizer, list

let private noted (optimizer: Optimizer) p =
    let state = optimizer.State p
    state["note"]

let private dicts =
    testList
        "state dicts"
        [
            testCase "a state dict as a tree has PyTorch's layout, and comes back" (fun () ->
                for name, given in everyRule do
                    let optimizer, _ = trained name given
                    let dict = optimizer.StateDict()
                    let tree = dict.ToTree()
                    Expect.equal [ for key in tree.AsMap().Keys -> string key ] [ "'state'"; "'param_groups'" ] "keys"
                    Expect.equal [ for key in tree["state"].AsMap().Keys -> string key ] [ "0"; "1" ] "numbers"
                    let group = tree["param_groups"].[0].AsMap()
                    Expect.equal (Seq.head group.Keys) (TreeKey.Text "param_names") "names come first when no option is the group's own"
                    Expect.equal (Seq.last group.Keys) (TreeKey.Text "params") "numbers come last"
                    let again = StateDict.FromTree tree
                    Expect.equal (describe again) (describe dict) name
                    Expect.equal (again.ToTree()) tree name)

            testCase "names stand after the group's own options" (fun () ->
                let own = group [ vector "a" [ 1.0 ] ] [ "lr", Number 0.25; "maximize", Flag true ]
                let tree = (new Adam(groups [ own ])).StateDict().ToTree()
                let keys = [ for key in tree["param_groups"].[0].AsMap().Keys -> key.ToString() ]
                Expect.equal (List.take 3 keys) [ "'lr'"; "'maximize'"; "'param_names'" ] "keys"
                Expect.equal ((StateDict.FromTree tree).ToTree()) tree "again")

            testCase "a tree of another layout is refused, and says where" (fun () ->
                let group =
                    Tree.Dict(struct ("lr", Tree.Float 0.1), struct ("params", Tree.ListOf []))

                for what, words, tree in
                    [
                        "a list", [ "the state dict"; "dict" ], Tree.ListOf []
                        "no state", [ "'state'" ], Tree.Dict(struct ("param_groups", Tree.ListOf []))
                        "no groups", [ "'param_groups'" ], Tree.Dict(struct ("state", Tree.Dict()))
                        "a text as number",
                        [ "'w'"; "numbers" ],
                        Tree.Dict(struct ("state", Tree.Dict(struct ("w", Tree.Dict()))), struct ("param_groups", Tree.ListOf [ group ]))
                        "no params",
                        [ "param_groups[0]"; "'params'" ],
                        Tree.Dict(struct ("state", Tree.Dict()), struct ("param_groups", Tree.ListOf [ Tree.Dict() ]))
                        "a dict as option",
                        [ "param_groups[0]"; "'lr'" ],
                        Tree.Dict(
                            struct ("state", Tree.Dict()),
                            struct ("param_groups",
                                    Tree.ListOf [ Tree.Dict(struct ("lr", Tree.Dict()), struct ("params", Tree.ListOf [])) ])
                        )
                    ] do
                    refuses<ArgumentException> what words (fun () -> StateDict.FromTree tree |> ignore))

            testCase "what users keep in a parameter's state is saved and loaded with it" (fun () ->
                for name, given in everyRule do
                    let optimizer, list = trained name given
                    let note = Tree.ListOf [ Tree.Int 3L; Tree.Text "warm" ]
                    optimizer.SetState(list[0], "note", note)
                    Expect.equal (noted optimizer list[0]) note "in the state"
                    let other, second = trained name given
                    other.LoadStateDict(optimizer.StateDict()) |> ignore
                    Expect.equal (noted other second[0]) note $"{name}: loaded"
                    Expect.isFalse (other.State(second[1]).ContainsKey "note") "it is that parameter's"
                    Expect.equal (describe (other.StateDict())) (describe (optimizer.StateDict())) name
                    other.SetState(second[0], "note", Tree.None)
                    Expect.isFalse (other.State(second[0]).ContainsKey "note") "taken away")

            testCase "what the rule keeps itself cannot be set beside it" (fun () ->
                let optimizer, list = trained "Adam" []

                for key in [ "step"; "exp_avg" ] do
                    refuses<ArgumentException> key [ key; "Adam" ] (fun () -> optimizer.SetState(list[0], key, Tree.Int 1L)))

            testCase "a step may be a plain number, and nothing else" (fun () ->
                let optimizer, list = trained "Adam" []
                let dict = optimizer.StateDict()
                dict.State[0]["step"] <- Tree.Int 5L
                optimizer.LoadStateDict dict |> ignore
                expectSameBits (column optimizer list[0] "step") [| 5.0 |] "step"

                for wrong in [ Tree.Text "five"; Tree.Float 1.5; Tree.Int -1L; Tree.ListOf [] ] do
                    dict.State[0]["step"] <- wrong
                    refuses<ArgumentException> (string wrong) [ "step"; "'a'" ] (fun () -> optimizer.LoadStateDict dict |> ignore)

                dict.State[0]["step"] <- Tree.Int -1L

                refuses<ArgumentException> "in words" [ "must be a whole number from 0" ] (fun () ->
                    optimizer.LoadStateDict dict |> ignore))

            testCase "a prepared load changes nothing until it runs" (fun () ->
                let source, _ = trained "Adam" [ "lr", Number 0.5 ]
                let target = Kit.optimizer "Adam" [] [ vector "a" [ 1.0; 2.0 ]; vector "b" [ 3.0 ] ]
                let before = describe (target.StateDict())
                let load = (target :> IStateful).PrepareLoad((source :> IStateful).SaveState())
                Expect.equal (describe (target.StateDict())) before "prepared"
                Expect.equal (List.ofSeq (load.Run().Matched)) [ "a"; "b" ] "report"
                Expect.equal (describe (target.StateDict())) (describe (source.StateDict())) "loaded")
        ]

[<Tests>]
let tests = testList "trees" [ values; dicts ]
