/// Memory that is gone, or lent: a disposed parameter, and one that has the values of an average, are refused by whatever still holds them.
module DisposedTests

open System
open System.Reflection
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit

/// All that a parameter can be asked for or told, by name.
let private members: (string * (Param -> unit)) list =
    let view () =
        TensorView.Zeros(DType.Float32, [| 3L |])

    [
        "Data", (fun w -> w.Data<float32>().Clear())
        "View", (fun w -> w.View |> ignore)
        "IParameter.Data", (fun w -> (w :> IParameter).Data |> ignore)
        "Identity", (fun w -> (w :> IParameter).Identity |> ignore)
        "RequiresGradient", (fun w -> w.RequiresGradient |> ignore)
        "RequiresGradient", (fun w -> w.RequiresGradient <- true)
        "HasGradient", (fun w -> w.HasGradient |> ignore)
        "IsGradientSparse", (fun w -> w.IsGradientSparse |> ignore)
        "GradientView", (fun w -> w.GradientView |> ignore)
        "GradientRows", (fun w -> w.GradientRows |> ignore)
        "Gradient", (fun w -> w.Gradient<float32>().Clear())
        "Gradient of another type", (fun w -> w.Gradient<double>().Clear())
        "SetGradient", (fun w -> w.SetGradient(ReadOnlySpan [| 1.0f; 2.0f; 3.0f |]))
        "SetGradient of another length", (fun w -> w.SetGradient(ReadOnlySpan [| 1.0f |]))
        "SetGradient", (fun w -> w.SetGradient(view ()))
        "SetSparseGradient", (fun w -> w.SetSparseGradient(ReadOnlySpan [| 1L |], ReadOnlySpan [| 1.0f |]))
        "SetSparseGradient", (fun w -> w.SetSparseGradient(TensorView.Of [| 1L |], TensorView.Of [| 1.0f |]))
        "BindGradient", (fun w -> w.BindGradient [| 1.0f; 2.0f; 3.0f |])
        "BindGradient", (fun w -> w.BindGradient [| 1.0; 2.0; 3.0 |])
        "BindGradient", (fun w -> w.BindGradient(view ()))
        "DropGradient", (fun w -> w.DropGradient())
        "ZeroGradient", (fun w -> w.ZeroGradient false)
        "ZeroGradient", (fun w -> w.ZeroGradient true)
        "Refresh",
        (fun w ->
            let mutable data, gradient = TensorView(), Gradient.Absent
            (w :> IParameter).Refresh(&data, &gradient))
    ]

let private disposed =
    [
        test "every way to a disposed parameter is an ObjectDisposedException that names it" {
            let known =
                members
                |> List.map (fun (name, _) -> (name.Split(' ')[0]).Split('.') |> Array.last)
                |> Set.ofList

            let all =
                typeof<Param>.GetMembers(BindingFlags.Public ||| BindingFlags.Instance ||| BindingFlags.DeclaredOnly)
                |> Seq.filter (fun m -> not (m.Name.Contains "get_" || m.Name.Contains "set_" || m.Name = ".ctor"))
                |> Seq.map _.Name
                |> Set.ofSeq

            Expect.equal (all - known) (set [ "Name"; "ToString"; "Dispose" ]) "what this test does not call"

            for bound in [ false; true ] do
                let array, gradient = Array.zeroCreate<float32> 3, Array.zeroCreate<float32> 3
                let w = new Param("w", array)

                if bound then
                    w.BindGradient gradient
                else
                    w.Gradient<float32>().Fill 1.0f

                w.Dispose()

                for name, call in members do
                    refuses<ObjectDisposedException> name [ "'w'" ] (fun () -> call w)

                Expect.equal (w.ToString()) "w: float32[3]" "its text"
                w.Dispose()
        }

        test "optimizers, averages, clipping, checkpoints and the core refuse a disposed parameter" {
            let make () =
                let w, v = new Param("w", Array.create 3 1.0f), Param.Zeros("v", DType.Float32, 3L)

                for p in [ w; v ] do
                    p.Gradient<float32>().Fill 1.0f

                w, v

            for name, call in
                [
                    "Step", (fun (optimizer: Optimizer) (_: AveragedParameters) (_: Param) -> optimizer.Step())
                    "Step of a closure", (fun optimizer _ _ -> optimizer.Step(fun () -> 1.0) |> ignore)
                    "ZeroGrad", (fun optimizer _ _ -> optimizer.ZeroGrad false)
                    "ZeroGrad to none", (fun optimizer _ _ -> optimizer.ZeroGrad true)
                    "State", (fun optimizer _ w -> optimizer.State w |> ignore)
                    "SetState", (fun optimizer _ w -> optimizer.SetState(w, "mine", Tree.Int 1L))
                    "a new optimizer", (fun _ _ w -> SGD(parameters [ w ]) |> ignore)
                    "GradScaler", (fun optimizer _ _ -> GradScaler().Step optimizer |> ignore)
                    "Unscale", (fun optimizer _ _ -> GradScaler().Unscale optimizer)
                    "UpdateParameters", (fun _ average _ -> average.UpdateParameters())
                    "Applied", (fun _ average _ -> average.Applied().Dispose())
                    "ClipGrad", (fun _ _ w -> ClipGrad.Norm([ w ], 1.0) |> ignore)
                    "Checkpoint",
                    (fun _ _ w -> inFolder (fun file -> Checkpoint.Save(file "a.pt", struct ("w", box [| w :> IParameter |]))))
                ] do
                let w, v = make ()
                let average = AveragedParameters([ v :> IParameter; w ])
                let optimizer = Adam(parameters [ v; w ])
                optimizer.Step()
                w.Dispose()
                let before = values v
                refuses<ObjectDisposedException> name [ "'w'" ] (fun () -> call optimizer average w)
                expectSameBits (values v) before $"{name}: nothing moves"
        }

        test "views of a disposed parameter are refused, in the core, too, and a parameter unpins only what it has pinned" {
            let w = new Param("w", Array.create 3 1.0f)
            let view = w.View
            let other = Param.Of("other", view)
            let bound = Param.Zeros("bound", DType.Float32, 3L)
            bound.BindGradient view
            let options = Adam.defaults
            let gradients = Gradients.OfDense [ TensorView.Of [| 1.0f; 1.0f; 1.0f |] ]
            let parameters' = Parameters.Of [ view ]
            let state = Adam.step options parameters' gradients (Adam.init options parameters')
            other.Dispose()
            w.Data<float32>()[0] <- 2.0f
            Expect.equal (view.ToDoubles()[0]) 2.0 "the array is pinned by its own parameter"
            w.Dispose()

            for name, call in
                [
                    "ToDoubles", (fun () -> view.ToDoubles() |> ignore)
                    "Copy", (fun () -> view.Copy() |> ignore)
                    "ToHost", (fun () -> view.ToHost() |> ignore)
                    "AsSpan", (fun () -> view.AsSpan<float32>().Clear())
                    "Clear", (fun () -> view.Clear())
                    "CopyFrom", (fun () -> view.CopyFrom(TensorView.Of [| 1.0f; 2.0f; 3.0f |]))
                    "CopyFrom it", (fun () -> TensorView.Of([| 1.0f; 2.0f; 3.0f |]).CopyFrom view)
                    "ConvertFrom", (fun () -> view.ConvertFrom(TensorView.Of [| 1.0; 2.0; 3.0 |]))
                    "ConvertFrom it", (fun () -> TensorView.Of([| 1.0; 2.0; 3.0 |]).ConvertFrom view)
                    "ContentEquals", (fun () -> view.ContentEquals view |> ignore)
                    "a step", (fun () -> Adam.step options parameters' gradients state |> ignore)
                    "a pure step", (fun () -> Adam.pureStep options parameters' gradients state |> ignore)
                    "a gradient of the core",
                    (fun () ->
                        let own = Parameters.Of [ TensorView.Of [| 1.0f; 1.0f; 1.0f |] ]

                        Adam.step options own (Gradients.OfDense [ view ]) (Adam.init options own)
                        |> ignore)
                    "a bound gradient", (fun () -> SGD(parameters [ bound ]).Step())
                ] do
                refuses<ObjectDisposedException> name [ "given back" ] call
        }
    ]

let private lent =
    [
        test "while averages are applied, steps, loads and other averages of the same parameters are refused, naming the average" {
            let w, v = Param.Zeros("w", DType.Float32, 3L), Param.Zeros("v", DType.Float32, 3L)

            for p in [ w; v ] do
                p.Data<float32>().Fill 1.0f
                p.Gradient<float32>().Fill 1.0f

            let average = emaOf 0.75 [ w ]
            let other = AveragedParameters([ w :> IParameter; v ])

            let plain, attached =
                SGD(parameters [ w ], lr = 0.5), SGD(parameters [ w ], lr = 0.5)

            attached.Attach(average = other)
            let lbfgs = LBFGS(parameters [ w ])
            average.UpdateParameters()
            plain.Step()
            let saved = ParametersState([ w ]).SaveState().Copy()

            inFolder (fun file ->
                Checkpoint.Save(file "w.pt", struct ("w", box [| w :> IParameter |]))
                let load = ParametersState([ w ]).PrepareLoad saved

                for name, call in
                    [
                        "Step", (fun () -> plain.Step())
                        "Step with another average", (fun () -> attached.Step())
                        "Step of a closure", (fun () -> plain.Step(fun () -> (failtest "the closure was called": float)) |> ignore)
                        "LBFGS", (fun () -> lbfgs.Step(fun () -> (failtest "the closure was called": float)) |> ignore)
                        "GradScaler", (fun () -> GradScaler().Step plain |> ignore)
                        "loading", (fun () -> Checkpoint.Load(file "w.pt", struct ("w", box [| w :> IParameter |])) |> ignore)
                        "a load that was prepared before", (fun () -> load.Run() |> ignore)
                        "another average", (fun () -> other.UpdateParameters())
                        "another average applied", (fun () -> other.Applied().Dispose())
                    ] do
                    let lent = average.Applied()
                    let before = values w
                    expectSameBits before [| 1.0; 1.0; 1.0 |] "the average"

                    match thrown name call with
                    | :? InvalidOperationException as e ->
                        for word in [ "'w'"; "AveragedParameters (decay 0.75, 1 updates)"; "Applied()" ] do
                            Expect.stringContains e.Message word name
                    | e -> failtestf "%s: %O" name e

                    expectSameBits (values w) before $"{name}: nothing moves"
                    lent.Dispose()
                    expectSameBits (values w) [| 0.5; 0.5; 0.5 |] "the live values"
                    expectSameBits (average["w"].ToDoubles()) [| 1.0; 1.0; 1.0 |] "the average afterwards"

                // What has nothing to do with the average goes on.
                use _ = average.Applied()
                SGD(parameters [ v ], lr = 0.5).Step()
                expectSameBits (values v) [| 0.5; 0.5; 0.5 |] "another parameter")
        }

        test "a closure that leaves averages applied is refused before the step" {
            let w = Param.Zeros("w", DType.Float32, 3L)
            let average = AveragedParameters([ w ])
            let optimizer = SGD(parameters [ w ], lr = 0.5)
            let mutable lent: IDisposable = null

            refuses<InvalidOperationException> "step" [ "'w'" ] (fun () ->
                optimizer.Step(fun () ->
                    w.Gradient<float32>().Fill 1.0f
                    lent <- average.Applied()
                    1.0)
                |> ignore)

            lent.Dispose()
            expectSameBits (values w) [| 0.0; 0.0; 0.0 |] "nothing moved"
        }
    ]

[<Tests>]
let tests = testList "memory" (disposed @ [ testSequenced (testList "lent" lent) ])
