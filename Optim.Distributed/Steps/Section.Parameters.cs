using Optim.Kernels;

namespace Optim.Distributed;

// How parameters go to all ranks, after steps and at the beginning.
internal sealed partial class Section
{
    /// <summary>Gives every rank what the others have made of their parts.</summary>
    public void Publish()
    {
        if (world.Size == 1)
            return;
        Send(divided, "parameters");
        foreach (var tensor in tensors)
            if (!tensor.IsWhole)
                tensor.Given.AfterStep();
    }

    /// <summary>Every rank begins with the parameters of the first one.</summary>
    public void Begin()
    {
        if (world.Size == 1)
            return;
        Send(Bucket.From(0, Plan, world.Tree, bucketBytes), "first parameters");
        foreach (var tensor in tensors)
            tensor.Given.AfterStep();
    }

    private void Send(IReadOnlyList<Bucket> buckets, string operation)
    {
        var sent = new Queue<(Bucket Bucket, TensorView Buffer, Work Work)>();
        var data = Array.ConvertAll(tensors, tensor => tensor.Given.Data);
        foreach (var bucket in buckets)
        {
            if (sent.Count >= MostUnderWay)
                Take();
            var buffer = Buffer(bucket);
            foreach (var piece in bucket.Pieces)
                if (piece.Owner == world.Rank)
                {
                    var ordered = data[piece.Tensor].InOrder();
                    Sums.Copy(ordered.Address + piece.Offset * piece.DType.Size(), buffer.Address + piece.At, piece.Bytes);
                    GC.KeepAlive(ordered.Owner);
                }
            sent.Enqueue((bucket, buffer, world.Gather(operation, bucket.Number, buffer, bucket.Offsets())));
        }
        while (sent.Count > 0)
            Take();

        void Take()
        {
            var (bucket, buffer, work) = sent.Dequeue();
            world.Wait(work);
            foreach (var piece in bucket.Pieces)
                if (piece.Owner != world.Rank)
                {
                    var target = data[piece.Tensor];
                    if (target.Layout.IsContiguous)
                        Sums.Copy(buffer.Address + piece.At, target.Address + piece.Offset * piece.DType.Size(), piece.Bytes);
                    else
                        Scatter(piece, buffer, target);
                }
            buffers.Push(buffer);
        }
    }

    /// <summary>All elements of a tensor, to where they lie in another order or with gaps.</summary>
    private static void Scatter(Piece piece, TensorView buffer, TensorView target) =>
        target.CopyFrom(new(buffer.Address + piece.At, Layout.Contiguous(piece.DType, target.Shape.AsSpan()), buffer.Owner));
}
