using Optim.Core;
using Optim.Kernels;

namespace Optim.Distributed;

// How parameters are divided when they are given.
public sealed partial class Sharded
{
    /// <summary>Adds a group on every rank.</summary>
    /// <param name="group">The group.</param>
    /// <param name="member">Whose it is, in an optimizer of several rules.</param>
    /// <exception cref="WorldException">The ranks add different groups.</exception>
    public void AddParamGroup(ParameterGroup group, string? member = null)
    {
        ArgumentNullException.ThrowIfNull(group);
        var first = Tensors.Count();
        var shared = (ParameterGroup)Shared(group);
        var ranks = Optimizer.Ranks;
        Optimizer.Ranks = null;
        try
        {
            if (member is null)
                Optimizer.AddParamGroup(shared);
            else
                ((CompositeOptimizer)Optimizer).AddParamGroup(member, shared);
        }
        finally
        {
            Optimizer.Ranks = ranks;
        }
        Divide(first);
    }

    /// <summary>What was given, as the optimizer is to see it.</summary>
    private static IParameterOrGroup Shared(IParameterOrGroup given) =>
        given switch
        {
            IParameter parameter => new SharedTensor(parameter),
            ParameterGroup group => group.With(group.Parameters.Select(parameter => new SharedTensor(parameter))),
            _ => throw new ArgumentException("a parameter is null", nameof(given)),
        };

    /// <summary>Divides the groups from a parameter on.</summary>
    private void Divide(int first)
    {
        var (items, tensors, lines) = (new List<PlanItem>(), new List<SharedTensor>(), new List<string>());
        lines.Add(FormattableString.Invariant($"Shard.{Shard}, {LeafCount} leaves, buckets of {bucketBytes} bytes"));
        var at = 0;
        var isVector = false;
        foreach (var (group, number) in Optimizer.ParamGroups.Select((group, number) => (group, number)))
        {
            if (at >= first || group.Parameters.Count == 0)
                lines.Add(FormattableString.Invariant($"group {number}: {Words(group)}"));
            isVector |= group.Algorithm is LBFGSAlgorithm;
            foreach (var parameter in group.Parameters)
                if (at++ >= first)
                {
                    var tensor =
                        parameter as SharedTensor
                        ?? throw new ArgumentException(
                            $"the optimizer has {Optimizer.Label(parameter)} itself; make it from the parameters that make is given"
                        );
                    tensors.Add(tensor);
                    tensor.IsSparse = group.Algorithm is Rule rule && rule.Sparse(group.Options) == SparseGradients.Required;
                    items.Add(
                        new(
                            parameter.Name ?? FormattableString.Invariant($"{at - 1}"),
                            parameter.Data.Layout,
                            ShardPlan.DivisionOf(group.Algorithm!),
                            ShardPlan.WeightOf(group.Algorithm!, group.Options, parameter.Data.Layout)
                        )
                    );
                    lines.Add(FormattableString.Invariant($"{items[^1].Name}: {items[^1].Layout}"));
                }
        }
        World.Agree(first == 0 ? "optimizer" : "new group", "parameters, rules and options", lines);
        var plan = ShardPlan.Of(World.Size, Shard, items, isVector);
        var section = new Section(World, plan, [.. tensors], LeafCount, bucketBytes);
        foreach (var tensor in tensors)
        {
            tensor.IsDirect = LeafCount == 1;
            tensor.Zeroed = () => isCollected = false;
        }
        if (isVector)
            DivideVector(plan, tensors);
        // What was made for whole parameters is made for the parts: nothing has stepped yet.
        at = 0;
        foreach (var group in Optimizer.ParamGroups)
        {
            if (at >= first)
            {
                group.Refresh();
                if (World.Size > 1 && Shard != Shard.None)
                    group.List.Totals = new RankTotals(World, [.. group.Parameters.Cast<SharedTensor>()]);
                group.Memory = GroupMemory.Of(group.Algorithm!, group.Options, group.List);
            }
            at += group.Parameters.Count;
        }
        sections.Add(section);
        section.Begin();
    }

    /// <summary>Where the slices of this rank lie in a vector over all parameters.</summary>
    private void DivideVector(ShardPlan plan, List<SharedTensor> tensors)
    {
        var lengths = new long[World.Size];
        foreach (var tensor in plan.Tensors)
        foreach (var slice in tensor.Slices)
            lengths[slice.Rank] += slice.Length * tensor.Layout.DType.Parts();
        if (plan.Shard == Shard.None)
            return;
        foreach (var tensor in tensors)
            tensor.Vector = ((nint)lengths.Take(World.Rank).Sum(), (nint)lengths[World.Rank], (nint)lengths.Sum());
        Optimizer.ParamGroups[0].List.Across = new SlicedVectors(
            World,
            [.. lengths.Select(length => (int)((length + Reduction.BlockLength - 1) / Reduction.BlockLength))]
        );
    }

    private static string Words(ParameterGroup group) =>
        $"{group.Algorithm!.Name} ({string.Join(", ", group.OptionNames.Select(option => $"{option}={group[option]}"))})";
}
