/// TorchSharp's own optimizers step a copy of the same model, where they are right.
module TorchPeerTests

open System
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Reference
open Kit
open TorchKit

type private Tensor = torch.Tensor
type private Net = torch.nn.Module<torch.Tensor, torch.Tensor>

let tests =
    let weights (m: Net) = m.parameters ()
    let lr = Number 0.01
    let decay = Number 0.01

    // Rule, options, TorchSharp's, and how many steps of it are right. With maximize its SGD adds decay before the sign.
    let peers: (string * (string * Setting) list * (Net -> torch.optim.Optimizer) * int) list =
        [
            "SGD", [ "lr", lr ], (fun m -> torch.optim.SGD(weights m, 0.01)), 20
            "SGD",
            [
                "lr", lr
                "momentum", Number 0.9
                "dampening", Number 0.1
                "weight_decay", decay
            ],
            (fun m -> torch.optim.SGD(weights m, 0.01, momentum = 0.9, dampening = 0.1, weight_decay = 0.01)),
            20
            "SGD",
            [
                "lr", lr
                "momentum", Number 0.9
                "nesterov", Flag true
                "maximize", Flag true
            ],
            (fun m -> torch.optim.SGD(weights m, 0.01, momentum = 0.9, nesterov = true, maximize = true)),
            20
            "Adam",
            [ "lr", lr; "weight_decay", decay; "betas", Pair(0.8, 0.9) ],
            (fun m -> torch.optim.Adam(weights m, lr = 0.01, beta1 = 0.8, beta2 = 0.9, weight_decay = 0.01)),
            20
            "Adam", [ "lr", lr; "amsgrad", Flag true ], (fun m -> torch.optim.Adam(weights m, lr = 0.01, amsgrad = true)), 20
            "AdamW",
            [ "lr", lr; "weight_decay", Number 0.1; "amsgrad", Flag true ],
            (fun m -> torch.optim.AdamW(weights m, lr = 0.01, weight_decay = 0.1, amsgrad = true)),
            20
            "RMSprop",
            [ "lr", lr; "momentum", Number 0.5; "centered", Flag true ],
            (fun m -> torch.optim.RMSProp(weights m, lr = 0.01, momentum = 0.5, centered = true)),
            20
            "RMSprop", [ "lr", lr; "weight_decay", decay ], (fun m -> torch.optim.RMSProp(weights m, lr = 0.01, weight_decay = 0.01)), 20
            "Rprop", [ "lr", lr ], (fun m -> torch.optim.Rprop(weights m, lr = 0.01)), 20
            "Adagrad",
            [
                "lr", lr
                "lr_decay", Number 0.1
                "weight_decay", decay
                "initial_accumulator_value", Number 0.1
            ],
            (fun m -> torch.optim.Adagrad(weights m, lr = 0.01, lr_decay = 0.1, weight_decay = 0.01, initial_accumulator_value = 0.1)),
            20
            "Adadelta",
            [ "lr", Number 0.5; "rho", Number 0.8; "weight_decay", decay ],
            (fun m -> torch.optim.Adadelta(weights m, lr = 0.5, rho = 0.8, weight_decay = 0.01)),
            20
            "Adamax", [ "lr", lr; "weight_decay", decay ], (fun m -> torch.optim.Adamax(weights m, lr = 0.01, weight_decay = 0.01)), 20
            "NAdam",
            [ "lr", lr; "weight_decay", decay; "momentum_decay", Number 0.01 ],
            (fun m -> torch.optim.NAdam(weights m, lr = 0.01, weight_decay = 0.01, momentum_decay = 0.01)),
            20
            // From the sixth step on it takes lr twice.
            "RAdam", [ "lr", lr; "weight_decay", decay ], (fun m -> torch.optim.RAdam(weights m, lr = 0.01, weight_decay = 0.01)), 5
            "ASGD",
            [ "lr", lr; "lambd", Number 0.01; "t0", Number 3.0; "weight_decay", decay ],
            (fun m -> torch.optim.ASGD(weights m, lr = 0.01, lambd = 0.01, t0 = 3.0, weight_decay = 0.01)),
            20
            "Adam",
            [ "lr", lr; "weight_decay", decay; "maximize", Flag true ],
            (fun m -> torch.optim.Adam(weights m, lr = 0.01, weight_decay = 0.01, maximize = true)),
            20
            "AdamW",
            [
                "lr", lr
                "weight_decay", decay
                "betas", Pair(0.8, 0.9)
                "maximize", Flag true
            ],
            (fun m -> torch.optim.AdamW(weights m, lr = 0.01, beta1 = 0.8, beta2 = 0.9, weight_decay = 0.01, maximize = true)),
            20
            "RMSprop",
            [
                "lr", lr
                "alpha", Number 0.9
                "eps", Number 1e-3
                "momentum", Number 0.9
                "maximize", Flag true
            ],
            (fun m -> torch.optim.RMSProp(weights m, lr = 0.01, alpha = 0.9, eps = 1e-3, momentum = 0.9, maximize = true)),
            20
            "Rprop",
            [
                "lr", lr
                "etas", Pair(0.4, 1.3)
                "step_sizes", Pair(1e-3, 0.02)
                "maximize", Flag true
            ],
            (fun m ->
                torch.optim.Rprop(weights m, lr = 0.01, etaminus = 0.4, etaplus = 1.3, min_step = 1e-3, max_step = 0.02, maximize = true)),
            20
            "Adadelta",
            [ "lr", Number 0.5; "eps", Number 1e-4; "maximize", Flag true ],
            (fun m -> torch.optim.Adadelta(weights m, lr = 0.5, eps = 1e-4, maximize = true)),
            20
            "ASGD",
            [ "lr", lr; "lambd", Number 0.1; "alpha", Number 1.0; "maximize", Flag true ],
            (fun m -> torch.optim.ASGD(weights m, lr = 0.01, lambd = 0.1, alpha = 1.0, maximize = true)),
            20
            "Adamax",
            [ "lr", lr; "betas", Pair(0.8, 0.9); "eps", Number 1e-3 ],
            (fun m -> torch.optim.Adamax(weights m, lr = 0.01, beta1 = 0.8, beta2 = 0.9, eps = 1e-3)),
            20
            "NAdam",
            [ "lr", lr; "betas", Pair(0.8, 0.9); "eps", Number 1e-3 ],
            (fun m -> torch.optim.NAdam(weights m, lr = 0.01, beta1 = 0.8, beta2 = 0.9, eps = 1e-3)),
            20
        ]

    [
        for name, settings, theirs, steps in peers do
            let label = settings |> List.map fst |> String.concat ", "

            test $"{name} ({label}): {steps} training steps as with TorchSharp's" {
                let a, b = network (), network ()
                let start = values (Seq.head (a.parameters ()))
                let data = batch ()

                let optimizer =
                    RuleOptimizer(rule name, all (a.NamedParameters()), options settings)

                use peer = theirs b

                for _ in 1..steps do
                    optimizer.ZeroGrad()
                    (loss a data).backward()
                    optimizer.Step()
                    peer.zero_grad ()
                    (loss b data).backward()
                    peer.step () |> ignore

                Expect.notEqual (values (Seq.head (a.parameters ()))) start "it moved"

                for struct (name, p), q in Seq.zip (a.named_parameters ()) (b.parameters ()) do
                    for x, y in Seq.zip (values p) (values q) do
                        Expect.isLessThan (abs (x - y)) 2e-5f $"{name}: {x} against {y}"
            }

        for maxIter, historySize in [ 20, 100; 4, 2 ] do
            test $"LBFGS (max_iter {maxIter}, history_size {historySize}): training steps as with TorchSharp's" {
                let a, b = network (), network ()
                let start = values (Seq.head (a.parameters ()))
                let data = batch ()

                let optimizer =
                    new LBFGS(
                        all (a.NamedParameters()),
                        lr = 0.2,
                        maxIter = maxIter,
                        maxEval = Nullable 25,
                        toleranceGrad = 1e-5,
                        historySize = historySize
                    )

                use peer =
                    torch.optim.LBFGS(
                        weights b,
                        lr = 0.2,
                        max_iter = int64 maxIter,
                        max_eval = Nullable 25L,
                        tolerange_grad = 1e-5,
                        history_size = int64 historySize
                    )

                let closure (model: Net) (zero: unit -> unit) =
                    Func<Tensor>(fun () ->
                        zero ()
                        let loss = loss model data
                        loss.backward ()
                        loss)

                for _ in 1..3 do
                    optimizer.Step(closure a optimizer.ZeroGrad) |> ignore
                    peer.step (closure b peer.zero_grad) |> ignore

                Expect.notEqual (values (Seq.head (a.parameters ()))) start "it moved"

                for struct (name, p), q in Seq.zip (a.named_parameters ()) (b.parameters ()) do
                    for x, y in Seq.zip (values p) (values q) do
                        Expect.isLessThan (abs (x - y)) 2e-4f $"{name}: {x} against {y}"
            }

        test "every rule that TorchSharp has is compared with it" {
            let theirs =
                typeof<Modules.OptimizerHelper>.Assembly.GetTypes()
                |> Seq.filter (fun t -> t.IsSubclassOf typeof<torch.optim.Optimizer>)
                |> Seq.map _.Name
                |> List.ofSeq

            let compared = "LBFGS" :: [ for name, _, _, _ in peers -> name ]

            for algorithm in Algorithms.All do
                if
                    theirs
                    |> List.exists (fun name -> name.Equals(algorithm.Name, StringComparison.OrdinalIgnoreCase))
                then
                    Expect.contains compared algorithm.Name "above"
        }
    ]
