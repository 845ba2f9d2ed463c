/// Our optimizers as torch.optim.Optimizer: TorchSharp's schedulers drive them as they drive TorchSharp's own.
module AdapterTests

open System
open System.Collections.Generic
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Kit

type private Tensor = torch.Tensor
type private Schedulers = torch.optim.lr_scheduler
type private Cyclic = torch.optim.lr_scheduler.impl.CyclicLR

let private doubles (tensor: Tensor) : float[] =
    use plain = tensor.detach().``to``(torch.float64).contiguous()
    plain.data<float>().ToArray()

let private linear () =
    torch.random.manual_seed 3L |> ignore
    torch.nn.Linear(4L, 2L)

let private all (parameters: IParameter seq) = Seq.cast<IParameterOrGroup> parameters

let private number (value: OptionValue) : float = OptionValue.op_Explicit value

let private rates (optimizer: torch.optim.Optimizer) =
    [ for group in optimizer.ParamGroups -> group.LearningRate ]

/// What one scheduler makes of one of our optimizers and one of TorchSharp's, step by step: rates, and the model at the end.
let private follows (ours: Modules.Linear -> Optimizer) (theirs: Modules.Linear -> torch.optim.Optimizer) schedule seen =
    let run (model: Modules.Linear) (optimizer: torch.optim.Optimizer) =
        let scheduler: Schedulers.LRScheduler = schedule optimizer
        let x = torch.ones [| 3L; 4L |]

        let trail =
            [
                for _ in 1..12 do
                    optimizer.zero_grad ()
                    model.call(x).square().sum().backward()
                    optimizer.step () |> ignore
                    scheduler.step ()
                    rates optimizer, seen optimizer
            ]

        trail, doubles model.weight

    let a, b = linear (), linear ()
    let ours, weight = run a ((ours a).AsTorchSharp())
    use peer = theirs b
    let expected, expectedWeight = run b peer
    Expect.equal ours expected "rates"
    Expect.isGreaterThan (List.distinct ours).Length 1 "they change"

    for x, y in Array.zip weight expectedWeight do
        Expect.isLessThan (abs (x - y)) 1e-5 "the weights"

/// Of the groups: TorchSharp's optimizers leave their own property where it was.
let private momentum (optimizer: torch.optim.Optimizer) =
    [
        for group in optimizer.ParamGroups do
            match box group with
            | :? torch.optim.IMomentum as m -> m.Momentum
            | :? torch.optim.IBetas as b ->
                let struct (beta1, beta2) = b.Betas
                beta1
                beta2
            | _ -> ()
    ]

let private sgd (model: Modules.Linear) : Optimizer =
    SGD(all (model.NamedParameters()), lr = 0.01, momentum = 0.9)

let private adam (model: Modules.Linear) : Optimizer =
    Adam(all (model.NamedParameters()), lr = 0.01)

let private theirSgd (model: Modules.Linear) : torch.optim.Optimizer =
    torch.optim.SGD(model.parameters (), 0.01, momentum = 0.9)

let private theirAdam (model: Modules.Linear) : torch.optim.Optimizer =
    torch.optim.Adam(model.parameters (), lr = 0.01)

let tests =
    [
        test "StepLR" {
            follows sgd theirSgd (fun o -> Schedulers.StepLR(o, 3, 0.5)) momentum
            follows adam theirAdam (fun o -> Schedulers.StepLR(o, 3, 0.5)) momentum
        }

        test "OneCycleLR, with momentum and with betas" {
            follows sgd theirSgd (fun o -> Schedulers.OneCycleLR(o, 0.05, 15)) momentum
            follows adam theirAdam (fun o -> Schedulers.OneCycleLR(o, 0.05, 15)) momentum
        }

        test "CyclicLR, with momentum, and with betas without cycling them" {
            follows sgd theirSgd (fun o -> Schedulers.CyclicLR(o, 0.001, 0.05, step_size_up = 4)) momentum

            let cycle momentum (o: torch.optim.Optimizer) =
                Schedulers.CyclicLR(o, 0.001, 0.05, step_size_up = 4, cycle_momentum = momentum)

            follows adam theirAdam (cycle false) momentum
            // It does not take TorchSharp's own Adam either.
            refuses<ArgumentException> "cycled betas of theirs" [ "momentum" ] (fun () -> cycle true (theirAdam (linear ())) |> ignore)

            refuses<ArgumentException> "cycled betas of ours" [ "momentum" ] (fun () ->
                cycle true ((adam (linear ())).AsTorchSharp()) |> ignore)
        }

        test "cycled momentum reaches the options" {
            let model = linear ()
            let optimizer = sgd model
            let scheduler = Schedulers.OneCycleLR(optimizer.AsTorchSharp(), 0.05, 15)
            let before: float = number optimizer.ParamGroups[0].["momentum"]

            for _ in 1..4 do
                optimizer.Step()
                scheduler.step ()

            Expect.notEqual (number optimizer.ParamGroups[0].["momentum"]) before "momentum"
        }

        test "rates of several groups, and of groups added on either side" {
            let a, b, c = linear (), linear (), linear ()

            let group (model: Modules.Linear) (rate: float) =
                let group = ParameterGroup(model.Parameters())
                group["lr"] <- OptionValue.Float rate
                group

            let optimizer = SGD([ group a 0.1 :> IParameterOrGroup; group b 0.2 ], lr = 1.0)
            let adapter = optimizer.AsTorchSharp()
            Expect.equal (rates adapter) [ 0.1; 0.2 ] "rates"
            optimizer.AddParamGroup(group c 0.3)
            Expect.equal (rates adapter) [ 0.1; 0.2; 0.3 ] "added here"

            let scheduler = Schedulers.StepLR(adapter, 1, 0.5)
            scheduler.step ()
            Expect.equal [ for g in optimizer.ParamGroups -> number g["lr"] ] [ 0.05; 0.1; 0.15 ] "halved"
            Expect.hasLength (adapter.parameters () |> Seq.toList) 6 "parameters"

            let d = linear ()

            let theirs =
                Modules.SGD.ParamGroup(d.parameters (), Modules.SGD.Options(LearningRate = Nullable 0.4))

            adapter.add_param_group theirs
            Expect.hasLength optimizer.ParamGroups 4 "added there"
            Expect.equal (number optimizer.ParamGroups[3].["lr"]) 0.4 "its rate"
            d.weight.grad <- torch.ones_like d.weight
            let before = doubles d.weight
            adapter.step () |> ignore
            Expect.equal (doubles d.weight) (before |> Array.map (fun w -> float (float32 w - 0.4f))) "it is stepped"

            refuses<ArgumentException> "again" [ "more than one" ] (fun () -> adapter.add_param_group theirs)
        }

        test "the parameters are the module's own, and wrappers of tensors share the gradient" {
            let model = linear ()
            let adapter = (sgd model).AsTorchSharp()

            for a, b in Seq.zip (adapter.parameters ()) (model.parameters ()) do
                Expect.isTrue (obj.ReferenceEquals(a, b)) "the same object"

            let w: Tensor = torch.tensor([| 1.0; 2.0 |]).requires_grad_ true
            let optimizer = SGD(all (Torch.Parameters(struct ("w", w))), lr = 0.5)

            let parameter =
                use _ = torch.NewDisposeScope()
                optimizer.AsTorchSharp().parameters() |> Seq.exactlyOne

            (w * w).sum().backward()
            Expect.equal (doubles (nonNull parameter.grad)) [| 2.0; 4.0 |] "its gradient"
            optimizer.AsTorchSharp().step() |> ignore
            Expect.equal (doubles w, doubles parameter) ([| 0.0; 0.0 |], [| 0.0; 0.0 |]) "its elements"
            Expect.isTrue w.requires_grad "as it was"
        }

        test "step with a closure returns its loss; zero_grad fills with zeros" {
            let w: Tensor = torch.tensor([| 1.0; 2.0 |]).requires_grad_ true
            let adapter = SGD(all (Torch.Parameters(struct ("w", w))), lr = 0.5).AsTorchSharp()

            let loss =
                adapter.step (
                    Func<Tensor>(fun () ->
                        adapter.zero_grad ()
                        let loss = (w * w).sum()
                        loss.backward ()
                        loss)
                )

            Expect.equal (loss.item<float>()) 5.0 "the loss"
            Expect.equal (doubles w) [| 0.0; 0.0 |] "moved"
            adapter.zero_grad ()
            Expect.equal (doubles (nonNull w.grad)) [| 0.0; 0.0 |] "zeros"
        }

        test "disposing it leaves optimizer and parameters alone" {
            let model = linear ()
            let optimizer = sgd model
            optimizer.AsTorchSharp().Dispose()
            model.call(torch.ones [| 1L; 4L |]).sum().backward()
            optimizer.Step()
            optimizer.AsTorchSharp().step() |> ignore
        }

        test "refused: parameters that are no TorchSharp tensors" {
            use host = new Param("host", [| 1.0 |])

            refuses<ArgumentException> "a host array" [ "'host'"; "TorchSharp" ] (fun () ->
                SGD([ host ], lr = 0.1).AsTorchSharp() |> ignore)
        }
    ]
