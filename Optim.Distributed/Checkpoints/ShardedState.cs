using System.Collections.Immutable;
using System.Text;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Distributed;

/// <summary>
/// The state dict of an optimizer whose state is spread over ranks, as one process would have it: rows that are divided stand in it as tensors whose elements
/// are gathered when they are read.
/// </summary>
internal sealed class ShardedState(Sharded sharded)
{
    private static readonly string[] vectors = ["d", "prev_flat_grad", "old_dirs", "old_stps"];
    private readonly World world = sharded.World;
    private readonly Optimizer optimizer = sharded.Optimizer;

    /// <summary>The tensors that are gathered, in the same order on every rank.</summary>
    public List<GatheredMemory> Gathered { get; } = [];

    /// <summary>The whole dict; every rank calls it.</summary>
    public StateDict Write()
    {
        var dict = optimizer.StateDict();
        if (world.Size == 1)
            return dict;
        var whole = new StateDict();
        if (optimizer is CompositeOptimizer composite)
            foreach (var (name, member) in dict.Members)
                whole.Members[name] = Whole(member, [.. composite.GroupsOf(name).SelectMany(Rows)]);
        else
            whole = Whole(dict, [.. optimizer.ParamGroups.SelectMany(Rows)]);
        whole.Accumulation = Accumulation(dict.Accumulation, [.. optimizer.ParamGroups.SelectMany(Rows)]);
        return whole;
    }

    private static IEnumerable<(SharedTensor, Algorithm)> Rows(ParameterGroup group) =>
        group.Parameters.Select(parameter => ((SharedTensor)parameter, group.Algorithm!));

    private StateDict Whole(StateDict dict, IReadOnlyList<(SharedTensor Tensor, Algorithm Algorithm)> rows)
    {
        var whole = new StateDict();
        whole.ParamGroups.AddRange(dict.ParamGroups);
        var dealt = Dealt(dict, rows);
        for (var id = 0; id < rows.Count; id++)
        {
            var (tensor, algorithm) = rows[id];
            var local = dict.State.GetValueOrDefault(id);
            var state =
                tensor.Plan!.Division == Division.Whole
                    ? Row(tensor, dealt[tensor.Slice.Length > 0 ? world.Rank : OwnerOf(tensor)].GetValueOrDefault(id), local)
                : algorithm is Rule rule ? Row(tensor, rule, local)
                : Vectors(tensor, local);
            if (state is { Count: > 0 })
                whole.State[id] = state;
        }
        return whole;
    }

    private static int OwnerOf(SharedTensor tensor) => tensor.Plan!.Slices is [var slice, ..] ? slice.Rank : 0;

    /// <summary>A row of a rule that goes element by element.</summary>
    private ParameterState? Row(SharedTensor tensor, Rule rule, ParameterState? local)
    {
        if (local is null || tensor.Plan!.Division == Division.Replicated)
            return local;
        var state = new ParameterState();
        foreach (var (key, value) in local)
            state[key] =
                value is Tree.Tensor { Item: var view } && Whole(tensor, rule, key, view) is var whole && !whole.IsAbsent
                    ? Tree.NewTensor(whole)
                    : value;
        return state;
    }

    /// <summary>Of a slice's elements, codes or scales of blocks those of the whole parameter; absent for what is no part of one.</summary>
    private TensorView Whole(SharedTensor tensor, Rule rule, string key, TensorView own)
    {
        var length = (nint)tensor.Slice.Length;
        if (NarrowTrees.isScales(rule.ColumnNames, key))
            return own.Count == NarrowKinds.Blocks(length)
                ? Gather(StateStorage.BlockLength, [NarrowKinds.Blocks(tensor.Plan!.Layout.Count)])
                : default;
        var isOfElements = rule.ColumnNames.Contains(key) || NarrowTrees.columnOf(rule.ColumnNames, key) is not null;
        return isOfElements && own.Count == length ? Gather(1, tensor.Plan!.Layout.Shape.AsSpan()) : default;

        // One for so many elements; slices of narrow state begin with a block.
        TensorView Gather(int block, ReadOnlySpan<long> shape)
        {
            var size = own.DType.Size();
            return Add(
                Layout.Contiguous(own.DType, shape),
                [
                    .. tensor.Plan.Slices.Select(slice =>
                        (slice.Rank, slice.Offset / block * size, (slice.Length + block - 1) / block * size)
                    ),
                ],
                own
            );
        }
    }

    private TensorView Add(Layout layout, IReadOnlyList<(int, long, long)> slices, TensorView own)
    {
        var memory = new GatheredMemory(slices, own.IsAbsent ? own : own.InOrder());
        Gathered.Add(memory);
        return new(0, layout, memory);
    }

    /// <summary>The vectors of LBFGS, which stand on the first parameter.</summary>
    private ParameterState? Vectors(SharedTensor tensor, ParameterState? local)
    {
        if (local is null || tensor.Vector.All == 0)
            return local;
        var state = new ParameterState();
        var lengths = world
            .GatherNumbers("save", [tensor.Vector.Length], [.. Enumerable.Repeat(1, world.Size)])
            .Select(each => (long)each[0]);
        long[] all = [.. lengths];
        foreach (var (key, value) in local)
            state[key] = vectors.Contains(key) ? Vector(value) : value;
        return state;

        Tree Vector(Tree value) =>
            value switch
            {
                Tree.List { Item: var items } => Tree.ListOf(items.Select(Vector)),
                Tree.Tensor { Item: var own } => Tree.NewTensor(
                    Add(
                        Layout.Contiguous(own.DType, tensor.Vector.All),
                        [.. all.Select((length, rank) => (rank, all.Take(rank).Sum() * own.DType.Size(), length * own.DType.Size()))],
                        own
                    )
                ),
                _ => value,
            };
    }

    private Tree Accumulation(Tree accumulation, IReadOnlyList<(SharedTensor Tensor, Algorithm Algorithm)> rows)
    {
        if (accumulation.IsNone)
            return accumulation;
        var sums = accumulation["gradients"].AsMap();
        var are = world.AnyOf("save", [.. rows.Select((_, id) => sums.ContainsKey(id))]);
        var areSparse = world.AnyOf("save", [.. rows.Select((_, id) => sums.TryGetValue(id, out var sum) && sum.Kind == TreeKind.Map)]);
        if (Array.IndexOf(areSparse, true) is >= 0 and var sparse)
            throw new NotSupportedException(
                $"{rows[sparse].Tensor.Label} has sparse gradients that calls have added up: over several ranks those are not saved; save after the step that takes them"
            );
        var entries = new List<KeyValuePair<TreeKey, Tree>>();
        for (var id = 0; id < rows.Count; id++)
        {
            if (!are[id])
                continue;
            var tensor = rows[id].Tensor;
            var local = sums.TryGetValue(id, out var found) ? found : Tree.None;
            var own = local is Tree.Tensor { Item: var view } ? view : default;
            entries.Add(
                KeyValuePair.Create(
                    (TreeKey)id,
                    tensor.Plan!.Division == Division.Replicated
                        ? local
                        : Tree.NewTensor(
                            Add(
                                Layout.Contiguous(tensor.Plan.Layout.DType, tensor.Plan.Layout.Shape.AsSpan()),
                                [
                                    .. tensor.Plan.Slices.Select(slice =>
                                        (
                                            slice.Rank,
                                            slice.Offset * tensor.Plan.Layout.DType.Size(),
                                            slice.Length * tensor.Plan.Layout.DType.Size()
                                        )
                                    ),
                                ],
                                own
                            )
                        )
                )
            );
        }
        return Tree.Dict(
            ("calls", accumulation["calls"]),
            ("loss_scale", accumulation["loss_scale"]),
            ("gradients", Tree.MapOf(MapKind.Dict, entries))
        );
    }

    /// <summary>A row that one rank has, by what that one tells of it; what users keep beside it every rank has itself.</summary>
    private ParameterState? Row(SharedTensor tensor, List<Entry>? entries, ParameterState? local)
    {
        var isHere = tensor.IsWhole;
        var state = new ParameterState();
        foreach (var entry in entries ?? [])
            state[entry.Key] = entry.Kind switch
            {
                EntryKind.Number => Tree.NewTensor(TensorView.Of<double>([entry.Number], []).ConvertTo(entry.DType)),
                EntryKind.Whole => Tree.NewInt((long)entry.Number),
                EntryKind.Text => Tree.NewText(entry.Text),
                EntryKind.Tensor => Tree.NewTensor(
                    Add(
                        Layout.Contiguous(entry.DType, entry.Shape),
                        [(OwnerOf(tensor), 0, entry.Shape.Aggregate((long)entry.DType.Size(), (a, b) => a * b))],
                        isHere ? local![entry.Key].AsTensor() : default
                    )
                ),
                _ => local is not null && local.TryGetValue(entry.Key, out var own) ? own : Tree.None,
            };
        return state;
    }

    private enum EntryKind
    {
        Number,
        Whole,
        Tensor,
        Text,
        Other,
    }

    private sealed record Entry(string Key, EntryKind Kind, DType DType, long[] Shape, double Number, string Text);

    /// <summary>What every rank tells of the rows that it has as a whole.</summary>
    private List<Dictionary<int, List<Entry>>> Dealt(StateDict dict, IReadOnlyList<(SharedTensor Tensor, Algorithm Algorithm)> rows)
    {
        if (!rows.Any(row => row.Tensor.Plan!.Division == Division.Whole))
            return [.. Enumerable.Repeat(new Dictionary<int, List<Entry>>(), world.Size)];
        using var bytes = new MemoryStream();
        using (var writer = new BinaryWriter(bytes, Encoding.UTF8, leaveOpen: true))
            for (var id = 0; id < rows.Count; id++)
            {
                var (tensor, algorithm) = rows[id];
                if (tensor.Plan!.Division != Division.Whole || OwnerOf(tensor) != world.Rank || !dict.State.TryGetValue(id, out var state))
                    continue;
                writer.Write(id);
                writer.Write(state.Count);
                foreach (var (key, value) in state)
                    Write(writer, key, value, ((Rule)algorithm).ColumnNames);
            }
        return [.. world.Exchange("save", bytes.ToArray()).Select(Read)];
    }

    private static void Write(BinaryWriter writer, string key, Tree value, ImmutableArray<string> columns)
    {
        var isNarrow = NarrowTrees.columnOf(columns, key) is not null;
        var isColumn = columns.Contains(key) || isNarrow;
        var view = value is Tree.Tensor { Item: var found } ? found : default;
        writer.Write(key);
        writer.Write(
            (int)(
                !view.IsAbsent
                    ? isColumn
                        ? EntryKind.Tensor
                        : EntryKind.Number
                    : value is Tree.Int
                        ? EntryKind.Whole
                        : isNarrow && value is Tree.Text
                            ? EntryKind.Text
                            : EntryKind.Other
            )
        );
        writer.Write(view.IsAbsent ? 0 : (int)view.DType);
        long[] shape = view.IsAbsent ? [] : [.. view.Shape];
        writer.Write(shape.Length);
        foreach (var length in shape)
            writer.Write(length);
        writer.Write(
            value is Tree.Int { Item: var whole } ? whole
            : !view.IsAbsent && !isColumn ? view.ToDoubles()[0]
            : 0
        );
        writer.Write(isNarrow && value is Tree.Text { Item: var text } ? text : "");
    }

    private static Dictionary<int, List<Entry>> Read(byte[] bytes)
    {
        var found = new Dictionary<int, List<Entry>>();
        using var reader = new BinaryReader(new MemoryStream(bytes));
        while (reader.BaseStream.Position < bytes.Length)
        {
            var (id, count) = (reader.ReadInt32(), reader.ReadInt32());
            var entries = new List<Entry>();
            for (var i = 0; i < count; i++)
            {
                var (key, kind, dtype) = (reader.ReadString(), (EntryKind)reader.ReadInt32(), (DType)reader.ReadInt32());
                var shape = new long[reader.ReadInt32()];
                for (var k = 0; k < shape.Length; k++)
                    shape[k] = reader.ReadInt64();
                entries.Add(new(key, kind, dtype, shape, reader.ReadDouble(), reader.ReadString()));
            }
            found[id] = entries;
        }
        return found;
    }
}
