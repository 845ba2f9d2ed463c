// Long, because engines, functions, texts and visits of programs are tested by the same kit.
/// Recorded programs: the same bits from both engines, at every width, tail and executor, as from the static driver and as from plain arithmetic.
module ProgramTests

#nowarn "9"

open System
open System.Runtime.CompilerServices
open Microsoft.FSharp.NativeInterop
open Expecto
open FsCheck
open FsCheck.FSharp
open Optim.Kernels
open Optim.Laws
open Kit
open KernelRuns
open Plain
open ProgramReference
open ProgramKit
open RandomPrograms

let private randomTests =
    test "random programs equal plain arithmetic, bit for bit: both engines, all widths, threads and segments" {
        let mutable count = 0

        let holds (case: Case) =
            let expected = expectedOf case
            let program = programOf case

            for width, engine in settings do
                let found =
                    inSetting (width, engine) (fun () ->
                        Setting.withThreads 3 (fun () ->
                            let executor = if case.Seed % 2 = 0 then Executor.Team else Executor.Caller

                            runProgram program case (case.Seed % 3 = 0) executor))

                count <- count + 1

                difference expected found
                |> Option.iter (failtestf "%O, %O, %O\n%O%s" case.DType width engine program)

            true

        let replay =
            Some
                {
                    Rnd = Rnd Statement.seed
                    Size = None
                }

        Check.One(Config.QuickThrowOnFailure.WithMaxTest(150).WithReplay replay, Prop.forAll (Arb.fromGen cases) holds)
        Cases.add "programs" count
    }

/// What an engine could do wrong, as a change of the code that it is given.
let private mutants: (string * (KernelCode -> KernelCode)) list =
    let withNodes change (code: KernelCode) =
        KernelCode(Array.mapi change code.Nodes, code.Stores, code.Reductions, code.Arrays, code.Numbers, code.IsDouble)

    let renamed operation f (code: KernelCode) =
        withNodes (fun _ (node: Node) -> if node.Operation = operation then f code node else node) code

    let swapped (node: Node) =
        Node(node.Operation, node.B, node.A, node.C, node.Value, node.Name)

    [
        "a wrong order of a difference", renamed Operation.Subtract (fun _ node -> swapped node)
        "a wrong order of a quotient", renamed Operation.Divide (fun _ node -> swapped node)
        "a wrong order of a comparison", renamed Operation.Greater (fun _ node -> swapped node)
        "a contracted product",
        renamed Operation.Add (fun code node ->
            match code.Nodes[node.A] with
            | product when product.Operation = Operation.Multiply -> Node(Operation.Fma, product.A, product.B, node.B)
            | _ -> node)
        "a missing store",
        (fun code ->
            KernelCode(
                code.Nodes,
                Array.truncate (code.Stores.Length - 1) code.Stores,
                code.Reductions,
                code.Arrays,
                code.Numbers,
                code.IsDouble
            ))
        "a stale number", renamed Operation.Number (fun _ _ -> Node(Operation.Number, Value = 0L))
        "another array",
        renamed Operation.Load (fun _ node ->
            if node.Value = 3L then
                Node(Operation.Load, Value = 2L)
            else
                node)
    ]

let private mutantTests =
    test "the comparison with plain arithmetic finds what an engine does wrong" {
        let p, g, a, b = Term.Parameter, Term.Gradient, Term.Column 0, Term.Column 1

        let case =
            {
                DType = DType.Float32
                Terms =
                    [
                        Some(Term.Difference(p, Term.Quotient(a, Term.Sum(Term.Product(b, b), g))))
                        Some(Term.Sum(Term.Product(Term.Option 0, a), Term.Product(Term.Option 1, g)))
                        Some(Term.Choice(a, b, p, g))
                    ]
                Lengths = [ 37 ]
                Seed = 3
            }

        let expected = expectedOf case
        let program = programOf case
        let visit = program.VisitsFor(case.DType)[0]

        let numbers =
            visit.Numbers
            |> Array.map (fun place -> leaf program.Nodes[place])
            |> Tensor.ofFloats case.DType

        let agrees mutate setting =
            let memory = Memory(case.DType, start case)

            inSetting setting (fun () ->
                let kernel = ProgramEngine.KernelOf(mutate visit.Code)
                kernel.Run(memory.Table.Entries, nativeint memory.Table.Stride, 0n, 37n, numbers.Address.ToPointer(), false)
                GC.KeepAlive kernel)

            difference expected (memory.Read()) = None

        for setting in settings do
            Expect.isTrue (agrees id setting) "the code itself"

            for name, mutate in mutants do
                Expect.isFalse (agrees mutate setting) name
                Cases.add "mutants of engines" 1
    }

/// A program that no other test has.
let private unique (constant: float) =
    StepProgram(
        ResizeArray [ "param"; "grad" ],
        [
            Assignment("param", expression (Term.Sum(Term.Product(Term.Parameter, Term.Option 0), Term.Constant constant)))
        ]
    )

let private runUnique (program: StepProgram) option =
    let memory = Memory(DType.Float32, [| [| [| 1.0; 2.0 |]; [| 0.0; 0.0 |] |] |])
    let run = ProgramRun program

    run.Run(ReadOnlySpan [| ProgramSegment(memory.Table, 0, 1, DType.Float32, [| option |]) |], Executor.Caller)
    |> ignore

    let found = memory.Read()
    run, found[0].[0]

[<MethodImpl(MethodImplOptions.NoInlining)>]
let private madeAndDropped () =
    let program = unique 12.75
    runUnique program 2.0 |> ignore
    let visits = program.VisitsFor DType.Float32
    WeakReference(ProgramEngine.KernelOf(visits[0].Code))

let private cacheTests =
    test "kernels are made once for a structure, never for a changed number, by any number of threads, and go with their program" {
        let program = unique 11.5
        // Runs keep their kernels.
        let runs = Collections.Concurrent.ConcurrentBag()

        let check program option expected what =
            let run, found = runUnique program option
            runs.Add run
            Expect.equal found expected what

        check program 2.0 [| 13.5; 15.5 |] "the first run"
        let made = ProgramEngine.Made
        check program 3.0 [| 14.5; 17.5 |] "another number"
        check (unique 11.5) 3.0 [| 14.5; 17.5 |] "an equal program"
        Expect.equal ProgramEngine.Made made "kernels made"

        let fresh = unique 11.25

        Threading.Tasks.Parallel.For(0, 16, (fun _ -> check fresh 2.0 [| 13.25; 15.25 |] "on many threads"))
        |> ignore

        Expect.equal ProgramEngine.Made (made + 1) "kernels made by many threads"
        GC.KeepAlive runs
        let dropped = madeAndDropped ()

        for _ in 1..3 do
            GC.Collect()
            GC.WaitForPendingFinalizers()

        Expect.isFalse dropped.IsAlive "a kernel that nobody keeps"
    }

let private allocationTests =
    test "a step of a program allocates nothing that is worth a word, from the second on" {
        for terms in
            [
                [
                    Some(Term.Difference(Term.Parameter, Term.Product(Term.Option 2, Term.Gradient)))
                    None
                    None
                ]
                [
                    Some(Term.Difference(Term.Parameter, Term.Quotient(Term.Gradient, Term.Norm(false, Term.Gradient))))
                    None
                    None
                ]
            ] do
            let case =
                {
                    DType = DType.Float32
                    Terms = terms
                    Lengths = [ 9_000; 3; 16 ]
                    Seed = 1
                }

            for engine in [ Engine.Emitted; Engine.Blocks ] do
                withEngine engine (fun () ->
                    let memory = Memory(case.DType, start case)
                    let run = ProgramRun(programOf case)

                    let segments =
                        [|
                            ProgramSegment(memory.Table, 0, memory.Count, case.DType, run.Leaves |> Array.map leaf)
                        |]

                    let step () =
                        run.Run(ReadOnlySpan segments, Executor.Caller) |> ignore

                    step ()
                    Expect.isLessThan (bytesOf step) 512L (sprintf "bytes, %O" engine))
    }

let private textTests =
    test "programs print as formulas, in which parentheses say how they are worked out" {
        let p, g, a, b = Term.Parameter, Term.Gradient, Term.Column 0, Term.Column 1
        let text term = (expression term).ToString()
        Expect.equal (text (Term.Product(p, Term.Quotient(g, a)))) "param * (grad / column0)" "a product of a quotient"
        Expect.equal (text (Term.Quotient(Term.Product(p, g), a))) "param * grad / column0" "a quotient of a product"
        Expect.equal (text (Term.Difference(p, Term.Difference(g, a)))) "param - (grad - column0)" "a difference"
        Expect.equal (text (Term.Sum(p, Term.Sum(g, a)))) "param + (grad + column0)" "a sum"
        Expect.equal (text (Term.Negative(Term.Sum(p, g)))) "-(param + grad)" "the other sign"
        Expect.equal (text (Term.Choice(p, g, a, b))) "where(param > grad, column0, column1)" "a choice"
        Expect.equal (text (Term.Norm(true, g))) "sqrt(sum_of_squares_over_all(grad))" "a norm"

        let adam =
            Driver<AdamFormula>.Instance.Record(1 <<< AdamFormula.SlowMean, ResizeArray [ "exp_avg"; "exp_avg_sq"; "max_exp_avg_sq" ])

        Expect.equal
            (string adam)
            "v1 = fma(c5, grad - exp_avg, exp_avg)\nv2 = fma(c7 * grad, grad, c6 * exp_avg_sq)\nparam = param - c1 * v1 / fma(sqrt(v2), c2, c3)\nexp_avg = v1\nexp_avg_sq = v2\n"
            "Adam"
    }

let private foldTests =
    test "only what changes no bit is left out of a program" {
        let same term expected =
            Expect.equal (string (expression term)) expected (string expected)

        let p, constant = Term.Parameter, Term.Constant
        same (Term.Product(p, constant 1.0)) "param"
        same (Term.Product(constant 1.0, p)) "param"
        same (Term.Quotient(p, constant 1.0)) "param"
        same (Term.Difference(p, constant 0.0)) "param"
        same (Term.Negative(Term.Negative p)) "param"
        // -0 + 0 is 0, and -0 - -0 is 0; 0 x is NaN for infinite x.
        same (Term.Sum(p, constant 0.0)) "param + 0"
        same (Term.Difference(p, constant -0.0)) "param - (-0)"
        same (Term.Product(p, constant 0.0)) "param * 0"
    }

let private visitTests =
    test "a reduction that others need is a visit before them; state is stored in the first where that moves less memory" {
        let a, b = Term.Column 0, Term.Column 1
        let moved = Term.Sum(Term.Product(Term.Option 0, a), Term.Gradient)

        let case terms =
            {
                DType = DType.Float32
                Terms = terms
                Lengths = [ 37 ]
                Seed = 1
            }

        let visits terms =
            (programOf (case terms)).VisitsFor DType.Float32
            |> Array.map (fun visit -> visit.Code.Bytes, visit.Reductions.Length)
            |> Array.toList

        let byNorm term =
            Term.Difference(Term.Parameter, Term.Quotient(term, Term.Norm(false, term)))

        Expect.equal (visits [ Some(byNorm Term.Gradient); None; None ]) [ 4, 1; 12, 0 ] "a norm of the gradient"
        // Once stored, the moved column stands for the gradient and the old column.
        Expect.equal (visits [ Some(byNorm moved); Some moved; None ]) [ 12, 1; 12, 0 ] "state that is stored early"
        // A column that becomes what needs a norm itself is stored when that is known.
        Expect.equal
            (visits
                [
                    Some(byNorm (Term.Sum(moved, a)))
                    Some(Term.Sum(moved, Term.Norm(false, b)))
                    None
                ])
            [ 12, 2; 20, 0 ]
            "state that needs a norm"
    }

let private totalTests =
    test "what is made of the totals of rows or columns alone is worked out once for each of them" {
        let sum rows term = Term.Spread(rows, true, term)
        let columns, rows = sum false Term.Gradient, sum true (Term.Column 0)

        let works term =
            let program =
                programOf
                    {
                        DType = DType.Float32
                        Terms = [ Some(Term.Product(Term.Parameter, term)); None; None ]
                        Lengths = [ 37 ]
                        Seed = 1
                    }

            let last = Array.last (program.VisitsFor DType.Float32)

            let operations (code: KernelCode) =
                [
                    for node in code.Nodes do
                        if node.A >= 0 then
                            node.Operation
                ]

            operations last.Code,
            [
                for made in last.Made -> made.Work |> Option.ofObj |> Option.map (fun work -> operations work.Visit.Code)
            ]

        let inverse =
            Term.Quotient(Term.Option 0, Term.Larger(Term.Root columns, Term.Constant 1e-12))

        Expect.equal
            (works inverse)
            ([ Operation.Multiply ], [ Some [ Operation.Sqrt; Operation.Max; Operation.Divide ] ])
            "the inverse of a norm"

        Expect.equal
            (works (Term.Quotient(columns, sum false (Term.Column 0))))
            ([ Operation.Multiply ], [ Some [ Operation.Divide ] ])
            "a ratio of columns"

        Expect.equal (works (Term.Quotient(Term.Gradient, Term.Constant 2.0))) ([ Operation.Multiply; Operation.Multiply ], []) "a half"

        Expect.equal
            (works (Term.Root(Term.Sum(columns, rows))))
            ([ Operation.Add; Operation.Sqrt; Operation.Multiply ], [ None; None ])
            "what rows and columns make together"

        Expect.equal
            (works (Term.Choice(Term.Root rows, Term.Constant 1.0, Term.Gradient, Term.Parameter)))
            ([ Operation.Greater; Operation.Select; Operation.Multiply ], [ Some [ Operation.Sqrt ] ])
            "a choice between elements"
    }

/// A function of a lane, of one number in all elements; the first one's result.
let private ofFirst<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IVector<'v>> dtype name exponent x =
    let room = NativePtr.stackalloc<float> 8 |> NativePtr.toVoidPtr
    let value = 'v.Of x

    let result =
        match name with
        | "exp" -> 'v.Exp value
        | "log" -> 'v.Log value
        | "pow" -> 'v.Pow(value, 'v.Of exponent)
        | _ -> 'v.Cbrt value

    'v.Store(result, room)

    if dtype = DType.Float64 then
        NativePtr.read (NativePtr.ofVoidPtr<float> room)
    else
        float (NativePtr.read (NativePtr.ofVoidPtr<float32> room))

let private inVectors dtype name exponent =
    [
        if dtype = DType.Float64 then
            "128 bits", ofFirst<Lane128<float>> dtype name exponent
            "256 bits", ofFirst<Lane256<float>> dtype name exponent
            "512 bits", ofFirst<Lane512<float>> dtype name exponent
        else
            "128 bits", ofFirst<Lane128<float32>> dtype name exponent
            "256 bits", ofFirst<Lane256<float32>> dtype name exponent
            "512 bits", ofFirst<Lane512<float32>> dtype name exponent
    ]

/// The runtime's cube root is the C library's, which may be four units off; a step of Newton's, of which the residual is worked out exactly, mends that.
let private cubeRoot (x: float) =
    let root = Math.Cbrt x

    if root = 0.0 || not (Double.IsFinite root) then
        root
    else
        // Away from subnormal numbers.
        let up = if abs x < 1e-200 then 300 else 0
        let x, root = Math.ScaleB(x, 3 * up), Math.ScaleB(root, up)
        let square = root * root
        let cube = square * root

        let off =
            Math.FusedMultiplyAdd(square, root, -cube)
            + Math.FusedMultiplyAdd(root, root, -square) * root

        Math.ScaleB(root + (x - cube - off) / (3.0 * square), -up)

/// Where functions end, or are exact.
let private specials = [ 0.0; -0.0; 1.0; nan; infinity; -infinity; -1.0 ]

/// The judge of programs takes these functions from the product's own lane of one number; here they are held against the runtime's.
let private functionTests =
    test "exp, log and cbrt are within two units of the last place, right where they end, and the same in vectors" {
        let random = Random 7

        let ends =
            [
                yield! specials
                5e-324
                1e-310
                709.7
                709.8
                -745.0
                -746.0
                88.7
                88.8
                -103.0
                1e-40
                1.0 + 1e-15
                Math.Sqrt 2.0
            ]

        let exponents =
            ends
            @ [
                for _ in 1..20_000 -> (random.NextDouble() - 0.5) * Math.Pow(10.0, 6.0 * random.NextDouble() - 3.0)
            ]

        let positive =
            ends
            @ [
                for _ in 1..20_000 ->
                    Math.Pow(2.0, 2040.0 * (random.NextDouble() - 0.5))
                    * (1.0 + random.NextDouble())
            ]
            @ [ for _ in 1..20_000 -> 1.0 + 0.2 * (random.NextDouble() - 0.5) ]

        for dtype in [ DType.Float64; DType.Float32 ] do
            let rounded = Number.round dtype

            for name, own, exact, arguments in
                [
                    "exp", ofLane dtype Lane1<float>.Exp Lane1<float32>.Exp, Math.Exp, exponents
                    "log", ofLane dtype Lane1<float>.Log Lane1<float32>.Log, Math.Log, positive
                    "cbrt", ofLane dtype Lane1<float>.Cbrt Lane1<float32>.Cbrt, cubeRoot, positive @ List.map (~-) positive
                ] do
                for x in arguments |> List.map rounded do
                    let found, expected = own x, rounded (exact x)

                    for width, wide in inVectors dtype name 0.0 do
                        let other = wide x

                        if not (sameBits [| other |] [| found |]) then
                            failtestf "%s of %.17g in %O is %.17g in %s and %.17g alone" name x dtype other width found

                    if not (Number.ulps dtype found expected <= 2UL) then
                        failtestf "%s of %.17g in %O is %.17g instead of %.17g" name x dtype found expected
    }

let private powerTests =
    test "a power is as exact as the last place of its exponent lets it be, right where it ends, and the same in vectors" {
        let random = Random 11

        let bases =
            [
                yield! specials
                2.0
                4.0
                1e-45
                1e-40
                3e38
                5e-324
                1.0 - 1e-7
                Math.Sqrt 2.0
            ]
            @ [
                for _ in 1..5_000 -> Math.Pow(2.0, 250.0 * (random.NextDouble() - 0.5)) * (1.0 + random.NextDouble())
            ]
            @ [ for _ in 1..5_000 -> 1.0 + 0.2 * (random.NextDouble() - 0.5) ]

        for dtype in [ DType.Float64; DType.Float32 ] do
            let rounded = Number.round dtype

            for exponent in List.map rounded [ 0.24; 0.51; 1.0; 3.7; -0.3; -1.3 ] do
                let own =
                    ofLane dtype (power Lane1<float>.Of Lane1<float>.Pow exponent) (power Lane1<float32>.Of Lane1<float32>.Pow exponent)

                for x in List.map rounded bases do
                    let found = own x
                    let expected = rounded (if x < 0.0 then nan else Math.Pow(x, exponent))

                    for width, wide in inVectors dtype "pow" exponent do
                        let other = wide x

                        if not (sameBits [| other |] [| found |]) then
                            failtestf "%.17g to %g in %O is %.17g in %s and %.17g alone" x exponent dtype other width found

                    let last = abs exponent * (1.0 + abs (Math.Log2 x))

                    let most =
                        if Double.IsFinite last then
                            uint64 (2.0 + (if dtype = DType.Float64 then 4.0 else 2.0) * last)
                        else
                            0UL

                    if not (Number.ulps dtype found expected <= most) then
                        failtestf "%.17g to %g in %O is %.17g instead of %.17g" x exponent dtype found expected
    }

[<Tests>]
let tests =
    testSequenced
    <| testList
        "programs"
        [
            functionTests
            powerTests
            totalTests
            randomTests
            mutantTests
            cacheTests
            allocationTests
            textTests
            foldTests
            visitTests
        ]
