/// Models, gradients and runs for the tests of Optim.Distributed.
module DistributedKit

open System
open System.Collections.Generic
open System.Security.Cryptography
open Optim
open Optim.Core
open Optim.Distributed
open Optim.Kernels

/// Numbers that look drawn and depend on their place alone.
let number (seed: int) (place: int) =
    let mutable z =
        uint64 seed * 0x9E3779B97F4A7C15UL + uint64 place * 0xBF58476D1CE4E5B9UL

    z <- (z ^^^ (z >>> 30)) * 0xBF58476D1CE4E5B9UL
    z <- (z ^^^ (z >>> 27)) * 0x94D049BB133111EBUL
    double (z ^^^ (z >>> 31) >>> 11) / double (1UL <<< 53) - 0.5

/// What is trained: names, dtypes and shapes.
type Model =
    {
        Tensors: (string * DType * int64 list) list
    }

let private drawn =
    Collections.Concurrent.ConcurrentDictionary<struct (int * DType * int64 list), TensorView>()

/// Drawn once, and copied.
let private view seed (dtype: DType) (shape: int64 list) =
    let draw _ =
        let count = int (List.fold (*) 1L shape) * DTypes.Parts dtype
        TensorView.OfDoubles(dtype, ReadOnlySpan(Array.init count (number seed)), ReadOnlySpan(Array.ofList shape))

    if List.fold (*) 1L shape <= 20000L then
        drawn.GetOrAdd(struct (seed, dtype, shape), draw).Copy()
    else
        draw ()

/// The parameters of a model, in memory of their own.
let parametersOf (model: Model) =
    [
        for index, (name, dtype, shape) in List.indexed model.Tensors -> Param.Of(name, view (1000 + index) dtype shape)
    ]

/// The gradient of a leaf in a step; absent where a tensor has none there.
let gradientOf (isAbsent: int -> int -> int -> bool) (model: Model) step leaf index =
    if isAbsent step leaf index then
        TensorView()
    else
        let _, dtype, shape = model.Tensors[index]
        view (7 + 31 * step + 1009 * leaf + 100003 * index) dtype shape

let mixed =
    {
        Tensors =
            [
                "embedding", DType.Float32, [ 90L; 100L ]
                "scale", DType.Float32, []
                "weight", DType.Float32, [ 33L; 20L ]
                "bias", DType.Float32, [ 33L ]
                "last", DType.Float32, [ 2L; 4096L ]
            ]
    }

/// Only matrices, for rules that take nothing else.
let matrices =
    {
        Tensors =
            [
                "first", DType.Float32, [ 24L; 40L ]
                "second", DType.Float32, [ 33L; 20L ]
                "third", DType.Float32, [ 8L; 8L ]
            ]
    }

let small =
    {
        Tensors =
            [
                "first", DType.Float32, [ 24L; 4L ]
                "second", DType.Float32, [ 7L ]
                "third", DType.Float32, [ 8L; 8L ]
                "fourth", DType.Float32, [ 70L; 60L ]
            ]
    }

/// One digest for the bits of tensors.
let digest (tensors: TensorView seq) =
    use sum = IncrementalHash.CreateHash HashAlgorithmName.SHA256

    for tensor in tensors do
        let copy = tensor.Copy()
        let length = int64 copy.Count * int64 (DTypes.Size copy.DType)
        let bytes = Layout.Contiguous(DType.UInt8, ReadOnlySpan [| length |])
        sum.AppendData(TensorView(copy.Address, bytes, copy.Owner).AsSpan<byte>().ToArray())
        GC.KeepAlive copy.Owner

    Convert.ToHexString(sum.GetHashAndReset()).Substring(0, 16)

/// The sum of tensors by the tree of neighbours, element by element, absent ones passed over: written for itself.
let treeSum (leaves: TensorView array) =
    let sums = Array.copy leaves

    let mutable apart = 1

    while apart < sums.Length do
        for i in 0 .. 2 * apart .. sums.Length - apart - 1 do
            let a, b = sums[i], sums[i + apart]

            sums[i] <-
                if a.IsAbsent then
                    b
                elif b.IsAbsent then
                    a
                else
                    let x, y = a.ToDoubles(), b.ToDoubles()

                    TensorView.OfDoubles(a.DType, ReadOnlySpan(Array.map2 (+) x y), a.Shape.AsSpan())

        apart <- 2 * apart

    sums[0]

/// A run of one optimizer: what is trained, how, and what surrounds it.
type Run =
    {
        Model: Model
        Make: IReadOnlyList<IParameterOrGroup> -> Optimizer
        Leaves: int
        Steps: int
        Absent: int -> int -> int -> bool
        /// Called once, with the optimizer and the parameters, before the first step; what it returns is called after each step.
        Around: Optimizer -> Param list -> int -> unit
        /// How a step is taken.
        Step: Optimizer -> unit
        Scale: Optimizer -> double
    }

let run model make =
    {
        Model = model
        Make = make
        Leaves = 8
        Steps = 3
        Absent = fun _ _ _ -> false
        Around = fun _ _ _ -> ()
        Step = _.Step()
        Scale = fun _ -> 1.0
    }

let private scaled (factor: double) (view: TensorView) =
    if view.IsAbsent || factor = 1.0 then
        view
    else
        TensorView.OfDoubles(view.DType, ReadOnlySpan(view.ToDoubles() |> Array.map (fun x -> x * factor)), view.Shape.AsSpan())

let private give (parameter: Param) (gradient: TensorView) =
    if gradient.IsAbsent then
        parameter.DropGradient()
    else
        parameter.SetGradient gradient

/// Parameters as optimizers are given them.
let given (parameters: Param list) : IReadOnlyList<IParameterOrGroup> =
    [| for p in parameters -> p :> IParameterOrGroup |] :> IReadOnlyList<_>

/// The bits of one process and a plain optimizer, on means that the tests work out.
let alone (run: Run) =
    let parameters = parametersOf run.Model
    let optimizer = run.Make(given parameters)
    let after = run.Around optimizer parameters

    for step in 0 .. run.Steps - 1 do
        let scale = run.Scale optimizer

        for index, parameter in List.indexed parameters do
            let leaves =
                Array.init run.Leaves (fun leaf -> gradientOf run.Absent run.Model step leaf index |> scaled scale)

            let sum = treeSum leaves

            give
                parameter
                (if sum.IsAbsent then
                     sum
                 else
                     TensorView.OfDoubles(
                         sum.DType,
                         ReadOnlySpan(sum.ToDoubles() |> Array.map (fun x -> x / double run.Leaves)),
                         sum.Shape.AsSpan()
                     ))

        run.Step optimizer
        after step

    digest [ for p in parameters -> p.View ], optimizer

/// One rank's part of a run: its parameters and its optimizer after the steps.
let train (run: Run) (world: World) first (sharded: Sharded) (parameters: Param list) =
    let after = run.Around sharded.Optimizer parameters
    let each = run.Leaves / world.Size

    for step in first .. first + run.Steps - 1 do
        let scale = run.Scale sharded.Optimizer

        for leaf in world.Rank * each .. (world.Rank + 1) * each - 1 do
            sharded.ZeroGrad()

            for index, parameter in List.indexed parameters do
                give parameter (gradientOf run.Absent run.Model step leaf index |> scaled scale)

            sharded.AddLeaf()

        run.Step sharded.Optimizer
        after step

/// An optimizer over all ranks, and the parameters of this one.
let over (run: Run) shard bucket (world: World) =
    let parameters = parametersOf run.Model

    // All begin with the elements of rank 0.
    if world.Rank > 0 then
        for p in parameters do
            p.View.Clear()

    let sharded =
        Sharded.Over(world, given parameters, Func<_, _> run.Make, shard, Nullable run.Leaves, bucket)

    sharded, parameters

/// What a function gives on each of some ranks.
let onRanks ranks (body: World -> 'a) =
    World.Simulated(ranks, Nullable(TimeSpan.FromSeconds 60.0)).Run(Func<World, 'a> body)
    |> List.ofSeq

/// The bits of parameters.
let bitsOf (parameters: Param list) =
    digest [ for p in parameters -> p.View ]

/// The bits of all ranks.
let together ranks (run: Run) shard bucket =
    onRanks ranks (fun world ->
        let sharded, parameters = over run shard bucket world
        train run world 0 sharded parameters
        bitsOf parameters)
