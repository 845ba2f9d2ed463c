/// Averages of TorchSharp's modules, and statistics of batch normalization. Skipped where libtorch does not load.
module TorchAverageTests

open System
open System.Text.Json
open Expecto
open TorchSharp
open Optim
open Optim.Kernels
open Golden
open Kit
open TorchAverageKit

type private Tensor = torch.Tensor
type private Net = torch.nn.Module<torch.Tensor, torch.Tensor>

let private updateBn (case: JsonElement) =
    use model = net 3L 4L
    fill model (field "initial" case |> pairs numbers)

    let momentum =
        match tryField "momentum" case with
        | Some value -> Nullable(number value)
        | None -> Nullable()

    (batchNorm model).momentum <- momentum
    model.eval ()

    SwaUtils.UpdateBn(
        [
            for batch in field "batches" case |> list numbers -> constant [ 5L; 3L ] batch
        ],
        model
    )

    let state = model.state_dict ()

    for name, expected in field "after" case |> pairs numbers do
        close name (values state[name]) expected

    Expect.equal (batchNorm model).momentum momentum "momentum"
    Expect.isFalse model.training "mode"

let private averaging (case: JsonElement) =
    let useBuffers = (field "use_buffers" case).GetBoolean()

    let functions: (AvgFn<Tensor> * MultiAvgFn<Tensor>) list =
        match tryField "decay" case with
        | None ->
            [
                null, null
                null, AveragedModel.GetSwaMultiAvgFn()
                AvgFn<Tensor>(fun average current n -> average + (current - average) / torch.tensor (float n + 1.0)), null
            ]
        | Some decay ->
            let decay = number decay

            [
                null, AveragedModel.GetEmaMultiAvgFn decay
                AvgFn<Tensor>(fun average current _ -> (average * torch.tensor decay).add(current * torch.tensor (1.0 - decay))), null
            ]

    for one, many in functions do
        for withCopy in [ false; true ] do
            use model = net 2L 3L
            let make = making (fun () -> net 2L 3L)

            let average =
                AveragedModel(model, (if withCopy then make else null), one, many, useBuffers)

            let models = field "model" case |> list (pairs numbers)
            let expected = field "average" case |> list (pairs numbers)

            for values', expected in List.zip models expected do
                fill model values'
                average.UpdateParameters(model)

                for name, expected in expected do
                    // PyTorch cuts the average of a count off to a whole number; TorchSharp counts the batches of a float64 model in float64.
                    if
                        not useBuffers
                        || average[name].DType = DType.Int64
                        || not (name.EndsWith("tracked", StringComparison.Ordinal))
                    then
                        close name (average[name].ToDoubles()) expected

                        if withCopy then
                            let state = average.Module.state_dict ()
                            close name (values state[name]) expected

            Expect.equal average.NAveraged (int64 (number (field "n_averaged" case))) "n_averaged"

let private golden =
    [
        for path in files "averaging*.json" do
            for i, case in Golden.cases path |> List.indexed do
                let run =
                    match Golden.text (field "kind" case) with
                    | "update_bn" -> updateBn
                    | _ -> averaging

                $"golden {IO.Path.GetFileName path} #{i} over modules", (fun () -> run case)
    ]

let private throws () =
    { new Net("throws") with
        member _.forward(_: Tensor) : Tensor = invalidOp "no forward pass"
    }

let private others =
    [
        "momenta and modes are restored when a forward pass throws",
        (fun () ->
            use model =
                torch.nn.Sequential(torch.nn.BatchNorm1d 3L :> Net, torch.nn.Dropout() :> Net, throws ())

            model.train ()
            (child model 1).eval()
            let norm = model[0] :?> Modules.BatchNorm1d
            norm.momentum <- Nullable 0.25

            Expect.throws (fun () -> SwaUtils.UpdateBn([ torch.ones (4L, 3L) ], model)) "the forward pass"
            Expect.equal norm.momentum (Nullable 0.25) "momentum"
            Expect.isTrue model.training "the model's mode"
            Expect.isFalse (child model 1).training "a child's mode")
        "without batch normalization the batches are not read",
        (fun () ->
            use model = torch.nn.Linear(2L, 2L)

            SwaUtils.UpdateBn(
                Seq.delay (fun () ->
                    failtest "read"
                    Seq.empty<Tensor>),
                model
            ))
        "a copy of another structure is refused with the names that differ",
        (fun () ->
            use model = net 2L 3L

            refuses<ArgumentException> "no batch normalization" [ "missing: 1.weight" ] (fun () ->
                AveragedModel(model, making (fun () -> torch.nn.Sequential(torch.nn.Linear(2L, 3L) :> Net)))
                |> ignore)

            refuses<ArgumentException> "other sizes" [ "'0.weight'"; "[3, 4]" ] (fun () ->
                AveragedModel(model, making (fun () -> net 4L 3L)) |> ignore)

            refuses<ArgumentException> "the model itself" [ "live model" ] (fun () ->
                AveragedModel(model, making (fun () -> model)) |> ignore))
        "the averaged model predicts, with a copy or by the live one, and leaves that as it was",
        (fun () ->
            use model = net 2L 3L
            use x = constant [ 2L; 2L ] [| 1.0; 2.0; -1.0; 0.5 |]
            model.eval ()
            let columns = AveragedModel(model)
            let copy = AveragedModel(model, making (fun () -> net 2L 3L))
            copy.Module.eval ()
            columns.UpdateParameters()
            copy.UpdateParameters()
            let first = values (model.forward x)

            (use _ = torch.no_grad ()

             for p in model.parameters () do
                 p.mul_ (torch.tensor 3.0) |> ignore)

            let raw = values (model.forward x)
            Expect.notEqual raw first "the model has moved"
            expectSameBits (values (columns.forward x)) first "by the live one"
            expectSameBits (values (copy.forward x)) first "by the copy"
            expectSameBits (values (model.forward x)) raw "the live one")
        "attached to an optimizer, averages, clipping and zeros give the bits of separate passes",
        (fun () ->
            let run attached =
                torch.random.manual_seed 3L |> ignore
                use model = net 4L 8L
                let average = AveragedModel(model, multiAvgFn = AveragedModel.GetEmaMultiAvgFn 0.9)
                let optimizer = AdamW(model.NamedParameters() |> Seq.cast<IParameterOrGroup>)

                if attached then
                    optimizer.Attach(ClipGradNorm 0.1, GradScaler 1024.0, average, zeroGrad = true)

                let scaler = GradScaler 1024.0

                for _ in 1..5 do
                    use x = torch.randn (16L, 4L, dtype = Nullable torch.ScalarType.Float64)
                    use loss = model.forward(x).square().mean()

                    (if attached then
                         loss.mul (torch.tensor 1024.0)
                     else
                         scaler.Scale loss)
                        .backward()

                    if not attached then
                        scaler.Unscale optimizer
                        ClipGrad.Norm(model.Parameters(), 0.1) |> ignore
                        scaler.Step optimizer |> ignore
                        scaler.Update()
                        average.UpdateParameters()
                        optimizer.ZeroGrad false
                    else
                        optimizer.Step()

                [
                    for struct (_, p) in model.named_parameters () do
                        values p
                        values (nonNull p.grad)
                    for name in average.Names do
                        average[name].ToDoubles()
                ]

            for expected, actual in List.zip (run false) (run true) do
                expectSameBits actual expected "attached")
        "without a copy the module is the live one, and is not taken for the averages",
        (fun () ->
            use model = net 2L 3L
            let average = AveragedModel(model)

            refuses<InvalidOperationException> "Module" [ "live values"; "Applied()"; "StateDict()"; "copy: () => new Net()" ] (fun () ->
                average.Module |> ignore)

            use _ = average.Applied()
            Expect.isTrue (obj.ReferenceEquals(average.Module, model)) "it has the averages now")
        "a copy takes over the training mode of each module and what is frozen",
        (fun () ->
            use model = net 2L 3L
            model.eval ()
            let modules (net: Net) = net.named_modules () |> Seq.toArray
            let struct (_, inner) = (modules model)[(modules model).Length - 1]
            inner.train true

            for i, struct (_, p) in model.named_parameters () |> Seq.indexed do
                p.requires_grad <- (i % 2 = 1)

            let average = AveragedModel(model, making (fun () -> net 2L 3L))
            let copy = average.Module

            let modes (net: torch.nn.Module) =
                [ for struct (name, m) in net.named_modules () -> name, m.training ]

            let frozen (net: torch.nn.Module) =
                [ for struct (name, p) in net.named_parameters () -> name, p.requires_grad ]

            Expect.equal (modes copy) (modes model) "modes"
            Expect.equal copy.training model.training "its own mode"
            Expect.equal (frozen copy) (frozen model) "requires_grad")
        "a copy that shares tensors with the live model is refused",
        (fun () ->
            use model = net 2L 3L

            refuses<ArgumentException> "a wrapper of the same layers" [ "shares memory"; "average" ] (fun () ->
                AveragedModel(
                    model,
                    making (fun () ->
                        torch.nn.Sequential(
                            model.named_children ()
                            |> Seq.map (fun struct (name, m) -> struct (name, m :?> Net))
                            |> Seq.toArray
                        ))
                )
                |> ignore))
        "while averages are applied, a module's weights are not loaded, and the error names the average",
        (fun () ->
            use model = net 2L 3L
            let average = AveragedModel(model, multiAvgFn = AveragedModel.GetEmaMultiAvgFn 0.75)
            average.UpdateParameters()

            inFolder (fun file ->
                model.SaveWeights(file "m.pt")
                Checkpoint.Save(file "c.pt", struct ("model", box model))
                let load = ModuleState(model).PrepareLoad(Checkpoint.Read(file "m.pt"))

                let words = [ "AveragedModel (decay 0.75"; "Applied()"; "'0.weight'" ]
                let lent = average.Applied()

                for name, call in
                    [
                        "LoadWeights", (fun () -> model.LoadWeights(file "m.pt") |> ignore)
                        "Checkpoint.Load", (fun () -> Checkpoint.Load(file "c.pt", struct ("model", box model)) |> ignore)
                        "a load that was prepared before", (fun () -> load.Run() |> ignore)
                        "Step", (fun () -> SGD(model.NamedParameters() |> Seq.cast<IParameterOrGroup>).Step())
                    ] do
                    match thrown name call with
                    | :? InvalidOperationException as e ->
                        for word in words do
                            Expect.stringContains e.Message word name
                    | e -> Expect.stringContains e.Message "Applied()" $"{name}: {e.GetType().Name}"

                lent.Dispose()
                model.LoadWeights(file "m.pt") |> ignore))
        "averages and what they lend are seen by old graphs",
        (fun () ->
            use model = net 2L 3L
            let average = AveragedModel(model)
            average.UpdateParameters()
            use x = constant [ 2L; 2L ] [| 1.0; 2.0; -1.0; 0.5 |]
            let loss = model.forward(x).square().sum()
            average.Applied().Dispose()
            Expect.throws (fun () -> loss.backward ()) "backward needs values that have changed in between")
    ]

/// The tests; `loads` says whether libtorch does.
let tests (loads: Lazy<Result<'a, 'b>>) =
    testSequenced
    <| testList
        "TorchSharp averages"
        [
            for name, run in golden @ others do
                testCase name (fun () ->
                    if Result.isError loads.Value then
                        skiptest "libtorch does not load"

                    use _ = torch.NewDisposeScope()
                    run ())
        ]
