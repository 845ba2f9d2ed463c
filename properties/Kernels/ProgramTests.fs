/// Recorded programs: the same bits from both engines, at every width, tail and executor, as from the static driver and as from plain arithmetic.
module ProgramTests

open System
open System.Collections.Generic
open System.Runtime.CompilerServices
open Expecto
open FsCheck
open FsCheck.FSharp
open Optim.Kernels
open Optim.Laws
open Kit
open KernelRuns
open Plain
open ProgramReference

/// Runs with an engine.
let withEngine engine (run: unit -> 'a) =
    let before = ProgramEngine.Current

    try
        ProgramEngine.Current <- engine
        run ()
    finally
        ProgramEngine.Current <- before

/// Every engine at every width.
let private settings = List.allPairs widths [ Engine.Emitted; Engine.Blocks ]

let private inSetting (width, engine) run =
    Setting.withWidth width (fun () -> withEngine engine run)

/// Tensors of one dtype in a slice table: for each its parameter, gradient and columns.
type private Memory(dtype: DType, tensors: float[][][]) =
    let views =
        tensors
        |> Array.map (Array.mapi (fun i values -> Tensor.ofFloats (if i < 2 then dtype else dtype.ToStateDType()) values))

    let table = SliceTable()

    do
        table.Reset(views.Length, tensors[0].Length - 2)

        for arrays in views do
            table.Add(arrays[0].Count * nativeint (dtype.Parts()), arrays[0].Address, arrays[1].Address)

            for column in 2 .. arrays.Length - 1 do
                table.SetColumn(column - 2, arrays[column].Address)

    member _.Table = table

    /// A table in which some of the arrays stand for parameters, gradients and a column: for passes of their own.
    member _.Over(parameter: int, gradient: int, column: int) =
        let table = SliceTable()
        table.Reset(views.Length, 1)

        for arrays in views do
            table.Add(arrays[0].Count * nativeint (dtype.Parts()), arrays[parameter].Address, arrays[gradient].Address)
            table.SetColumn(0, arrays[column].Address)

        table

    /// What an array holds, and the way back to it.
    member _.Keep(array: int) =
        let copies = views |> Array.map (fun arrays -> arrays[array].Copy())
        fun () -> Array.iter2 (fun (arrays: TensorView array) copy -> arrays[array].CopyFrom copy) views copies

    member _.Clear(array: int) =
        for arrays in views do
            arrays[array].Clear()

    member _.Count = views.Length

    member _.Read() =
        views |> Array.map (Array.map _.ToDoubles())

let private same (a: float) (b: float) =
    (Double.IsNaN a && Double.IsNaN b)
    || BitConverter.DoubleToInt64Bits a = BitConverter.DoubleToInt64Bits b

/// What differs between arrays of tensors, if anything does.
let private difference (expected: float[][][]) (actual: float[][][]) =
    seq {
        for tensor in 0 .. expected.Length - 1 do
            for array in 0 .. expected[tensor].Length - 1 do
                for i in 0 .. expected[tensor].[array].Length - 1 do
                    let a, b = expected[tensor].[array].[i], actual[tensor].[array].[i]

                    if not (same a b) then
                        sprintf "tensor %d, array %d, element %d: %s instead of %s" tensor array i (text b) (text a)
    }
    |> Seq.tryHead

let private formulas: (string * Driver * int * string list) list =
    [
        "ASGD", Driver<ASGDFormula>.Instance, 2, [ "ax" ]
        "Adadelta", Driver<AdadeltaFormula>.Instance, 2, [ "square_avg"; "acc_delta" ]
        "Adagrad", Driver<AdagradFormula>.Instance, 2, [ "sum" ]
        "Adam", Driver<AdamFormula>.Instance, 5, [ "exp_avg"; "exp_avg_sq"; "max_exp_avg_sq" ]
        "Adamax", Driver<AdamaxFormula>.Instance, 3, [ "exp_avg"; "exp_inf" ]
        "NAdam", Driver<NAdamFormula>.Instance, 4, [ "exp_avg"; "exp_avg_sq" ]
        "RAdam", Driver<RAdamFormula>.Instance, 5, [ "exp_avg"; "exp_avg_sq" ]
        "RMSprop", Driver<RMSpropFormula>.Instance, 5, [ "square_avg"; "momentum_buffer"; "grad_avg" ]
        "Rprop", Driver<RpropFormula>.Instance, 1, [ "prev"; "step_size" ]
        "SGD", Driver<SGDFormula>.Instance, 4, [ "momentum_buffer" ]
        "SparseAdam", Driver<SparseAdamFormula>.Instance, 2, [ "exp_avg"; "exp_avg_sq" ]
        "scale", Driver<ScaleFormula>.Instance, 0, []
        "clamp", Driver<ClampFormula>.Instance, 0, []
        "average", Driver<AverageFormula>.Instance, 1, [ "average" ]
    ]

/// Numbers as they come, and now and then a zero, an infinity or a NaN.
let private values (random: Random) dtype length =
    Array.init length (fun _ ->
        match random.Next 60 with
        | 0 -> nan
        | 1 -> infinity
        | 2 -> -0.0
        | _ -> Palette.ordinary random dtype)

let private memory dtype arrays (lengths: int list) =
    let random = Random 5

    Memory(
        dtype,
        [|
            for length in lengths -> Array.init arrays (fun _ -> values random dtype (length * dtype.Parts()))
        |]
    )

let private formulaTests =
    test "every formula recorded, under all switches, gives the bits of the static driver: dtypes, widths, tails and engines" {
        let mutable cases = 0
        let lengths = [ 0; 1; 5; 16; 33; 70 ]
        let numbers = Array.init 12 (fun i -> float (i + 1) / 14.0)
        let n i = Real numbers[i]

        let coefficients =
            Coefficients<Real>(n 0, n 1, n 2, n 3, n 4, n 5, n 6, n 7, n 8, n 9, n 10, n 11)

        for name, driver, switches, columns in formulas do
            for bits in 0 .. (1 <<< switches) - 1 do
                let program = driver.Record(bits, ResizeArray columns)
                Expect.equal (driver.Record(bits, ResizeArray columns)) program "the same program"
                Expect.equal (driver.Record(bits, ResizeArray columns).GetHashCode()) (program.GetHashCode()) "the same hash"

                for dtype in dtypes @ storedDTypes do
                    let all = memory dtype (2 + columns.Length) lengths

                    driver.Run(all.Table, 0, all.Count, dtype, bits, &coefficients, Executor.Caller)
                    |> ignore

                    let expected = all.Read()

                    // Half types differ from float32 by loads and stores, and complex ones by nothing: they need not run everywhere.
                    for setting in
                        (if List.contains dtype dtypes then
                             settings
                         else
                             List.truncate 2 (List.rev settings)) do
                        let found = memory dtype (2 + columns.Length) lengths

                        inSetting setting (fun () ->
                            let run = ProgramRun program
                            let leaves = run.Leaves |> Array.map (fun leaf -> numbers[int leaf.Name[1..] - 1])

                            run.Run(ReadOnlySpan [| ProgramSegment(found.Table, 0, found.Count, dtype, leaves) |], Executor.Caller)
                            |> ignore)

                        cases <- cases + 1

                        difference expected (found.Read())
                        |> Option.iter (failtestf "%s, switches %d, %s, %O: %s" name bits (dtype.Name()) setting)

        Cases.add "programs" cases
    }

/// What surrounds a step in a test.
type private Surrounded =
    {
        Unscale: float option
        Clip: float option
        Limit: float option
        Zeroes: bool
        Weights: float list
    }

/// The step and what surrounds it as passes of their own, one after the other.
let private apart (driver: Driver) bits (coefficients: Coefficients<Real>) dtype columns (around: Surrounded) (memory: Memory) =
    let pass (driver: Driver) switches (numbers: Coefficients<Real>) (table: SliceTable) =
        driver.Run(table, 0, memory.Count, dtype, switches, &numbers, Executor.Caller)
        |> ignore

    let number (x: float) = Coefficients<Real>(Real x)
    let back = memory.Keep 1
    let gradients = memory.Over(1, 1, 1)

    for factor in List.choose id [ around.Unscale; around.Clip ] do
        pass Driver<ScaleFormula>.Instance 0 (number factor) gradients

    around.Limit
    |> Option.iter (fun limit -> pass Driver<ClampFormula>.Instance 0 (number limit) gradients)

    pass driver bits coefficients memory.Table

    around.Weights
    |> List.iteri (fun index weight ->
        let table = memory.Over(0, 0, 2 + columns + index)

        if weight = 1.0 then
            pass Driver<ScaledFormula>.Instance 0 (number 1.0) table
        else
            pass Driver<AverageFormula>.Instance (AverageFormula.Switches weight) (AverageFormula.Coefficients(Real weight)) table)

    if around.Zeroes then memory.Clear 1 else back ()

let private surroundedTests =
    test "what surrounds a step as a program around a program gives the bits of passes of their own, in every engine" {
        let mutable cases = 0
        let numbers = Array.init 12 (fun i -> float (i + 1) / 14.0)
        let n i = Real numbers[i]

        let coefficients =
            Coefficients<Real>(n 0, n 1, n 2, n 3, n 4, n 5, n 6, n 7, n 8, n 9, n 10, n 11)

        let arounds =
            let none =
                {
                    Unscale = None
                    Clip = None
                    Limit = None
                    Zeroes = false
                    Weights = []
                }

            [
                { none with
                    Unscale = Some(1.0 / 3.0)
                    Clip = Some 0.7
                    Weights = [ 1e-3 ]
                }
                { none with
                    Clip = Some 0.3
                    Limit = Some 0.2
                    Zeroes = true
                    Weights = [ 0.7; 1.0; 0.1 ]
                }
                { none with
                    Unscale = Some 0.1
                    Limit = Some 0.05
                    Zeroes = true
                }
                { none with Unscale = Some 1.0 }
                { none with Weights = [ 1.0 ] }
                { none with Zeroes = true }
            ]

        let lengthsOf name =
            if name = "Adam" then
                [ 9_000; 1; 5; 4_096; 33; 0; 70 ]
            else
                [ 1; 5; 33; 70 ]

        for name, driver, switches, columns in formulas do
            for bits in [ 0; (1 <<< switches) - 1 ] do
                for around in arounds do
                    for dtype in [ DType.Float32; DType.Float64; DType.BFloat16; DType.Float16; DType.Complex64 ] do
                        let fresh () =
                            memory dtype (2 + columns.Length + around.Weights.Length) (lengthsOf name)

                        let expected = fresh ()
                        apart driver bits coefficients dtype columns.Length around expected

                        let mutable surroundings =
                            Surroundings(around.Unscale.IsSome, around.Clip.IsSome, around.Limit.IsSome, around.Zeroes, 0, 0UL)

                        for weight in around.Weights do
                            surroundings <- surroundings.With(Surroundings.MoveOf weight)

                        let surroundings = surroundings

                        let given =
                            [|
                                for number in [ around.Unscale; around.Clip; around.Limit ] do
                                    Option.defaultValue 0.0 number

                                yield! around.Weights
                            |]

                        let program = driver.Surrounded(bits, surroundings)

                        let byProgram (found: Memory) =
                            let run = ProgramRun program

                            let leaves =
                                run.Leaves
                                |> Array.map (fun leaf ->
                                    match Surroundings.PlaceOf leaf.Name with
                                    | -1 -> numbers[Driver.CoefficientOf leaf.Name]
                                    | place -> given[place])

                            run.Run(ReadOnlySpan [| ProgramSegment(found.Table, 0, found.Count, dtype, leaves) |], Executor.Caller)
                            |> ignore

                        let byFormula (found: Memory) =
                            let surrounded = SurroundedFormula driver
                            surrounded.Prepare(bits, &surroundings, dtype)
                            let executor = if name = "Adam" then Executor.Team else Executor.Caller

                            surrounded.Run(found.Table, 0, found.Count, dtype, bits, &coefficients, &surroundings, given, executor)
                            |> ignore

                        for setting, run in
                            [
                                (Width.Bits512, Engine.Emitted), byFormula
                                (Width.Bits128, Engine.Emitted), byFormula
                                (Width.Bits256, Engine.Blocks), byFormula
                                (Width.Bits256, Engine.Blocks), byProgram
                                (Width.Single, Engine.Emitted), byFormula
                            ] do
                            let found = fresh ()
                            inSetting setting (fun () -> run found)
                            cases <- cases + 1

                            difference (expected.Read()) (found.Read())
                            |> Option.iter (failtestf "%s, switches %d, %s, %O, %O: %s" name bits (dtype.Name()) surroundings setting)

        Cases.add "programs" cases
    }

/// The product's expression of a term, and the names of its spreads.
let rec private expressionWith (spreads: List<Term>) term : Expression =
    let e = expressionWith spreads

    match term with
    | Term.Constant x -> Expression.Of x
    | Term.Option i -> Expression.Named(Operation.Option, $"o{i}")
    | Term.Step -> Expression.StepCount
    | Term.Parameter -> Expression.Input "param"
    | Term.Gradient -> Expression.Input "grad"
    | Term.Column i -> Expression.Input $"column{i}"
    | Term.Negative a -> -(e a)
    | Term.Root a -> Expression.Sqrt(e a)
    | Term.Magnitude a -> Expression.Abs(e a)
    | Term.Sign a -> Expression.Sign(e a)
    | Term.Sum(a, b) -> e a + e b
    | Term.Difference(a, b) -> e a - e b
    | Term.Product(a, b) -> e a * e b
    | Term.Quotient(a, b) -> e a / e b
    | Term.Larger(a, b) -> Expression.Max(e a, e b)
    | Term.Smaller(a, b) -> Expression.Min(e a, e b)
    | Term.Fused(a, b, c) -> Expression.Fma(e a, e b, e c)
    | Term.Choice(a, b, yes, no) -> Expression.Select(Condition.Greater(e a, e b), e yes, e no)
    | Term.Total(false, a) -> Expression.Sum(e a)
    | Term.Total(true, a) -> Expression.SumOverAll(e a)
    | Term.Norm(false, a) -> Expression.Norm(e a)
    | Term.Norm(true, a) -> Expression.NormOverAll(e a)
    | Term.Largest(false, a) -> Expression.Largest(e a)
    | Term.Largest(true, a) -> Expression.LargestOverAll(e a)
    | Term.Mean a -> Expression.Mean(e a)
    | Term.Spread(rows, squares, a) ->
        let operand = e a
        let place = spreads.IndexOf term

        let place =
            if place >= 0 then
                place
            else
                spreads.Add term
                spreads.Count - 1

        let operation =
            match rows, squares with
            | true, false -> Operation.SumOfRow
            | true, true -> Operation.SumOfSquaresOfRow
            | false, false -> Operation.SumOfColumn
            | false, true -> Operation.SumOfSquaresOfColumn

        Expression.Spread(operation, $"spread{place}", 1, operand)

let private expression term = expressionWith (List()) term

let private columnCount = 2
let private optionCount = 3

/// A term of elements, and one of any kind.
let rec private ofElements size : Gen<Term> =
    let leaf =
        Gen.elements [ Term.Parameter; Term.Gradient; Term.Column 0; Term.Column 1 ]

    if size <= 0 then
        leaf
    else
        let part = ofElements (size / 2)
        let other = Gen.oneof [ ofElements (size / 2); ofNumbers (size / 2) ]

        Gen.frequency
            [
                2, leaf
                6, binary part other
                2, Gen.map2 (fun a b -> Term.Product(b, a)) part other
                3, unary part
                1, Gen.map3 (fun a b c -> Term.Fused(a, b, c)) part other other
                1,
                Gen.map3
                    (fun rows squares a -> Term.Spread(rows, squares, a))
                    (Gen.elements [ true; false ])
                    (Gen.elements [ true; false ])
                    part
                2, Gen.map4 (fun a b c d -> Term.Choice(a, b, c, d)) other other part other
            ]

and private ofNumbers size : Gen<Term> =
    let leaf =
        Gen.oneof
            [
                Gen.elements [ 0.0; 1.0; -1.0; 2.0; 0.1; 1e-8 ] |> Gen.map Term.Constant
                Gen.choose (0, optionCount - 1) |> Gen.map Term.Option
                Gen.constant Term.Step
            ]

    if size <= 0 then
        leaf
    else
        let part = ofNumbers (size / 2)
        let elements = ofElements (size / 3)
        let overAll = Gen.elements [ true; false ]

        Gen.frequency
            [
                4, leaf
                4, binary part part
                2, unary part
                1, Gen.map2 (fun all e -> Term.Total(all, e)) overAll elements
                1, Gen.map2 (fun all e -> Term.Norm(all, e)) overAll elements
                1, Gen.map2 (fun all e -> Term.Largest(all, e)) overAll elements
                1, Gen.map Term.Mean elements
            ]

and private binary a b =
    gen {
        let! kind =
            Gen.elements
                [
                    Term.Sum
                    Term.Difference
                    Term.Product
                    Term.Quotient
                    Term.Larger
                    Term.Smaller
                ]

        let! a = a
        let! b = b
        return kind (a, b)
    }

and private unary part =
    gen {
        let! kind = Gen.elements [ Term.Negative; Term.Root; Term.Magnitude; Term.Sign ]

        let! part = part
        return kind part
    }

type private Case =
    {
        DType: DType
        /// Of the parameter and the columns; none leaves an array alone.
        Terms: Term option list
        Lengths: int list
        Seed: int
    }

let private cases: Gen<Case> =
    gen {
        let! dtype =
            Gen.elements [ DType.Float32; DType.Float64; DType.BFloat16; DType.Float16 ]

        let term = Gen.choose (1, 16) |> Gen.bind ofElements
        let! parameter = term
        let! columns = Gen.listOfLength columnCount (Gen.optionOf term)

        let! lengths = Gen.elements [ [ 37 ]; [ 1; 0; 16; 70 ]; [ 9_000; 3; 4_096 ] ]

        let! seed = Gen.choose (1, 1_000_000)

        return
            {
                DType = dtype
                Terms = Some parameter :: columns
                Lengths = lengths
                Seed = seed
            }
    }

let private precision dtype =
    let arithmetic = DTypes.ToStateDType dtype

    {
        Round = Number.round arithmetic
        Fma = Number.fma arithmetic
        Stored = fun x -> (Tensor.ofFloats dtype [| x |]).ToDoubles()[0]
    }

let private options = [| 0.9; 3.0; 1e-3 |]

/// Elements before the step that all dtypes hold.
let private start (case: Case) =
    let random = Random case.Seed

    [|
        for length in case.Lengths ->
            Array.init (2 + columnCount) (fun i ->
                let numbers = values random DType.Float32 length

                if i < 2 then
                    numbers |> Array.map (precision case.DType).Stored
                else
                    numbers)
    |]

/// As what kind of matrix a tensor of so many elements is taken.
let private rowsOf length =
    if length % 2 = 0 then 2
    elif length % 3 = 0 then 3
    else length

let private expectedOf (case: Case) =
    let tensors = start case
    let array i = tensors |> Array.map (Array.item i)

    let after =
        step
            (precision case.DType)
            case.Terms
            {
                Parameter = array 0
                Gradient = array 1
                Columns = Array.init columnCount (fun i -> array (2 + i))
                Options = options
                Step = 7.0
                Rows = case.Lengths |> List.map rowsOf |> List.toArray
            }

    [|
        for tensor in 0 .. tensors.Length - 1 ->
            [|
                after[0].[tensor]
                tensors[tensor].[1]
                after[1].[tensor]
                after[2].[tensor]
            |]
    |]

let private programOf (case: Case) =
    let spreads = List()

    let assignments =
        List.zip [ "param"; "column0"; "column1" ] case.Terms
        |> List.choose (fun (name, term) -> term |> Option.map (fun term -> Assignment(name, expressionWith spreads term)))

    let arrays =
        [ "param"; "grad"; "column0"; "column1" ]
        @ [ for place in 0 .. spreads.Count - 1 -> $"spread{place}" ]

    StepProgram(ResizeArray arrays, assignments)

let private leaf (node: Node) =
    if node.Operation = Operation.StepCount then
        7.0
    else
        options[int node.Name[1..]]

/// All slices in one segment, or each in a segment of its own: sums over all tensors are over all of them.
let private runProgram (program: StepProgram) (case: Case) apart executor =
    let spreads = program.Arrays.Length - 2 - columnCount

    let tensors =
        start case
        |> Array.map (fun arrays -> Array.append arrays (Array.init spreads (fun _ -> Array.zeroCreate arrays[0].Length)))

    let memory = Memory(case.DType, tensors)
    let run = ProgramRun program
    let leaves = run.Leaves |> Array.map leaf

    let spread =
        [|
            for length in case.Lengths ->
                let rows = rowsOf length

                SpreadSlice(Collections.Immutable.ImmutableArray.Create(int64 rows, int64 (length / max rows 1)), 0UL)
        |]

    let segments =
        if apart then
            [|
                for slice in 0 .. memory.Count - 1 -> ProgramSegment(memory.Table, slice, 1, case.DType, leaves, spread)
            |]
        else
            [| ProgramSegment(memory.Table, 0, memory.Count, case.DType, leaves, spread) |]

    run.Run(ReadOnlySpan segments, executor) |> ignore
    memory.Read()

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

        Check.One(Config.QuickThrowOnFailure.WithMaxTest 150, Prop.forAll (Arb.fromGen cases) holds)
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
                    let before = GC.GetAllocatedBytesForCurrentThread()
                    step ()
                    Expect.isLessThan (GC.GetAllocatedBytesForCurrentThread() - before) 512L (sprintf "bytes, %O" engine))
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

[<Tests>]
let tests =
    testSequenced
    <| testList
        "programs"
        [
            formulaTests
            surroundedTests
            randomTests
            mutantTests
            cacheTests
            allocationTests
            textTests
            foldTests
            visitTests
        ]
