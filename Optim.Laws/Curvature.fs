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
        Step:
            LBFGSOptions
                -> Parameters
                -> (Parameters -> struct (float * Gradients))
                -> LBFGSState
                -> struct (float * LBFGSState)
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
        sprintf
            "%d variables of %s, quartic %g, start %A, %A, %d steps"
            d.Start.Length
            (d.DType.Name())
            d.Quartic
            d.Start
            d.Options
            d.Steps

    /// Value and gradient.
    member d.At(x: float[]) =
        let dot = Array.fold2 (fun sum a b -> sum + a * b) 0.0
        let ax = d.A |> Array.map (fun row -> dot row x)
        let quartic = x |> Array.sumBy (fun x -> x * x * x * x)

        struct (dot x ax / 2.0 - dot d.B x + d.Quartic * quartic / 4.0,
                Array.init x.Length (fun i -> ax[i] - d.B[i] + d.Quartic * x[i] * x[i] * x[i]))

/// Where a run was asked.
type private Look =
    {
        X: float[]
        Loss: float
        Gradient: float[]
    }

/// C5 to C8, and the laws of other families for LBFGS.
[<RequireQualifiedAccess>]
module Curvature =
    /// LBFGS as it is.
    let lbfgs =
        {
            Init = LBFGS.init
            Step = LBFGS.step
            Save = LBFGS.toTree
            Load = LBFGS.ofTree
        }

    let private searching =
        { LBFGS.defaults with
            LineSearchFn = LineSearch.StrongWolfe
        }

    /// One iteration a step, as long as there is any slope.
    let private stepwise options =
        { options with
            MaxIter = 1
            MaxEval = Nullable 100
            ToleranceGrad = 0.0
            ToleranceChange = 0.0
        }

    /// A matrix with eigenvalues from 1 to the condition number, turned by reflections.
    let private positive n (condition: float) (random: Random) =
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

    let private descents (quartic: bool) (dtypes: DType list) (sizes: int * int) (options: LBFGSOptions list) =
        gen {
            let! seed = Gen.choose (0, Int32.MaxValue - 1)
            let! n = Gen.choose sizes
            let! dtype = Gen.elements dtypes
            let! options = Gen.elements options
            let! steps = Gen.choose (2, 6)
            let random = Random seed
            let numbers () = Array.init n (fun _ -> Number.round dtype (4.0 * random.NextDouble() - 2.0))

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

    let private shrink (d: Descent) =
        if d.Steps > 1 then
            Seq.singleton { d with Steps = d.Steps - 1 }
        else
            Seq.empty

    /// The point as two parameters, so that there is something to put together.
    let private parameters (d: Descent) =
        let n = d.Start.Length / 2
        Parameters.Of [ Tensor.ofFloats d.DType d.Start[.. n - 1]; Tensor.ofFloats d.DType d.Start[n..] ]

    let private where (parameters: Parameters) =
        Array.init parameters.Count (fun k -> parameters[k].ToDoubles())
        |> Array.concat

    /// The function as a step asks for it; `seen` is told of every look.
    let private asked (d: Descent) (sign: float) (seen: Look -> unit) (parameters: Parameters) =
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
                Gradients.OfDense [ Tensor.ofFloats d.DType gradient[.. n - 1]; Tensor.ofFloats d.DType gradient[n..] ])

    let private law id says alone generator (holds: Minimizer -> Descent -> Verdict) =
        {
            Id = id
            Says = says
            Alone = alone
            Try = fun minimizer cases seed -> Statement.trial id cases seed generator shrink (holds minimizer)
        }

    let private dot (a: float[]) (b: float[]) = Array.fold2 (fun sum a b -> sum + a * b) 0.0 a b
    let private norm a = sqrt (dot a a)
    let private both = [ DType.Float32; DType.Float64 ]

    let private bits (expected: float[]) (actual: float[]) =
        Comparator.arrays Comparator.bit DType.Float64 expected actual

    let private sameTree (expected: Tree) (actual: Tree) =
        expected.Equals actual
        |> Verdict.require (fun () -> sprintf "the state is\n%O\ninstead of\n%O" actual expected)

    /// The run, and the state in which it ends; after each step `each` is told of it.
    let private run (m: Minimizer) (d: Descent) sign options (parameters: Parameters) state steps (each: LBFGSState -> unit) =
        let mutable state = state

        for _ in 1..steps do
            let struct (_, next) = m.Step options parameters (asked d sign ignore) state
            state <- next
            each state

        state

    /// C5: with exact line searches a quadratic of n variables is at its minimum after n iterations.
    let exact =
        law
            "C5"
            "with exact line searches the gradient of a quadratic vanishes after as many iterations as there are variables"
            false
            (descents false [ DType.Float64 ] (2, 12) [ stepwise LBFGS.defaults ])
            (fun m d ->
                let parameters = parameters d
                let mutable state = m.Init d.Options parameters
                let struct (_, first) = d.At d.Start
                let mutable gradient = first

                for _ in 1 .. d.Start.Length do
                    if norm gradient > 1e-13 * norm first then
                        // The direction does not depend on the length of the move, and the first length is not lr.
                        let copy = parameters.Copy()

                        let struct (_, probe) =
                            m.Step d.Options copy (asked d 1.0 ignore) (m.Load copy (m.Save state))

                        let direction = probe.D.ToDoubles()
                        let struct (_, along) = { d with B = Array.map (fun _ -> 0.0) d.B }.At direction
                        let length = -(dot gradient direction) / dot direction along

                        let struct (_, next) =
                            m.Step { d.Options with Lr = length / probe.T } parameters (asked d 1.0 ignore) state

                        state <- next
                        let struct (_, now) = d.At(where parameters)
                        gradient <- now

                (norm gradient <= 1e-11 * norm first)
                |> Verdict.require (fun () -> sprintf "the gradient fell to %g of its length only" (norm gradient / norm first)))

    /// C6: each move of a line search satisfies both conditions, and a few are enough.
    let wolfe =
        law
            "C6"
            "each move of the line search satisfies the strong Wolfe conditions, and 4 n + 10 of them take the gradient down by 1e5"
            false
            (descents true [ DType.Float64 ] (2, 10) [ stepwise searching ])
            (fun m d ->
                let parameters = parameters d
                let mutable state = m.Init d.Options parameters
                let struct (_, first) = d.At d.Start
                let mutable verdict = Verdict.Trivial
                let mutable falls = norm first

                for iteration in 1 .. 4 * d.Start.Length + 10 do
                    let x = where parameters
                    let struct (before, gradient) = d.At x

                    if not verdict.IsBroken && norm gradient > 1e-5 * norm first then
                        let struct (_, next) = m.Step d.Options parameters (asked d 1.0 ignore) state
                        state <- next
                        let struct (after, now) = d.At(where parameters)
                        let direction = state.D.ToDoubles()
                        let slope, slopeNow = dot gradient direction, dot now direction
                        let slack = 1e-12 * (1.0 + abs before)

                        verdict <-
                            Verdict.both
                                (after <= before + 1e-4 * state.T * slope + slack
                                 |> Verdict.require (fun () -> sprintf "iteration %d: %g is not far enough below %g" iteration after before))
                                (abs slopeNow <= -0.9 * slope + slack
                                 |> Verdict.require (fun () ->
                                     sprintf "iteration %d: the slope goes from %g to %g only" iteration slope slopeNow))

                        falls <- norm now

                Verdict.both
                    verdict
                    (falls <= 1e-5 * norm first
                     |> Verdict.require (fun () -> sprintf "the gradient fell to %g of its length only" (falls / norm first))))

    /// C7: the direction is that of the dense inverse of BFGS.
    let dense =
        law
            "C7"
            "pairs have curvature, and the direction is the dense BFGS inverse of the last pairs times the gradient"
            false
            (descents
                true
                [ DType.Float64 ]
                (2, 8)
                [
                    stepwise searching
                    stepwise
                        { searching with
                            HistorySize = 2
                            Lr = 0.5
                        }
                    stepwise { LBFGS.defaults with Lr = 0.01 }
                ])
            (fun m d ->
                let n = d.Start.Length
                let parameters = parameters d
                let mutable state = m.Init d.Options parameters
                let mutable verdict = Verdict.Trivial
                let mutable pairs = []
                let mutable last = None

                for _ in 1..6 do
                    let struct (_, gradient) = d.At(where parameters)
                    let struct (_, next) = m.Step d.Options parameters (asked d 1.0 ignore) state
                    state <- next

                    match last with
                    | Some(move: float[], before: float[]) ->
                        let y = Array.map2 (-) gradient before

                        if dot y move > 1e-10 then
                            pairs <- List.truncate d.Options.HistorySize ((move, y) :: pairs)
                    | None -> ()

                    // H = (1 - rho s y') H (1 - rho y s') + rho s s', from the oldest pair on.
                    let identity scale =
                        Array.init n (fun i -> Array.init n (fun j -> if i = j then scale else 0.0))

                    let times (a: float[][]) (b: float[][]) =
                        let columns = Array.transpose b
                        a |> Array.map (fun row -> columns |> Array.map (dot row))

                    let scale =
                        match pairs with
                        | (s, y) :: _ -> dot s y / dot y y
                        | [] -> 1.0

                    let inverse =
                        (identity scale, List.rev pairs)
                        ||> List.fold (fun h (s, y) ->
                            let rho = 1.0 / dot s y

                            let left =
                                Array.init n (fun i -> Array.init n (fun j -> (if i = j then 1.0 else 0.0) - rho * s[i] * y[j]))

                            let turned = times (times left h) (Array.transpose left)
                            Array.init n (fun i -> Array.init n (fun j -> turned[i][j] + rho * s[i] * s[j])))

                    let expected = inverse |> Array.map (fun row -> -(dot row gradient))
                    let actual = state.D.ToDoubles()
                    let off = norm (Array.map2 (-) expected actual)

                    let curved =
                        Seq.zip state.OldStps state.OldDirs
                        |> Seq.forall (fun (s, y) -> dot (s.ToDoubles()) (y.ToDoubles()) > 0.0)

                    if norm gradient > 1e-6 then
                        verdict <-
                            Verdict.all
                                [
                                    verdict
                                    Verdict.require (fun () -> "a pair without curvature is kept") curved
                                    off <= 1e-8 * norm expected
                                    |> Verdict.require (fun () -> sprintf "the direction is %A instead of %A" actual expected)
                                ]

                    last <- Some(actual |> Array.map (fun x -> state.T * x), gradient)

                verdict)

    /// C8: the first move.
    let first =
        law
            "C8"
            "without pairs the direction is the negative gradient, bit for bit, and the first move is min(1, 1 / sum |g|) lr of it"
            false
            (descents
                true
                both
                (2, 40)
                [
                    for lr in [ 0.001; 0.5; 1.0; 3.0 ] ->
                        stepwise { LBFGS.defaults with Lr = lr }
                ])
            (fun m d ->
                let parameters = parameters d
                let start = where parameters
                let struct (_, gradient) = d.At start
                let gradient = gradient |> Array.map (Number.round d.DType)
                let struct (_, state) = m.Step d.Options parameters (asked d 1.0 ignore) (m.Init d.Options parameters)
                let t = min 1.0 (1.0 / (gradient |> Array.sumBy abs)) * d.Options.Lr

                Verdict.all
                    [
                        bits (gradient |> Array.map (~-)) (state.D.ToDoubles())
                        |> Verdict.where "direction"
                        abs (state.T - t) <= 1e-12 * t
                        |> Verdict.require (fun () -> sprintf "t is %g instead of %g" state.T t)
                        bits
                            (Array.map2 (fun x g -> Number.fma d.DType (Number.round d.DType state.T) -g x) start gradient)
                            (where parameters)
                        |> Verdict.where "move"
                    ])

    let private usual =
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

    /// W5: how often the objective is asked, and what is returned.
    let calls =
        law
            "W5"
            "the objective is asked as often as func_evals says, max_eval times at most and once more in a line search, and its first loss is returned"
            false
            (descents true both (1, 8) usual)
            (fun m d ->
                let parameters = parameters d
                let mutable state = m.Init d.Options parameters
                let mutable verdict = Verdict.Trivial

                for _ in 1 .. d.Steps do
                    let looks = ResizeArray<Look>()
                    let x = where parameters
                    let before = state.FuncEvals
                    let iterations = state.NIter
                    let struct (loss, next) = m.Step d.Options parameters (asked d 1.0 looks.Add) state
                    state <- next
                    let most = d.Options.MostEvals + (if d.Options.LineSearchFn = LineSearch.None then 0 else 1)

                    verdict <-
                        Verdict.all
                            [
                                verdict
                                int64 looks.Count = state.FuncEvals - before
                                |> Verdict.require (fun () -> sprintf "%d calls, func_evals grew by %d" looks.Count (state.FuncEvals - before))
                                looks.Count <= most
                                |> Verdict.require (fun () -> sprintf "%d calls, max_eval is %d" looks.Count d.Options.MostEvals)
                                state.NIter - iterations <= int64 d.Options.MaxIter
                                |> Verdict.require (fun () -> "more iterations than max_iter")
                                bits x looks[0].X |> Verdict.where "where it was asked first"
                                bits [| looks[0].Loss |] [| loss |] |> Verdict.where "loss"
                            ]

                verdict)

    /// E5: maximizing is minimizing the negative.
    let maximize =
        law "E5" "maximizing -f is minimizing f, bit for bit" false (descents true both (1, 8) usual) (fun m d ->
            let down, up = parameters d, parameters d
            let upwards = { d.Options with Maximize = true }
            let a = run m d 1.0 d.Options down (m.Init d.Options down) d.Steps ignore
            let b = run m d -1.0 upwards up (m.Init upwards up) d.Steps ignore
            Verdict.both (bits (where down) (where up)) (sameTree (m.Save a) (m.Save b)))

    /// S2: going on from what was saved, at every step.
    let resume =
        law "S2" "going on from the saved state at any step is the run without a break, bit for bit" false (descents true both (1, 8) usual) (fun m d ->
            let straight = parameters d
            let ends = run m d 1.0 d.Options straight (m.Init d.Options straight) d.Steps ignore

            seq { 0 .. d.Steps - 1 }
            |> Seq.map (fun broken ->
                let parameters = parameters d
                let saved = run m d 1.0 d.Options parameters (m.Init d.Options parameters) broken ignore
                let saved = (m.Save saved).Copy()
                let fresh = parameters.Copy()
                let state = run m d 1.0 d.Options fresh (m.Load fresh saved) (d.Steps - broken) ignore

                Verdict.both (bits (where straight) (where fresh)) (sameTree (m.Save ends) (m.Save state))
                |> Verdict.where (sprintf "broken after step %d" broken))
            |> Verdict.all)

    exception private Stumbled

    /// G: an objective that throws, whenever it does.
    let throws =
        law
            "E6"
            "when the objective throws, whichever call of a step it is, parameters and state are as before the step, and it can be taken again"
            false
            (descents true both (1, 8) usual)
            (fun m d ->
                let straight = parameters d
                let looks = ResizeArray<Look>()
                let before = run m d 1.0 d.Options straight (m.Init d.Options straight) (d.Steps - 1) ignore
                let at, saved = straight.Copy(), (m.Save before).Copy()
                let struct (_, after) = m.Step d.Options straight (asked d 1.0 looks.Add) before

                seq { 1 .. looks.Count }
                |> Seq.map (fun call ->
                    let parameters = at.Copy()
                    let state = m.Load parameters saved
                    let mutable calls = 0

                    let stumbles parameters =
                        calls <- calls + 1
                        if calls = call then raise Stumbled
                        asked d 1.0 ignore parameters

                    let stumbled =
                        try
                            m.Step d.Options parameters stumbles state |> ignore
                            false
                        with Stumbled ->
                            true

                    let untouched =
                        if state.IsSpent then
                            Verdict.Broken "the state is spent"
                        else
                            Verdict.all
                                [
                                    Verdict.require (fun () -> "the exception was swallowed") stumbled
                                    bits (where at) (where parameters)
                                    sameTree saved (m.Save state)
                                ]

                    match untouched with
                    | Verdict.Broken _ -> untouched
                    | held ->
                        let struct (_, again) = m.Step d.Options parameters (asked d 1.0 ignore) state
                        Verdict.all [ held; bits (where straight) (where parameters); sameTree (m.Save after) (m.Save again) ]
                    |> Verdict.where (sprintf "call %d throws" call))
                |> Verdict.all)

    /// F6: width and threads.
    let traversals =
        law
            "F6"
            "neither width nor threads change a bit"
            true
            (descents true both (2, 8) usual
             |> Gen.map (fun d ->
                 // Long enough for several threads; the variables beyond the first few stand by themselves.
                 d))
            (fun m d ->
                let long = 20_000

                let ask (parameters: Parameters) =
                    let x = parameters[0].ToDoubles()

                    struct (x |> Array.sumBy (fun x -> log (cosh x)),
                            Gradients.OfDense [ Tensor.ofFloats d.DType (x |> Array.mapi (fun i x -> tanh x * (1.0 + float (i % 7)))) ])

                let once width threads =
                    Setting.withWidth width (fun () ->
                        Setting.withThreads threads (fun () ->
                            let parameters =
                                Parameters.Of [ Tensor.ofFloats d.DType (Array.init long (fun i -> d.Start[i % d.Start.Length] + 1e-4 * float i)) ]

                            let mutable state = m.Init d.Options parameters

                            for _ in 1..3 do
                                let struct (_, next) = m.Step d.Options parameters ask state
                                state <- next

                            where parameters, (m.Save state).Copy()))

                let expected, state = once Width.Single 1

                [ Width.Bits128, 2; Width.Bits256, 3; Width.Bits512, 1; Width.Bits256, 8 ]
                |> Seq.map (fun (width, threads) ->
                    let actual, other = once width threads

                    Verdict.both (bits expected actual) (sameTree state other)
                    |> Verdict.where (sprintf "%O, %d threads" width threads))
                |> Verdict.all)

    /// E2: how the vector is cut into parameters.
    let splitting =
        law "E2" "cutting the parameters in another way changes no bit" false (descents true both (2, 9) usual) (fun m d ->
            let cut = parameters d
            let whole = Parameters.Of [ Tensor.ofFloats d.DType d.Start ]

            let ask (parameters: Parameters) =
                let struct (loss, gradient) = d.At(where parameters)
                struct (loss, Gradients.OfDense [ Tensor.ofFloats d.DType gradient ])

            run m d 1.0 d.Options cut (m.Init d.Options cut) d.Steps ignore |> ignore
            let mutable state = m.Init d.Options whole

            for _ in 1 .. d.Steps do
                let struct (_, next) = m.Step d.Options whole ask state
                state <- next

            bits (where cut) (where whole))

    /// P: what is remembered is bounded.
    let bounded =
        law "P8" "no more than history_size pairs are remembered, also when that becomes less" false (descents true both (3, 8) usual) (fun m d ->
            let parameters = parameters d
            let state = run m d 1.0 d.Options parameters (m.Init d.Options parameters) d.Steps ignore
            let fewer = { d.Options with HistorySize = 2 }
            let most = state.OldDirs.Count
            let later = run m d 1.0 fewer parameters state 3 ignore

            Verdict.both
                (most <= d.Options.HistorySize
                 |> Verdict.require (fun () -> sprintf "%d pairs, history_size is %d" most d.Options.HistorySize))
                (later.OldDirs.Count <= max 2 (if later.NIter = state.NIter then most else 2)
                 |> Verdict.require (fun () -> sprintf "%d pairs, history_size is now 2" later.OldDirs.Count))
            |> Verdict.tellingIf (most > 2))

    /// G4: a point that is not finite.
    let finite =
        law
            "G4"
            "where the loss is not finite beyond a wall, the parameters stay inside, and a line search goes on"
            false
            (descents true [ DType.Float64 ] (1, 6) [ yield! usual; { searching with Lr = 1e6 }; { LBFGS.defaults with Lr = 1e6 } ])
            (fun m d ->
                let wall = 1.0 + 2.0 * norm d.Start
                let inside x = norm x <= wall
                let mutable beyond = false

                let ask (parameters: Parameters) =
                    let x = where parameters

                    if inside x then
                        asked d 1.0 ignore parameters
                    else
                        beyond <- true
                        let struct (_, gradients) = asked d 1.0 ignore parameters
                        struct (nan, gradients)

                let parameters = parameters d
                let mutable state = m.Init d.Options parameters

                for _ in 1 .. d.Steps do
                    let struct (_, next) = m.Step d.Options parameters ask state
                    state <- next

                let x = where parameters
                let struct (before, _) = d.At d.Start
                let struct (after, _) = d.At x

                Verdict.both
                    (inside x
                     |> Verdict.require (fun () -> sprintf "the parameters are %A, beyond the wall at %g" x wall))
                    (d.Options.LineSearchFn = LineSearch.None || after <= before
                     |> Verdict.require (fun () -> sprintf "the loss went up from %g to %g" before after))
                |> Verdict.tellingIf (beyond || d.Options.Lr <= 1.0))

    /// All of them.
    let all =
        [
            exact
            wolfe
            dense
            first
            calls
            maximize
            resume
            throws
            traversals
            splitting
            bounded
            finite
        ]
