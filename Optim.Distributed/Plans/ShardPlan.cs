using System.Collections.Immutable;
using System.Text;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Distributed;

/// <summary>The part of a tensor that a rank steps: elements [Offset, Offset + Length) in row-major order.</summary>
/// <param name="Rank">The rank.</param>
/// <param name="Offset">Its first element.</param>
/// <param name="Length">How many there are.</param>
public readonly record struct PlannedSlice(int Rank, long Offset, long Length);

/// <summary>A tensor in a plan.</summary>
/// <param name="Name">What it is called, or its number.</param>
/// <param name="Layout">Dtype and shape.</param>
/// <param name="Division">How it is divided.</param>
/// <param name="Slices">Who steps what, in the order of the elements; none where every rank steps all.</param>
public sealed record PlannedTensor(string Name, Layout Layout, Division Division, ImmutableArray<PlannedSlice> Slices)
{
    /// <summary>The part that a rank steps; of length 0 for none.</summary>
    public PlannedSlice SliceOf(int rank) =>
        Division == Division.Replicated
            ? new(rank, 0, Layout.Count)
            : Slices.FirstOrDefault(slice => slice.Rank == rank, new PlannedSlice(rank, 0, 0));

    /// <summary>Whether both are the same.</summary>
    public bool Equals(PlannedTensor? other) =>
        other is not null
        && Name == other.Name
        && Layout.Equals(other.Layout)
        && Division == other.Division
        && Slices.SequenceEqual(other.Slices);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Name, Layout, Division, Slices.Length);
}

/// <summary>What of a plan's tensors decides how they are divided.</summary>
/// <param name="Name">What it is called.</param>
/// <param name="Layout">Dtype, shape and strides.</param>
/// <param name="Division">How its rule lets it be divided.</param>
/// <param name="Weight">What the state of an element takes, beside that of others: above 0.</param>
internal readonly record struct PlanItem(string Name, Layout Layout, Division Division, long Weight = 1);

/// <summary>
/// Who steps what: a pure value, the same on every rank, to look at and to print before anything is sent. All sliced tensors laid end to end are cut
/// into as many parts as there are ranks, at the blocks of 4096 elements of which sums over tensors are made, so that a rank has at most its share and a
/// block; whole tensors are dealt out from the largest on, each to the rank that has least. Where some state is narrow (<see cref="StateStorage"/>) shares
/// are those of its bytes, and blocks of 256 elements, counted from the first of a parameter, stay whole.
/// </summary>
public sealed class ShardPlan : IEquatable<ShardPlan>
{
    /// <summary>The weight of a byte of state.</summary>
    private const long WeightOfByte = 1 << 16;

    internal ShardPlan(int ranks, Shard shard, ImmutableArray<PlannedTensor> tensors) => (Ranks, Shard, Tensors) = (ranks, shard, tensors);

    /// <summary>How many ranks there are.</summary>
    public int Ranks { get; }

    /// <summary>What is divided.</summary>
    public Shard Shard { get; }

    /// <summary>The tensors, in the order of the groups.</summary>
    public ImmutableArray<PlannedTensor> Tensors { get; }

    /// <summary>The plan for parameters that one rule steps.</summary>
    /// <param name="ranks">How many ranks there are; at least 1.</param>
    /// <param name="shard">What is divided.</param>
    /// <param name="rule">What steps them.</param>
    /// <param name="parameters">The parameters; only names and layouts are looked at.</param>
    /// <param name="options">The rule's options: how it keeps state, and so where the bytes are; its defaults when null.</param>
    /// <exception cref="NotSupportedException">A tensor does not lie in the memory of the processor.</exception>
    /// <exception cref="OptionException">The options are another rule's.</exception>
    public static ShardPlan Of(int ranks, Shard shard, Algorithm rule, Parameters parameters, IOptimizerOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(rule);
        ArgumentNullException.ThrowIfNull(parameters);
        options ??= rule.Defaults;
        var items = Enumerable
            .Range(0, parameters.Count)
            .Select(row => new PlanItem(
                parameters.Names.IsDefaultOrEmpty ? FormattableString.Invariant($"{row}") : parameters.Names[row],
                parameters[row].Layout,
                DivisionOf(rule),
                WeightOf(rule, options, parameters[row].Layout)
            ));
        return Of(ranks, shard, [.. items], rule is LBFGSAlgorithm);
    }

    /// <summary>How a rule lets its parameters be divided.</summary>
    internal static Division DivisionOf(Algorithm algorithm) =>
        algorithm switch
        {
            LBFGSAlgorithm => Division.Sliced,
            DefinedRule rule => rule.CanBeCut ? Division.Sliced : Division.Whole,
            Rule { Scope: RuleScope.Elements } => Division.Sliced,
            _ => Division.Whole,
        };

    /// <summary>What an element of a parameter's state takes: bytes, as those of one column where a rule keeps several.</summary>
    internal static long WeightOf(Algorithm algorithm, IOptimizerOptions options, Layout parameter)
    {
        var wide = parameter.DType.ToStateDType().Size() * WeightOfByte;
        if (algorithm is not Rule rule || rule.OptionTable.StorageOf(options) is not { } storage || !storage.IsNarrow(parameter.Count))
            return wide;
        var (bytes, all) = (rule.StateBytes(options, storage.Format), rule.StateBytes(options, StateFormat.Float32));
        return all > 0 ? Math.Max(1, (long)Math.Round(wide * bytes / all)) : wide;
    }

    internal static ShardPlan Of(int ranks, Shard shard, IReadOnlyList<PlanItem> items, bool isVector)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(ranks, 1);
        if (!Enum.IsDefined(shard))
            throw new ArgumentOutOfRangeException(nameof(shard), shard, "it must be None, State or Gradients");
        foreach (var item in items)
            if (!item.Layout.IsOnCpu)
                throw new NotSupportedException(
                    $"'{item.Name}' lies on {item.Layout.Device}; ranks send what is in the memory of the processor"
                );
        var divisions = items.Select(item =>
            shard == Shard.None ? Division.Replicated
            : item.Division == Division.Sliced && !item.Layout.IsContiguous ? Division.Whole
            : item.Division
        );
        var made = divisions.ToArray();
        if (isVector && made.Contains(Division.Whole))
            throw new NotSupportedException(
                "LBFGS goes over all parameters as one vector, and one of them is not contiguous: make it so, or use Shard.None"
            );
        var slices = new List<PlannedSlice>[items.Count];
        for (var i = 0; i < slices.Length; i++)
            slices[i] = [];
        Cut(ranks, items, made, isVector, slices);
        Deal(ranks, items, made, slices);
        return new(ranks, shard, [.. items.Select((item, i) => new PlannedTensor(item.Name, item.Layout, made[i], [.. slices[i]]))]);
    }

    /// <summary>Cuts all sliced tensors, laid end to end, by the bytes of their state.</summary>
    private static void Cut(int ranks, IReadOnlyList<PlanItem> items, Division[] divisions, bool isVector, List<PlannedSlice>[] slices)
    {
        long Weight(int i) => isVector ? items[i].Layout.DType.Parts() : items[i].Weight;
        var total = Enumerable
            .Range(0, items.Count)
            .Where(i => divisions[i] == Division.Sliced)
            .Sum(i => items[i].Layout.Count * Weight(i));
        var (rank, before) = (0, 0L);
        for (var i = 0; i < items.Count; i++)
        {
            if (divisions[i] != Division.Sliced)
                continue;
            var (count, weight, start) = ((long)items[i].Layout.Count, Weight(i), 0L);
            // A rank goes on to the first end of a block at or behind its share.
            for (var at = 0L; at < count; )
            {
                while (
                    rank < ranks - 1
                    && (Int128)(before + at * weight) * ranks >= (Int128)total * (rank + 1)
                    && (!isVector || (before + at * weight) % Reduction.BlockLength == 0)
                )
                {
                    Take(i, start, at);
                    start = at;
                    rank++;
                }
                at = Math.Min(count, at + ToBlockEnd(before, at, weight));
            }
            Take(i, start, count);
            before += count * weight;
        }

        // Blocks are counted from each tensor's first element, and those of a vector over all from the first of all.
        long ToBlockEnd(long before, long at, long weight)
        {
            if (!isVector)
                return Reduction.BlockLength;
            var left = Reduction.BlockLength - (before + at * weight) % Reduction.BlockLength;
            // No complex number is cut in two.
            return left % weight == 0 ? left / weight : long.MaxValue - at;
        }

        void Take(int i, long from, long to)
        {
            if (to > from)
                slices[i].Add(new(rank, from, to - from));
        }
    }

    private static void Deal(int ranks, IReadOnlyList<PlanItem> items, Division[] divisions, List<PlannedSlice>[] slices)
    {
        var loads = new long[ranks];
        foreach (
            var i in Enumerable
                .Range(0, items.Count)
                .Where(i => divisions[i] == Division.Whole)
                .OrderByDescending(i => items[i].Layout.Count)
                .ThenBy(i => i)
        )
        {
            var rank = Array.IndexOf(loads, loads.Min());
            loads[rank] += items[i].Layout.Count;
            slices[i].Add(new(rank, 0, items[i].Layout.Count));
        }
    }

    /// <summary>Elements that a rank steps.</summary>
    public long ElementsOf(int rank) => Tensors.Sum(tensor => tensor.SliceOf(rank).Length);

    /// <summary>Whether both divide the same tensors in the same way.</summary>
    public bool Equals(ShardPlan? other) =>
        other is not null && Ranks == other.Ranks && Shard == other.Shard && Tensors.SequenceEqual(other.Tensors);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as ShardPlan);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Ranks, Shard, Tensors.Length);

    /// <summary>A line for each tensor: its name, dtype and shape, and who steps what.</summary>
    public override string ToString()
    {
        var text = new StringBuilder(
            FormattableString.Invariant($"{Ranks} ranks, Shard.{Shard}, {Tensors.Sum(tensor => (long)tensor.Layout.Count)} elements")
        );
        foreach (var tensor in Tensors)
        {
            text.Append(FormattableString.Invariant($"\n  {tensor.Name}: {tensor.Layout}"));
            text.Append(
                tensor.Division switch
                {
                    Division.Replicated => ", all of it on every rank",
                    Division.Whole => FormattableString.Invariant($", whole on rank {tensor.Slices[0].Rank}"),
                    _ => string.Concat(
                        tensor.Slices.Select(slice =>
                            FormattableString.Invariant($", [{slice.Offset}, {slice.Offset + slice.Length}) on rank {slice.Rank}")
                        )
                    ),
                }
            );
        }
        return text.ToString();
    }
}
