/// Checkpoint files: what PyTorch wrote is read and trained on from, and a load is all or nothing.
module CheckpointTests

open System
open System.IO
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit
open CheckpointKit

let private index =
    lazy
        (if File.Exists(golden "checkpoints.json") then
             use document = JsonDocument.Parse(File.ReadAllText(golden "checkpoints.json"))
             Golden.list id (document.RootElement.Clone())
         else
             [])

let private fileOf case =
    golden (Path.Combine("checkpoints", Golden.text (Golden.field "file" case)))

let private matrices read case name =
    Golden.field name case |> Golden.list (Golden.list read)

/// The parameters at the moment of the save.
let private parametersOf case =
    let names = Golden.field "param_names" case |> Golden.list Golden.text

    let shapes =
        matrices (Golden.number >> int64) case "shapes" |> List.map Array.ofList

    let values = matrices Golden.number case "params_at_save" |> List.map Array.ofList
    List.map3 (fun name shape values -> param name DType.Float32 shape values) names shapes values

/// A step on these gradients, by a closure, as LBFGS needs one: the loss is the sum of p g.
let private step (optimizer: Optimizer) (list: Param list) (gradients: float[] list) =
    optimizer.Step(fun () ->
        List.iter2 (fun p gradient -> setGradient p (Some gradient)) list gradients

        List.map2 (fun p gradient -> Array.fold2 (fun sum x g -> sum + x * g) 0.0 (values p) gradient) list gradients
        |> List.sum)
    |> ignore

let private goesOn case (optimizer: Optimizer) list =
    let rounds =
        Golden.field "grads_after" case |> Golden.list (Golden.list Golden.numbers)

    let expected =
        Golden.field "params_after" case |> Golden.list (Golden.list Golden.numbers)
    // Newton-Schulz in bfloat16 there (quirks).
    let factor =
        if Golden.text (Golden.field "optimizer" case) = "Muon" then
            5e-3
        else
            2e-5

    for round, (gradients, expected) in List.indexed (List.zip rounds expected) do
        step optimizer list gradients

        for p, expected in List.zip list expected do
            for actual, expected in Array.zip (values p) expected do
                if not (abs (actual - expected) <= factor * (1.0 + abs expected)) then
                    failtestf "step %d after loading, %s: %s, PyTorch %s" (round + 1) p.Name (text actual) (text expected)

let private recordedFile case =
    let file = Golden.text (Golden.field "file" case)
    let path = fileOf case

    match Golden.tryField "optimizer" case, Golden.tryField "content" case with
    | Some name, _ ->
        let name = Golden.text name

        testList
            file
            [
                testCase "it holds what PyTorch saved" (fun () -> expectJson "" (Golden.field "state_dict" case) (Checkpoint.Read path))
                testCase "training goes on with PyTorch's numbers, and the state is saved as it was" (fun () ->
                    let list = parametersOf case

                    let optimizer = createOptimizer name list

                    inFolder (fun within ->
                        let tree = Checkpoint.Read path
                        Checkpoint.Write(within "again.pt", Tree.Dict(struct ("optimizer", tree)))

                        Checkpoint.Load(within "again.pt", struct ("optimizer", box optimizer))
                        |> ignore

                        let saved = (optimizer :> IStateful).SaveState()

                        let keys (tree: Tree) =
                            set [ for key in tree.AsMap().Keys -> key.ToString() ]

                        for KeyValue(id, row) in tree["state"].AsMap() do
                            Expect.equal (keys (saved["state"].AsMap()[id])) (keys row) $"keys of the state of {id}"

                        Expect.equal (keys (saved["param_groups"].[0])) (keys (tree["param_groups"].[0])) "keys of the group"
                        goesOn case optimizer list))
            ]
    | _, Some content -> testCase $"{file} holds what PyTorch saved" (fun () -> expectJson "" content (Checkpoint.Read path))
    | _ -> testCase $"{file} is refused" (fun () -> refuses<CheckpointException> file [ file ] (fun () -> Checkpoint.Read path |> ignore))

let private trained seed name given =
    let list = [ vector "a" [ 1.0; 2.0 ]; vector "b" [ 3.0 ] ]
    let optimizer = optimizer name given list
    step optimizer list [ noise seed 2; noise (seed + 1) 1 ]
    optimizer, list

/// A part of one's own.
type private Counter() =
    member val Value = 0L with get, set
    member val Fails = false with get, set

    interface IStateful with
        member counter.SaveState() =
            Tree.Dict(struct ("value", Tree.Int counter.Value))

        member counter.PrepareLoad(state, _) =
            if counter.Fails then
                invalidArg "state" "the counter does not want it"

            let value: int64 = Tree.op_Explicit state["value"]
            PreparedLoad(LoadReport.Empty, (fun () -> counter.Value <- value), null)

let private parts =
    testList
        "parts"
        [
            testCase "optimizers, parts of one's own and plain values come back under their names" (fun () ->
                for name, given in everyRule do
                    inFolder (fun within ->
                        let source, list = trained 1 name given
                        let counter = Counter(Value = 7L)
                        let path = within "run.pt"

                        Checkpoint.Save(
                            path,
                            struct ("optimizer", box source),
                            struct ("counter", box counter),
                            struct ("epoch", box 3),
                            struct ("note", box "warm"),
                            struct ("best", null),
                            struct ("rate", box 0.5f)
                        )

                        let target, other = trained 5 name given
                        let second = Counter()

                        let loaded =
                            Checkpoint.Load(path, struct ("optimizer", box target), struct ("counter", box second))

                        Expect.equal (describe (target.StateDict())) (describe (source.StateDict())) name
                        Expect.equal second.Value 7L "counter"
                        Expect.equal (loaded["epoch"]) (Tree.Int 3L) "epoch"
                        Expect.equal (Set.ofSeq loaded.Others.Keys) (set [ "epoch"; "note"; "best"; "rate" ]) "others"
                        Expect.equal (List.ofSeq loaded.Reports["optimizer"].Matched) [ "a"; "b" ] "report"
                        refuses<CheckpointException> "an entry" [ "'loss'"; "epoch" ] (fun () -> loaded["loss"] |> ignore)

                        // The same bits from here on.
                        for p, q in List.zip list other do
                            q.View.CopyFrom p.View

                        for round in 1..3 do
                            step source list [ noise round 2; noise round 1 ]
                            step target other [ noise round 2; noise round 1 ]

                        for p, q in List.zip list other do
                            expectSameBits (values q) (values p) name))

            testCase "loading is all or nothing over all parts" (fun () ->
                inFolder (fun within ->
                    let path = within "run.pt"
                    let source, _ = trained 1 "Adam" []
                    Checkpoint.Save(path, struct ("optimizer", box source), struct ("counter", box (Counter(Value = 7L))))

                    let attempts: (string * string list * (Optimizer -> Counter -> struct (string * obj) array)) list =
                        [
                            "a part that refuses",
                            [ "'counter'"; "does not want" ],
                            fun optimizer counter ->
                                counter.Fails <- true
                                [| struct ("optimizer", box optimizer); struct ("counter", box counter) |]
                            "a part that is not there",
                            [ "'scheduler'"; "'optimizer', 'counter'" ],
                            fun optimizer counter ->
                                [|
                                    struct ("counter", box counter)
                                    struct ("optimizer", box optimizer)
                                    struct ("scheduler", box counter)
                                |]
                            "a part of another kind",
                            [ "'counter'"; "'state'" ],
                            fun optimizer counter -> [| struct ("optimizer", box counter); struct ("counter", box optimizer) |]
                        ]

                    for what, _, parts in attempts do
                        let target, _ = trained 5 "Adam" [ "lr", Number 0.5 ]
                        let counter = Counter(Value = 1L)
                        let before = describe (target.StateDict())
                        let given = parts target counter
                        refuses<CheckpointException> what [ path ] (fun () -> Checkpoint.Load(path, given) |> ignore)
                        Expect.equal (describe (target.StateDict())) before $"{what}: the optimizer"
                        Expect.equal counter.Value 1L $"{what}: the counter"))

            testCase "names, shapes and dtypes are checked against the optimizer, and the report says what was done" (fun () ->
                inFolder (fun within ->
                    let path = within "run.pt"
                    let source, _ = trained 1 "Adam" []
                    Checkpoint.Save(path, struct ("optimizer", box source))
                    let shaped = Kit.optimizer "Adam" [] [ vector "a" [ 1.0 ]; vector "b" [ 3.0 ] ]

                    refuses<CheckpointException> "another shape" [ "'a'"; "exp_avg" ] (fun () ->
                        Checkpoint.Load(path, struct ("optimizer", box shaped)) |> ignore)

                    let other =
                        [
                            param "a" DType.Float32 [| 2L |] [| 1.0; 2.0 |]
                            param "c" DType.Float32 [| 1L |] [| 1.0 |]
                        ]

                    let target = Kit.optimizer "Adam" [] other

                    refuses<CheckpointException> "other names" [ "c"; "b" ] (fun () ->
                        Checkpoint.Load(path, struct ("optimizer", box target)) |> ignore)

                    let report =
                        Checkpoint.Load(path, false, struct ("optimizer", box target)).Reports["optimizer"]

                    Expect.equal (List.ofSeq report.Matched) [ "a" ] "used"
                    Expect.equal (List.ofSeq report.Missing) [ "c" ] "missed"
                    Expect.equal (List.ofSeq report.Unexpected) [ "b" ] "left over"
                    Expect.equal (List.length (List.ofSeq report.Converted)) 2 "converted"))

            testCase "what cannot be saved or loaded into is refused by name" (fun () ->
                inFolder (fun within ->
                    refuses<ArgumentException> "a date" [ "'when'"; "DateTime" ] (fun () ->
                        Checkpoint.Save(within "x.pt", struct ("when", box DateTime.Now)))

                    refuses<ArgumentException> "a name twice" [ "'a'"; "twice" ] (fun () ->
                        Checkpoint.Save(within "x.pt", struct ("a", box 1), struct ("a", box 2)))

                    refuses<ArgumentException> "a number" [ "'epoch'"; "returns" ] (fun () ->
                        Checkpoint.Load(within "x.pt", struct ("epoch", box 1)) |> ignore)

                    refuses<CheckpointException> "no file" [ within "x.pt" ] (fun () -> Checkpoint.Read(within "x.pt") |> ignore)
                    refuses<CheckpointException> "a folder" [ within "" ] (fun () -> Checkpoint.Read(within "") |> ignore)
                    Expect.isEmpty (Directory.GetFiles(within "")) "files"))

            testCase "no file stays open or mapped after loading" (fun () ->
                if not (Directory.Exists "/proc/self/fd") then
                    skiptest "there is no /proc here"

                inFolder (fun within ->
                    let path = within "run.pt"
                    let source, _ = trained 1 "Adam" []
                    Checkpoint.Save(path, struct ("optimizer", box source))
                    Checkpoint.Load(path, struct ("optimizer", box source)) |> ignore
                    let tree = Checkpoint.Read path

                    let links =
                        [
                            for link in Directory.GetFiles "/proc/self/fd" ->
                                (try
                                    FileInfo(link).LinkTarget
                                 with _ ->
                                     null)
                        ]

                    Expect.isFalse (List.contains path links) "open"
                    Expect.isFalse ((File.ReadAllText "/proc/self/maps").Contains path) "mapped"
                    GC.KeepAlive tree))
        ]

[<Tests>]
let tests =
    testList
        "checkpoints"
        [
            testList "recorded" (index.Value |> List.map recordedFile)
            CheckpointFormatTests.tests
            parts
        ]
