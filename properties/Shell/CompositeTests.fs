/// One optimizer of several rules.
module CompositeTests

open System
open System.Collections.Generic
open Expecto
open Optim
open Optim.Core
open Reference
open Kit

let private random seed count =
    noise seed count |> Array.map (fun x -> x / 4.0)

/// Two matrices and two vectors, always the same.
let private fresh () =
    [
        for i, (name, shape) in
            List.indexed
                [
                    "a.weight", [| 4L; 3L |]
                    "a.bias", [| 4L |]
                    "b.weight", [| 2L; 4L |]
                    "b.bias", [| 2L |]
                ] -> param name Kernels.DType.Float64 shape (random i (int (Array.reduce (*) shape)))
    ]

let private setGradients (step: int) (list: Param list) =
    for i, p in List.indexed list do
        setGradient p (Some(random (100 * step + i) (int p.View.Count)))

let private copy (source: Param) (target: Param) =
    (values source).AsSpan().CopyTo(target.Data<float>())

let private isMatrix (p: Param) = p.View.Shape.Length = 2

let private lr value = struct ("lr", OptionValue.Float value)

let private composite (list: Param list) =
    new CompositeOptimizer(
        CompositeMember("matrices", Rules.Find "Muon", list |> List.filter isMatrix |> Kit.parameters, [| lr 0.02 |]),
        CompositeMember("rest", Rules.Find "AdamW", list |> List.filter (isMatrix >> not) |> Kit.parameters, [| lr 0.01 |])
    )

/// The same as two optimizers.
let private apart (list: Param list) : Optimizer list =
    [
        new RuleOptimizer(Rules.Find "Muon", list |> List.filter isMatrix |> Kit.parameters, [| lr 0.02 |])
        new RuleOptimizer(Rules.Find "AdamW", list |> List.filter (isMatrix >> not) |> Kit.parameters, [| lr 0.01 |])
    ]

let private all (list: Param list) =
    [|
        for p in list do
            yield! values p
    |]

let private steps (optimizer: Optimizer) (list: Param list) from count =
    for step in from .. from + count - 1 do
        setGradients step list
        optimizer.Step()

let private rate (group: ParameterGroup) : float = OptionValue.op_Explicit group["lr"]

[<Tests>]
let tests =
    testList
        "an optimizer of several rules"
        [
            test "it steps as its members would apart, bit for bit" {
                let list, other = fresh (), fresh ()
                let one, two = composite list, apart other
                steps one list 0 5

                for step in 0..4 do
                    setGradients step other

                    for optimizer in two do
                        optimizer.Step()

                expectSameBits (all list) (all other) "parameters"
                Expect.equal (one.MemberOf one.ParamGroups[1]) "rest" "whose a group is"
                Expect.equal (one.RuleOf("matrices").Name) "Muon" "whose rule"
            }

            test "one norm clips the gradients of all members" {
                let list, other = fresh (), fresh ()
                let one, two = composite list, apart other
                one.Attach(ClipGradNorm 0.1)
                steps one list 0 3

                for step in 0..2 do
                    setGradients step other
                    ClipGrad.Norm(other |> List.map (fun p -> p :> IParameter), 0.1) |> ignore

                    for optimizer in two do
                        optimizer.Step()

                for a, b in Array.zip (all list) (all other) do
                    Expect.floatClose Accuracy.veryHigh a b "a parameter"
            }

            test "a gradient that is not finite in one member skips the step of all, and the scale shrinks once" {
                let list = fresh ()
                let one = composite list
                let scaler = GradScaler(initScale = 8.0)
                one.Attach(scaler = scaler)
                let before = all list
                setGradients 0 list
                setGradient list[1] (Some [| infinity; 0.0; 0.0; 0.0 |])
                one.Step()
                expectSameBits (all list) before "nothing moved"
                Expect.isTrue one.LastStepSkipped "skipped"
                Expect.equal (scaler.GetScale()) 4.0 "scale"
                steps one list 1 1
                Expect.notEqual (all list) before "the next step moves"
            }

            test "a step that one member refuses moves nothing in the others" {
                let list = fresh ()
                let one = composite list
                steps one list 0 2
                let before, state = all list, describe (one.StateDict().Members["matrices"])
                setGradients 2 list
                // AdamW takes no sparse gradients.
                let bias = list[3]
                bias.SetSparseGradient(ReadOnlySpan [| 0L |], ReadOnlySpan [| 1.0 |])
                refuses<NotSupportedException> "sparse" [ "b.bias" ] (fun () -> one.Step())
                expectSameBits (all list) before "nothing moved"
                Expect.equal (describe (one.StateDict().Members["matrices"])) state "no state changed"
            }

            test "under each name is a state dict that an optimizer of that rule loads, and the other way round" {
                let list, other = fresh (), fresh ()
                let one = composite list
                steps one list 0 3
                let dict = one.StateDict().Clone()
                Expect.equal [ for name in dict.Members.Keys -> name ] [ "matrices"; "rest" ] "members"
                let tree = dict.ToTree()
                Expect.equal (describe (StateDict.FromTree tree).Members["rest"]) (describe dict.Members["rest"]) "as a tree"
                Expect.equal (describe (StateDict.FromTree tree["rest"])) (describe dict.Members["rest"]) "one member of the tree"

                for p, q in List.zip list other do
                    copy p q

                let two = apart other

                for optimizer, name in List.zip two [ "matrices"; "rest" ] do
                    optimizer.LoadStateDict dict.Members[name] |> ignore

                let third = fresh ()

                for p, q in List.zip list third do
                    copy p q

                let back = composite third
                let joined = StateDict()

                for optimizer, name in List.zip two [ "matrices"; "rest" ] do
                    joined.Members[name] <- optimizer.StateDict().Clone()

                back.LoadStateDict joined |> ignore
                steps one list 3 3
                steps back third 3 3

                for step in 3..5 do
                    setGradients step other

                    for optimizer in two do
                        optimizer.Step()

                expectSameBits (all other) (all list) "apart"
                expectSameBits (all third) (all list) "joined again"
            }

            test "a checkpoint restores it with its schedule and what was added up, bit for bit" {
                inFolder (fun file ->
                    let make () =
                        let list = fresh ()
                        let one = composite list
                        one.Attach(ClipGradNorm 1.0, accumulate = 2)
                        list, one, HuggingFaceLR.Linear(one, 2, 10)

                    let run (list: Param list, one: CompositeOptimizer, schedule: HuggingFaceLR) from count =
                        for step in from .. from + count - 1 do
                            setGradients step list
                            one.Step()
                            schedule.Step()

                    let list, one, schedule = make ()
                    run (list, one, schedule) 0 5
                    Expect.isTrue one.IsAccumulating "in the middle of a step"

                    Checkpoint.Save(
                        file "run.pt",
                        [|
                            struct ("model", box (ParametersState(list |> List.map (fun p -> p :> IParameter))))
                            struct ("optimizer", box one)
                            struct ("schedule", box schedule)
                        |]
                    )

                    let other, two, second = make ()

                    Checkpoint.Load(
                        file "run.pt",
                        [|
                            struct ("model", box (ParametersState(other |> List.map (fun p -> p :> IParameter))))
                            struct ("optimizer", box two)
                            struct ("schedule", box second)
                        |]
                    )
                    |> ignore

                    run (list, one, schedule) 5 4
                    run (other, two, second) 5 4
                    expectSameBits (all other) (all list) "parameters"
                    Expect.equal [ for g in two.ParamGroups -> rate g ] [ for g in one.ParamGroups -> rate g ] "rates")
            }

            test "a schedule has one shape, and each member its own base rate" {
                let list = fresh ()
                let one = composite list
                let schedule = CosineAnnealingLR(one, 4)

                for step in 0..3 do
                    let factor = (1.0 + cos (Math.PI * float step / 4.0)) / 2.0
                    Expect.floatClose Accuracy.high (rate one.ParamGroups[0]) (0.02 * factor) "matrices"
                    Expect.floatClose Accuracy.high (rate one.ParamGroups[1]) (0.01 * factor) "rest"
                    steps one list step 1
                    schedule.Step()
            }

            test "one cycle moves the momentum of Muon and the first of AdamW's betas" {
                let one = composite (fresh ())

                let schedule =
                    OneCycleLR(one, PerGroup.op_Implicit [| 0.1; 0.05 |], totalSteps = Nullable 10)

                let momenta () =
                    let momentum: float = OptionValue.op_Explicit one.ParamGroups[0].["momentum"]

                    match one.ParamGroups[1].["betas"] with
                    | OptionValue.Tuple(Items(first :: _)) -> momentum, (OptionValue.op_Explicit first: float)
                    | other -> failtestf "betas are %O" other

                Expect.equal (momenta ()) (0.95, 0.95) "first"
                schedule.Step()
                schedule.Step()
                let momentum, beta = momenta ()
                Expect.equal momentum beta "together"
                Expect.equal momentum 0.85 "the least, at the peak"

                let none =
                    new CompositeOptimizer(
                        CompositeMember("a", Rules.Find "SGD", Kit.parameters [ vector "a" [ 1.0 ] ]),
                        CompositeMember("b", Rules.Find "Adagrad", Kit.parameters [ vector "b" [ 1.0 ] ])
                    )

                refuses<OptionException> "no momentum" [ "cycle_momentum"; "Adagrad" ] (fun () ->
                    OneCycleLR(none, PerGroup.op_Implicit 0.1, totalSteps = Nullable 10) |> ignore)
            }

            test "hooks and closures are those of one optimizer" {
                let list = fresh ()
                let one = composite list
                let mutable before, after, evaluated = 0, 0, 0

                use _ =
                    one.RegisterStepPreHook(fun call -> before <- before + (if call.HasClosure then 10 else 1))

                use _ = one.RegisterStepPostHook(fun _ -> after <- after + 1)

                let loss =
                    one.Step(fun () ->
                        evaluated <- evaluated + 1
                        setGradients evaluated list
                        7.0)

                Expect.equal (loss, before, after, evaluated) (7.0, 10, 1, 1) "once each"
                steps one list 5 1
                Expect.equal (before, after) (11, 2) "without a closure"
            }

            test "names, and a parameter in two members or in none, are checked when it is made" {
                let list = fresh ()

                let bare (names: (string * Param list) list) =
                    [|
                        for name, list in names -> CompositeMember(name, Rules.Find "SGD", Kit.parameters list)
                    |]

                let everything = list |> List.map (fun p -> p :> IParameter)

                for what, words, act in
                    [
                        "no members", [ "at least one member" ], (fun () -> CompositeOptimizer [||] |> ignore)
                        "a name twice", [ "'x'" ], (fun () -> CompositeOptimizer(bare [ "x", list[..1]; "x", list[2..] ]) |> ignore)
                        "no name", [ "name" ], (fun () -> CompositeOptimizer(bare [ "", list ]) |> ignore)
                        "a key of state dicts", [ "'state'" ], (fun () -> CompositeOptimizer(bare [ "state", list ]) |> ignore)
                        "in two",
                        [ "'b.weight'"; "'x'"; "'y'" ],
                        (fun () -> CompositeOptimizer(bare [ "x", list[..2]; "y", list[2..] ]) |> ignore)
                        "in none",
                        [ "'b.bias'"; "in no member"; "x, y" ],
                        (fun () ->
                            CompositeOptimizer(everything, bare [ "x", list[..1]; "y", [ list[2] ] ])
                            |> ignore)
                        "no parameters", [ "empty parameter list" ], (fun () -> CompositeOptimizer(bare [ "x", list; "y", [] ]) |> ignore)
                    ] do
                    refuses<ArgumentException> what words act

                refuses<OptionException> "an option" [ "rest"; "lr"; "-1" ] (fun () ->
                    CompositeOptimizer(CompositeMember("rest", Rules.Find "AdamW", Kit.parameters list, [| lr -1.0 |]))
                    |> ignore)

                CompositeOptimizer(everything, bare [ "x", list[..1]; "y", list[2..] ])
                |> ignore
            }

            test "groups are added to a member by its name" {
                let list = fresh ()
                let one = composite list
                let late = vector "late" [ 1.0; 2.0 ]

                refuses<InvalidOperationException> "without a name" [ "AddParamGroup(\"rest\"" ] (fun () ->
                    one.AddParamGroup(group [ late ] []))

                refuses<ArgumentException> "an unknown one" [ "'best'"; "'rest'" ] (fun () -> one.AddParamGroup("best", group [ late ] []))
                one.AddParamGroup("rest", group [ late ] [ "lr", Number 0.5 ])
                Expect.equal (one.GroupsOf("rest").Count) 2 "two groups"
                setGradient late (Some [| 1.0; 1.0 |])
                steps one list 0 1
                let moved = values late
                Expect.isLessThan moved[0] 0.6 "it moved by AdamW"
                let another = composite (fresh ())
                refuses<ArgumentException> "another shape" [ "rest" ] (fun () -> another.LoadStateDict(one.StateDict()) |> ignore)
            }

            test "state dicts of one optimizer and of several are not taken for each other" {
                let list = fresh ()
                let one = composite list
                let sgd = optimizer "SGD" [] list
                refuses<ArgumentException> "one for several" [ "matrices"; "rest" ] (fun () -> one.LoadStateDict(sgd.StateDict()) |> ignore)

                refuses<ArgumentException> "several for one" [ "matrices"; "Members" ] (fun () ->
                    sgd.LoadStateDict(one.StateDict()) |> ignore)

                let dict = one.StateDict()
                dict.Members["other"] <- dict.Members["rest"]
                dict.Members.Remove "rest" |> ignore
                refuses<ArgumentException> "other names" [ "other"; "rest"; "strict" ] (fun () -> one.LoadStateDict dict |> ignore)
                let report = one.LoadStateDict(dict, strict = false)
                Expect.exists report.Unexpected (fun text -> text.Contains "other") "reported"
            }

            test "a load of which one member fails changes none" {
                let list = fresh ()
                let one = composite list
                steps one list 0 2
                let dict = one.StateDict().Clone()
                steps one list 2 1
                let before = describe (one.StateDict().Members["matrices"])
                dict.Members["rest"].ParamGroups[0].["lr"] <- OptionValue.Float -1.0
                refuses<OptionException> "a wrong option" [ "rest"; "lr" ] (fun () -> one.LoadStateDict dict |> ignore)
                Expect.equal (describe (one.StateDict().Members["matrices"])) before "nothing has changed"
            }

            test "it prints its members" {
                let text = (composite (fresh ())).ToString()

                for word in
                    [
                        "matrices: Muon"
                        "rest: AdamW"
                        "Parameter Group 1 (rest: AdamW)"
                        "lr: 0.02"
                    ] do
                    Expect.stringContains text word word
            }

            test "ForMuon.Optimizer gives matrices to Muon and the others to AdamW" {
                let list = fresh ()

                let one =
                    ForMuon.Optimizer(
                        list |> List.map (fun p -> p :> IParameter),
                        [| lr 0.02 |],
                        [| lr 0.01 |],
                        (fun p -> p.Name = "b.weight")
                    )

                let names member' =
                    [
                        for group in one.GroupsOf member' do
                            for p in group.Parameters -> p.Name
                    ]

                Expect.equal (names "muon") [ "a.weight" ] "Muon"
                Expect.equal (names "adamw") [ "a.bias"; "b.weight"; "b.bias" ] "AdamW"

                let only = ForMuon.Optimizer [ list[0] :> IParameter ]

                Expect.equal (List.ofSeq only.Names) [ "muon" ] "no AdamW without parameters"
            }
        ]
