using Optim.Core;

namespace Optim;

/// <summary>Limited-memory BFGS, as torch.optim.LBFGS: a quasi-Newton method that asks for loss and gradients as often as it needs them.</summary>
/// <remarks>
/// Each iteration moves along d = -H g, where H is the inverse Hessian that the last moves s and changes of the gradient y tell of, by lr or by a line search; the first
/// one along -g by min(1, 1 / sum |g|) lr. A step takes up to maxIter iterations. It ends early where max |g| is at most toleranceGrad, where the move or the
/// change of the loss is at most toleranceChange, and after maxEval evaluations (a line search looks at one point at least, so that it may go over by one).
/// Steps need a closure, which clears the gradients, works out loss and gradients and returns the loss: <c>optimizer.Step(() => ...)</c>. It is called
/// once or more, must give the same for the same parameters, and what it returned first is returned. When it throws, parameters and state are as before the step.
/// Where the first loss or gradient is not finite nothing moves; a later point where they are not is turned back from.
/// Missing gradients are zero. All parameters are one vector: parameters may be added only at once, in one group. After each step it remembers
/// at most historySize pairs of such vectors, and up to twice as many while it is under way.
/// Nocedal, Mathematics of Computation 35 (1980); the line search is that of Nocedal and Wright, Numerical Optimization, chapter 3.
/// </remarks>
/// <param name="parameters">Parameters, or one group of them; float32, float64, complex64 or complex128 (as pairs of reals), of any shape and strides.</param>
/// <param name="lr">Learning rate, at least 0: the length of a move, or where the line search begins.</param>
/// <param name="maxIter">Iterations of a step, at least 1.</param>
/// <param name="maxEval">Evaluations of a step, at least 1; maxIter * 5 / 4 when null.</param>
/// <param name="toleranceGrad">Below this the largest element of the gradient counts as zero.</param>
/// <param name="toleranceChange">Below this a move, or a change of the loss, counts as none.</param>
/// <param name="historySize">Pairs to remember, at least 1.</param>
/// <param name="lineSearchFn">"strong_wolfe", or null for none.</param>
/// <param name="maximize">Make the loss large instead of small.</param>
/// <exception cref="OptionException">An option is outside of its range.</exception>
/// <exception cref="ArgumentException">More than one group.</exception>
public sealed class LBFGS(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1,
    int maxIter = 20,
    int? maxEval = null,
    double toleranceGrad = 1e-7,
    double toleranceChange = 1e-9,
    int historySize = 100,
    string? lineSearchFn = null,
    bool maximize = false
)
    : Optimizer(
        Algorithms.LBFGS,
        Algorithms.LBFGS.Replace(
            new LBFGSOptions(lr, maxIter, maxEval, toleranceGrad, toleranceChange, historySize, LineSearch.None, maximize).Settled,
            "line_search_fn",
            lineSearchFn is null ? OptionValue.None : lineSearchFn
        ),
        parameters
    )
{
    /// <summary>The same with the options as a record, such as <c>LBFGSModule.defaults</c> with other values.</summary>
    /// <param name="parameters">Parameters, or one group of them.</param>
    /// <param name="options">The options.</param>
    /// <exception cref="OptionException">An option is outside of its range.</exception>
    /// <exception cref="ArgumentException">More than one group.</exception>
    public LBFGS(IEnumerable<IParameterOrGroup> parameters, LBFGSOptions options)
        : this(
            parameters,
            (options ?? throw new ArgumentNullException(nameof(options))).Lr,
            options.MaxIter,
            options.MaxEval,
            options.ToleranceGrad,
            options.ToleranceChange,
            options.HistorySize,
            options.LineSearchFn == LineSearch.None ? null : "strong_wolfe",
            options.Maximize
        ) { }

    private protected override bool TakesGroups => false;

    private protected override T? Advance<T>(Func<T>? closure, GradScaler? scaler, out bool stepped)
        where T : default
    {
        stepped = true;
        if (closure is null)
            throw new InvalidOperationException(
                "LBFGS needs a closure that clears the gradients, works out the loss and the gradients and returns the loss: Step(closure)"
            );
        var group = ParamGroups[0];
        var memory = (CurvatureMemory)group.Memory;
        var before = memory.State;
        var iterations = before.NIter;
        var evaluations = 0;
        T? first = default;
        group.Refresh();
        try
        {
            var (_, next) = Algorithms.LBFGS.Step((LBFGSOptions)group.Options, group.List, Ask, before);
            memory.State = next;
            Ran(next.Executor, next.Threads);
            Ranks?.Publish();
        }
        finally
        {
            if (evaluations > 1 || memory.State.NIter > iterations)
                group.AfterStep(all: true);
            Ranks?.End();
        }
        return first;

        (double, Gradients) Ask(Parameters _)
        {
            if (evaluations > 0)
            {
                group.AfterStep(all: true);
                Ranks?.Publish();
                Ranks?.End();
            }
            var loss = Evaluate(closure);
            if (evaluations++ == 0)
                first = loss;
            Ranks?.Collect();
            group.Refresh();
            var number = ReadLoss(loss, group);
            return (Ranks?.MeanLoss(number) ?? number, group.Gradients);
        }
    }

    private static double ReadLoss<T>(T loss, ParameterGroup group) =>
        loss switch
        {
            double number => number,
            float number => number,
            // A library's own number, wherever its parameters stand among others.
            _ => (group.Parameters.FirstOrDefault(parameter => parameter is not Param) ?? group.Parameters.FirstOrDefault())
                is { } parameter
                ? parameter.ReadLoss(loss)
                : throw new NotSupportedException("the loss is needed as a number; return a double"),
        };
}
