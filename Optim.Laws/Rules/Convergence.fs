namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim.Core
open Optim.Kernels

/// A quadratic of a table of numbers, each column by itself: f(X) = sum of (x - y)'A(x - y) / 2, with eigenvalues of A from 1 to a condition
/// number. It is 0 at its lowest point Y.
[<NoComparison>]
type Bowl =
    {
        A: float[][]
        Condition: float
        Columns: int
        Lowest: float[]
        Start: float[]
        DType: DType
        /// A draw between 0 and 1 beside, for what a law wants to choose.
        Draw: float
    }

    override this.ToString() =
        sprintf
            "%d x %d of %s, condition %g, from %A to %A"
            this.A.Length
            this.Columns
            (this.DType.Name())
            this.Condition
            this.Start
            this.Lowest

    /// Value and gradient.
    member this.At(x: float[]) =
        let away = Array.map2 (-) x this.Lowest
        let columns = this.Columns

        let gradient =
            Array.init x.Length (fun at ->
                let row, column = this.A[at / columns], at % columns
                let mutable sum = 0.0

                for k in 0 .. row.Length - 1 do
                    sum <- sum + row[k] * away[k * columns + column]

                sum)

        struct (Array.fold2 (fun sum a b -> sum + a * b) 0.0 away gradient / 2.0, gradient)

/// In how many steps a rule has a quadratic at a tenth of where it began.
type Budget =
    {
        /// The rule.
        Rule: string
        /// Its options for that.
        Options: (string * OptionValue) list
        /// The most steps.
        Steps: int
        /// The most that were seen, over 20,000 cases.
        Measured: int
    }

/// C1 to C4: how far steps go down. Those of LBFGS are C4 to C8, in Curvature.
[<RequireQualifiedAccess>]
module Convergence =
    open Terms

    let private sum (values: float[]) = values |> Array.sumBy (fun x -> x * x)

    let private length values = sqrt (sum values)

    /// Bowls whose lowest point is 0, or anywhere.
    let private bowls condition (sizes: int * int) (columns: int) (atZero: bool) (dtypes: DType list) =
        gen {
            let! seed = Gen.choose (0, Int32.MaxValue - 1)
            let! n = Gen.choose sizes
            let! columns = Gen.choose (1, columns)
            let! dtype = Gen.elements dtypes
            let! draw = Gen.choose (1, 999)
            let random = Random seed

            let lowest =
                Array.init (n * columns) (fun _ -> if atZero then 0.0 else 4.0 * random.NextDouble() - 2.0)

            // Not beside it: steps of a given length have somewhere to go.
            let away _ =
                Math.CopySign(0.5 + 1.5 * random.NextDouble(), random.NextDouble() - 0.5)

            return
                {
                    A = Descents.positive n condition random
                    Condition = condition
                    Columns = columns
                    Lowest = lowest
                    Start = lowest |> Array.map (fun x -> Number.round dtype (x + away x))
                    DType = dtype
                    Draw = float draw / 1000.0
                }
        }

    /// Every place of a run under these options, the start first; sparse gradients have every row.
    let internal pathUnder (options: IOptimizerOptions) (subject: Subject) (bowl: Bowl) : float[] seq =
        seq {
            let subject = Subject.overDense subject
            let shape = [| bowl.A.LongLength; int64 bowl.Columns |]
            let parameters = Parameters.Of [ Tensor.shaped shape bowl.DType bowl.Start ]
            let mutable state = subject.Init options parameters
            let mutable place = bowl.Start
            place

            while true do
                let struct (_, gradient) = bowl.At place
                let gradient = Gradient.OfDense(Tensor.shaped shape bowl.DType gradient)
                state <- subject.Step options parameters (Gradients.Of [ gradient ]) state
                place <- parameters[0].ToDoubles()
                place
        }

    /// Every place of a run with these values of options.
    let internal path (subject: Subject) (options: (string * OptionValue) list) (bowl: Bowl) =
        pathUnder (Options.set options subject.Rule subject.Rule.Defaults) subject bowl

    /// Smaller bowls: one column, fewer rows, round ones, with their lowest point at 0.
    let internal shrink (bowl: Bowl) : Bowl seq =
        let truncate rows columns =
            let pick (values: float[]) =
                [|
                    for row in 0 .. rows - 1 do
                        yield! Array.sub values (row * bowl.Columns) columns
                |]

            { bowl with
                A = Array.truncate rows bowl.A |> Array.map (Array.truncate rows)
                Columns = columns
                Lowest = pick bowl.Lowest
                Start = pick bowl.Start
            }

        let rows = bowl.A.Length

        seq {
            if bowl.Columns > 1 then
                truncate rows 1

            if rows > 1 then
                truncate (rows / 2) bowl.Columns
                truncate (rows - 1) bowl.Columns

            let round =
                Array.init rows (fun i -> Array.init rows (fun j -> if i = j then 1.0 else 0.0))

            if bowl.A <> round then
                { bowl with A = round; Condition = 1.0 }

            if bowl.Lowest |> Array.exists (fun x -> x <> 0.0) then
                { bowl with
                    Lowest = Array.zeroCreate bowl.Lowest.Length
                    Start = Array.map2 (fun x low -> Number.round bowl.DType (x - low)) bowl.Start bowl.Lowest
                }

            if bowl.Start |> Array.exists (fun x -> x <> 1.0) then
                { bowl with
                    Start = Array.replicate bowl.Start.Length 1.0
                }
        }

    let private statement id says rules generator holds =
        Statement.forAll id says rules (fun _ -> generator) (fun _ -> shrink) holds

    let private wide = [ DType.Float64 ]

    /// C1: the descent lemma.
    let descent =
        statement
            "C1"
            "a step of gradient descent with lr < 2 / L goes down by lr (1 - lr L / 2) |g|^2 at least"
            (named [ "SGD" ])
            (bowls 30.0 (2, 12) 1 false wide)
            (fun subject bowl ->
                let lr = 2.0 / bowl.Condition * bowl.Draw

                path subject [ "lr", Options.ofNumber lr ] bowl
                |> Seq.truncate 20
                |> Seq.pairwise
                |> Seq.map (fun (before, after) ->
                    let struct (high, gradient) = bowl.At before
                    let struct (low, _) = bowl.At after
                    let most = high - lr * (1.0 - lr * bowl.Condition / 2.0) * sum gradient

                    low <= most + 1e-12 * max 1.0 high
                    |> Verdict.require (fun () -> sprintf "with lr %g from %g to %g, and not to %g" lr high low most))
                |> Verdict.all)

    /// C2: how gradient descent contracts.
    let contraction =
        statement
            "C2"
            "gradient descent with lr = 1 / L comes nearer by 1 - m / L in each step at least"
            (named [ "SGD" ])
            (bowls 20.0 (2, 12) 1 true wide)
            (fun subject bowl ->
                let factor = 1.0 - 1.0 / bowl.Condition
                let first = length bowl.Start

                path subject [ "lr", Options.ofNumber (1.0 / bowl.Condition) ] bowl
                |> Seq.truncate 100
                |> Seq.mapi (fun t place ->
                    let most = Math.Pow(factor, float t) * first

                    length place <= most * (1.0 + 1e-10)
                    |> Verdict.require (fun () -> sprintf "after %d steps %g away, and not %g" t (length place) most))
                |> Verdict.all)

    /// C3: the heavy ball.
    let heavyBall =
        statement
            "C3"
            "the heavy ball with lr = 4 / (sqrt L + sqrt m)^2 comes nearer by (sqrt k - 1) / (sqrt k + 1) in a step, in the long run"
            (named [ "SGD" ])
            (bowls 100.0 (2, 12) 1 true wide)
            (fun subject bowl ->
                let root = sqrt bowl.Condition
                let factor = (root - 1.0) / (root + 1.0)

                let options =
                    [
                        "lr", Options.ofNumber (4.0 / ((root + 1.0) * (root + 1.0)))
                        "momentum", Options.ofNumber (factor * factor)
                    ]

                let window = 100

                let farthest =
                    path subject options bowl
                    |> Seq.truncate (3 * window)
                    |> Seq.chunkBySize window
                    |> Seq.map (Array.map length >> Array.max)
                    |> Array.ofSeq

                let measured = Math.Pow(farthest[2] / farthest[1], 1.0 / float window)

                measured <= 1.05 * factor
                |> Verdict.require (fun () -> sprintf "%g in a step, and not %g" measured factor))

    /// The budgets of C4.
    let budgets: Budget list =
        let number name value = name, Options.ofNumber value
        let lr = number "lr"

        [
            "Adadelta", [ lr 1.0; number "eps" 1e-4 ], 110, 71
            "Adafactor", [ lr 0.1; "eps", Options.ofPair (1e-8, 1.0) ], 35, 22
            "Adagrad", [ lr 1.0 ], 20, 12
            "Adam", [ lr 0.1 ], 40, 24
            "Adamax", [ lr 0.1 ], 60, 39
            "AdamW", [ lr 0.1 ], 40, 24
            "ASGD", [ lr 0.1 ], 20, 11
            "Lion", [ lr 0.05 ], 90, 58
            "Muon", [ lr 0.1 ], 100, 63
            "NAdam", [ lr 0.1 ], 40, 26
            "RAdam", [ lr 0.1 ], 90, 61
            "RMSprop", [ lr 0.05 ], 20, 12
            "Rprop", [ lr 0.1 ], 30, 19
            "SGD", [ lr 0.1 ], 20, 11
            "SparseAdam", [ lr 0.1 ], 40, 24
        ]
        |> List.map (fun (rule, options, steps, measured) ->
            {
                Rule = rule
                Options = options
                Steps = steps
                Measured = measured
            })

    /// In how many steps a quadratic is at a tenth of where it began, at most so many.
    let stepsToATenth (subject: Subject) (options: (string * OptionValue) list) (most: int) (bowl: Bowl) =
        let value place =
            let struct (value, _) = bowl.At place
            value

        let first = value bowl.Start

        path subject options bowl
        |> Seq.truncate (most + 1)
        |> Seq.tryFindIndex (fun place -> value place <= 0.1 * first)

    /// What C4 is tried on.
    let smooth: FsCheck.Gen<Bowl> =
        bowls 10.0 (2, 8) 4 false [ DType.Float32; DType.Float64 ]

    /// C4: every rule minimizes. Alone it shows little: a rule with its two coefficients exchanged passes.
    let tenth =
        statement
            "C4"
            "a convex quadratic is at a tenth of where it began within the budget of the rule"
            (fun rule -> budgets |> List.exists (fun budget -> budget.Rule = rule.Name))
            smooth
            (fun subject bowl ->
                let budget = budgets |> List.find (fun budget -> budget.Rule = subject.Rule.Name)

                (stepsToATenth subject (noDecay @ budget.Options) budget.Steps bowl).IsSome
                |> Verdict.require (fun () -> sprintf "not within %d steps" budget.Steps))

    /// The laws of this family.
    let all = [ descent; contraction; heavyBall; tenth ]
