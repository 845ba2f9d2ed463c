/// Steps and autograd: graphs from before a step, closures, whether gradients are enabled.
module TorchGraphTests

open System
open System.Runtime.InteropServices
open Expecto
open TorchSharp
open Optim
open Kit
open TorchKit

type private Tensor = torch.Tensor

let private graph =
    [
        test "a graph that needs the values from before a step is refused" {
            let w, untouched = leaf [ 2L ] [| 1f; 2f |], leaf [ 2L ] [| 1f; 2f |]
            let stale, fresh = (w * w).sum(), (untouched * untouched).sum()
            w.grad <- torch.ones [| 2L |]
            (plain [ "w", w; "untouched", untouched ]).Step()

            refuses<ExternalException> "a stale graph" [ "modified by an inplace operation" ] (fun () -> stale.backward ())

            fresh.backward ()
            equal (values (gradient untouched)) [| 2f; 4f |] "a parameter that the step did not move"
            (w * w).sum().backward()
            equal (values (gradient w)) [| 1f; 3f |] "a graph made after the step"
        }

        test "a closure's loss comes back, and its gradients are used" {
            let w = leaf [ 2L ] [| 1f; 2f |]
            let optimizer = SGD(all (named [ "w", w ]), lr = 0.5)

            let closure () =
                optimizer.ZeroGrad()
                let loss = (w * w).sum()
                loss.backward ()
                loss

            let loss: Tensor = optimizer.Step(Func<Tensor> closure)
            Expect.equal (loss.item<float32>()) 5f "the loss before the step"
            equal (values w) [| 0f; 0f |] "w - 0.5 * 2 w"
        }

        test "a closure runs with gradients enabled, and afterwards the mode is as before" {
            let w = leaf [ 2L ] [| 1f; 2f |]
            let optimizer = SGD(all (named [ "w", w ]), lr = 0.5)
            use _ = torch.no_grad ()

            let loss: Tensor =
                optimizer.Step(
                    Func<Tensor>(fun () ->
                        let loss = (w * w).sum()
                        loss.backward ()
                        loss)
                )

            Expect.equal (loss.item<float32>()) 5f "the loss"
            equal (values w) [| 0f; 0f |] "moved"
            Expect.isFalse (torch.is_grad_enabled ()) "still disabled"
        }
    ]

let tests = [ testList "graph" graph ]
