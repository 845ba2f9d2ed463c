// Long, because every operation on whole tensors is held against plain arrays.
/// Whole tensors as values, against plain arrays.
module WholeTensorTests

open System
open System.Collections.Immutable
open Expecto
open Optim.Core
open Optim.Core.Wholes
open Optim.Kernels
open Optim.Laws
open Kit
open Plain

/// A value of a shape in plain numbers.
type private Plain =
    {
        Shape: int list
        At: int list -> float
    }

let private places shape =
    (shape, [ [] ])
    ||> List.foldBack (fun length places ->
        [
            for at in 0 .. length - 1 do
                for place in places -> at :: place
        ])

let private plain (shape: int list) (values: float[]) =
    let index = places shape |> List.mapi (fun i place -> place, i) |> Map

    {
        Shape = shape
        At = fun place -> values[index[place]]
    }

let private broadcast (a: Plain) (b: Plain) f =
    let shape = List.map2 max a.Shape b.Shape

    let inside (x: Plain) place =
        List.map2 (fun length at -> if length = 1 then 0 else at) x.Shape place

    {
        Shape = shape
        At = fun place -> f (a.At(inside a place)) (b.At(inside b place))
    }

let private numbers (x: Plain) =
    places x.Shape |> List.map x.At |> Array.ofList

/// What becomes of a tensor under a definition that returns it, in some dtype.
let private worked dtype (tensors: (int list * float[]) list) (formula: WholeTensor list -> WholeTensor) : float[] =
    let home = HostWhole()
    home.Executor <- Executor.Team

    let views =
        [
            for shape, values in tensors -> tensor dtype (shape |> List.map int64 |> Array.ofList) values
        ]

    let given =
        [
            for view in views -> home.Given(dtype, view.Shape, view.Address) :> WholeTensor
        ]

    let value = formula given
    let result = TensorView.Zeros(dtype, value.Shape.AsSpan())
    home.Set(home.Given(dtype, value.Shape, result.Address), value)
    home.Finish()
    GC.KeepAlive views
    result.ToDoubles()

let private draw seed count =
    let random = Random(seed: int)
    Array.init count (fun _ -> Math.Round(8.0 * random.NextDouble() - 4.0, 3) + 0.0005)

let private agree what (expected: float[]) (found: float[]) =
    Expect.equal found.Length expected.Length what

    for i in 0 .. expected.Length - 1 do
        if not (abs (found[i] - expected[i]) <= 1e-11 * (1.0 + abs expected[i])) then
            failtestf "%s, element %d: %s, expected %s" what i (text found[i]) (text expected[i])

let private shapes =
    [ [ 3; 5 ]; [ 1; 7 ]; [ 40; 33 ]; [ 2; 3; 4 ]; [ 300; 9 ]; [ 7; 1; 700 ] ]

let private size shape = List.fold (*) 1 shape

let private arithmetic =
    test "whole tensors: arithmetic with broadcasting is that of plain numbers" {
        for shape in shapes do
            for mask in 0 .. (1 <<< shape.Length) - 1 do
                let other =
                    shape |> List.mapi (fun i length -> if mask >>> i &&& 1 = 1 then 1 else length)

                let a, b = draw 1 (size shape), draw 2 (size other)
                let x, y = plain shape a, plain other b

                let expected =
                    broadcast x y (fun a b ->
                        (a + 2.0 * b) * a - sqrt (abs b) / (a * a + 1.0) + max a b - min (exp a) 2.0
                        + float (sign b))

                worked DType.Float64 [ shape, a; other, b ] (function
                    | [ a; b ] ->
                        (a + 2.0 * b) * a - sqrt (abs b) / (a * a + 1.0) + larger a b
                        - WholeTensor.Min(exp a, 2.0)
                        + signs b
                    | _ -> failtest "two")
                |> agree $"%A{shape} and %A{other}" (numbers expected)
    }

let private reductions =
    test "whole tensors: sums, means, norms and largest elements along dimensions are those of plain numbers" {
        for shape in shapes do
            for first in 0 .. shape.Length - 1 do
                for last in first .. shape.Length - 1 do
                    let values = draw 3 (size shape)
                    let x = plain shape values

                    let reduced =
                        shape
                        |> List.mapi (fun i length -> if i >= first && i <= last then 1 else length)

                    let expected fold =
                        {
                            Shape = reduced
                            At =
                                fun place ->
                                    places [ for i in first..last -> shape[i] ]
                                    |> List.map (fun inside ->
                                        x.At(
                                            place
                                            |> List.mapi (fun i at -> if i >= first && i <= last then inside[i - first] else at)
                                        ))
                                    |> fold
                        }
                        |> numbers

                    let what = $"%A{shape} along {first} to {last}"

                    let along formula =
                        worked DType.Float64 [ shape, values ] (List.head >> formula)

                    along (fun x -> x.Sum(first, last))
                    |> agree ("sum of " + what) (expected List.sum)
                    // Of what was not worked out before, and is used again.
                    along (fun x -> let y = 2.0 * x in y.Mean(first, last) + 0.0 * y.Norm(first, last))
                    |> agree ("mean of " + what) (expected (List.average >> (*) 2.0))

                    along (fun x -> (x - 1.0).Norm(first, last))
                    |> agree ("norm of " + what) (expected (List.sumBy (fun x -> (x - 1.0) * (x - 1.0)) >> sqrt))

                    along (fun x -> x.Largest(first, last) - x.Smallest(first, last))
                    |> agree ("range of " + what) (expected (fun all -> List.max all - List.min all))
    }

let private views =
    test "whole tensors: dimensions in another order, other shapes, slices by keys" {
        for shape in shapes do
            let values = draw 4 (size shape)
            let x = plain shape values
            let order = [ shape.Length - 1 .. -1 .. 0 ]

            let turned =
                {
                    Shape = order |> List.map (fun i -> shape[i])
                    At = fun place -> x.At(List.rev place)
                }

            let run tensors formula = worked DType.Float64 tensors formula

            run [ shape, values ] (fun x -> (x.Head.Permuted(Array.ofList order)) * 2.0)
            |> agree "turned" (numbers turned |> Array.map ((*) 2.0))

            run [ shape, values ] (fun x -> (x.Head.Permuted(Array.ofList order)).Reshaped(int64 (size shape)))
            |> agree "turned and laid out" (numbers turned)

            let keys = draw 5 shape[0]

            let places =
                Seq.indexed keys |> Seq.sortByDescending snd |> Seq.map fst |> Array.ofSeq

            let ordered =
                { x with
                    At = fun place -> x.At(places[place.Head] :: place.Tail)
                }

            run [ shape, values; [ shape[0] ], keys ] (fun both -> both[0].Ordered(0, both[1]))
            |> agree "ordered" (numbers ordered)
    }

let private multiplied (rows, inner, columns) (a: float[]) (b: float[]) =
    Array.init (rows * columns) (fun at ->
        Seq.sum (seq { for k in 0 .. inner - 1 -> a[at / columns * inner + k] * b[k * columns + at % columns] }))

let private turned rows columns (values: float[]) =
    Array.init values.Length (fun at -> values[at % rows * columns + at / rows])

let private products =
    test "whole tensors: products of matrices, also of transposed ones" {
        for m, k, n in [ 1, 1, 1; 3, 5, 2; 40, 7, 33; 2, 300, 2 ] do
            let a, b, c = draw 6 (m * k), draw 7 (k * n), draw 8 (m * n)
            let expected = multiplied (m, k, n) a b

            worked DType.Float64 [ [ m; k ], a; [ k; n ], b ] (fun x -> x[0] @. x[1])
            |> agree $"{m} x {k} x {n}" expected

            worked DType.Float64 [ [ m; k ], a; [ n; k ], turned k n b ] (fun x -> x[0] @. transposed x[1])
            |> agree "right transposed" expected

            worked DType.Float64 [ [ k; m ], turned m k a; [ k; n ], b ] (fun x -> transposed x[0] @. x[1])
            |> agree "left transposed" expected

            worked DType.Float64 [ [ m; k ], a; [ k; n ], b; [ m; n ], c ] (fun x -> WholeTensor.Product(2.0 * x[0], x[1], 0.5, x[2], 3.0))
            |> agree "with another" (Array.map2 (fun x c -> x + 3.0 * c) expected c)

            worked DType.Float64 [ [ m; k ], a ] (fun x -> x[0] @. transposed x[0])
            |> agree "square" (multiplied (m, k, m) a (turned m k a))
    }

let private decompositions =
    test "whole tensors: eigenvectors and orthonormal columns are what they are called, in whatever number of threads" {
        for n in [ 1; 2; 3; 7; 40; 130 ] do
            let root = draw 9 (n * n)
            // Of full rank, and of half of it.
            for rank in [ n; (n + 1) / 2 ] do
                let half = root[.. n * rank - 1]
                let square = multiplied (n, rank, n) half (turned n rank half)
                let scale = Array.max square

                let vectors =
                    worked DType.Float64 [ [ n; n ], square ] (fun x -> let struct (_, vectors) = x.Head.Eigenvectors() in vectors)

                let values =
                    worked DType.Float64 [ [ n; n ], square ] (fun x -> let struct (values, _) = x.Head.Eigenvectors() in values)

                let image = multiplied (n, n, n) square vectors

                for at in 0 .. n * n - 1 do
                    if not (abs (image[at] - vectors[at] * values[at % n]) <= 1e-12 * scale) then
                        failtestf "%d of rank %d: A v is not l v at %d" n rank at

                for i in 1 .. n - 1 do
                    Expect.isLessThanOrEqual values[i] values[i - 1] "they fall"

                let one = Array.init (n * n) (fun at -> if at / n = at % n then 1.0 else 0.0)
                multiplied (n, n, n) (turned n n vectors) vectors |> agree "orthonormal" one

                let alone =
                    Setting.withThreads 1 (fun () ->
                        worked DType.Float64 [ [ n; n ], square ] (fun x -> let struct (_, vectors) = x.Head.Eigenvectors() in vectors))

                Expect.equal alone vectors "bits"

            for columns in [ n; (n + 2) / 3 ] do
                let tall = root[.. n * columns - 1]

                let q =
                    worked DType.Float64 [ [ n; columns ], tall ] (fun x -> x.Head.Orthonormal())

                let one =
                    Array.init (columns * columns) (fun at -> if at / columns = at % columns then 1.0 else 0.0)

                multiplied (columns, n, columns) (turned n columns q) q
                |> agree "orthonormal columns" one
                // Q Q' A = A: the columns are in its span.
                let inside = multiplied (columns, n, columns) (turned n columns q) tall
                multiplied (n, columns, columns) q inside |> agree "the same span" tall

        let broken =
            worked DType.Float64 [ [ 2; 2 ], [| 1.0; nan; nan; 1.0 |] ] (fun x ->
                let struct (_, vectors) = x.Head.Eigenvectors() in vectors)

        Expect.all broken Double.IsNaN "not a number"
    }

let private orthogonal =
    test "whole tensors: Newton and Schulz's iteration makes singular values alike, wide or tall" {
        for rows, columns in [ 6, 4; 4, 6; 20, 20 ] do
            let values = draw 10 (rows * columns)
            let coefficients = [| for _ in 1..12 -> struct (1.5, -0.5, 0.0) |]

            let found =
                worked DType.Float64 [ [ rows; columns ], values ] (fun x ->
                    x.Head.Orthogonalized(ReadOnlySpan coefficients, DType.Float64, Func<_, _>(atLeast 1e-7)))

            // The iteration with these coefficients rises to 1 from below: X X' is the identity but for what is not there yet.
            let few = min rows columns

            let product =
                if rows > columns then
                    multiplied (columns, rows, columns) (turned rows columns found) found
                else
                    multiplied (rows, columns, rows) found (turned rows columns found)

            for at in 0 .. few * few - 1 do
                Expect.isLessThan (abs (product[at] - (if at / few = at % few then 1.0 else 0.0))) 0.2 $"{rows} x {columns}"
    }

/// A rule that exchanges columns and reads what it writes in another order.
let private tangled =
    Rule.defineWhole "tangled" (fun r ->
        let a, b = r.Column "a", r.Column "b"
        r.Set("a", b + r.Gradient)
        r.Set("b", a)

        if r.Rank = 2 && r.Shape[0] = r.Shape[1] then
            transposed r.Parameter + 2.0 * a
        else
            r.Parameter + 2.0 * a)

let private tangles =
    test "whole tensors: everything is of before the step, also what is read in another order than it is written" {
        let n = 70
        let start, gradient = draw 11 (n * n), draw 12 (n * n)
        let p = Parameters.Of [ tensor DType.Float64 [| int64 n; int64 n |] start ]
        let g = Gradients.OfDense [ tensor DType.Float64 [| int64 n; int64 n |] gradient ]
        let mutable state = tangled.Init(tangled.Defaults, p)
        let mutable x, a, b = start, Array.zeroCreate (n * n), Array.zeroCreate (n * n)

        for _ in 1..4 do
            state <- tangled.Step(tangled.Defaults, p, g, state)
            let moved = Array.map2 (fun x a -> x + 2.0 * a) (turned n n x) a
            let next = Array.map2 (+) b gradient
            b <- a
            a <- next
            x <- moved

        Expect.equal (p[0].ToDoubles()) x "parameter"
        Expect.equal (state.Columns[0].[0].ToDoubles()) a "a"
        Expect.equal (state.Columns[1].[0].ToDoubles()) b "b"
    }

let private refused =
    test "whole tensors: what is wrong with a definition is refused by name when it is made" {
        let lr (r: WholeDefinition) =
            r.Number("lr", 0.1, Interval.atLeast 0.0)

        for words, definition in
            [
                "column 'm' is declared and never set", (fun (r: WholeDefinition) -> r.Parameter - lr r * r.Column "m")
                "'m' is set, and is no column",
                (fun r ->
                    r.Set("m", r.Gradient)
                    r.Parameter - lr r * r.Gradient)
                "option 'lr' is declared twice", (fun r -> r.Parameter - lr r * lr r * r.Gradient)
                "column 'm' is declared twice", (fun r -> r.Column "m" + r.Column "m")
                "column 'm' is of shape [3], and is set to one of",
                (fun r ->
                    r.Column("m", [ 3L ]) |> ignore
                    r.Set("m", r.Gradient.Constant 1.0 + WholeTensor.Abs(r.Gradient))
                    r.Parameter)
                "the options that it declares depend", (fun r -> if r.Rank = 2 then lr r * r.Parameter else r.Parameter)
                "do not go together",
                (fun r ->
                    if r.Rank = 2 then
                        r.Parameter + r.Parameter.Transposed
                    else
                        r.Parameter)
                "is not a matrix", (fun r -> r.Parameter.Transposed)
            ] do
            refuses<ArgumentException> words [ "wrong"; words ] (fun () -> Rule.defineWhole "wrong" definition |> ignore)
    }

[<Tests>]
let tests =
    testList
        "whole tensors as values"
        [
            arithmetic
            reductions
            views
            products
            decompositions
            orthogonal
            tangles
            refused
        ]
