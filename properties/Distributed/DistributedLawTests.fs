/// Laws of several ranks over drawn rules, shapes, numbers of ranks and cuts, each with a mutant that it finds.
/// OPTIM_CASES multiplies the number of cases, OPTIM_SEED draws others.
module DistributedLawTests

open System
open System.IO
open System.Runtime.InteropServices
open Expecto
open FsCheck
open FsCheck.FSharp
open Optim
open Optim.Core
open Optim.Distributed
open Optim.Kernels
open DistributedKit
open Kit
open DataParallelTests
open ShardedCheckpointTests

/// What a law is tried on.
type Case =
    {
        Rule: string
        Options: (string * OptionValue) list
        Shapes: int64 list list
        Ranks: int
        Others: int
        LeavesOfRank: int
        Bucket: int64
        Shard: Shard
        Steps: int
        Missing: int
    }

/// Every rule that there is, and chains and wrappers of each kind, that of dense gradients.
let private rules =
    [
        for rule in Rules.All do
            rule.Name

        for entry in Catalogue.All do
            entry.Rule.Name

        "chain(clip_by_global_norm(1), scale_by_adam, scale(-1e-2))"
        "chain(scale_by_adam, add_decayed_weights(0.1), scale(-1e-2))"
        "chain(normalize_by_update_norm, scale(-1e-2))"
        "chain(scale_by_adam, where(\"p1\", add_decayed_weights(0.1)), clip_by_global_norm(1), scale(-1e-2))"
        "chain(clip_by_block_rms(0.1), clip_by_global_norm(0.5), scale(-1e-2))"
        "trac(adamw)"
        "lookahead(2, 0.5, adamw)"
        "lookahead(2, 0.5, muon)"
        "apply_if_finite(2, soap)"
        "gradient_noise(0.1, 0.55, 1, adamw)"
    ]
    |> List.distinct
    |> List.filter (fun name ->
        match Rules.Find name with
        | rule -> rule.Sparse rule.Defaults <> SparseGradients.Required)

/// Options that are not the usual ones.
let private optionsOf (rule: Rule) (options: IOptimizerOptions) =
    [
        for name in rule.OptionNames do
            let value = rule.Read(options, name)

            if not (value.Equals(rule.Read(rule.Defaults, name))) then
                name, value
    ]

let private shape =
    Gen.frequency
        [
            3, Gen.map2 (fun a b -> [ int64 a; int64 b ]) (Gen.choose (1, 9)) (Gen.choose (1, 700))
            3, Gen.map (fun a -> [ int64 a ]) (Gen.elements [ 1; 3; 31; 4095; 4096; 4097; 8192; 9000 ])
            1, Gen.constant []
            1, Gen.constant [ 0L ]
        ]

let private cases =
    gen {
        let! rule = Gen.elements rules
        let! options = Laws.Options.generate (Rules.Find rule)

        let! storage =
            Gen.elements [ StateStorage.Float32; StateStorage.BFloat16; StateStorage.Blockwise8 ]

        let! minimum = Gen.elements [ 0; 300; 4096 ]
        let! seed = Gen.elements [ 0L; 7L ]
        let! count = Gen.choose (1, 5)
        let! shapes = Gen.listOfLength count shape
        let! ranks = Gen.choose (1, 8)
        let! others = Gen.choose (1, 8)
        let! leaves = Gen.elements [ 1; 2; 4 ]
        let! bucket = Gen.elements [ 1024L; 5000L; 40000L; 1L <<< 25 ]
        let! shard = Gen.elements [ Shard.State; Shard.Gradients ]
        let! steps = Gen.choose (1, 3)
        let! missing = Gen.choose (0, 6)

        let shapes =
            if (Rules.Find rule).Scope = RuleScope.Matrices then
                [ for index in 0 .. count - 1 -> [ 4L + int64 index; 6L ] ]
            else
                shapes

        return
            {
                Rule = rule
                Options =
                    optionsOf (Rules.Find rule) options
                    @ NarrowKit.optionsBeside (Rules.Find rule) options ((storage.From minimum).WithSeed seed)
                Shapes = shapes
                Ranks = ranks
                Others = others
                LeavesOfRank = leaves
                Bucket = bucket
                Shard = shard
                Steps = steps
                Missing = missing
            }
    }

let private runOfCase (case: Case) =
    let model =
        {
            Tensors = case.Shapes |> List.mapi (fun index shape -> $"p{index}", DType.Float32, shape)
        }

    { run model (fun parameters ->
          RuleOptimizer(Rules.Find case.Rule, parameters, [| for name, value in case.Options -> struct (name, value) |]) :> Optimizer) with
        Leaves = case.Ranks * case.LeavesOfRank
        Steps = case.Steps
        Absent =
            fun step leaf index ->
                (step + 2 * leaf + 3 * index) % 7 < case.Missing / 2
                || index = 0 && step = 1 && case.Missing > 3
    }

let private config count =
    let times =
        match Environment.GetEnvironmentVariable "OPTIM_CASES" with
        | null
        | "" -> 1
        | text -> int text

    drawn (count * times)

let private law name count (holds: Case -> unit) =
    testPropertyWithConfig (config count) name (Prop.forAll (Arb.fromGen cases) holds)

[<Tests>]
let tests =
    testList
        "distributed laws"
        [
            law "sharded is unsharded, bit for bit" 60 (fun case ->
                let run = runOfCase case
                let expected = (together case.Ranks run Shard.None case.Bucket)[0]
                same expected (together case.Ranks run case.Shard case.Bucket) $"{case}")

            law "powers of two of ranks have the bits of one process" 40 (fun case ->
                let ranks = 1 <<< (case.Ranks % 4)

                let run =
                    { runOfCase { case with Ranks = ranks } with
                        Leaves = 8
                    }

                let expected, _ = alone run
                same expected (together ranks run case.Shard case.Bucket) $"{ranks} ranks: {case}")

            law "saved at n ranks and loaded at m: the bits of ranks that never stopped, from the same file" 25 (fun case ->
                inFolder (fun folder ->
                    // A number of leaves that both divide into powers of two.
                    let n, m = 1 <<< (case.Ranks % 4), 1 <<< (case.Others % 4)

                    let run =
                        { runOfCase { case with Ranks = 8 } with
                            Leaves = 8
                        }

                    let expected, _ = alone { run with Steps = 2 * case.Steps }
                    let path (ranks: int) = Path.Combine(folder, $"{ranks}.pt")

                    for ranks in List.distinct [ n; m ] do
                        onRanks ranks (fun world ->
                            let sharded, parameters = over run case.Shard case.Bucket world
                            train run world 0 sharded parameters
                            save world (path ranks) sharded parameters)
                        |> ignore

                    Expect.equal (File.ReadAllBytes(path n)) (File.ReadAllBytes(path m)) "the same bytes"

                    onRanks m (fun world ->
                        let sharded, parameters = over run case.Shard case.Bucket world
                        load world (path n) sharded parameters |> ignore
                        train run world case.Steps sharded parameters
                        bitsOf parameters)
                    |> fun found -> same expected found $"from {n} to {m} ranks: {case}"))

            law "a plan gives every element to one rank, and a rank at most its share and a block" 100 (fun case ->
                let layouts =
                    case.Shapes
                    |> List.mapi (fun index shape ->
                        PlanItem($"p{index}", Layout.Contiguous(DType.Float32, ReadOnlySpan(Array.ofList shape)), Division.Sliced))

                let plan =
                    ShardPlan.Of(case.Ranks, Shard.State, Array.ofList layouts, case.Missing % 2 = 0)

                let total = plan.Tensors |> Seq.sumBy (fun tensor -> int64 tensor.Layout.Count)

                for tensor in plan.Tensors do
                    let mutable next = 0L

                    for slice in tensor.Slices do
                        Expect.equal slice.Offset next "slices follow each other"
                        next <- next + slice.Length

                    Expect.equal next (int64 tensor.Layout.Count) "and are all of the tensor"

                for rank in 0 .. case.Ranks - 1 do
                    Expect.isLessThanOrEqual
                        (plan.ElementsOf rank)
                        (total / int64 case.Ranks + int64 Reduction.BlockLength)
                        $"rank {rank}: {plan}")

            law "a rank's memory of state is its share and at most a block of each column more, for rules that can be cut" 60 (fun case ->
                let rule = Rules.Find case.Rule

                // What stands on every rank for each parameter: steps, and numbers that are kept.
                let numbers =
                    int64 case.Shapes.Length
                    * int64 (8 * (1 + rule.ScalarNames.Length + rule.ColumnNames.Length))

                let bytesUnder shard =
                    onRanks case.Ranks (fun world ->
                        let run = runOfCase case
                        let sharded, parameters = over run shard case.Bucket world
                        train run world 0 sharded parameters
                        sharded.StateBytes)

                let isWithin (all: int64) (own: int64) =
                    own
                    <= all / int64 case.Ranks
                       + int64 rule.ColumnNames.Length * 4L * int64 Reduction.BlockLength
                       + numbers

                if ShardPlan.DivisionOf rule = Division.Sliced then
                    let whole = (bytesUnder Shard.None)[0]

                    for own in bytesUnder case.Shard do
                        Expect.isTrue (isWithin whole own) $"{own} of {whole} bytes: {case}"

                    // As it would be found where each rank had all of it.
                    let columns = int64 Reduction.BlockLength * 4L * int64 rule.ColumnNames.Length

                    if case.Ranks > 1 && whole > 2L * (columns + numbers) then
                        Expect.isFalse (isWithin whole whole) $"a rank with all of it: {case}")

            law "every rank makes the same calls in the same order" 25 (fun case ->
                let run = runOfCase case

                let traces =
                    onRanks case.Ranks (fun world ->
                        let calls = ResizeArray()
                        world.Calling <- fun call -> calls.Add(string call)
                        let sharded, parameters = over run case.Shard case.Bucket world
                        sharded.Optimizer.Attach(ClipGradNorm 1.0)
                        train run world 0 sharded parameters
                        List.ofSeq calls)

                for calls in traces do
                    Expect.equal calls traces[0] $"{case}")

            test "mutants: another order of leaves, a cut within a block, and a mean of the wrong number are found" {
                let plain = run mixed adamW
                let expected, _ = alone plain

                // Leaves in another order.
                let swapped =
                    { plain with
                        Absent = fun _ _ _ -> false
                        Model = plain.Model
                    }

                let found =
                    onRanks 2 (fun world ->
                        let sharded, parameters = over swapped Shard.State 5000L world

                        for step in 0..2 do
                            for leaf in [ 0; 2; 1; 3 ] do
                                sharded.ZeroGrad()

                                for index, p in List.indexed parameters do
                                    p.SetGradient(gradientOf swapped.Absent mixed step (4 * world.Rank + leaf) index)

                                sharded.AddLeaf()

                            sharded.Step()

                        bitsOf parameters)

                for bits in found do
                    Expect.notEqual bits expected "leaves in another order are another sum"

                // Blocks that are cut somewhere else join to another norm.
                let view =
                    TensorView.OfDoubles(DType.Float32, ReadOnlySpan(Array.init 20000 (number 3)), ReadOnlySpan [| 20000L |])

                let joined cut =
                    let part from length =
                        TensorView(
                            view.Address + nativeint (4 * from),
                            Layout.Contiguous(DType.Float32, ReadOnlySpan [| int64 length |]),
                            view.Owner
                        )

                    let blocks =
                        Array.append
                            (Reduction.SumOfSquares.Blocks(ReadOnlySpan [| part 0 cut |], null, 1.0))
                            (Reduction.SumOfSquares.Blocks(ReadOnlySpan [| part cut (20000 - cut) |], null, 1.0))

                    Reduction.SumOfSquares.Join(Span blocks)

                Expect.equal (joined 8192) (Reduction.SumOfSquares.Of view) "a cut between blocks changes no bit"
                Expect.exists [ 1000..1000..19000 ] (fun cut -> joined cut <> Reduction.SumOfSquares.Of view) "a cut within a block does"
            }
        ]
