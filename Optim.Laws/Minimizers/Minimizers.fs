namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim.Core
open Optim.Kernels

/// How the laws use LBFGS: every field does what its name says. A test replaces one by something defective, to see that a law notices.
[<NoComparison; NoEquality>]
type Minimizer =
    {
        /// The state before the first step.
        Init: LBFGSOptions -> Parameters -> LBFGSState
        /// A step in place.
        Step: LBFGSOptions -> Parameters -> (Parameters -> struct (float * Gradients)) -> LBFGSState -> struct (float * LBFGSState)
        /// A step that touches nothing that it is given: parameters and state after it, and the first loss.
        PureStep:
            LBFGSOptions
                -> Parameters
                -> (Parameters -> struct (float * Gradients))
                -> LBFGSState
                -> struct (Parameters * LBFGSState * float)
        /// The same state in memory of its own.
        Copy: LBFGSState -> LBFGSState
        /// The state as a tree.
        Save: LBFGSState -> Tree
        /// The state from a tree.
        Load: Parameters -> Tree -> LBFGSState
    }

/// A statement about all runs of LBFGS.
[<NoComparison; NoEquality>]
type CurvatureLaw =
    {
        /// Family and number, such as C5.
        Id: string
        /// The law in words.
        Says: string
        /// Whether nothing else may run beside it.
        Alone: bool
        /// Tries it on so many cases, from this seed.
        Try: Minimizer -> int -> uint64 -> Trial
    }

/// A convex function of a few variables, f(x) = x'Ax / 2 - b'x + q sum x^4 / 4, and how it is to be minimized.
type Descent =
    {
        A: float[][]
        B: float[]
        Quartic: float
        Start: float[]
        Options: LBFGSOptions
        DType: DType
        Steps: int
    }

    override d.ToString() =
        sprintf "%d variables of %s, quartic %g, start %A, %A, %d steps" d.Start.Length (d.DType.Name()) d.Quartic d.Start d.Options d.Steps

    /// Value and gradient.
    member d.At(x: float[]) =
        let dot = Array.fold2 (fun sum a b -> sum + a * b) 0.0
        let ax = d.A |> Array.map (fun row -> dot row x)
        let quartic = x |> Array.sumBy (fun x -> x * x * x * x)

        struct (dot x ax / 2.0 - dot d.B x + d.Quartic * quartic / 4.0,
                Array.init x.Length (fun i -> ax[i] - d.B[i] + d.Quartic * x[i] * x[i] * x[i]))

/// Where a run was asked.
type internal Look =
    {
        X: float[]
        Loss: float
        Gradient: float[]
    }

/// Minimizers of the laws.
[<RequireQualifiedAccess>]
module Minimizer =
    /// LBFGS as it is.
    let lbfgs =
        {
            Init = LBFGS.init
            Step = LBFGS.step
            PureStep = LBFGS.pureStep
            Copy = LBFGS.copy
            Save = LBFGS.toTree
            Load = LBFGS.ofTree
        }

/// Running LBFGS in laws.
module internal Descents =
    let searching =
        { LBFGS.defaults with
            LineSearchFn = LineSearch.StrongWolfe
        }

    /// One iteration a step, as long as there is any slope.
    let stepwise options =
        { options with
            MaxIter = 1
            MaxEval = Nullable 100
            ToleranceGrad = 0.0
            ToleranceChange = 0.0
        }

    /// A matrix with eigenvalues from 1 to the condition number, turned by reflections.
    let positive n (condition: float) (random: Random) =
        let a =
            Array.init n (fun i ->
                Array.init n (fun j ->
                    if i <> j then 0.0
                    elif n = 1 then 1.0
                    else condition ** (float i / float (n - 1))))

        for _ in 1..3 do
            let v = Array.init n (fun _ -> random.NextDouble() - 0.5)
            let length = v |> Array.sumBy (fun x -> x * x)

            if length > 1e-6 then
                let reflect (row: float[]) =
                    let along = 2.0 * Array.fold2 (fun sum a b -> sum + a * b) 0.0 row v / length

                    for j in 0 .. n - 1 do
                        row[j] <- row[j] - along * v[j]

                Array.iter reflect a
                let turned = Array.transpose a
                Array.iter reflect turned
                let back = Array.transpose turned

                for i in 0 .. n - 1 do
                    a[i] <- back[i]

        // Symmetric to the last bit.
        Array.init n (fun i -> Array.init n (fun j -> if i <= j then a[i][j] else a[j][i]))

    let descents (quartic: bool) (dtypes: DType list) (sizes: int * int) (options: LBFGSOptions list) =
        gen {
            let! seed = Gen.choose (0, Int32.MaxValue - 1)
            let! n = Gen.choose sizes
            let! dtype = Gen.elements dtypes
            let! options = Gen.elements options
            let! steps = Gen.choose (2, 6)
            let random = Random seed

            let numbers () =
                Array.init n (fun _ -> Number.round dtype (4.0 * random.NextDouble() - 2.0))

            return
                {
                    A = positive n 30.0 random
                    B = numbers ()
                    Quartic = if quartic && random.Next 2 = 0 then 1.0 else 0.0
                    Start = numbers ()
                    Options = options
                    DType = dtype
                    Steps = steps
                }
        }

    let shrink (d: Descent) =
        if d.Steps > 1 then
            Seq.singleton { d with Steps = d.Steps - 1 }
        else
            Seq.empty

    /// The point as two parameters, so that there is something to put together.
    let parameters (d: Descent) =
        let n = d.Start.Length / 2

        Parameters.Of
            [
                Tensor.ofFloats d.DType d.Start[.. n - 1]
                Tensor.ofFloats d.DType d.Start[n..]
            ]

    let where (parameters: Parameters) =
        Array.init parameters.Count (fun k -> parameters[k].ToDoubles()) |> Array.concat

    /// The function as a step asks for it; `seen` is told of every look.
    let asked (d: Descent) (sign: float) (seen: Look -> unit) (parameters: Parameters) =
        let x = where parameters
        let struct (loss, gradient) = d.At x
        let loss, gradient = sign * loss, Array.map (fun g -> sign * g) gradient

        seen
            {
                X = x
                Loss = loss
                Gradient = gradient
            }

        let n = int parameters[0].Count

        struct (loss,
                Gradients.OfDense
                    [
                        Tensor.ofFloats d.DType gradient[.. n - 1]
                        Tensor.ofFloats d.DType gradient[n..]
                    ])

    let law id says alone generator (holds: Minimizer -> Descent -> Verdict) =
        {
            Id = id
            Says = says
            Alone = alone
            Try = fun minimizer cases seed -> Statement.trial id cases seed generator shrink (holds minimizer)
        }

    let dot (a: float[]) (b: float[]) =
        Array.fold2 (fun sum a b -> sum + a * b) 0.0 a b

    let norm a = sqrt (dot a a)
    let both = [ DType.Float32; DType.Float64 ]

    let bits (expected: float[]) (actual: float[]) =
        Comparator.arrays Comparator.bit DType.Float64 expected actual

    let sameTree (expected: Tree) (actual: Tree) =
        expected.Equals actual
        |> Verdict.require (fun () -> sprintf "the state is\n%O\ninstead of\n%O" actual expected)

    /// The run, and the state in which it ends; after each step `each` is told of it.
    let run (m: Minimizer) (d: Descent) sign options (parameters: Parameters) state steps (each: LBFGSState -> unit) =
        let mutable state = state

        for _ in 1..steps do
            let struct (_, next) = m.Step options parameters (asked d sign ignore) state
            state <- next
            each state

        state

    /// So many steps from a state.
    let goOn (m: Minimizer) (d: Descent) parameters state steps =
        run m d 1.0 d.Options parameters state steps ignore

    /// So many steps from the start.
    let begun (m: Minimizer) (d: Descent) parameters steps =
        goOn m d parameters (m.Init d.Options parameters) steps

    let usual =
        [
            { LBFGS.defaults with
                Lr = 0.05
                MaxIter = 4
                HistorySize = 3
            }
            { searching with
                MaxIter = 4
                HistorySize = 3
            }
            { searching with
                MaxIter = 3
                MaxEval = Nullable 2
            }
            { searching with Lr = 20.0 }
        ]
