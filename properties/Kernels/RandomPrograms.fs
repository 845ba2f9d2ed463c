/// Programs at random: terms of any shape, as the product's expressions and in plain arithmetic.
module RandomPrograms

#nowarn "9" "51"

open System
open System.Collections.Generic
open Microsoft.FSharp.NativeInterop
open FsCheck
open FsCheck.FSharp
open Optim.Kernels
open Optim.Laws
open ProgramReference
open ProgramKit

/// The product's expression of a term.
let rec expression term : Expression =
    let e = expression

    match term with
    | Term.Constant x -> Expression.Of x
    | Term.Option i -> Expression.Named(Operation.Option, $"o{i}")
    | Term.Step -> Expression.StepCount
    | Term.Parameter -> Expression.Input "param"
    | Term.Gradient -> Expression.Input "grad"
    | Term.Column i -> Expression.Input $"column{i}"
    | Term.Negative a -> -(e a)
    | Term.Root a -> Expression.Sqrt(e a)
    | Term.Exponential a -> Expression.Exp(e a)
    | Term.Logarithm a -> Expression.Log(e a)
    | Term.CubeRoot a -> Expression.Cbrt(e a)
    | Term.Power(a, option) -> Expression.Pow(e a, e (Term.Option option))
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
        let operation =
            match rows, squares with
            | true, false -> Operation.SumOfRow
            | true, true -> Operation.SumOfSquaresOfRow
            | false, false -> Operation.SumOfColumn
            | false, true -> Operation.SumOfSquaresOfColumn

        Expression.Spread(operation, 1, e a)

let columnCount = 2
let optionCount = 3

/// A term of elements, and one of any kind.
let rec ofElements size : Gen<Term> =
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

and ofNumbers size : Gen<Term> =
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

and binary a b =
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

and unary part =
    gen {
        let! kind =
            Gen.elements
                [
                    Term.Negative
                    Term.Root
                    Term.Exponential
                    Term.Logarithm
                    Term.CubeRoot
                    fun part -> Term.Power(part, 0)
                    Term.Magnitude
                    Term.Sign
                ]

        let! part = part
        return kind part
    }

type Case =
    {
        DType: DType
        /// Of the parameter and the columns; none leaves an array alone.
        Terms: Term option list
        Lengths: int list
        Seed: int
    }

let cases: Gen<Case> =
    gen {
        let! dtype =
            Gen.elements [ DType.Float32; DType.Float64; DType.BFloat16; DType.Float16 ]

        let term = Gen.choose (1, 16) |> Gen.bind ofElements
        let! parameter = term
        let! columns = Gen.listOfLength columnCount (Gen.optionOf term)

        let! lengths =
            Gen.elements [ [ 37 ]; [ 1; 0; 16; 70 ]; [ 9_000; 3; 4_096 ]; [ 8_219 ]; [ 12_321 ] ]

        let! seed = Gen.choose (1, 1_000_000)

        return
            {
                DType = dtype
                Terms = Some parameter :: columns
                Lengths = lengths
                Seed = seed
            }
    }

/// A function of the product's lane of one number: every other lane and engine must have its bits.
let ofLane dtype (doubles: Lane1<float> -> Lane1<float>) (floats: Lane1<float32> -> Lane1<float32>) x =
    if dtype = DType.Float64 then
        let mutable result = x
        Lane1<float>.Store(doubles (Lane1<float>.Of x), NativePtr.toVoidPtr &&result)
        result
    else
        let mutable result = float32 x
        Lane1<float32>.Store(floats (Lane1<float32>.Of x), NativePtr.toVoidPtr &&result)
        float result

/// A power by a number, of a lane.
let power (ofNumber: float -> 'lane) (pow: 'lane * 'lane -> 'lane) exponent value = pow (value, ofNumber exponent)

let precision dtype =
    let arithmetic = DTypes.ToStateDType dtype

    {
        Round = Number.round arithmetic
        Fma = Number.fma arithmetic
        Exp = ofLane arithmetic Lane1<float>.Exp Lane1<float32>.Exp
        Log = ofLane arithmetic Lane1<float>.Log Lane1<float32>.Log
        Cbrt = ofLane arithmetic Lane1<float>.Cbrt Lane1<float32>.Cbrt
        Pow = fun x y -> ofLane arithmetic (power Lane1<float>.Of Lane1<float>.Pow y) (power Lane1<float32>.Of Lane1<float32>.Pow y) x
        Stored = fun x -> (Tensor.ofFloats dtype [| x |]).ToDoubles()[0]
    }

let options = [| 0.9; 3.0; 1e-3 |]

/// Elements before the step that all dtypes hold.
let start (case: Case) =
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
    elif length = 12_321 then 111
    elif length % 3 = 0 then 3
    else length

let expectedOf (case: Case) =
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

let programOf (case: Case) =
    let assignments =
        List.zip [ "param"; "column0"; "column1" ] case.Terms
        |> List.choose (fun (name, term) -> term |> Option.map (fun term -> Assignment(name, expression term)))

    StepProgram(ResizeArray [ "param"; "grad"; "column0"; "column1" ], assignments)

let leaf (node: Node) =
    if node.Operation = Operation.StepCount then
        7.0
    else
        options[int node.Name[1..]]

/// All slices in one segment, or each in a segment of its own: sums over all tensors are over all of them.
let runProgram (program: StepProgram) (case: Case) apart executor =
    let memory = Memory(case.DType, start case)
    let run = ProgramRun program
    let leaves = run.Leaves |> Array.map leaf

    let spread =
        [|
            for slice, length in Seq.indexed case.Lengths ->
                let rows = rowsOf length

                SpreadSlice(Collections.Immutable.ImmutableArray.Create(int64 rows, int64 (length / max rows 1)), 0UL, slice)
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
