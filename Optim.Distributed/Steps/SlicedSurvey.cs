using Optim.Core;
using Optim.Kernels;

namespace Optim.Distributed;

/// <summary>
/// Norms over gradients of which every rank has a part: ranks send what the blocks of their slices come to, a number for 4096 elements, and each joins all
/// of them by the tree of a whole tensor, so that the norm has the bits of one process.
/// </summary>
internal sealed class SlicedSurvey(World world, Func<IEnumerable<IEnumerable<SharedTensor>>> groups) : SlicesAcross
{
    private const string Operation = "norm of gradients";

    private (SharedTensor Tensor, int Here, TensorView Values)[] found = [];

    public override (int, int)[] Begin((int, int)[] here, TensorView[] slices, bool[] areSparse)
    {
        var places = new List<(int List, int Row)>();
        var tensors = new List<(SharedTensor Tensor, int Here)>();
        foreach (var (group, list) in groups().Select((group, list) => (group, list)))
        foreach (var (tensor, row) in group.Select((tensor, row) => (tensor, row)))
        {
            places.Add((list, row));
            tensors.Add((tensor, Array.IndexOf(here, (list, row))));
        }
        // A rank does not see whether there is a gradient of which it has no elements.
        var flags = tensors.Select(each => each.Here >= 0).Concat(tensors.Select(each => each.Here >= 0 && areSparse[each.Here]));
        var are = world.AnyOf("which gradients are there", [.. flags]);
        found =
        [
            .. tensors
                .Select((each, i) => (each.Tensor, each.Here, IsHere: are[i], IsSparse: are[tensors.Count + i]))
                .Where(each => each.IsHere)
                .Select(each =>
                    (each.Tensor, each.Here, each.IsSparse ? Values(each.Tensor, each.Here < 0 ? default : slices[each.Here]) : default)
                ),
        ];
        return [.. places.Where((_, i) => are[i])];
    }

    /// <summary>The values of all rows of a sparse gradient: their blocks are not those of the parameter.</summary>
    private TensorView Values(SharedTensor tensor, TensorView own)
    {
        var bytes =
            own.IsAbsent ? []
            : own.InOrder() is var ordered ? ordered.Bytes(0, (int)(own.Count * own.DType.Size())).AsSpan<byte>().ToArray()
            : [];
        byte[] all = [.. world.Exchange(Operation, bytes).SelectMany(each => each)];
        var dtype = tensor.Plan!.Layout.DType;
        var values = TensorView.Zeros(dtype, all.Length / dtype.Size());
        all.CopyTo(values.Bytes(0, all.Length).AsSpan<byte>());
        return values;
    }

    public override void Reduce(Reduction reduction, TensorView[] slices, double[] results, Executor executor, double factor)
    {
        var blocks = reduction.Blocks(slices, executor, factor);
        var starts = new int[slices.Length + 1];
        for (var i = 0; i < slices.Length; i++)
            starts[i + 1] = starts[i] + (int)reduction.BlocksOf(slices[i].DType, slices[i].Count);
        var (mine, counts) = (new List<double>(), new int[world.Size]);
        foreach (var (tensor, here, values) in found)
        {
            if (!values.IsAbsent)
                continue;
            foreach (var slice in tensor.Plan!.Slices)
                counts[slice.Rank] += (int)reduction.BlocksOf(tensor.Plan.Layout.DType, (nint)slice.Length);
            if (here >= 0 && tensor.Plan.Division != Division.Replicated)
                mine.AddRange(blocks[starts[here]..starts[here + 1]]);
        }
        var all = world.GatherNumbers(Operation, [.. mine], counts);
        var next = new int[world.Size];
        for (var i = 0; i < found.Length; i++)
        {
            var (tensor, here, values) = found[i];
            if (!values.IsAbsent)
            {
                reduction.Each([values], results.AsSpan(i, 1), executor, factor);
                continue;
            }
            if (tensor.Plan!.Division == Division.Replicated)
            {
                results[i] = reduction.Join(blocks.AsSpan(starts[here]..starts[here + 1]));
                continue;
            }
            var joined = new List<double>();
            foreach (var slice in tensor.Plan.Slices)
            {
                var count = (int)reduction.BlocksOf(tensor.Plan.Layout.DType, (nint)slice.Length);
                joined.AddRange(all[slice.Rank].AsSpan(next[slice.Rank], count));
                next[slice.Rank] += count;
            }
            results[i] = reduction.Join([.. joined]);
        }
    }
}

/// <summary>Dot products and largest elements of vectors over all parameters, of which every rank has a slice.</summary>
internal sealed class SlicedVectors(World world, int[] blocksOfRanks) : VectorsAcross
{
    public override double Join(Reduction reduction, double[] blocks) =>
        reduction.Join([.. world.GatherNumbers("sum over a vector", blocks, blocksOfRanks).SelectMany(each => each)]);
}
