/// Steps of TorchSharp's tensors: in their own memory, in any layout, with the bits of host parameters.
module TorchStepTests

open System
open Expecto
open TorchSharp
open Optim
open Kit
open TorchKit

type private Tensor = torch.Tensor

// Stepping

let private stepping =
    [
        test "gradients that are conjugated or negated views move what their values say" {
            let both = torch.complex (torch.tensor [| 1f; 2f |], torch.tensor [| 3f; -4f |])

            let step (w: Tensor) (gradient: Tensor) =
                w.requires_grad_ true |> ignore
                w.grad <- gradient
                (SGD(all (Torch.Parameters(struct ("w", w))), lr = 1.0)).Step()
                w.detach ()

            let conjugated: Tensor = both.conj ()
            let moved = step (torch.zeros_like both) conjugated
            equal (values (torch.real moved)) [| -1f; -2f |] "the real part"
            equal (values (torch.imag moved)) [| 3f; -4f |] "the imaginary part"
            let negated = step (torch.zeros [| 2L |]) (torch.imag (both.conj ()))
            equal (values negated) [| 3f; -4f |] "a negated view"

            // As autograd leaves them: loss = sum of the imaginary parts of conj(w) both.
            let w = (torch.zeros_like both).requires_grad_ true
            torch.imag(w.conj () * both).sum().backward()
            let gradient = (gradient w).resolve_conj().clone()
            let expected = [| values (torch.real gradient); values (torch.imag gradient) |]
            (SGD(all (Torch.Parameters(struct ("w", w))), lr = 1.0, maximize = true)).Step()
            let after = w.detach ()
            equal (values (torch.real after)) expected[0] "by autograd, the real part"
            equal (values (torch.imag after)) expected[1] "by autograd, the imaginary part"
        }

        test "SAM, WSAM, LookSAM and the views of Schedule-Free have the bits of host parameters" {
            let start = [| 1.0; -2.0; 0.5; 3.0 |]

            let both rule =
                let w = torch.tensor(start).requires_grad_ true
                let host = Param.Of("w", Optim.Kernels.TensorView.Of(Array.copy start))

                let one =
                    RuleOptimizer(rule, all (Torch.Parameters(struct ("w", w))), struct ("lr", Core.OptionValue.Float 0.125))

                let other =
                    RuleOptimizer(rule, [ host :> IParameterOrGroup ], struct ("lr", Core.OptionValue.Float 0.125))

                struct (w, one, host, other)

            let backward (w: Tensor) (optimizer: Optimizer) () =
                optimizer.ZeroGrad()
                let value = (w * w).sum()
                value.backward ()
                value.item<float>()

            let byHand (host: Param) () =
                host.SetGradient(ReadOnlySpan<float>(Array.map (fun x -> 2.0 * x) (host.Data<float>().ToArray())))
                0.0

            let found (w: Tensor) = w.detach().data<float>().ToArray()

            for make in
                [
                    (fun (o: Optimizer) -> SAM(o, rho = 0.5) :> SharpnessAware)
                    (fun o -> WSAM(o, rho = 0.5))
                    (fun o -> LookSAM(o, rho = 0.5, k = 2))
                ] do
                let struct (w, one, host, other) = both Core.Rules.AdamW
                let sharp, expected = make one, make other

                for _ in 1..4 do
                    sharp.Step(Func<float>(backward w one)) |> ignore
                    expected.Step(Func<float>(byHand host)) |> ignore

                Expect.equal (found w) (host.Data<float>().ToArray()) (sharp.GetType().Name)

            let struct (w, one, host, other) = both (Core.Wrap.scheduleFree 0.9 Core.Rules.SGD)

            for _ in 1..3 do
                backward w one () |> ignore
                byHand host () |> ignore
                one.Step()
                other.Step()

            let training = found w

            do
                use _ = ScheduleFreeView.Applied one
                use _ = ScheduleFreeView.Applied other
                Expect.notEqual (found w) training "the parameters of evaluation"
                Expect.equal (found w) (host.Data<float>().ToArray()) "Schedule-Free, applied"

            Expect.equal (found w) training "Schedule-Free, in training again"
        }

        test "LBFGS: a closure that returns a tensor; the first loss, lower losses, and versions that autograd sees" {
            let net, data = network (), batch ()

            let optimizer =
                new LBFGS(all (net.NamedParameters()), maxIter = 5, lineSearchFn = "strong_wolfe")

            let closure () =
                optimizer.ZeroGrad()
                let value: Tensor = loss net data
                value.backward ()
                value

            use before = loss net data
            let first: Tensor = optimizer.Step(Func<Tensor> closure)
            Expect.equal (first.item<float32>()) (before.item<float32>()) "the first loss"

            for _ in 1..4 do
                optimizer.Step(Func<Tensor> closure) |> ignore

            use after = loss net data
            Expect.isLessThan (after.item<float32>()) (0.5f * before.item<float32>()) "the last"

            // A graph from before a step holds parameters that have changed since.
            let stale: Tensor = loss net data
            optimizer.Step(Func<Tensor> closure) |> ignore
            Expect.throws (fun () -> stale.backward ()) "a graph from before the step"

            // And between two evaluations of one step.
            let mutable first: Tensor | null = null
            let mutable calls = 0

            let remembering () =
                calls <- calls + 1

                match first with
                | null -> first <- loss net data
                | stale when calls = 2 -> Expect.throws (fun () -> stale.backward ()) "a graph from the evaluation before"
                | _ -> ()

                closure ()

            optimizer.Step(Func<Tensor> remembering) |> ignore
            Expect.isGreaterThan calls 1 "evaluations"
        }

        test "LBFGS: the sparse gradients of an embedding move it as dense ones do, bit for bit" {
            let run sparse =
                torch.random.manual_seed 5L |> ignore
                let table = torch.nn.Embedding(6L, 3L, sparse = sparse)

                let optimizer =
                    new LBFGS(all (table.NamedParameters()), maxIter = 5, lineSearchFn = "strong_wolfe")

                let closure () =
                    optimizer.ZeroGrad()
                    let seen: Tensor = table.call (torch.tensor [| 4L; 1L; 5L |])
                    let value: Tensor = (seen - torch.ones_like seen).square().sum()
                    value.backward ()
                    Expect.equal (gradient (weight table)).is_sparse sparse "the kind of gradient"
                    value

                let losses =
                    [|
                        for _ in 1..3 -> (optimizer.Step(Func<Tensor> closure): Tensor).item<float32>()
                    |]

                Expect.isLessThan losses[2] (0.01f * losses[0]) "it goes down"
                Array.append losses (values (weight table))

            equal (run true) (run false) "losses and weights"
        }

        test "a step writes into the tensor's own memory" {
            let w = leaf [ 2L; 3L ] (floats 1 6)
            use alias = w.detach ()
            let before, tensors = values w, Tensor.TotalCount
            w.grad <- constant [ 2L; 3L ] (floats 2 6)
            let optimizer = plain [ "w", w ]
            let tensorsBefore = Tensor.TotalCount
            optimizer.Step()
            Expect.equal Tensor.TotalCount tensorsBefore "tensors before and after the step"
            Expect.isGreaterThan tensorsBefore tensors "the count counts"
            let expected = Array.map2 (-) before (floats 2 6)
            equal (values w) expected "the tensor"
            equal (values alias) expected "what shares its memory"
        }

        test "the gradient is read anew at each step" {
            let w = leaf [ 3L ] [| 10f; 20f; 30f |]
            let optimizer = plain [ "w", w ]
            optimizer.Step()
            equal (values w) [| 10f; 20f; 30f |] "without a gradient"
            // Others keep the first one's memory taken, so that the second lies elsewhere.
            let first = constant [ 3L ] [| 1f; 1f; 1f |]
            w.grad <- first
            optimizer.Step()
            w.grad <- constant [ 3L ] [| 0f; 1f; 2f |]
            optimizer.Step()
            equal (values w) [| 9f; 18f; 27f |] "two gradients at two places"
            use current = gradient w
            current.mul_ (torch.tensor 2f) |> ignore
            optimizer.Step()
            equal (values w) [| 9f; 16f; 23f |] "a gradient changed in place"
            w.grad <- null
            optimizer.Step()
            equal (values w) [| 9f; 16f; 23f |] "a dropped gradient"
        }

        test "a gradient accumulates over backward passes and is dropped or zeroed by ZeroGrad" {
            let w = leaf [ 2L ] [| 1f; 2f |]
            let optimizer = plain [ "w", w ]

            for _ in 1..2 do
                (w * w).sum().backward()

            equal (values (gradient w)) [| 4f; 8f |] "twice 2 w"
            use kept = gradient w
            optimizer.ZeroGrad(setToNone = false)
            equal (values kept) [| 0f; 0f |] "zeroed in place"
            optimizer.ZeroGrad()
            Expect.isNull w.grad "dropped"
            optimizer.ZeroGrad(setToNone = false)
            Expect.isNull w.grad "still none"
        }

        test "ZeroGrad takes a gradient out of the graph that made it" {
            let w = leaf [ 2L ] [| 1f; 2f |]
            let cube = (w * w * w).sum()
            cube.backward (create_graph = true)
            Expect.isTrue (gradient w).requires_grad "a gradient with a graph"
            (plain [ "w", w ]).ZeroGrad(setToNone = false)
            Expect.isFalse (gradient w).requires_grad "without"
            equal (values (gradient w)) [| 0f; 0f |] "zero"
        }

        for name, make in rules do
            for count in [ 1; 7; 1000; 20_011; 100_003 ] do
                test $"{name}: {count} elements get the same bits as host parameters" {
                    let start = floats 3 count
                    let w = leaf [ int64 count ] start
                    use host = new Param("w", Array.copy start)
                    let torchs, hosts = make (named [ "w", w ]), make [ host ]

                    for step in 1..3 do
                        w.grad <- constant [ int64 count ] (floats step count)
                        host.SetGradient(ReadOnlySpan(floats step count))
                        torchs.Step()
                        hosts.Step()

                    equal (values w) (host.Data<float32>().ToArray()) "after three steps"
                    Expect.notEqual (values w) start "it moved"
                }

        test "float64 and float32 parameters, and host parameters, share an optimizer" {
            let single = leaf [ 2L ] [| 1f; 2f |]
            let double = torch.tensor([| 1.0; 2.0 |]).requires_grad_ true
            use host = new Param("host", [| 1.0; 2.0 |])
            single.grad <- constant [ 2L ] [| 1f; 1f |]
            double.grad <- torch.tensor [| 0.5; 0.5 |]
            host.SetGradient(ReadOnlySpan [| 0.25; 0.25 |])
            SGD(all (Seq.append (named [ "single", single; "double", double ]) [ host ]), lr = 1.0).Step()
            equal (values single) [| 0f; 1f |] "float32"
            Expect.equal (double.detach().data<float>().ToArray()) [| 0.5; 1.5 |] "float64"
            Expect.equal (host.Data<float>().ToArray()) [| 0.75; 1.75 |] "host"
        }

        test "scalars and empty tensors" {
            let scalar = torch.tensor(3f).requires_grad_ true
            let empty = torch.zeros([| 0L; 4L |]).requires_grad_ true
            scalar.grad <- torch.tensor 1f
            empty.grad <- torch.zeros [| 0L; 4L |]
            (plain [ "scalar", scalar; "empty", empty ]).Step()
            Expect.equal (scalar.item<float32>()) 2f "the scalar"
        }
    ]

// Layouts

let private layouts =
    [
        for name, make in rules do
            test $"{name}: strides of parameters and gradients change no bit" {
                let start, gradients = floats 1 60, [ floats 2 60; floats 3 60; floats 4 60 ]

                let transposed (values: float32[]) =
                    (constant [ 12L; 5L ] (Array.zeroCreate 60)).t().copy_(constant [ 5L; 12L ] values)

                let gaps (values: float32[]) =
                    (constant [ 5L; 24L ] (Array.create 120 99f)).slice(1L, 0L, 24L, 2L).copy_(constant [ 5L; 12L ] values)

                let layouts = [ constant [ 5L; 12L ]; transposed; gaps ]

                let run makeParameter makeGradient =
                    let w: Tensor = (makeParameter start: Tensor).requires_grad_ true
                    let optimizer = make (named [ "w", w ])

                    for gradient in gradients do
                        w.grad <- makeGradient gradient
                        optimizer.Step()

                    values w

                let expected = run layouts[0] layouts[0]
                Expect.notEqual expected start "it moved"

                for i, parameter in List.indexed layouts do
                    for j, gradient in List.indexed layouts do
                        equal (run parameter gradient) expected $"parameter in layout {i}, gradient in layout {j}"
            }

        test "what lies between the elements of a strided parameter stays as it was" {
            let whole = constant [ 4L; 6L ] (Array.create 24 7f)
            let w = whole.slice(1L, 0L, 6L, 2L).requires_grad_ true
            w.grad <- torch.ones [| 4L; 3L |]
            (plain [ "w", w ]).Step()
            equal (values whole) (Array.init 24 (fun i -> if i % 2 = 0 then 6f else 7f)) "elements and gaps"
        }

        test "a gradient that changes its layout from step to step" {
            let w = leaf [ 2L; 2L ] [| 10f; 10f; 10f; 10f |]
            let optimizer = plain [ "w", w ]
            w.grad <- constant [ 2L; 2L ] [| 1f; 2f; 3f; 4f |]
            optimizer.Step()
            w.grad <- (constant [ 2L; 2L ] [| 1f; 2f; 3f; 4f |]).t()
            optimizer.Step()
            w.grad <- (torch.tensor 1f).expand [| 2L; 2L |]
            optimizer.Step()
            equal (values w) [| 7f; 4f; 4f; 1f |] "rows, columns, one number for all"
        }
    ]

let tests = [ testList "stepping" stepping; testList "layouts" layouts ]
