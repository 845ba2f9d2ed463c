/// The kernels: the same bits from every vector width, tail, address, executor and number of threads, and from plain arithmetic.
module KernelTests

open System
open System.Reflection
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Laws
open KernelRuns
open Plain

let private combinationTests =
    test "every combination of switches equals plain arithmetic, at every width and tail" {
        let mutable cases = 0

        for rule, options in combinations do
            for dtype in dtypes do
                for length in tails do
                    // RAdam rectifies from its sixth step on.
                    let steps = if rule.Name = "RAdam" then 7 else 3
                    let s = scenario rule options dtype steps length
                    let expected = Plain.final s

                    for width in widths do
                        let actual = Setting.withWidth width (fun () -> run rule s)
                        cases <- cases + 1

                        Snapshot.compare Comparator.bit expected actual
                        |> holds (sprintf "%s, %d elements, %O" (describe rule options dtype) length width)

        Cases.add "kernels" cases
    }

let private switchTests =
    testList
        "switches"
        [
            // Native AOT compiles a loop for each combination that there could be: one too many doubles them.
            test "a formula counts as many as it names" {
                let formula = nonNull (typeof<Layout>.Assembly.GetType "Optim.Kernels.IFormula")

                let mutable formulas = 0

                for t in formula.Assembly.GetTypes() do
                    if t.IsValueType && formula.IsAssignableFrom t then
                        let statics = BindingFlags.Public ||| BindingFlags.Static
                        let named = t.GetFields statics |> Array.filter _.IsLiteral |> Array.length
                        let getter = nonNull (t.GetMethod("get_SwitchCount", statics))
                        let count = getter.CreateDelegate<Func<int>>()
                        formulas <- formulas + 1
                        Expect.equal (count.Invoke()) named t.Name

                Expect.isGreaterThan formulas 15 "formulas"
            }
            test "one that a formula does not count is refused, as its loops would not see it" {
                Expect.throwsC (fun () -> Driver<SGDFormula>.Instance.Loop(1 <<< 4) |> ignore) (fun error ->
                    Expect.stringContains error.Message "SGDFormula looks at 4 switches" "message")
            }
            test "a width that is none is refused" {
                let before = Lanes.Width
                Expect.throwsT<ArgumentOutOfRangeException> (fun () -> Lanes.Width <- enum<Width> 64) "64 bits"
                Expect.equal Lanes.Width before "and nothing is set"
            }
        ]

let private offsetTests =
    test "every address of parameter and gradient gives the same bits" {
        let mutable cases = 0

        for rule in Kit.denseRules do
            for dtype in dtypes @ storedDTypes do
                let s = scenario rule rule.Defaults dtype 2 (37 * DTypes.Parts dtype)
                let expected = run rule s

                for parameterAt in 0..16 do
                    for gradientAt in 0..16 do
                        let parameters = Parameters.Of [ Memory.offset parameterAt dtype s.Start[0] ]

                        let step state row =
                            let gradients = Gradients.OfDense [ Memory.offset gradientAt dtype (Row.only row) ]
                            rule.Step(s.Options, parameters, gradients, state)

                        let state = Array.fold step (rule.Init(s.Options, parameters)) s.History
                        cases <- cases + 1

                        Snapshot.compare Comparator.bit expected (Snapshot.read dtype parameters state)
                        |> holds (sprintf "%s %s at %d and %d" rule.Name (dtype.Name()) parameterAt gradientAt)

        Cases.add "kernels" cases
    }

let private largeTests =
    test "long parameters, two vectors at a time, equal short ones; every executor and thread count gives the same bits" {
        // Beyond the cache, and where it pays to wake the team.
        let length = 400_003
        let mutable cases = 0

        for name, dtype in
            [
                "Adam", DType.Float32
                "SGD", DType.Float32
                "RMSprop", DType.Float64
                "Rprop", DType.Float32
                "Adadelta", DType.Float32
                "Adagrad", DType.Float32
                "Adamax", DType.Float64
                "ASGD", DType.Float32
                "NAdam", DType.Float32
                "RAdam", DType.Float32
            ] do
            let rule = Rules.Find name
            let s = scenario rule (full rule) dtype 2 length
            let expected = inPieces rule 4099 s

            let check what options threads executor =
                Setting.withThreads threads (fun () ->
                    let options = Options.set options rule s.Options
                    let parameters = Run.parameters s
                    let mutable state = rule.Init(options, parameters)

                    for row in s.History do
                        let prepared = rule.Prepare(options, parameters, Run.gradients dtype row, state)
                        Expect.equal prepared.Executor.Name executor "the executor"
                        state <- prepared.Run()
                        Expect.equal prepared.Threads (if executor = "caller" then 1 else threads) "threads that took part"

                    cases <- cases + 1

                    Snapshot.compare Comparator.bit expected (Snapshot.read dtype parameters state)
                    |> holds (sprintf "%s, %s, %d threads" rule.Name what threads))

            check "for-loop" [ "foreach", Options.ofFlag false ] 8 "caller"

            for threads in 1..8 do
                check "foreach" [ "foreach", Options.ofFlag true ] threads "team"

        Cases.add "kernels" cases
    }

let private manyTensorsTests =
    test "a list of many short tensors gives the same bits on one thread and on several" {
        let lengths = [ for i in 0..400 -> i % 67 ]
        let mutable cases = 0

        for rule in Kit.denseRules do
            let parts = lengths |> List.map (scenario rule (full rule) DType.Float32 4)

            let s =
                { parts[0] with
                    Start = parts |> List.map (fun part -> part.Start[0]) |> List.toArray
                    History = Array.init 4 (fun t -> parts |> List.map (fun part -> part.History[t][0]) |> List.toArray)
                }

            let expected = Setting.withThreads 1 (fun () -> run rule s)

            for threads in 2..8 do
                // The team begins to share once calls come close together.
                for _ in 1..3 do
                    cases <- cases + 1

                    Setting.withThreads threads (fun () -> run rule s)
                    |> Snapshot.compare Comparator.bit expected
                    |> holds (sprintf "%s, %d threads" rule.Name threads)

            for part, k in List.zip (List.truncate 70 parts) [ 0..69 ] do
                cases <- cases + 1

                Comparator.arrays Comparator.bit DType.Float32 (Plain.final part).Theta[0] expected.Theta[k]
                |> holds (sprintf "%s, tensor %d" rule.Name k)

        Cases.add "kernels" cases
    }

let private laneTests =
    test "Max, Min, Abs, Sqrt, comparison, Select and Fma do the same at every width, and NaN spreads through Max and Min" {
        let mutable cases = 0

        for dtype in dtypes do
            let values =
                [
                    nan
                    0.0
                    -0.0
                    1.0
                    -1.0
                    infinity
                    -infinity
                    Number.ofBits dtype 1L
                    -(Number.ofBits dtype 1L)
                    3.25
                    Number.tiny dtype
                ]

            let pairs = List.allPairs values values

            let parameters () =
                Parameters.Of [ Tensor.ofFloats dtype (pairs |> List.map fst |> List.toArray) ]

            let second = pairs |> List.map snd |> List.toArray
            let rule = LaneFormula.rule

            for width in widths do
                let parameters = parameters ()

                let state =
                    Setting.withWidth width (fun () ->
                        rule.Step(
                            rule.Defaults,
                            parameters,
                            Run.gradients dtype [| ValueSome second |],
                            rule.Init(rule.Defaults, parameters)
                        ))

                let snapshot = Snapshot.read dtype parameters state

                for name, expected in LaneFormula.expected dtype do
                    cases <- cases + 1

                    Comparator.arrays
                        Comparator.bit
                        dtype
                        (pairs |> List.map (fun (a, b) -> expected a b) |> List.toArray)
                        (Snapshot.row name 0 snapshot)
                    |> holds (sprintf "%s, %s, %O" name (dtype.Name()) width)

        Cases.add "kernels" cases
    }

let private layoutTests =
    test "transposed, gapped, single and empty tensors equal contiguous ones" {
        let shape = [| 5L; 7L |]
        let mutable cases = 0

        for rule in Kit.denseRules do
            for dtype in dtypes do
                let s = scenario rule (full rule) dtype 3 35
                let expected = run rule s

                for parameterLies, gradientLies in List.allPairs [ 0..3 ] [ 0..3 ] do
                    let lay lies values = Memory.lay lies shape dtype values
                    let none = TensorView.Zeros(dtype, ReadOnlySpan [| 0L; 3L |])
                    let single = scenario rule (full rule) dtype 3 1
                    let zeroDim values = Tensor.shaped [||] dtype values

                    let parameters =
                        Parameters.Of [ lay parameterLies s.Start[0]; none; zeroDim single.Start[0] ]

                    let mutable state = rule.Init(s.Options, parameters)

                    for t in 0..2 do
                        let gradients =
                            Gradients.OfDense
                                [
                                    lay gradientLies (Row.only s.History[t])
                                    none
                                    zeroDim (Row.only single.History[t])
                                ]

                        state <- rule.Step(s.Options, parameters, gradients, state)

                    cases <- cases + 1

                    let what =
                        sprintf "%s %s, laid %d and %d" rule.Name (dtype.Name()) parameterLies gradientLies

                    let actual = Snapshot.read dtype parameters state

                    Comparator.arrays Comparator.bit dtype expected.Theta[0] actual.Theta[0]
                    |> holds what

                    Comparator.arrays Comparator.bit dtype (run rule single).Theta[0] actual.Theta[2]
                    |> holds (what + ", 0-dimensional")

                    for name, rows in expected.State do
                        if rows[0].IsSome then
                            Comparator.arrays Comparator.bit dtype (Snapshot.row name 0 expected) (Snapshot.row name 0 actual)
                            |> holds (what + ", " + name)

        Cases.add "kernels" cases
    }

/// Lengths at which rounding shares up to cache lines leaves the last threads little or nothing.
let private shareTests =
    test "however many threads share a step, each element takes it once, and nothing beyond does" {
        for threads, length in [ 2, 6_144; 3, 9_217; 7, 400_001; 8, 400_003; 100, 410_003; 300, 461_100 ] do
            let beyond = 4_096
            let memory = TensorView.Zeros(DType.Float32, [| int64 (length + beyond) |])

            let parameter =
                TensorView(
                    memory.Address,
                    Layout.Strided(DType.Float32, ReadOnlySpan [| int64 length |], ReadOnlySpan [| 1L |]),
                    memory.Owner
                )

            let gradient = TensorView.Of(Array.create length -1.0f)
            let parameters = Parameters.Of [ parameter ]
            let options = { SGD.defaults with Lr = 1.0 }

            let step state =
                SGD.step options parameters (Gradients.OfDense [ gradient ]) state

            // A pause parks the workers, so that the first step is taken in pieces and the ones after it in whole shares.
            Threading.Thread.Sleep 2
            let steps = 3

            Setting.withThreads threads (fun () -> Seq.fold (fun state _ -> step state) (SGD.init options parameters) (seq { 1..steps }))
            |> ignore

            let found = memory.AsSpan<float32>().ToArray()
            Expect.all (Array.take length found) ((=) (float32 steps)) (sprintf "%d elements, %d threads" length threads)
            Expect.all (Array.skip length found) ((=) 0.0f) (sprintf "beyond %d elements, %d threads" length threads)
            Cases.add "kernels" 1
    }

[<Tests>]
let tests =
    testSequenced
    <| testList
        "kernels"
        ([
            combinationTests
            switchTests
            offsetTests
            largeTests
            shareTests
            manyTensorsTests
            laneTests
            layoutTests
         ]
         @ ProcessorTests.tests)
