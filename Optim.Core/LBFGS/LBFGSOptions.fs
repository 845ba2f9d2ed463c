namespace Optim.Core

open System

/// How LBFGS finds the length of an iteration's move.
type LineSearch =
    /// It is lr (and shorter in the very first iteration).
    | None = 0
    /// By a search for the strong Wolfe conditions that begins at lr.
    | StrongWolfe = 1

/// The options of LBFGS.
type LBFGSOptions =
    {
        Lr: double
        MaxIter: int
        /// Null: a quarter more than MaxIter, rounded down.
        MaxEval: Nullable<int>
        ToleranceGrad: double
        ToleranceChange: double
        HistorySize: int
        LineSearchFn: LineSearch
        Maximize: bool
    }

    interface IOptimizerOptions

    /// The evaluations of a step after which no further iteration begins.
    member o.MostEvals =
        if o.MaxEval.HasValue then
            o.MaxEval.Value
        else
            int (min (int64 o.MaxIter * 5L / 4L) (int64 Int32.MaxValue))

    /// The same with MaxEval as it is now, whatever becomes of MaxIter: as PyTorch's constructor takes it.
    member o.Settled =
        { o with
            MaxEval = Nullable o.MostEvals
        }
