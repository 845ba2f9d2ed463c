using Optim.Cli.Models;
using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>
/// A training run while it goes on: the model, the optimizers that share its parameters, and what was seen so far. What surrounds a step
/// registers here: clipping when the gradients are ready; schedules, averages and checkpoints when a step was taken.
/// </summary>
/// <param name="model">What is trained.</param>
/// <param name="optimizers">Each has some of its parameters. The first takes the closure, and so may call it several times.</param>
/// <param name="ranks">The ranks that train together; null for none.</param>
public sealed class TrainingRun(IModel model, IReadOnlyList<Optimizer> optimizers, TrainingRanks? ranks = null)
{
    /// <summary>What is trained.</summary>
    public IModel Model => model;

    /// <summary>Each has some of the parameters.</summary>
    public IReadOnlyList<Optimizer> Optimizers => optimizers;

    /// <summary>The ranks that train together; null for none.</summary>
    public TrainingRanks? Ranks => ranks;

    /// <summary>The schedules of their rates, if there are any.</summary>
    public IReadOnlyList<LRScheduler> Schedulers { get; private set; } = [];

    /// <summary>What else takes part and has a state, such as averages: a checkpoint holds it under these names.</summary>
    public IList<(string Name, IStateful State)> Parts { get; } = [];

    /// <summary>What was seen so far.</summary>
    public TrainingHistory History { get; } = new(optimizers.Count);

    /// <summary>Steps taken so far.</summary>
    public int Steps => History.Losses.Count;

    /// <summary>The gradients of a batch are there, and will be used as they are after this.</summary>
    public event Action? GradientsReady;

    /// <summary>A step was taken; <see cref="Steps"/> counts it.</summary>
    public event Action? Stepped;

    /// <summary>
    /// From here on the rates follow a schedule, step by step; one that goes by a metric is given the mean loss of each epoch, or greedy that of each step.
    /// </summary>
    /// <exception cref="OptionException">A setting of the schedule is not allowed.</exception>
    public void Follow(Scheduling schedule, int steps, int stepsPerEpoch)
    {
        Follow([.. optimizers.Select(optimizer => schedule.Create(optimizer, steps))], schedule.StepsOfMetric(stepsPerEpoch));
    }

    /// <summary>From here on these are called after each step; where <paramref name="stepsOfMetric"/> is above 0, after so many steps, with their mean loss.</summary>
    public void Follow(IReadOnlyList<LRScheduler> schedulers, int stepsOfMetric = 0)
    {
        Schedulers = schedulers;
        Stepped += () =>
        {
            if (stepsOfMetric > 0 && Steps % stepsOfMetric != 0)
                return;
            foreach (var scheduler in schedulers)
                if (stepsOfMetric > 0)
                    scheduler.Step(History.Losses.TakeLast(stepsOfMetric).Average());
                else
                    scheduler.Step();
        };
    }

    /// <summary>The average of the parameters, if one is kept.</summary>
    public AveragedParameters? Average { get; private set; }

    /// <summary>From here on gradients are clipped by their norm and parameters averaged, where a number is given.</summary>
    public void Surround(double? clip, double? ema)
    {
        if (ema is { } decay)
            Parts.Add(("average", Average = new(model.Parameters, multiAvgFn: AveragedParameters.GetEmaMultiAvgFn(decay))));
        // One optimizer does it in its own pass; of several, the norm is that of all gradients together, and the average that of all parameters.
        if (optimizers is [{ Algorithm: Rule } only])
        {
            if (clip is not null || ema is not null)
                only.Attach(clip is { } norm ? new ClipGradNorm(norm) : null, average: Average);
            return;
        }
        if (clip is { } most)
            GradientsReady += () => ClipGrad.Norm(model.Parameters, most);
        if (Average is { } average)
            Stepped += average.UpdateParameters;
    }

    /// <summary>Takes a step on the loss of these rows.</summary>
    /// <returns>The loss before the update.</returns>
    public double Step(ArraySegment<int> rows)
    {
        var rates = optimizers.Select(Rate).ToArray();
        var first = double.NaN;
        var evaluations = 0;
        optimizers[0]
            .Step(() =>
            {
                var loss = Backward(rows);
                if (evaluations++ == 0)
                    first = loss;
                if (GradientsReady is { } ready)
                {
                    ranks?.Collect();
                    ready();
                }
                return loss;
            });
        for (var i = 1; i < optimizers.Count; i++)
            optimizers[i].Step();
        History.Add(first, rates);
        Stepped?.Invoke();
        return first;
    }

    private double Backward(ArraySegment<int> rows)
    {
        if (ranks is not null)
            return ranks.Backward(rows, (some, weight) => model.Backward(some, weight));
        foreach (var optimizer in optimizers)
            optimizer.ZeroGrad(setToNone: false); // the gradients stay where they are
        return model.Backward(rows);
    }

    /// <summary>The learning rate of an optimizer's first group; NaN when its rule has none.</summary>
    private static double Rate(Optimizer optimizer) =>
        optimizer.ParamGroups[0].Algorithm!.Has("lr") ? (double)optimizer.ParamGroups[0]["lr"] : double.NaN;
}
