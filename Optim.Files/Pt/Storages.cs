using System.Collections.Immutable;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>Where a tensor lies in a file.</summary>
/// <param name="Storage">The number of its storage.</param>
/// <param name="Offset">Elements before its first.</param>
/// <param name="Strides">Elements between neighbours.</param>
internal readonly record struct Placement(int Storage, long Offset, ImmutableArray<long> Strides);

/// <summary>
/// Divides the tensors of a tree among storages: tensors that overlap share one, as they do in memory, and every other has its own.
/// </summary>
internal sealed class Storages
{
    private readonly Dictionary<(object? Owner, nint Address, Layout Layout), Placement> placements = [];

    public Storages(Tree tree)
    {
        var views = new List<TensorView>();
        Collect(tree, "the tree", views, new(ReferenceEqualityComparer.Instance));
        // Where a tensor without elements lies is chance, so all of a dtype share a storage without bytes.
        foreach (var group in views.Where(view => view.Count == 0).GroupBy(view => view.DType))
        {
            foreach (var view in group)
                placements[Key(view)] = new(All.Count, 0, view.Strides);
            All.Add((Bytes(0, 0, null), group.Key));
        }
        // Memory has one address space; what is deferred counts from the beginning of its owner.
        foreach (var group in views.Where(view => view.Count > 0).GroupBy(view => (view.DType, view.Owner as DeferredMemory)))
            Divide([.. group.OrderBy(view => view.Address)]);
        // Numbered as they come in the tree, not as they lie in memory: the same content gives the same file.
        var order = views.Select(view => placements[Key(view)].Storage).Distinct().ToList();
        var places = order.Select((storage, i) => (storage, i)).ToDictionary(pair => pair.storage, pair => pair.i);
        All = [.. order.Select(storage => All[storage])];
        foreach (var (key, placement) in placements.ToList())
            placements[key] = placement with { Storage = places[placement.Storage] };
    }

    /// <summary>The bytes of each, and the dtype.</summary>
    public List<(TensorView Bytes, DType DType)> All { get; private set; } = [];

    public Placement Of(TensorView view) => placements[Key(view)];

    private static (object?, nint, Layout) Key(TensorView view) =>
        view.Count == 0 ? (null, 0, view.Layout) : (view.Owner as DeferredMemory, view.Address, view.Layout);

    private static void Collect(Tree tree, string where, List<TensorView> views, HashSet<object> seen)
    {
        switch (tree)
        {
            case Tree.Tensor { Item: var view }:
                if (!view.Layout.IsOnCpu)
                    throw new NotSupportedException($"{where} lies on {view.Device}; copy it to the cpu to save it");
                views.Add(view);
                break;
            case Tree.Tagged { Name: var name } when !PickleNames.IsKnown(name):
                throw new ArgumentException(
                    $"{where} is {Readable.Text(tree.Described)}, a value that Optim keeps and does not write: it is none that torch.load reads with weights_only"
                );
            case Tree.List or Tree.Tuple or Tree.Map or Tree.Tagged when !seen.Add(tree):
                break;
            case Tree.Map map:
                foreach (var (key, value) in map.Item.Entries)
                {
                    if (key.IsOther)
                        Collect(key.Tree, $"a key of {where}", views, seen);
                    Collect(value, $"{where}[{key}]", views, seen);
                }
                break;
            case Tree.List or Tree.Tuple or Tree.Tagged:
                foreach (var (item, i) in SharedNodes.Children(tree).Select((item, i) => (item, i)))
                    Collect(item, $"{where}[{i}]", views, seen);
                break;
        }
    }

    private void Divide(List<TensorView> views)
    {
        for (var first = 0; first < views.Count; )
        {
            var (next, end) = (first + 1, End(views[first]));
            for (; next < views.Count && views[next].Address < end; next++)
                end = Math.Max(end, End(views[next]));
            Add(views.GetRange(first, next - first), end);
            first = next;
        }
    }

    private void Add(List<TensorView> views, nint end)
    {
        var (start, size) = (views[0].Address, views[0].DType.Size());
        var alone = views.TrueForAll(view => Key(view) == Key(views[0]));
        if (alone && !views[0].Layout.IsDense && (end - start) / size > views[0].Count)
        {
            // A window of something larger, with gaps: only its own elements are written.
            var copy = views[0].Copy();
            placements[Key(views[0])] = new(All.Count, 0, copy.Strides);
            All.Add((Bytes(copy.Address, copy.Count * size, copy.Owner), copy.DType));
            return;
        }
        // Overlaps that are not whole elements apart cannot share a storage.
        foreach (var apart in views.GroupBy(view => (view.Address - start) % size))
        {
            var from = start + apart.Key;
            foreach (var view in apart)
                placements[Key(view)] = new(All.Count, (view.Address - from) / size, view.Strides);
            var bytes = apart.Max(End) - from;
            All.Add((Bytes(from, bytes, views[0].Owner), views[0].DType));
        }
    }

    private static TensorView Bytes(nint address, nint count, object? owner) => new(address, Layout.Contiguous(DType.UInt8, count), owner);

    private static nint End(TensorView view)
    {
        var last = 0L;
        for (var i = 0; i < view.Shape.Length; i++)
            last += (view.Shape[i] - 1) * view.Strides[i];
        return checked(view.Address + (nint)(last + 1) * view.DType.Size());
    }
}
