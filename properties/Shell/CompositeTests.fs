/// One optimizer of several rules.
module CompositeTests

open System
open System.Collections.Generic
open Expecto
open Optim
open Optim.Core
open Reference
open Kit
open CompositeKit

[<Tests>]
let tests =
    testList
        "an optimizer of several rules"
        [
            test "it steps as its members would apart, bit for bit" {
                let list, other = fresh (), fresh ()
                let one, two = composite list, apart other
                steps one list 0 5

                stepsApart two other 0 5
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
                    ClipGrad.Norm(other |> asParameters, 0.1) |> ignore

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

                let everything = list |> asParameters

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
                    ForMuon.Optimizer(list |> asParameters, [| lr 0.02 |], [| lr 0.01 |], (fun p -> p.Name = "b.weight"))

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
