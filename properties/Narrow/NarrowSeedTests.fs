// Long, because rounding, ways to set the seed, and refusals are tested with the same runs.
/// The seed by which narrow state is rounded: StateStorage.WithSeed, and the option state_storage_seed.
module NarrowSeedTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Laws
open NarrowKit

let private elements = 700
let private lr = struct ("lr", OptionValue.Float 0.01)

let private trained (rule: Rule) storage =
    let options =
        stored rule storage (Options.set [ "lr", OptionValue.Float 0.01 ] rule rule.Defaults)

    let run = Run(rule, options, elements, recordedStart)

    for step in 0..4 do
        run.Step(recordedGradient step)

    run

let private checksum (values: float32 array) =
    let sum =
        bits values
        |> Array.fold (fun sum x -> KernelRuns.addBits sum (int64 x)) KernelRuns.noBits

    sum.ToString "x16"

/// The codes of 256 numbers that are rounded in a step, with the largest first.
let private codesOf (values: float32 array) seed step =
    let codes =
        TensorView.Zeros(NarrowKinds.CodesOf NarrowKind.Signed8, [| int64 values.Length |])

    let scales = TensorView.Zeros(DType.Float32, [| 1L |])
    NarrowMemory.Narrow(TensorView.Of(values, [| int64 values.Length |]), NarrowKind.Signed8, codes, scales, seed, step, 0, 0n)
    struct (codes, scales)

let private rounding =
    testList
        "rounding"
        [
            test "seed 0 has the bits of before there were seeds, and each seed its own on every machine" {
                let blockwise = StateStorage.Blockwise8.From 0

                for name, storage, expected in
                    [
                        "AdamW", StateStorage.BFloat16.From 0, "7c05c8721c823ce3"
                        "Adagrad", StateStorage.BFloat16.From 0, "3a06b21affedb89e"
                        "AdamW", blockwise, "9c2176210e3d42f2"
                        "Adagrad", blockwise, "84153db2b427bd64"
                        "Lion", blockwise, "72dcc4b3e3858b00"
                        "AdamW", blockwise.WithSeed 7L, "767798b38bbc9b99"
                        "Lion", blockwise.WithSeed StateStorage.LargestSeed, "f0c477aa31180d1e"
                    ] do
                    Expect.equal (checksum (trained (Rules.Find name) storage).Values) expected $"{name}, {storage}"
            }

            for rule in rules do
                testCase $"{rule.Name}: other seeds, other codes" (fun () ->
                    for storage in formats |> List.map _.From(0) do
                        let first, second = trained rule storage, trained rule (storage.WithSeed 7L)

                        let isNarrow =
                            first.State.Columns
                            |> Seq.exists (fun column -> not column[0].IsAbsent && column.FormatOf 0 <> StateFormat.Float32)

                        Expect.equal (State.contentEquals first.State second.State) (not isNarrow) $"{storage}"

                        Expect.isTrue
                            (State.contentEquals second.State (trained rule (storage.WithSeed 7L)).State)
                            $"{storage}: the same with the same seed")

            test "it is right in the mean over seeds" {
                let values = Array.init 256 (fun i -> float32 (1.0 + double i / 300.0))
                let sums = Array.zeroCreate<double> values.Length
                let seeds = 2000

                for seed in 1..seeds do
                    let struct (codes, scales) = codesOf values (int64 seed) 3L

                    NarrowMemory.Widen(NarrowKind.Signed8, codes, scales).AsSpan<float32>().ToArray()
                    |> Array.iteri (fun i x -> sums[i] <- sums[i] + double x)

                for i in 0 .. values.Length - 1 do
                    let mean = sums[i] / double seeds
                    // Steps of codes are 2 to 4 % here, and seeds are as independent bits: four deviations of their mean.
                    Expect.isLessThan (abs (mean - double values[i])) (4e-3 * double values[i]) $"element {i}"
            }

            test "elements that one seed rounds alike in every step are rounded apart by others" {
                // The largest, and 255 numbers halfway between two codes.
                let struct (codes, scales) =
                    codesOf (Array.init 256 (fun i -> if i = 0 then 1.0f else 0.5f)) 0L 1L

                let code (index: int) =
                    NarrowMemory.Widen(NarrowKind.Signed8, codes, scales).AsSpan<float32>()[index]

                codes.AsSpan<byte>()[2] <- codes.AsSpan<byte>()[1] + 1uy
                let between = (code 1 + code 2) / 2.0f

                let values = Array.init 256 (fun i -> if i = 0 then 1.0f else between)

                let codes seed step =
                    let struct (codes, _) = codesOf values seed step
                    codes.AsSpan<byte>().ToArray()

                let steps = [| for step in 1L .. 256L -> codes 0L step |]
                let seeds = [| for seed in 1L .. 256L -> codes seed 1L |]

                let alike (runs: byte array array) i j =
                    runs |> Array.filter (fun codes -> codes[i] = codes[j]) |> Array.length

                let pairs =
                    [
                        for i in 1..255 do
                            for j in i + 1 .. 255 do
                                if alike steps i j = steps.Length then
                                    i, j
                    ]

                Expect.isNonEmpty pairs "some are alike in every step"

                for i, j in pairs do
                    let often = alike seeds i j
                    Expect.isTrue (often > 64 && often < 192) $"elements {i} and {j} alike in {often} of 256 seeds"
            }

            test "over 1,000 steps no element goes wild with another seed (N1)" {
                for hardship in [ Hardship.Outlier; Hardship.FirstOutlier; Hardship.Tiny; Hardship.FarAbove ] do
                    let subject = Subject.ofRule (AdamW.rule :> Rule)
                    let gradients = NarrowState.gradients hardship 1000 3

                    let longest options =
                        NarrowState.longestStep subject options gradients

                    let wide = longest AdamW.defaults

                    for storage in seeded do
                        Expect.isLessThanOrEqual
                            (longest (stored AdamW.rule storage AdamW.defaults))
                            (3.0 * wide)
                            $"%A{hardship}, {storage}"
            }
        ]

let private param name =
    new Param(name, Array.init elements recordedStart)

let private step (w: Param, optimizer: Optimizer) number =
    w.SetGradient<float32>(ReadOnlySpan(Array.init elements (recordedGradient number)))
    optimizer.Step()

/// The bits after some steps of an optimizer over one parameter.
let private bitsBy (make: IParameterOrGroup list -> Optimizer) =
    use w = param "w"
    let optimizer = make [ w ]

    for number in 0..4 do
        step (w, optimizer) number

    bits (w.View.AsSpan<float32>().ToArray())

let private storage = (StateStorage.Blockwise8.From 0).WithSeed 7L

let private byName (name: string) (storage: StateStorage) given =
    RuleOptimizer(
        Rules.Find name,
        given,
        [|
            lr

            for name, value in optionsOf storage do
                struct (name, value)
        |]
    )
    :> Optimizer

let private beginnings =
    testList
        "what steps begin with"
        [
            test "float32 state that is loaded is rounded by it" {
                use w = param "w"
                let wide = AdamW([ w :> IParameterOrGroup ], lr = 0.01)
                step (w, wide) 0
                let dict = StateDict.FromTree(wide.StateDict().ToTree())

                let loaded (storage: StateStorage) =
                    use other = param "w"
                    let optimizer = byName "adamw" storage [ other ]
                    optimizer.LoadStateDict dict |> ignore
                    optimizer.StateDict().ToTree()

                Expect.equal (loaded storage) (loaded storage) "the same seed"
                Expect.notEqual (loaded storage) (loaded (storage.WithSeed 8L)) "other seeds"
            }

            test "numbers that columns start with are rounded by it" {
                let started (storage: StateStorage) =
                    let rule = Adagrad.rule :> Rule

                    let options =
                        Options.set [ "initial_accumulator_value", OptionValue.Float 0.1 ] rule rule.Defaults

                    let run = Run(rule, stored rule storage options, elements, recordedStart)
                    run.Step(fun _ -> 0.0f)
                    run.State

                let storage = StateStorage.BFloat16.From 0
                Expect.isFalse (State.contentEquals (started storage) (started (storage.WithSeed 7L))) "other seeds"
            }
        ]

let private ways =
    testList
        "set"
        [
            test "by constructor, record, name and group it is the same seed" {
                let expected = bitsBy (byName "adamw" storage)
                Expect.notEqual expected (bitsBy (byName "adamw" (storage.WithSeed 0L))) "another seed than 0"

                Expect.equal
                    (bitsBy (fun given -> AdamW(given, lr = 0.01, stateStorage = storage) :> Optimizer))
                    expected
                    "a constructor of torch.optim"

                Expect.equal (bits (trained AdamW.rule storage).Values) expected "F#"

                let ofRecord =
                    { AdamW.defaults with
                        Lr = 0.01
                        StateStorage = storage
                    }

                let run = Run(AdamW.rule, ofRecord, elements, recordedStart)

                for number in 0..4 do
                    run.Step(recordedGradient number)

                Expect.equal (bits run.Values) expected "a record"

                Expect.equal
                    (bitsBy (fun given ->
                        let optimizer =
                            AdamW(given, lr = 0.01, stateStorage = StateStorage.Blockwise8.From 0)

                        optimizer.ParamGroups[0]["state_storage_seed"] <- OptionValue.Int 7L
                        optimizer :> Optimizer))
                    expected
                    "a group"
            }

            test "constructors of the catalogue, and chains, have it" {
                Expect.equal
                    (bitsBy (fun given -> AdaBelief(given, lr = 0.01, stateStorage = storage) :> Optimizer))
                    (bitsBy (byName "adabelief" storage))
                    "a constructor"

                for name in [ "adabelief"; "chain(scale_by_adam, scale(-1e-2))" ] do
                    Expect.notEqual (bitsBy (byName name storage)) (bitsBy (byName name (storage.WithSeed 8L))) name
            }

            test "in the midst of a run another seed goes on from the same codes" {
                let goesOn (change: Optimizer -> unit) =
                    use w = param "w"
                    let optimizer = byName "adamw" storage [ w ]
                    step (w, optimizer) 0
                    let before = StateDict.FromTree(optimizer.StateDict().ToTree())
                    change optimizer
                    let after = optimizer.StateDict()
                    Expect.equal (after.ToTree()) (before.ToTree()) "the codes stay"

                    for number in 1..4 do
                        step (w, optimizer) number

                    bits (w.View.AsSpan<float32>().ToArray())

                Expect.notEqual
                    (goesOn (fun optimizer -> optimizer.ParamGroups[0]["state_storage_seed"] <- OptionValue.Int 8L))
                    (goesOn ignore)
                    "other bits"
            }

            test "a state dict does not bring it along: with the same one a resume goes on bit for bit" {
                use w = param "w"
                let optimizer = byName "adamw" storage [ w ]

                for number in 0..2 do
                    step (w, optimizer) number

                let dict = StateDict.FromTree(optimizer.StateDict().ToTree())
                Expect.isFalse ((dict.ParamGroups[0]).ContainsKey "state_storage_seed") "not in the dict"
                let start = w.View.AsSpan<float32>().ToArray()

                let resumed (storage: StateStorage) =
                    use other = new Param("w", Array.copy start)
                    let optimizer = byName "adamw" storage [ other ]
                    optimizer.LoadStateDict dict |> ignore

                    Expect.equal optimizer.ParamGroups[0].["state_storage_seed"] (OptionValue.Int storage.Seed) "the optimizer's own"

                    for number in 3..5 do
                        step (other, optimizer) number

                    bits (other.View.AsSpan<float32>().ToArray())

                let again, another = resumed storage, resumed (storage.WithSeed 8L)

                for number in 3..5 do
                    step (w, optimizer) number

                Expect.equal again (bits (w.View.AsSpan<float32>().ToArray())) "goes on"
                Expect.notEqual another again "another seed"
            }
        ]

let private refusals =
    testList
        "refused"
        [
            for value, shown in
                [
                    OptionValue.Int -1L, "-1"
                    OptionValue.Int 4294967296L, "4294967296"
                    OptionValue.Float 0.5, "0.5"
                    OptionValue.Float nan, "nan"
                    OptionValue.Text "seven", "seven"
                ] do
                test $"{shown}, by option, value and range" {
                    let error =
                        Expect.throwsC
                            (fun () ->
                                (AdamW.rule :> Rule).Replace(AdamW.defaults, "state_storage_seed", value)
                                |> ignore)
                            id

                    Expect.stringContains
                        error.Message
                        $"AdamW: state_storage_seed is {shown}; it must be a whole number in [0, 4294967295]"
                        "by name"
                }

            test "a seed that is none, of a storage" {
                for seed in [ -1L; 4294967296L ] do
                    let error =
                        Expect.throwsC (fun () -> StateStorage.BFloat16.WithSeed seed |> ignore) id

                    Expect.stringContains error.Message "the seed of the rounding must be a whole number in [0, 4294967295]" "range"
                    Expect.stringContains error.Message (string seed) "value"
            }

            test "rules with float32 state have none, and a name that is mistyped is told" {
                let refused (rule: Rule) (option: string) (message: string) =
                    let error =
                        Expect.throwsC (fun () -> rule.Replace(rule.Defaults, option, OptionValue.Int 7L) |> ignore) id

                    Expect.stringContains error.Message message option

                refused Muon.rule "state_storage_seed" "Muon has no option 'state_storage_seed': it keeps its state in float32"
                refused AdamW.rule "state_storage_sed" "did you mean 'state_storage_seed'?"
            }

            test "storages tell their seed" {
                Expect.equal (string storage) "blockwise8 from 0 elements with seed 7" "in words"
                Expect.equal (storage.From 4096) (StateStorage.Blockwise8.WithSeed 7L) "another minimum keeps it"
                Expect.notEqual storage (storage.WithSeed 8L) "compared"
            }
        ]

[<Tests>]
let tests = testList "narrow state's seed" [ rounding; beginnings; ways; refusals ]
