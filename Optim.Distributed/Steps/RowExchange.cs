using Optim.Core;
using Optim.Kernels;

namespace Optim.Distributed;

/// <summary>Sparse gradients over all ranks: every rank gets the rows of all, and sums them by the tree by which dense ones are summed, with their bits.</summary>
internal static class RowExchange
{
    private const string Operation = "rows of sparse gradients";

    /// <summary>The sum over all ranks, with each row once and in order.</summary>
    /// <param name="world">The ranks.</param>
    /// <param name="parameter">Of which parameter it is.</param>
    /// <param name="local">The gradient of this rank; absent for none.</param>
    /// <exception cref="WorldException">The ranks have indices of different numbers of dimensions.</exception>
    public static Gradient Sum(World world, PlannedTensor parameter, Gradient local)
    {
        local = local.Coalesce();
        var isHere = local.Kind == GradientKind.Sparse;
        double[] shape = isHere ? [local.Rows.Shape[^1], SparseRows.IndexDimensions(local.Rows)] : [0, 0];
        var shapes = world.GatherNumbers(Operation, shape, [.. Enumerable.Repeat(2, world.Size)]);
        var dimensions = shapes.Select(each => (int)each[1]).Where(each => each > 0).Distinct().ToArray();
        if (dimensions.Length > 1)
            throw world.Fail(
                Operation,
                null,
                FormattableString.Invariant(
                    $"'{parameter.Name}' has sparse gradients whose indices have {string.Join(" and ", dimensions)} dimensions; all ranks must have the same"
                )
            );
        var parts = Array.ConvertAll(shapes, each => new Rows(parameter.Layout, (long)each[0], dimensions[0]));
        var offsets = new nint[world.Size + 1];
        for (var place = 0; place < world.Size; place++)
            offsets[place + 1] = offsets[place] + parts[world.Tree.Order[place]].Bytes;
        var buffer = TensorView.Zeros(DType.UInt8, offsets[^1]);
        nint AddressOf(int rank) => buffer.Address + offsets[world.Tree.PlaceOf(rank)];
        if (isHere)
            parts[world.Rank].Write(local, AddressOf(world.Rank));
        if (buffer.Count > 0)
            world.Wait(world.Gather(Operation, null, buffer, offsets));
        var sum = world.Tree.Join([.. parts.Select((part, rank) => part.Read(AddressOf(rank), buffer.Owner))], Sums.Add);
        // In memory of its own.
        return sum.Coalesce();
    }

    /// <summary>Some rows of a gradient, as they are sent: indices, and values after them.</summary>
    private readonly record struct Rows(Layout Parameter, long Count, int Dimensions)
    {
        private Layout Indices => Layout.Contiguous(DType.Int64, Dimensions == 1 ? [Count] : [Dimensions, Count]);

        private Layout Values => Layout.Contiguous(Parameter.DType, [Count, .. Parameter.Shape.AsSpan()[Dimensions..]]);

        public nint Bytes => (Indices.Count * sizeof(long) + Values.Count * Parameter.DType.Size() + 7) / 8 * 8;

        public void Write(Gradient rows, nint address)
        {
            var (indices, values) = (rows.Rows.InOrder(), rows.Values.InOrder());
            var ofIndices = Indices.Count * sizeof(long);
            Sums.Copy(indices.Address, address, ofIndices);
            Sums.Copy(values.Address, address + ofIndices, Values.Count * Parameter.DType.Size());
            GC.KeepAlive((indices.Owner, values.Owner));
        }

        public Gradient Read(nint address, object? owner) =>
            Gradient.OfSparse(new(address, Indices, owner), new(address + Indices.Count * sizeof(long), Values, owner));
    }
}
