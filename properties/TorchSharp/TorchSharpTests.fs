/// The provider of TorchSharp parameters. All of it is skipped where libtorch does not load, unless OPTIM_REQUIRE_LIBTORCH is 1.
module TorchSharpTests

open System
open System.Collections.Generic
open System.Runtime.CompilerServices
open System.Runtime.InteropServices
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Optim.Kernels
open Kit
open TorchKit

type private Tensor = torch.Tensor
type private Net = torch.nn.Module<torch.Tensor, torch.Tensor>

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

// Which tensor is which

let private identity =
    [
        test "two wrappers of one tensor are one parameter" {
            let embedding = torch.nn.Embedding(4L, 3L)
            let first, second = weight embedding, weight embedding
            Expect.isFalse (obj.ReferenceEquals(first, second)) "native modules make wrappers as they are asked"

            let one, two: IParameter * IParameter =
                TorchParameter("a", first), TorchParameter("b", second)

            Expect.equal one.Identity two.Identity "identities"
            let optimizer = SGD(all [ one ], lr = 0.1)

            refuses<ArgumentException> "the same tensor again" [ "b" ] (fun () -> optimizer.AddParamGroup(ParameterGroup [ two ]))

            let other: IParameter = TorchParameter("c", weight (torch.nn.Embedding(4L, 3L)))
            Expect.notEqual one.Identity other.Identity "another tensor"
            optimizer.AddParamGroup(ParameterGroup [ other ])
        }

        test "state is found by any wrapper" {
            let embedding = torch.nn.Embedding(4L, 3L)
            let optimizer = Adam(all (embedding.NamedParameters()), lr = 0.1)
            embedding.call(torch.tensor [| 1L |]).sum().backward()
            optimizer.Step()
            let state = optimizer.State(TorchParameter("again", weight embedding))
            Expect.isTrue (state.ContainsKey "exp_avg") "exp_avg"
        }

        test "tied parameters come once, under their first name" {
            let embedding, decoder =
                torch.nn.Embedding(4L, 3L), torch.nn.Linear(3L, 4L, hasBias = false)

            decoder.weight <- nonNull embedding.weight

            let model =
                torch.nn.Sequential(layer "embedding" embedding, layer "decoder" decoder)

            Expect.hasLength (model.named_parameters () |> Seq.toList) 2 "by TorchSharp, which goes by wrappers"
            Expect.equal [ for p in model.NamedParameters() -> p.Name ] [ "embedding.weight" ] "with names"
            Expect.hasLength (model.Parameters()) 1 "without"
            let before = values (weight embedding)
            let optimizer = SGD(all (model.NamedParameters()), lr = 0.5)
            model.call(torch.tensor [| 2L |]).sum().backward()
            let gradient = values (gradient (weight embedding))
            optimizer.Step()
            equal (values decoder.weight) (Array.map2 (fun w g -> w - 0.5f * g) before gradient) "moved once"
        }

        test "names and order are the module's" {
            let model = network ()
            let names = [ for p in model.NamedParameters() -> p.Name ]
            Expect.equal names [ "first.weight"; "first.bias"; "last.weight"; "last.bias" ] "names"
            Expect.all (model.Parameters()) (fun p -> isNull p.Name) "no names"
            Expect.isEmpty (model.NamedParameters(recurse = false)) "of the children only"
        }

        test "null, empty and default arguments: the public members answer, or say in words what is wrong" {
            let tensor () =
                let tensor = leaf [ 3L ] [| 1f; 2f; 3f |]
                tensor.grad <- constant [ 3L ] [| 1f; 2f; 3f |]
                tensor

            let linear () = torch.nn.Linear(3L, 3L) :> Net

            let values: (Type * (unit -> objnull)) list =
                [
                    typeof<Tensor>, (fun () -> box (tensor ()))
                    typeof<torch.nn.Module>, (fun () -> box (linear ()))
                    typeof<Net>, (fun () -> box (linear ()))
                    typeof<Modules.Parameter>, (fun () -> box (new Modules.Parameter(constant [ 3L ] [| 1f; 2f; 3f |])))
                    typeof<IParameter>, (fun () -> box (TorchParameter("w", tensor ())))
                    typeof<IParameterOrGroup>, (fun () -> box (TorchParameter("w", tensor ())))
                ]

            // Other tests choose products themselves.
            let members =
                HostileCalls.check [ typeof<Torch>.Assembly ] values [ "TorchProducts.Register" ]

            Expect.isGreaterThan members 60 "members that were called"
        }

        test "a prefix sets the names of several modules apart" {
            let first, second = network (), network ()

            refuses<ArgumentException> "the same names twice" [ "'first.weight'"; "prefix" ] (fun () ->
                SGD(
                    [
                        ParameterGroup(first.NamedParameters()) :> IParameterOrGroup
                        ParameterGroup(second.NamedParameters())
                    ]
                )
                |> ignore)

            let optimizer =
                SGD(
                    [
                        ParameterGroup(first.NamedParameters "base") :> IParameterOrGroup
                        ParameterGroup(second.NamedParameters(prefix = "classifier"))
                    ]
                )

            let names =
                [
                    for group in optimizer.ParamGroups -> [ for p in group.Parameters -> p.Name ]
                ]

            let own = [ "first.weight"; "first.bias"; "last.weight"; "last.bias" ]
            Expect.equal names [ List.map ((+) "base.") own; List.map ((+) "classifier.") own ] "names"
            refuses<ArgumentNullException> "null" [ "prefix" ] (fun () -> first.NamedParameters(prefix = null) |> ignore)
        }

        test "tensors that share memory are refused by the kernels and by libtorch's operators, and nothing moves" {
            for executor in [ null; Torch.Operators ] do
                let whole = constant [ 64L ] (floats 3 64)

                let view start =
                    whole.narrow(0L, start, 8L).detach().requires_grad_ true

                let make (list: (string * Tensor) list) =
                    let list = [| for name, tensor in list -> struct (name, tensor) |]

                    SGD(
                        all (
                            if isNull executor then
                                Torch.Parameters list
                            else
                                Torch.Parameters(executor, list)
                        ),
                        lr = 0.5
                    )

                refuses<ArgumentException> "parameters" [ "'a'"; "'b'"; "share memory" ] (fun () ->
                    make [ "a", view 0L; "b", view 7L ] |> ignore)

                refuses<ArgumentException> "the same memory twice" [ "'a'"; "'b'"; "same tensor" ] (fun () ->
                    make [ "a", view 0L; "b", view 0L ] |> ignore)

                let a, b = view 0L, view 16L
                let optimizer = make [ "a", a; "b", b ]
                a.grad <- whole.narrow (0L, 40L, 8L)
                b.grad <- whole.narrow (0L, 7L, 8L)
                let before = values whole
                refuses<ArgumentException> "a gradient" [ "gradient of parameter 'b'"; "'a'" ] (fun () -> optimizer.Step())
                equal (values whole) before "nothing moves"
                b.grad <- whole.narrow (0L, 16L, 8L)
                optimizer.Step()
                equal (values b) [| for x in before[16..23] -> 0.5f * x |] "its own gradient"
        }

        test "frozen parameters are accepted and skipped" {
            let frozen, free =
                (leaf [ 2L ] [| 1f; 2f |]).requires_grad_ false, leaf [ 2L ] [| 1f; 2f |]

            let list = named [ "frozen", frozen; "free", free ]
            let optimizer = Adam(all list, lr = 0.5)
            Expect.isFalse (Seq.head list).RequiresGradient "frozen"
            Expect.isTrue (Seq.last list).RequiresGradient "free"
            (frozen * free).sum().backward()
            optimizer.Step()
            equal (values frozen) [| 1f; 2f |] "frozen"
            equal (values free) [| 0.5f; 1.5f |] "free"
            Expect.isFalse (optimizer.State(Seq.head list).ContainsKey "exp_avg") "no state for what is frozen"
            frozen.requires_grad_ true |> ignore
            optimizer.ZeroGrad()
            (frozen * free).sum().backward()
            optimizer.Step()
            Expect.all (Seq.zip (values frozen) [ 0.5f; 1.5f ]) (fun (x, y) -> abs (x - y) < 1e-6f) "thawed"
        }

        test "a gradient left on a parameter that was frozen since is passed over" {
            let w = leaf [ 2L ] [| 1f; 2f |]
            let optimizer = plain [ "w", w ]
            w.grad <- torch.ones [| 2L |]
            w.requires_grad_ false |> ignore
            optimizer.Step()
            equal (values w) [| 1f; 2f |] "frozen"
            w.requires_grad_ true |> ignore
            optimizer.Step()
            equal (values w) [| 0f; 1f |] "thawed"
        }
    ]

// The graph

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

// Threads

let private threads =
    [
        test "large steps run on libtorch's threads, as many as it uses" {
            let count = 1 <<< 18
            let w = leaf [ int64 count ] (floats 1 count)
            w.grad <- constant [ int64 count ] (floats 2 count)
            let optimizer = Adam(all (named [ "w", w ]))
            let before, ours = torch.get_num_threads (), Threads.Count

            try
                Threads.Count <- max 2 ours
                torch.set_num_threads 2
                optimizer.Step()
                Expect.equal optimizer.LastExecutor "libtorch, 2 threads" "two threads"
                Threads.Count <- 1
                optimizer.Step()
                Expect.equal optimizer.LastExecutor "caller" "Threads.Count is 1"
                Threads.Count <- max 2 ours
                torch.set_num_threads 1
                optimizer.Step()
                Expect.equal optimizer.LastExecutor "caller" "libtorch uses one"
            finally
                torch.set_num_threads before
                Threads.Count <- ours
        }

        test "small steps stay on the calling thread" {
            let w = leaf [ 1000L ] (floats 1 1000)
            w.grad <- constant [ 1000L ] (floats 2 1000)
            let optimizer = Adam(all (named [ "w", w ]))
            optimizer.Step()
            Expect.equal optimizer.LastExecutor "caller" "1000 elements"
        }

        test "numbers of threads change no bit" {
            let before, ours = torch.get_num_threads (), Threads.Count

            let run threads =
                torch.set_num_threads threads
                Threads.Count <- threads
                let tensors = [ for i in 1..9 -> leaf [ 4001L ] (floats i 4001) ]

                let optimizer =
                    AdamW(all (named [ for i, w in List.indexed tensors -> $"w{i}", w ]), lr = 0.01)

                for step in 1..3 do
                    for i, w in List.indexed tensors do
                        w.grad <- constant [ 4001L ] (floats (100 * step + i) 4001)

                    optimizer.Step()

                Array.concat (List.map values tensors)

            try
                let expected = run 1
                Expect.notEqual expected (Array.concat [ for i in 1..9 -> floats i 4001 ]) "they moved"

                for threads in 2..4 do
                    equal (run threads) expected $"{threads} threads"
            finally
                torch.set_num_threads before
                Threads.Count <- ours
        }
    ]

// Refusals

let private refusesTensor<'e when 'e :> exn> name (words: string list) (make: unit -> Tensor) =
    test $"refused: {name}" { refuses<'e> name ("'w'" :: words) (fun () -> plain [ "w", make () ] |> ignore) }

let private refusesGradient<'e when 'e :> exn> name (words: string list) (make: unit -> Tensor) =
    test $"refused: a gradient {name}" {
        let moving, w = leaf [ 2L; 3L ] (floats 1 6), leaf [ 2L; 3L ] (floats 1 6)
        let optimizer = plain [ "moving", moving; "w", w ]
        moving.grad <- torch.ones [| 2L; 3L |]
        w.grad <- make ()
        refuses<'e> name ("'w'" :: words) optimizer.Step
        equal (values moving) (floats 1 6) "nothing moved"
    }

let private refusals =
    [
        refusesTensor<ArgumentException> "int64" [ "int64" ] (fun () -> zeros torch.int64 [ 3L ])
        refusesTensor<ArgumentException> "bool" [ "bool" ] (fun () -> zeros torch.bool [ 3L ])
        refusesTensor<NotSupportedException> "another device" [ "meta" ] (fun () -> torch.zeros ([| 3L |], device = torch.device "meta"))
        refusesTensor<NotSupportedException> "a sparse parameter" [ "sparse" ] (fun () -> torch.eye(3L).to_sparse())
        refusesTensor<NotSupportedException> "repeated elements" [ "expand" ] (fun () -> torch.zeros([| 3L; 1L |]).expand [| 3L; 4L |])
        refusesGradient<ArgumentException> "of another shape" [ "[3, 2]"; "[2, 3]" ] (fun () -> torch.zeros [| 3L; 2L |])
        refusesGradient<ArgumentException> "of fewer rows" [ "[1, 3]"; "[2, 3]" ] (fun () -> torch.zeros [| 1L; 3L |])
        refusesGradient<NotSupportedException> "of another dtype" [ "float64"; "float32" ] (fun () -> zeros torch.float64 [ 2L; 3L ])
        refusesGradient<NotSupportedException> "on another device" [ "meta" ] (fun () ->
            torch.zeros ([| 2L; 3L |], device = torch.device "meta"))
        refusesTensor<NotSupportedException> "a conjugated view" [ "resolve_conj" ] (fun () -> (zeros torch.complex64 [ 3L ]).conj())
        refusesTensor<NotSupportedException> "a negated view" [ "resolve_neg" ] (fun () ->
            torch.imag ((zeros torch.complex64 [ 3L ]).conj()))

        test "refused: a non-leaf, as PyTorch says it" {
            let computed = leaf [ 2L ] [| 1f; 2f |] * torch.tensor 2f

            refuses<ArgumentException> "non-leaf" [ "can't optimize a non-leaf Tensor"; "'w'" ] (fun () ->
                named [ "w", computed ] |> ignore)
        }

        test "refused: a tensor of inference mode" {
            let tensor =
                use _ = torch.inference_mode true
                torch.zeros [| 3L |]

            refuses<ArgumentException> "inference" [ "'w'"; "inference mode" ] (fun () -> named [ "w", tensor ] |> ignore)
        }

        test "refused: no tensor" {
            refuses<ArgumentNullException> "null" [ "tensor" ] (fun () -> TorchParameter("w", Unchecked.defaultof<Tensor>) |> ignore)
        }
    ]

// Who disposes what

/// Keeps only the optimizer and what shares the tensor's memory.
[<MethodImpl(MethodImplOptions.NoInlining)>]
let private forgotten () =
    let w = leaf [ 2L ] [| 1f; 2f |]
    w.grad <- torch.ones [| 2L |]
    plain [ "w", w ], w.detach ()

let private lifetimes =
    [
        test "a module disposed first: the step is refused by name, and nothing moves" {
            let disposed, kept = torch.nn.Linear(2L, 2L), leaf [ 2L ] [| 1f; 2f |]
            kept.grad <- torch.ones [| 2L |]
            let list = Seq.append (named [ "kept", kept ]) (disposed.NamedParameters())
            let optimizer = Adam(all list, lr = 0.1)
            disposed.call(torch.ones [| 1L; 2L |]).sum().backward()
            optimizer.Step()
            let before, state = values kept, describe (optimizer.StateDict())
            disposed.Dispose()
            refuses<InvalidOperationException> "a step" [ "'weight'"; "disposed" ] optimizer.Step
            equal (values kept) before "nothing moved"
            Expect.equal (describe (optimizer.StateDict())) state "the state is still there"
            refuses<InvalidOperationException> "ZeroGrad" [ "'weight'"; "disposed" ] (fun () -> optimizer.ZeroGrad())
        }

        test "a module moved to another dtype: the step is refused by name, a new optimizer steps the new parameters" {
            let model = torch.nn.Linear(2L, 2L)
            let optimizer = SGD(all (model.NamedParameters()), lr = 0.1)
            model.``to`` torch.float64 |> ignore
            refuses<InvalidOperationException> "a step" [ "'weight'"; "module.to()" ] optimizer.Step
            let again = SGD(all (model.NamedParameters()), lr = 0.1)
            let before = model.weight.detach().clone()
            model.call((torch.ones [| 1L; 2L |]).``to`` torch.float64).sum().backward()
            again.Step()
            Expect.isFalse (before.allclose (model.weight, 0.0, 0.0)) "moved"
        }

        test "a disposed tensor is refused at once" {
            let w = leaf [ 2L ] [| 1f; 2f |]
            w.Dispose()
            refuses<InvalidOperationException> "a parameter" [ "'w'"; "disposed" ] (fun () -> named [ "w", w ] |> ignore)
        }

        test "a parameter whose tensor was disposed equals no other, though its address is used again" {
            let dead =
                [
                    for _ in 1..100 ->
                        use tensor = torch.zeros [| 4L |]
                        (TorchParameter("dead", tensor) :> IParameter).Identity
                ]

            let alive =
                [
                    for _ in 1..100 -> (TorchParameter("alive", torch.zeros [| 4L |]) :> IParameter).Identity
                ]

            let codes = HashSet(dead |> Seq.map _.GetHashCode())
            Expect.isTrue (alive |> Seq.exists (fun a -> codes.Contains(a.GetHashCode()))) "some address is used again"
            Expect.isFalse (List.allPairs dead alive |> List.exists (fun (a, b) -> a.Equals b || b.Equals a)) "none is equal"
            Expect.all dead (fun a -> a.Equals a) "but each to itself"
        }

        test "the optimizer keeps a tensor that nobody else holds" {
            let optimizer, alias = forgotten ()
            GC.Collect()
            GC.WaitForPendingFinalizers()
            optimizer.Step()
            equal (values alias) [| 0f; 1f |] "stepped"
        }

        test "a module outlives its optimizer" {
            let model = network ()
            let data = batch ()

            let mutable before = 0f

            for _ in 1..2 do
                let optimizer = SGD(all (model.NamedParameters()), lr = 0.1)
                let value = loss model data
                value.backward ()
                optimizer.Step()
                optimizer.ZeroGrad()
                before <- value.item<float32>()

            GC.Collect()
            GC.WaitForPendingFinalizers()
            Expect.isLessThan ((loss model data).item<float32>()) before "it still computes, and has learnt"
        }

        test "parameters made inside a dispose scope of a step stay valid after it" {
            let model = network ()

            let optimizer =
                use _ = torch.NewDisposeScope()
                SGD(all (model.NamedParameters()), lr = 0.1)

            (loss model (batch ())).backward()
            optimizer.Step()
        }
    ]

// What a step costs

/// Managed bytes of one step, the least of some rounds.
let private bytesPerStep (optimizer: Optimizer) =
    for _ in 1..20 do
        optimizer.Step()

    Seq.init 5 (fun _ ->
        let before = GC.GetTotalAllocatedBytes true

        for _ in 1..20 do
            optimizer.Step()

        (GC.GetTotalAllocatedBytes true - before) / 20L)
    |> Seq.min

let private many count =
    [
        for i in 1..count do
            let w = leaf [ 16L ] (floats i 16)
            w.grad <- constant [ 16L ] (floats -i 16)
            $"w{i}", w
    ]

let private costs =
    [
        for name, make in rules do
            test $"{name}: a step allocates no managed bytes per parameter" {
                let few, lots =
                    bytesPerStep (make (named (many 10))), bytesPerStep (make (named (many 1000)))

                Expect.equal lots few "1000 parameters against 10"
                Expect.isLessThanOrEqual lots 512L "in all"
            }

        test "a million gradients read leave no memory behind" {
            let optimizer = plain (many 1000)

            let steps count =
                for _ in 1..count do
                    optimizer.Step()

            steps 100
            // A tensor handle left behind each time would be 32 MB.
            expectFlat (8L <<< 20) (fun () -> steps 1000)
        }

        test "10,000 training steps keep memory and the number of tensors flat" {
            let model = network ()
            let data = batch ()
            let optimizer = AdamW(all (model.NamedParameters()), lr = 1e-3)

            let train steps =
                for _ in 1..steps do
                    use _ = torch.NewDisposeScope()
                    optimizer.ZeroGrad()
                    (loss model data).backward()
                    optimizer.Step()

            train 1000
            collect ()
            let tensors = Tensor.TotalCount
            // Gradients left behind would be 9000 times 0.7 kB and their bookkeeping.
            expectFlat (6L <<< 20) (fun () -> train 9000)
            Expect.equal Tensor.TotalCount tensors "live tensors"
        }
    ]

// The list

// Not by TorchSharp, which copies 500 MB of native libraries beside the program when the ordinary way fails.
/// Whether libtorch loads, or why not.
let loads =
    lazy
        try
            NativeLibrary.Load("LibTorchSharp", typeof<torch>.Assembly, Nullable())
            |> ignore

            Ok()
        with :? DllNotFoundException as e ->
            Error(e.Message.Split('\n')[0])

let tests =
    match loads.Value with
    | Ok() ->
        testSequenced
        <| testList
            "TorchSharp"
            [
                testList "stepping" stepping
                testList "layouts" layouts
                testList "identity" identity
                testList "graph" graph
                testList "threads" threads
                testList "refusals" refusals
                testList "lifetimes" lifetimes
                testList "costs" costs
                testList "peers" TorchPeerTests.tests
                testList "differentiable" DifferentiableTests.tests
                testList "AsTorchSharp" AdapterTests.tests
                testList "elsewhere" (DeviceTests.tests @ DeviceSparseTests.tests @ DeviceAroundTests.tests)
                testList "LBFGS elsewhere" LBFGSDeviceTests.tests
                testList "products" ProductTests.tests
            ]
    | Error why ->
        testList
            "TorchSharp"
            [
                test "libtorch loads" {
                    if Environment.GetEnvironmentVariable "OPTIM_REQUIRE_LIBTORCH" = "1" then
                        failtestf "libtorch does not load: %s" why
                    else
                        skiptestf "libtorch does not load, so nothing of Optim.TorchSharp is tested: %s" why
                }
            ]
