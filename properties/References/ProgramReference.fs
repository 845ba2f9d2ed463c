/// Programs once more: every operation on one number at a time, rounded where the arithmetic rounds, and sums by the fixed tree.
/// Nothing here knows the product: it is the judge.
module ProgramReference

open System

/// The arithmetic of elements, and what a store to the parameter leaves of one.
type Precision =
    {
        Round: float -> float
        Fma: float -> float -> float -> float
        /// Functions that are not rounded once: the judge is told of which bits they are.
        Exp: float -> float
        Log: float -> float
        Cbrt: float -> float
        Pow: float -> float -> float
        Stored: float -> float
    }

/// A value of a definition. Reductions are over a tensor, or over all where they say so.
[<RequireQualifiedAccess>]
type Term =
    | Constant of float
    | Option of int
    | Step
    | Parameter
    | Gradient
    | Column of int
    | Negative of Term
    | Root of Term
    | Exponential of Term
    | Logarithm of Term
    | CubeRoot of Term
    /// To the power of an option.
    | Power of Term * int
    | Magnitude of Term
    | Sign of Term
    | Sum of Term * Term
    | Difference of Term * Term
    | Product of Term * Term
    | Quotient of Term * Term
    | Larger of Term * Term
    | Smaller of Term * Term
    | Fused of Term * Term * Term
    /// The third where the first is larger than the second, the fourth elsewhere.
    | Choice of Term * Term * Term * Term
    | Total of overAll: bool * Term
    | Norm of overAll: bool * Term
    | Largest of overAll: bool * Term
    | Mean of Term
    /// For each element the sum, or the sum of squares, of its row, or of its column.
    | Spread of rows: bool * squares: bool * Term

/// A value of the step, one for each tensor, or one for each element of each tensor.
type private Value =
    | Once of float
    | PerTensor of float[]
    | Each of float[][]

/// Blocks of 4096 elements, 32 running results in each, halves joined, then neighbouring blocks.
let private tree start take join (elements: float[]) =
    let block (elements: float[]) =
        let results = Array.create 32 start
        elements |> Array.iteri (fun i x -> results[i % 32] <- take results[i % 32] x)

        for half in [ 16; 8; 4; 2; 1 ] do
            for i in 0 .. half - 1 do
                results[i] <- join results[i] results[i + half]

        results[0]

    let rec pairs (values: float[]) =
        match values with
        | [||] -> start
        | [| one |] -> one
        | _ ->
            values
            |> Array.chunkBySize 2
            |> Array.map (fun pair -> if pair.Length = 2 then join pair[0] pair[1] else pair[0])
            |> pairs

    elements |> Array.chunkBySize 4096 |> Array.map block |> pairs

let private larger (a: float) (b: float) =
    if a > b || Double.IsNaN a then a else b

let private smaller (a: float) (b: float) =
    if b > a || Double.IsNaN a then a else b

let private total = tree 0.0 (+) (+)
let private squares = tree 0.0 (fun sum x -> Math.FusedMultiplyAdd(x, x, sum)) (+)
let private largest = tree 0.0 (fun most x -> larger most (abs x)) larger

/// What is there before a step: for each tensor its elements.
type Before =
    {
        Parameter: float[][]
        Gradient: float[][]
        Columns: float[][][]
        Options: float[]
        Step: float
        /// The lengths of the tensors' first dimensions.
        Rows: int[]
    }

let private eval precision before (term: Term) =
    let known = Collections.Generic.Dictionary<Term, Value>(HashIdentity.Structural)
    let tensors = before.Parameter.Length

    let at round value tensor index =
        match value with
        | Once x -> round x
        | PerTensor xs -> round xs[tensor]
        | Each xs -> xs[tensor].[index]

    let lengthOf tensor = before.Parameter[tensor].Length

    /// An operation in double, unless an operand is of elements: then its result is rounded, and numbers are before it.
    let combine (inDouble: float[] -> float) (inElements: float[] -> float) (values: Value list) =
        let values = List.toArray values

        if values |> Array.exists (fun value -> value.IsEach) then
            Each
                [|
                    for tensor in 0 .. tensors - 1 ->
                        [|
                            for index in 0 .. lengthOf tensor - 1 ->
                                values
                                |> Array.map (fun value -> at precision.Round value tensor index)
                                |> inElements
                        |]
                |]
        elif values |> Array.exists (fun value -> value.IsPerTensor) then
            PerTensor
                [|
                    for tensor in 0 .. tensors - 1 -> values |> Array.map (fun value -> at id value tensor 0) |> inDouble
                |]
        else
            Once(values |> Array.map (fun value -> at id value 0 0) |> inDouble)

    let rec value term =
        match known.TryGetValue term with
        | true, found -> found
        | _ ->
            let found = make term
            known[term] <- found
            found

    and operation operands f =
        combine f (f >> precision.Round) (List.map value operands)

    and reduce overAll reduction join operand =
        match value operand with
        | Each elements ->
            let each = Array.map reduction elements

            if overAll then
                Once(Array.fold join 0.0 each)
            else
                PerTensor each
        | _ -> failwith "a reduction is of elements"

    /// Sums in double, rounded once. A row's: of its parts in the blocks of 4096 elements of the tensor, one after the other. A column's: of bands of so
    /// many blocks, a power of two, that there are at least 32 rows in each, where elements take turns at as many sums as whole rows have elements, at
    /// least 32; the bands' sums are joined in pairs, and then those of one column. A single column is a tensor's sum.
    and spread (rows: bool) (squared: bool) (elements: float[][]) : Value =
        let add sum x =
            if squared then
                Math.FusedMultiplyAdd(x, x, sum)
            else
                sum + x

        let ofRow width (values: float[]) row =
            [ row * width .. (row + 1) * width - 1 ]
            |> List.groupBy (fun i -> i / 4096)
            |> List.map (fun (_, places) ->
                let part = [| for i in places -> values[i] |]
                if squared then squares part else total part)
            |> List.reduce (+)

        let ofColumns width (values: float[]) =
            let sums = width * max 1 ((31 + width) / width)
            let mutable band = 4096

            while band < 32 * width do
                band <- band * 2

            let ofBand first =
                let running = Array.zeroCreate sums

                for i in first .. min (first + band) values.Length - 1 do
                    running[i % sums] <- add running[i % sums] values[i]

                running

            let rec joined (bands: float[] list) =
                match bands with
                | [ only ] -> only
                | _ ->
                    bands
                    |> List.chunkBySize 2
                    |> List.map (fun pair -> List.reduce (Array.map2 (+)) pair)
                    |> joined

            let all = joined [ for first in 0..band .. values.Length - 1 -> ofBand first ]
            Array.init width (fun column -> Array.reduce (+) [| for i in column..width .. sums - 1 -> all[i] |])

        Each
            [|
                for tensor, values in Array.indexed elements ->
                    let height = before.Rows[tensor]
                    let width = values.Length / max height 1

                    let sums =
                        if values.Length = 0 then
                            [||]
                        elif not rows && width = 1 then
                            [| (if squared then squares values else total values) |]
                        elif rows then
                            Array.init height (ofRow width values)
                        else
                            ofColumns width values

                    values
                    |> Array.mapi (fun i _ -> precision.Round sums[if rows then i / width else i % width])
            |]

    and root value =
        match value with
        | Once x -> Once(sqrt x)
        | PerTensor xs -> PerTensor(Array.map sqrt xs)
        | Each _ -> failwith "a norm is one number"

    and make term =
        match term with
        | Term.Constant x -> Once x
        | Term.Option i -> Once before.Options[i]
        | Term.Step -> Once before.Step
        | Term.Parameter -> Each before.Parameter
        | Term.Gradient -> Each before.Gradient
        | Term.Column i -> Each before.Columns[i]
        | Term.Negative a -> operation [ a ] (fun v -> -v[0])
        | Term.Root a -> operation [ a ] (fun v -> sqrt v[0])
        | Term.Exponential a -> combine (fun v -> exp v[0]) (fun v -> precision.Exp v[0]) [ value a ]
        | Term.Logarithm a -> combine (fun v -> log v[0]) (fun v -> precision.Log v[0]) [ value a ]
        | Term.CubeRoot a -> combine (fun v -> Math.Cbrt v[0]) (fun v -> precision.Cbrt v[0]) [ value a ]
        | Term.Power(a, option) ->
            combine (fun v -> Math.Pow(v[0], v[1])) (fun v -> precision.Pow v[0] v[1]) [ value a; Once before.Options[option] ]
        | Term.Magnitude a -> operation [ a ] (fun v -> abs v[0])
        | Term.Sign a ->
            operation [ a ] (fun v ->
                if v[0] > 0.0 then 1.0
                elif v[0] < 0.0 then -1.0
                else 0.0)
        | Term.Sum(a, b) -> operation [ a; b ] (fun v -> v[0] + v[1])
        | Term.Difference(a, b) -> operation [ a; b ] (fun v -> v[0] - v[1])
        | Term.Product(a, b) -> operation [ a; b ] (fun v -> v[0] * v[1])
        | Term.Quotient(a, b) -> operation [ a; b ] (fun v -> v[0] / v[1])
        | Term.Larger(a, b) -> operation [ a; b ] (fun v -> larger v[0] v[1])
        | Term.Smaller(a, b) -> operation [ a; b ] (fun v -> smaller v[0] v[1])
        | Term.Fused(a, b, c) ->
            combine (fun v -> Math.FusedMultiplyAdd(v[0], v[1], v[2])) (fun v -> precision.Fma v[0] v[1] v[2]) (List.map value [ a; b; c ])
        | Term.Choice(a, b, yes, no) -> choice (value a) (value b) (value yes) (value no)
        | Term.Total(overAll, a) -> reduce overAll total (+) a
        | Term.Norm(overAll, a) -> reduce overAll squares (+) a |> root
        | Term.Largest(overAll, a) -> reduce overAll largest larger a
        | Term.Spread(rows, squared, a) ->
            match value a with
            | Each elements -> spread rows squared elements
            | _ -> failwith "a sum of rows is of elements"
        | Term.Mean a ->
            match reduce false total (+) a with
            | PerTensor totals -> PerTensor(totals |> Array.mapi (fun tensor x -> x / float (lengthOf tensor)))
            | _ -> failwith "a mean is of a tensor"

    // The comparison of numbers is in double, whatever is chosen by it.
    and choice a b yes no =
        let compared =
            combine (fun v -> if v[0] > v[1] then 1.0 else 0.0) (fun v -> if v[0] > v[1] then 1.0 else 0.0) [ a; b ]

        let choose (v: float[]) = if v[0] > 0.0 then v[1] else v[2]
        combine choose choose [ compared; yes; no ]

    value term

/// Parameter and columns after a step; what has no term stays.
let step precision (terms: (Term option) list) (before: Before) =
    let after store (old: float[][]) term =
        match term with
        | None -> old
        | Some term ->
            match eval precision before term with
            | Each elements -> elements |> Array.map (Array.map store)
            | _ -> failwith "an array is of elements"

    match terms with
    | parameter :: columns ->
        after precision.Stored before.Parameter parameter
        :: List.map2 (after id) (List.ofArray before.Columns) columns
    | [] -> []
