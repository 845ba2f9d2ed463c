/// Law O1 for LBFGS: whole runs against the reference, without and with a line search, over generated options and functions.
module LBFGSReferenceTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Objectives
open LBFGSReference

/// A convex function, where to begin, and options.
let private drawn (random: Random) =
    let pick (choices: 'a list) = choices[random.Next choices.Length]
    let n = 1 + random.Next 9

    let square =
        Array.init n (fun _ -> Array.init n (fun _ -> random.NextDouble() - 0.5))

    let a =
        Array.init n (fun i -> Array.init n (fun j -> dot square[i] square[j] + (if i = j then 0.2 + random.NextDouble() else 0.0)))

    let b = Array.init n (fun _ -> 2.0 * random.NextDouble() - 1.0)
    let start = Array.init n (fun _ -> 4.0 * random.NextDouble() - 2.0)
    let bend = pick [ 0.0; 1.0; 5.0 ]

    let f: Objective =
        fun x ->
            let value, gradient = quadratic a b x
            let bent, along = logcosh x
            value + bend * bent, Array.map2 (fun g t -> g + bend * t) gradient along

    let options =
        { LBFGS.defaults with
            Lr = pick [ 0.05; 0.5; 1.0 ]
            MaxIter = pick [ 1; 2; 4; 20 ]
            MaxEval = pick [ Nullable(); Nullable 1; Nullable 3; Nullable 7 ]
            ToleranceGrad = pick [ 1e-7; 1e-2; 0.5 ]
            ToleranceChange = pick [ 1e-9; 1e-3 ]
            HistorySize = pick [ 1; 2; 5; 100 ]
            LineSearchFn = pick [ LineSearch.None; LineSearch.StrongWolfe ]
            Maximize = pick [ false; true ]
        }

    (if options.Maximize then negated f else f), start, options, 1 + random.Next 5

/// The largest relative difference between a run of ours and one of the reference under options of its own: of points and first
/// values; infinite where they took another number of iterations or evaluations. Runs end where the gradient is next to nothing,
/// since there rounding decides.
let private difference ours theirs (f: Objective) (start: float[]) steps =
    let cut = start.Length / 2

    let parameters =
        Parameters.Of
            [
                for part in [ start[.. cut - 1]; start[cut..] ] -> Kit.tensor DType.Float64 [| int64 part.Length |] part
            ]

    let ask = over f (fun _ _ _ -> ()) parameters
    let mutable state = LBFGS.init ours parameters
    let mutable x, memory, worst, goesOn = start, fresh, 0.0, true
    let near (a: float) (b: float) = abs (a - b) / (1.0 + abs b)
    let mutable left = steps

    while goesOn && left > 0 do
        left <- left - 1
        let struct (first, next) = LBFGS.step ours parameters ask state
        state <- next
        let point, after, value = step theirs f x memory
        x <- point
        memory <- after

        let here =
            Array.init parameters.Count (fun k -> parameters[k].ToDoubles()) |> Array.concat

        worst <- max worst (Array.fold2 (fun worst a b -> max worst (near a b)) (near first value) here x)

        if int state.NIter <> memory.N || int state.FuncEvals <> memory.Evaluations then
            worst <- infinity

        goesOn <- worst < infinity && largest (snd (f x)) > 1e-5

    worst

/// Ten times what was measured.
let private allowed = 1e-11

let private seeds = 2000

let private others: (string * (LBFGSOptions -> LBFGSOptions)) list =
    [
        "lr", (fun o -> { o with Lr = 0.9 * o.Lr })
        "max_iter", (fun o -> { o with MaxIter = o.MaxIter + 1 })
        "max_eval",
        (fun o ->
            { o with
                MaxEval = Nullable(o.MostEvals + 1)
            })
        "tolerance_grad",
        (fun o ->
            { o with
                ToleranceGrad = 2.0 * o.ToleranceGrad + 0.1
            })
        "tolerance_change",
        (fun o ->
            { o with
                ToleranceChange = 2.0 * o.ToleranceChange + 0.01
            })
        "history_size",
        (fun o ->
            { o with
                HistorySize = 1 + o.HistorySize
            })
        "line_search_fn",
        (fun o ->
            { o with
                LineSearchFn =
                    if o.LineSearchFn = LineSearch.None then
                        LineSearch.StrongWolfe
                    else
                        LineSearch.None
            })
        "maximize", (fun o -> { o with Maximize = not o.Maximize })
    ]

[<Tests>]
let tests =
    testList
        "LBFGS against its reference"
        [
            test "points, first values, iterations and evaluations, over generated functions and options (O1)" {
                let mutable worst = 0.0

                for seed in 1..seeds do
                    let f, start, options, steps = drawn (Random seed)
                    let apart = difference options options f start steps
                    worst <- max worst apart
                    Expect.isLessThanOrEqual apart allowed $"seed {seed}: {options}, {steps} steps from %A{start}"

                printfn "%s: largest relative difference %.1e of %d runs" "LBFGS against its reference, float64" worst seeds
            }

            for name, change in others do
                test $"a reference with another {name} is somewhere else" {
                    let differs seed =
                        let f, start, options, steps = drawn (Random seed)
                        difference options (change options) f start steps > allowed

                    Expect.isGreaterThan (Seq.filter differs (seq { 1..200 }) |> Seq.length) 5 "of 200 runs"
                }
        ]
