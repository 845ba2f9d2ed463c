/// Steps on the mean of several calls: what a call that throws leaves, windows that are not full, and what a state dict has of them.
module AccumulationTests

open System
open System.IO
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit

let private sgd accumulate (list: Param list) =
    let optimizer = optimizer "SGD" [ "lr", Number 1.0 ] list
    optimizer.Attach(accumulate = accumulate)
    optimizer

let private windows =
    [
        test "a group that is added inside of a window is divided by all of its calls" {
            let a, b = vector "a" [ 0.0 ], vector "b" [ 0.0 ]
            let optimizer = sgd 2 [ a ]
            stepOn optimizer a 1.0
            optimizer.AddParamGroup(group [ b ] [])
            setGradient b (Some [| 4.0 |])
            stepOn optimizer a 1.0
            Expect.equal (values a, values b) ([| -1.0 |], [| -2.0 |]) "the means"
        }
        test "a call that throws adds nothing, whatever the group" {
            let a, b = vector "a" [ 0.0 ], vector "b" [ 0.0 ]
            let optimizer = optimizer "SGD" [ "lr", Number 1.0 ] [ a ]
            optimizer.AddParamGroup(group [ b ] [])
            optimizer.Attach(accumulate = 2)
            setGradient a (Some [| 100.0 |])
            setSparseGradient b [ 7L ] [ 1.0 ]
            refuses<ArgumentOutOfRangeException> "a row that is not there" [ "'b'"; "row 7" ] (fun () -> optimizer.Step())
            Expect.isFalse optimizer.IsAccumulating "nothing was added"
            setGradient b (Some [| 2.0 |])
            stepOn optimizer a 1.0
            Expect.equal optimizer.AccumulatedCalls 1 "one call"
            setSparseGradient b [ 7L ] [ 1.0 ]
            refuses<ArgumentOutOfRangeException> "in the last call" [ "'b'" ] (fun () -> stepOn optimizer a 100.0)
            Expect.equal optimizer.AccumulatedCalls 1 "still one"
            Expect.equal (values a) [| 0.0 |] "nothing has moved"
            setGradient b (Some [| 4.0 |])
            stepOn optimizer a 3.0
            Expect.equal (values a, values b) ([| -2.0 |], [| -3.0 |]) "each call once"
        }
        test "what refuses the last call keeps the calls before" {
            let p = vector "p" [ 0.0 ]
            let optimizer = optimizer "SGD" [ "lr", Number 1.0 ] [ p ]
            let average = AveragedParameters [ p ]
            average.UpdateParameters()
            optimizer.Attach(ClipGradNorm(1e9, errorIfNonfinite = true), average = average, accumulate = 2)
            stepOn optimizer p 1.0

            do
                use _ = average.Applied()
                refuses<InvalidOperationException> "applied averages" [ "Step" ] (fun () -> stepOn optimizer p 100.0)

            refuses<InvalidOperationException> "not finite" [ "'p'" ] (fun () -> stepOn optimizer p infinity)
            optimizer.ParamGroups[0]["differentiable"] <- OptionValue.op_Implicit true
            refuses<NotSupportedException> "an option" [ "differentiable" ] (fun () -> stepOn optimizer p 100.0)
            optimizer.ParamGroups[0]["differentiable"] <- OptionValue.op_Implicit false
            Expect.equal optimizer.AccumulatedCalls 1 "the first call"
            stepOn optimizer p 3.0
            Expect.equal (values p) [| -2.0 |] "the mean of the two"
        }
        test "no call takes gradients in where the averages are applied" {
            let p = vector "p" [ 0.0 ]
            let optimizer = optimizer "SGD" [] [ p ]
            let average = AveragedParameters [ p ]
            optimizer.Attach(average = average, accumulate = 2)
            average.UpdateParameters()
            use _ = average.Applied()
            refuses<InvalidOperationException> "the first call" [ "Applied()" ] (fun () -> stepOn optimizer p 1.0)
            Expect.equal optimizer.AccumulatedCalls 0 "nothing was added"
        }
        test "a window that is not full: a step by the mean of the calls that it has" {
            let p = vector "p" [ 0.0 ]
            let optimizer = sgd 4 [ p ]
            Expect.isFalse (optimizer.StepAccumulated()) "no calls, no step"
            let hooks = ResizeArray<string>()
            use _ = optimizer.RegisterStepPreHook(fun _ -> hooks.Add "pre")
            use _ = optimizer.RegisterStepPostHook(fun _ -> hooks.Add "post")
            stepOn optimizer p 1.0
            stepOn optimizer p 2.0
            Expect.sequenceEqual hooks [ "pre"; "pre" ] "pre hooks run at each call"
            setGradient p (Some [| 100.0 |])
            Expect.isTrue (optimizer.StepAccumulated()) "stepped"
            Expect.equal (values p) [| -1.5 |] "the gradients of now are not looked at"
            Expect.sequenceEqual hooks [ "pre"; "pre"; "pre"; "post" ] "both at the step"
            Expect.isFalse optimizer.IsAccumulating "nothing is left"
            stepOn optimizer p 8.0
            optimizer.DropAccumulated()
            Expect.isFalse (optimizer.StepAccumulated()) "dropped"
        }
        test "another Attach inside of a window takes it over" {
            let p = vector "p" [ 0.0 ]
            let optimizer = sgd 4 [ p ]
            stepOn optimizer p 1.0
            stepOn optimizer p 2.0
            optimizer.Attach(accumulate = 3)
            stepOn optimizer p 6.0
            Expect.equal (values p) [| -3.0 |] "three calls"
            stepOn optimizer p 1.0
            optimizer.Attach()
            stepOn optimizer p 3.0
            Expect.equal (values p) [| -5.0 |] "nothing attached: the next call steps"
        }
        test "gradients of two loss scales are not added up" {
            let p = param "p" DType.Float32 [| 1L |] [| 0.0 |]
            let optimizer = optimizer "SGD" [ "lr", Number 1.0 ] [ p ]
            let scaler = GradScaler 8.0
            optimizer.Attach(scaler = scaler, accumulate = 2)
            stepOn optimizer p 8.0
            scaler.Update(Nullable 4.0)
            refuses<InvalidOperationException> "another scale" [ "4"; "8" ] (fun () -> stepOn optimizer p 4.0)
            refuses<InvalidOperationException> "unscaling one of them" [ "unscale_()" ] (fun () -> scaler.Unscale optimizer)
            scaler.Update(Nullable 8.0)
            stepOn optimizer p 24.0
            Expect.equal (values p) [| -2.0 |] "unscaled once"
            // By hand, nothing attached but the number of calls.
            optimizer.Attach(accumulate = 3)
            setGradient p (Some [| 8.0 |])
            Expect.isTrue (scaler.Step optimizer) "no step was skipped"
            refuses<InvalidOperationException> "without its scaler" [ "loss scale" ] (fun () -> optimizer.StepAccumulated() |> ignore)
            Expect.isTrue (optimizer.StepAccumulated scaler) "with it"
            Expect.equal (values p) [| -3.0 |] "unscaled"
        }
        test "an overflow in any call skips the step of the window, and only that" {
            let p = param "p" DType.Float32 [| 1L |] [| 0.0 |]
            let optimizer = optimizer "SGD" [ "lr", Number 1.0 ] [ p ]
            let scaler = GradScaler 8.0
            optimizer.Attach(scaler = scaler, accumulate = 2)
            stepOn optimizer p infinity
            stepOn optimizer p 8.0
            Expect.isTrue optimizer.LastStepSkipped "skipped"
            Expect.equal (scaler.GetScale(), optimizer.AccumulatedCalls) (4.0, 0) "the scale shrinks, the window is new"
            stepOn optimizer p 4.0
            stepOn optimizer p 4.0
            Expect.equal (values p) [| -1.0 |] "the next window"
        }
        test "sparse and dense gradients of one parameter in one window" {
            for order in [ [ 0; 1 ]; [ 1; 0 ] ] do
                let p = param "p" DType.Float64 [| 3L; 2L |] (Array.zeroCreate 6)
                let optimizer = sgd 2 [ p ]

                for kind in order do
                    if kind = 0 then
                        setSparseGradient p [ 2L; 0L; 2L ] [ 1.0; 2.0; 3.0; 4.0; 5.0; 6.0 ]
                    else
                        setGradient p (Some [| 1.0; 1.0; 1.0; 1.0; 1.0; 1.0 |])

                    optimizer.Step()

                expectSameBits (values p) [| -2.0; -2.5; -0.5; -0.5; -3.5; -4.5 |] "the mean"
        }
        test "in F#: the mean may be asked again when the step by it failed, and clear begins anew" {
            let parameters = Parameters.Of [ TensorView.Of [| 0.0 |] ]

            let of' (x: float) =
                Gradients.OfDense [ TensorView.Of [| x |] ]

            let sum = Accumulation.init 1 |> Accumulation.add (of' 1.0)
            let wrong = Gradients.OfDense [ TensorView.Of [| 1.0; 2.0 |] ]
            refuses<ArgumentException> "another shape" [ "gradient 0" ] (fun () -> Accumulation.add wrong sum |> ignore)
            let numbers (gradients: Gradients) = gradients[0].Values.ToDoubles()
            expectSameBits (numbers (Accumulation.meanWith (of' 3.0) sum)) [| 2.0 |] "with one more"
            let two = Accumulation.add (of' 5.0) sum
            Expect.isTrue sum.IsSpent "the one before"
            refuses<SpentStateException> "a spent one" [ "Accumulation.copy" ] (fun () -> Accumulation.mean sum |> ignore)

            let options = { SGD.defaults with Lr = nan }
            let state = SGD.init SGD.defaults parameters
            refuses<OptionException> "the step" [ "lr" ] (fun () -> SGD.step options parameters (Accumulation.mean two) state |> ignore)
            expectSameBits (numbers (Accumulation.mean two)) [| 3.0 |] "the same mean"
            let copy = Accumulation.copy two
            let anew = Accumulation.clear two |> Accumulation.add (of' 7.0)
            expectSameBits (numbers (Accumulation.mean anew)) [| 7.0 |] "anew"
            expectSameBits (numbers (Accumulation.mean copy)) [| 3.0 |] "a copy is another line"
            Expect.equal (anew.Calls, copy.Calls) (1, 2) "calls"
        }
    ]

let private saved =
    let give (p: Param) (table: Param) step =
        setGradient p (Some(noise step 3))
        setSparseGradient table [ int64 (step % 4); 1L; 1L ] (List.ofArray (noise (10 + step) 6))

    let make () =
        let p = vector "p" [ 1.0; 2.0; 3.0 ]
        let table = param "table" DType.Float64 [| 4L; 2L |] (noise 5 8)
        let optimizer = optimizer "Adagrad" [ "lr", Number 0.1 ] [ p; table ]
        p, table, optimizer

    [
        test "a checkpoint has the window under a key of its own, and going on changes no bit" {
            inFolder (fun path ->
                let p, table, optimizer = make ()
                optimizer.Attach(accumulate = 3)

                for step in 1..5 do
                    give p table step
                    optimizer.Step()

                let file, other = path "run.pt", path "other.pt"
                Checkpoint.Save(file, struct ("optimizer", optimizer :> obj), struct ("model", [ p; table ] :> obj))
                let dict = (Checkpoint.Read file)["optimizer"]
                let keys = dict.AsMap().Keys |> Seq.map string
                Expect.sequenceEqual keys [ "'state'"; "'param_groups'"; "'accumulation'" ] "keys"
                let calls: int = Tree.op_Explicit (dict["accumulation"]["calls"])
                Expect.equal calls 2 "calls"
                give p table 6
                optimizer.Step()

                // Loaded before and after Attach.
                for late in [ false; true ] do
                    let q, second, resumed = make ()

                    if not late then
                        resumed.Attach(accumulate = 3)

                    Checkpoint.Load(file, struct ("optimizer", resumed :> obj), struct ("model", [ q; second ] :> obj))
                    |> ignore

                    if late then
                        resumed.Attach(accumulate = 3)

                    Expect.equal resumed.AccumulatedCalls 2 "calls"
                    give q second 6
                    resumed.Step()
                    expectSameBits (values q) (values p) "p"
                    expectSameBits (values second) (values table) "table"
                    Checkpoint.Save(other, struct ("optimizer", resumed :> obj))
                    let dict = (Checkpoint.Read other)["optimizer"]
                    Expect.equal (dict.AsMap().Count) 2 "without calls there is no key")
        }
        test "a dict without the key, such as PyTorch's, begins a new window" {
            let p = vector "p" [ 0.0 ]
            let optimizer = sgd 2 [ p ]
            let before = optimizer.StateDict().Clone()
            stepOn optimizer p 100.0
            let inside = optimizer.StateDict().Clone()
            optimizer.LoadStateDict before |> ignore
            Expect.equal optimizer.AccumulatedCalls 0 "as it was saved"
            stepOn optimizer p 1.0
            optimizer.LoadStateDict inside |> ignore
            stepOn optimizer p 2.0
            Expect.equal (values p) [| -51.0 |] "the window of the dict"
        }
        test "windows are matched by name" {
            let a, b = vector "a" [ 0.0 ], vector "b" [ 0.0; 0.0 ]
            let optimizer = sgd 2 [ a; b ]
            setGradient b (Some [| 1.0; 2.0 |])
            stepOn optimizer a 8.0
            let dict = optimizer.StateDict()
            let a, b = vector "a" [ 0.0 ], vector "b" [ 0.0; 0.0 ]
            let other = sgd 2 [ b; a ]
            other.LoadStateDict dict |> ignore
            stepOn other a 0.0
            Expect.equal (values a, values b) ([| -4.0 |], [| -0.5; -1.0 |]) "each its own"
        }
        test "a window that does not fit is refused by name, and nothing has changed" {
            let p = vector "p" [ 0.0 ]
            let optimizer = sgd 2 [ p ]
            stepOn optimizer p 8.0
            let good = optimizer.StateDict().Clone()

            let window (calls: Tree) scale (gradient: Tree) =
                Tree.Dict(
                    struct ("calls", calls),
                    struct ("loss_scale", scale),
                    struct ("gradients", Tree.MapOf(MapKind.Dict, [ Collections.Generic.KeyValuePair(TreeKey.Int 0L, gradient) ]))
                )

            let tensor (values: float[]) : Tree = Tree.op_Implicit (TensorView.Of values)
            let one = tensor [| 1.0 |]

            for what, words, accumulation in
                [
                    "a shape", [ "'p'"; "float64[2]" ], window (Tree.Int 1L) (Tree.Float 1.0) (tensor [| 1.0; 2.0 |])
                    "no calls", [ "calls" ], window (Tree.Int 0L) (Tree.Float 1.0) one
                    "a scale", [ "loss_scale" ], window (Tree.Int 1L) (Tree.Float 0.0) one
                    "a text", [ "'p'" ], window (Tree.Int 1L) (Tree.Float 1.0) (Tree.Text "x")
                    "a list", [ "accumulation" ], Tree.ListOf [ one ]
                    "an empty dict", [ "gradients" ], Tree.Dict()
                    "rows that are not there",
                    [ "'p'"; "row 5" ],
                    window
                        (Tree.Int 1L)
                        (Tree.Float 1.0)
                        (Tree.Dict(struct ("rows", Tree.op_Implicit (TensorView.Of [| 5L |])), struct ("values", one)))
                ] do
                let bad = good.Clone()
                bad.Accumulation <- accumulation
                refuses<ArgumentException> what words (fun () -> optimizer.LoadStateDict bad |> ignore)
                Expect.equal optimizer.AccumulatedCalls 1 what

            stepOn optimizer p 0.0
            Expect.equal (values p) [| -4.0 |] "the window is still there"
        }
    ]

[<Tests>]
let tests =
    testList
        "around"
        [
            testList "accumulation" windows
            testList "accumulation in state dicts" saved
        ]
