using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// The parameters of a Schedule-Free optimizer (<see cref="Core.Wrappers"/>) as they are for evaluation: while it lives they are the average x, and y of training again when it
/// is disposed, bit for bit. Meanwhile steps are refused.
/// <code>
/// using (ScheduleFreeView.Applied(optimizer))
///     Evaluate();
/// </code>
/// </summary>
public sealed class ScheduleFreeView : IDisposable
{
    private readonly List<(IParameter Parameter, TensorView Kept)> live = [];
    private bool ended;

    private ScheduleFreeView(Optimizer optimizer)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        AppliedAverages.Refuse(nameof(Applied), optimizer.ParamGroups.SelectMany(group => group.Parameters));
        var views = new List<Parameters>();
        // All of them before the first is written.
        foreach (var group in optimizer.ParamGroups)
        {
            if (group.Algorithm is not Rule rule)
                throw new ArgumentException($"{optimizer.Algorithm.Name} is not Schedule-Free", nameof(optimizer));
            group.Refresh();
            views.Add(ScheduleFree.evaluation(rule, group.Options, group.List, group.State));
        }
        // Of several ranks each has the parameters of all where they had been.
        foreach (var parameter in optimizer.Ranks?.Wholes ?? [.. optimizer.ParamGroups.SelectMany(group => group.Parameters)])
            live.Add((parameter, parameter.Data.Copy()));
        foreach (var (group, view) in optimizer.ParamGroups.Zip(views))
            for (var row = 0; row < view.Count; row++)
            {
                group.Parameters[row].Data.CopyFrom(view[row]);
                group.Parameters[row].AfterStep();
            }
        optimizer.Ranks?.Publish();
        AppliedAverages.Add(this, live.Select(each => each.Parameter));
    }

    /// <summary>Makes the parameters those of evaluation, until what is returned is disposed.</summary>
    /// <exception cref="ArgumentException">The optimizer is not Schedule-Free.</exception>
    /// <exception cref="InvalidOperationException">They have the values of an average already.</exception>
    public static ScheduleFreeView Applied(Optimizer optimizer) => new(optimizer);

    /// <summary>Makes the parameters those of training again.</summary>
    public void Dispose()
    {
        if (ended)
            return;
        foreach (var (parameter, kept) in live)
        {
            parameter.Data.CopyFrom(kept);
            parameter.AfterStep();
        }
        AppliedAverages.Remove(this);
        ended = true;
    }

    /// <summary>What messages call it.</summary>
    public override string ToString() => "a Schedule-Free optimizer's view for evaluation";
}
