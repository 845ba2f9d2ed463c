/// What a step takes and holds: threads, tensors and their lifetimes, memory.
module TorchCostTests

open System
open System.Collections.Generic
open System.Runtime.CompilerServices
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Optim.Kernels
open Kit
open TorchKit

type private Tensor = torch.Tensor

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

let tests =
    [
        testList "threads" threads
        testList "lifetimes" lifetimes
        testList "costs" costs
    ]
