using Optim.Core;
using Optim.Kernels;

namespace Optim.Distributed;

/// <summary>
/// Parameters that were given together, with their plan: sums their gradients over all ranks, and hands out what each rank has made of its part. Some
/// buckets are under way at a time, so that memory for them does not grow with the model.
/// </summary>
internal sealed partial class Section
{
    private const int MostUnderWay = 4;

    private readonly World world;
    private readonly SharedTensor[] tensors;
    private readonly IReadOnlyList<Bucket> divided;

    /// <summary>Buckets of dense gradients, in the order in which they are sent, and those of which every rank needs all.</summary>
    private IReadOnlyList<Bucket> all = [];
    private IReadOnlyList<Bucket> replicated = [];
    private readonly long bucketBytes;
    private readonly int leaves;
    private readonly bool dropsGradients;
    private readonly Stack<TensorView> buffers = [];
    private readonly Queue<(Bucket Bucket, TensorView Buffer, Work Work, bool IsGather)> underWay = [];
    private readonly Gradient[] locals;
    private readonly bool[] areReady;
    private readonly bool[] areFound;
    private readonly bool[] areDropped;
    private int launched;

    /// <param name="world">The ranks.</param>
    /// <param name="plan">Who steps what.</param>
    /// <param name="tensors">The tensors of the plan.</param>
    /// <param name="leaves">Into how many leaves a batch is cut.</param>
    /// <param name="bucketBytes">Bytes of a bucket, about.</param>
    public Section(World world, ShardPlan plan, SharedTensor[] tensors, int leaves, long bucketBytes)
    {
        (this.world, Plan, this.tensors, this.leaves, this.bucketBytes) = (world, plan, tensors, leaves, bucketBytes);
        (divided, _) = Bucket.Of(plan, world.Tree, bucketBytes);
        dropsGradients = plan.Shard == Shard.Gradients;
        (locals, areReady) = (new Gradient[tensors.Length], new bool[tensors.Length]);
        (areFound, areDropped) = (new bool[tensors.Length], new bool[tensors.Length]);
        for (var i = 0; i < tensors.Length; i++)
            tensors[i].Divide(plan.Tensors[i], world.Rank);
        FillBuckets();
    }

    /// <summary>Buckets of what is not known to have sparse gradients.</summary>
    private void FillBuckets() => Fill(i => !tensors[i].IsSparse);

    private void Fill(Predicate<int> takes)
    {
        (var owned, replicated) = Bucket.Of(Plan, world.Tree, bucketBytes, takes);
        all = [.. owned.Concat(replicated).OrderByDescending(bucket => bucket.Tensors.DefaultIfEmpty().Max())];
    }

    public ShardPlan Plan { get; }

    public IReadOnlyList<SharedTensor> Tensors => tensors;

    private bool HasLeaves => leaves > world.Size;

    /// <summary>Says that a gradient is as it will be summed, and sends the buckets that are complete.</summary>
    public void Ready(SharedTensor tensor)
    {
        var number = Array.IndexOf(tensors, tensor);
        if (HasLeaves)
            tensor.AddLeaf();
        areReady[number] = true;
        while (launched < all.Count && Array.TrueForAll(all[launched].Tensors, each => areReady[each]))
            Launch();
        world.Poll();
    }

    /// <summary>Sums all gradients; each tensor has the mean of its part afterwards.</summary>
    /// <param name="loss">A number of this rank.</param>
    /// <returns>Its sum over all ranks, which goes with what they tell each other here.</returns>
    public double Collect(double loss)
    {
        if (world.Size == 1)
        {
            CollectAlone();
            return loss;
        }
        foreach (var tensor in tensors)
            tensor.SetRows(Gradient.Absent);
        LaunchAll();
        for (var i = 0; i < tensors.Length; i++)
            Find(i);
        var (are, sum) = world.AnyOf(
            "which gradients are there",
            [
                .. locals.Select((local, i) => areDropped[i] || local.Kind == GradientKind.Dense),
                .. locals.Select(local => local.Kind == GradientKind.Sparse),
            ],
            loss
        );
        for (var i = 0; i < tensors.Length; i++)
            tensors[i].IsPresent = are[i] || are[tensors.Length + i];
        FinishAll();
        // A rank without elements of a tensor has a mean of none.
        foreach (var tensor in tensors)
            if (tensor.Slice.Length == 0)
                tensor.Mean = tensor.Memory();
        CollectSparse(are.AsSpan(0, tensors.Length), are.AsSpan(tensors.Length));
        Forget();
        return sum;
    }

    private void LaunchAll()
    {
        while (launched < all.Count)
            Launch();
    }

    private void FinishAll()
    {
        while (underWay.Count > 0)
            Finish();
    }

    /// <summary>Sums what has not gone with the buckets: sparse gradients, and those that are sparse on some ranks and dense on others, all of them as dense ones.</summary>
    private void CollectSparse(ReadOnlySpan<bool> areDense, ReadOnlySpan<bool> areSparse)
    {
        var (late, changes) = (new HashSet<int>(), false);
        for (var i = 0; i < tensors.Length; i++)
        {
            var (tensor, isSparse) = (tensors[i], areSparse[i] && !areDense[i]);
            // Dense gradients are sums by now where they are dropped or have become the means.
            if (areSparse[i] && areDense[i] && (dropsGradients || !HasLeaves && Plan.Tensors[i].Division == Division.Replicated))
                throw world.Fail(
                    "sum of gradients",
                    null,
                    $"the gradient of {tensor.Label} is sparse on some ranks and dense on others, which Shard.{Plan.Shard} does not sum: make them of one kind, or use Shard.State"
                );
            if (areDense[i] && (areSparse[i] || tensor.IsSparse))
            {
                late.Add(i);
                if (locals[i].Kind == GradientKind.Sparse)
                    locals[i] = Gradient.OfDense(Sums.Dense(locals[i].Coalesce(), Plan.Tensors[i].Layout));
            }
            if (isSparse)
            {
                var sum = RowExchange.Sum(world, Plan.Tensors[i], locals[i]);
                Sums.Divide([sum.Values], leaves);
                tensor.SetRows(sum);
                if (dropsGradients)
                    tensor.Given.ZeroGradient(setToNone: true);
            }
            // Gradients of the next step are taken for such as these.
            if (tensor.IsPresent && tensor.IsSparse != isSparse)
                (tensor.IsSparse, changes) = (isSparse, true);
        }
        if (late.Count > 0)
        {
            launched = 0;
            Fill(late.Contains);
            LaunchAll();
            FinishAll();
        }
        if (late.Count > 0 || changes)
            FillBuckets();
    }

    private void Forget()
    {
        launched = 0;
        Array.Fill(locals, Gradient.Absent);
        Array.Clear(areFound);
        Array.Clear(areDropped);
        Array.Clear(areReady);
    }

    private void CollectAlone()
    {
        for (var i = 0; i < tensors.Length; i++)
        {
            Find(i);
            var local = locals[i];
            tensors[i].IsPresent = local.Kind != GradientKind.Absent;
            tensors[i].SetRows(local.Kind == GradientKind.Sparse ? local : Gradient.Absent);
            if (local.Kind == GradientKind.Absent)
                continue;
            Sums.Divide([local.Values], leaves);
            if (local.Kind == GradientKind.Sparse)
                continue;
            tensors[i].Mean = local.Values;
            // As with several ranks: the gradient that is there becomes the mean.
            if (!dropsGradients && tensors[i].Local() is { Kind: GradientKind.Dense } own && own.Values.Layout.IsContiguous)
            {
                own.Values.CopyFrom(local.Values);
                tensors[i].Mean = own.Values;
            }
        }
        Forget();
    }

    /// <summary>The sum of this rank's gradients of a tensor is looked for once.</summary>
    private void Find(int i)
    {
        if (areFound[i])
            return;
        locals[i] = HasLeaves ? tensors[i].TakeLeaves() : tensors[i].Local();
        areFound[i] = true;
    }

    private void Launch()
    {
        var bucket = all[launched++];
        if (underWay.Count >= MostUnderWay)
            Finish();
        var buffer = Buffer(bucket);
        foreach (var i in bucket.Tensors)
            Find(i);
        TensorView ordered = default;
        var orderedOf = -1;
        foreach (var piece in bucket.Pieces)
        {
            var target = piece.In(buffer);
            var local = locals[piece.Tensor];
            if (local.Kind != GradientKind.Dense)
            {
                Sums.FillWithNothing(target);
                continue;
            }
            if (orderedOf != piece.Tensor)
                (ordered, orderedOf) = (local.Values.InOrder(), piece.Tensor);
            Sums.Copy(ordered.Address + piece.Offset * piece.DType.Size(), target.Address, piece.Bytes);
        }
        GC.KeepAlive(ordered.Owner);
        underWay.Enqueue(
            (bucket, buffer, world.ReduceScatter("sum of gradients", bucket.Number, buffer, bucket.Offsets(), Add(bucket, buffer)), false)
        );
        if (dropsGradients)
            Drop(bucket);
    }

    /// <summary>What no later bucket needs is given back, as it is on its way.</summary>
    private void Drop(Bucket bucket)
    {
        foreach (var i in bucket.Tensors)
            if (locals[i].Kind == GradientKind.Dense && !all.Skip(launched).Any(later => later.Tensors.Contains(i)))
            {
                (locals[i], areDropped[i]) = (Gradient.Absent, true);
                tensors[i].Given.ZeroGradient(setToNone: true);
            }
    }

    private static Action<nint, nint, TensorView, bool> Add(Bucket bucket, TensorView buffer) =>
        (from, to, scratch, isLeft) =>
        {
            var pieces = bucket.Between(from, to).ToArray();
            var here = Array.ConvertAll(pieces, piece => piece.In(buffer));
            var there = Array.ConvertAll(
                pieces,
                piece => new TensorView(scratch.Address + piece.At - from, Layout.Contiguous(piece.DType, piece.Length), scratch.Owner)
            );
            if (isLeft)
                Sums.Add(here, there);
            else
            {
                Sums.Add(there, here);
                Sums.Copy(scratch.Address, buffer.Address + from, to - from);
            }
        };

    /// <summary>Waits for the bucket that was sent first, and takes it.</summary>
    private void Finish()
    {
        var (bucket, buffer, work, isGather) = underWay.Dequeue();
        world.Wait(work);
        if (isGather)
        {
            TakeAll(bucket, buffer);
            buffers.Push(buffer);
            return;
        }
        var own = Array.FindAll(bucket.Pieces, piece => piece.Owner == world.Rank);
        Sums.Divide(Array.ConvertAll(own, piece => piece.In(buffer)), leaves);
        if (replicated.Contains(bucket))
        {
            underWay.Enqueue((bucket, buffer, world.Gather("means of gradients", bucket.Number, buffer, bucket.Offsets()), true));
            return;
        }
        foreach (var piece in own)
        {
            var tensor = tensors[piece.Tensor];
            tensor.Mean = tensor.Memory();
            Sums.Copy(
                buffer.Address + piece.At,
                tensor.Mean.Address + (piece.Offset - (nint)tensor.Slice.Offset) * piece.DType.Size(),
                piece.Bytes
            );
        }
        buffers.Push(buffer);
    }

    /// <summary>Means of which every rank needs all go to where the gradient is, so that it is as after a step of one process.</summary>
    private void TakeAll(Bucket bucket, TensorView buffer)
    {
        foreach (var piece in bucket.Pieces)
        {
            var tensor = tensors[piece.Tensor];
            var own =
                dropsGradients ? Gradient.Absent
                : HasLeaves ? tensor.Local()
                : locals[piece.Tensor];
            var target = own.Kind == GradientKind.Dense && own.Values.Layout.IsContiguous ? own.Values : tensor.Memory();
            tensor.Mean = target;
            Sums.Copy(buffer.Address + piece.At, target.Address + piece.Offset * piece.DType.Size(), piece.Bytes);
        }
    }

    private TensorView Buffer(Bucket bucket)
    {
        while (buffers.TryPop(out var buffer))
            if (buffer.Count >= bucket.Bytes)
                return buffer;
        return TensorView.Zeros(DType.UInt8, bucket.Bytes);
    }
}
