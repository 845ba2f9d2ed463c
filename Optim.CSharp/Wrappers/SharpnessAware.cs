using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// The base of optimizers that look around before they step: they evaluate a closure at the parameters and at a point where the loss is
/// larger, and hand another optimizer the gradient that comes of it. That one keeps groups, state, hooks and schedulers. A closure that throws
/// leaves parameters and state as they were.
/// </summary>
public abstract class SharpnessAware
{
    private protected SharpnessAware(Optimizer optimizer, double rho, bool adaptive, double perturbEps)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        if (optimizer.ParamGroups.Any(group => group.Algorithm is not Rule))
            throw new NotSupportedException(
                $"{optimizer.Algorithm.Name} evaluates closures itself, so it cannot step inside of {GetType().Name}"
            );
        (Optimizer, Rho, Adaptive, PerturbEps) = (optimizer, rho, adaptive, perturbEps);
        Check("rho", rho, Interval.AtLeast(0));
        Check("perturb_eps", perturbEps, Interval.AtLeast(0));
    }

    /// <summary>The optimizer that steps.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>How far the parameters move, all together.</summary>
    public double Rho { get; }

    /// <summary>Whether they move by the squares of their elements.</summary>
    public bool Adaptive { get; }

    /// <summary>What is added to the norm of the gradients.</summary>
    public double PerturbEps { get; }

    /// <summary>
    /// Evaluates the closure, which clears the gradients, works out the loss and the gradients and returns the loss, at the parameters and beside
    /// them, and steps.
    /// </summary>
    /// <returns>What the closure returned at the parameters.</returns>
    public abstract T Step<T>(Func<T> closure);

    private protected void Check(string option, double value, Interval range) =>
        TransformParts.require(GetType().Name, option, range, value);

    /// <summary>The parameters of all groups with the gradients of now.</summary>
    private protected (Parameters Parameters, Gradients Gradients) Now()
    {
        var (data, gradients) = (new List<TensorView>(), new List<Gradient>());
        foreach (var group in Optimizer.ParamGroups)
        {
            var given = group.Refresh();
            for (var row = 0; row < given.Count; row++)
            {
                data.Add(group.List[row]);
                gradients.Add(given[row]);
            }
        }
        var executor = Optimizer.ParamGroups.Select(group => group.List.Executor).FirstOrDefault(each => each is not null);
        var parameters = Parameters.Over([.. data], [], executor);
        Optimizer.Ranks?.Join(parameters);
        return (parameters, Gradients.Over([.. gradients]));
    }

    /// <summary>Evaluates the closure; the gradients are those of all ranks then.</summary>
    private protected T Evaluated<T>(Func<T> closure)
    {
        Optimizer.Ranks?.Anew();
        var loss = Optimizer.Evaluate(closure);
        Optimizer.Ranks?.Collect();
        return loss;
    }

    /// <summary>The Euclidean norm of gradients of all parameters of all groups, over all ranks.</summary>
    private protected double TotalNorm(Gradients gradients)
    {
        var survey = new GradientSurvey { Across = Optimizer.Ranks?.Slices };
        var at = 0;
        foreach (var group in Optimizer.ParamGroups)
        {
            survey.Add(Gradients.Over([.. Enumerable.Range(at, group.Parameters.Count).Select(row => gradients[row])]));
            at += group.Parameters.Count;
        }
        survey.Run(2, 1, Executor.Team);
        return survey.Total;
    }

    /// <summary>The loss and the gradients at the parameters, and then, with these moved along the gradients, the gradients there; they are put back.</summary>
    /// <param name="closure">Works them out.</param>
    /// <param name="first">Called with the gradients at the parameters.</param>
    private protected T Twice<T>(Func<T> closure, Action<Parameters, Gradients> first)
    {
        ArgumentNullException.ThrowIfNull(closure);
        var loss = Evaluated(closure);
        var (parameters, gradients) = Now();
        first(parameters, gradients);
        // Of several ranks each has the parameters of all where they had been.
        var wholes = Optimizer.Ranks is { } ranks
            ? Parameters.Over([.. ranks.Wholes.Select(parameter => parameter.Data)], [], parameters.Executor)
            : parameters;
        try
        {
            Core.Sharpness.restoring(
                wholes,
                Microsoft.FSharp.Core.FuncConvert.FromFunc(() =>
                {
                    Core.Sharpness.ascend(Rho, PerturbEps, Adaptive, parameters, gradients);
                    Optimizer.Ranks?.Publish();
                    Moved();
                    Evaluated(closure);
                    return 0;
                })
            );
        }
        finally
        {
            Moved();
        }
        return loss;
    }

    /// <summary>Tells the parameters that they have changed.</summary>
    private protected void Moved()
    {
        foreach (var group in Optimizer.ParamGroups)
            group.AfterStep(all: true);
    }

    /// <summary>Copies of dense gradients; absent ones stay absent.</summary>
    private protected static Gradients Copied(Gradients gradients) => ClippingModule.copy(gradients);

    /// <summary>The tensors of gradients as what is changed, and others of the same rows.</summary>
    private protected static (Parameters Target, Gradients Others) Pairs(Gradients target, Gradients others)
    {
        var (tensors, beside) = (new List<TensorView>(), new List<Gradient>());
        for (var row = 0; row < target.Count; row++)
            if (target[row].Kind == GradientKind.Dense && others[row].Kind == GradientKind.Dense)
            {
                tensors.Add(target[row].Values);
                beside.Add(others[row]);
            }
        return (Parameters.Over([.. tensors], [], null), Gradients.Over([.. beside]));
    }
}
