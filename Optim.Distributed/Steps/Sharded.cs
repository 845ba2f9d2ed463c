using Optim.Core;
using Optim.Kernels;

namespace Optim.Distributed;

/// <summary>
/// An optimizer that all ranks of a world step together. Each has the model and works on its rows of a batch; gradients are averaged over all ranks, each
/// rank steps its part of the parameters, and all have them afterwards:
/// <code>
/// using var world = World.Join(TimeSpan.FromSeconds(60));
/// var sharded = Sharded.Over(world, parameters, given => new AdamW(given, lr: 1e-3));
/// foreach (var batch in batches)
///     foreach (var leaf in sharded.Leaves(batch.Count))
///     {
///         sharded.ZeroGrad();
///         Backward(batch[leaf.Rows], leaf.Weight);
///         sharded.AddLeaf();
///     }
///     sharded.Step();
/// </code>
/// <see cref="Optimizer"/> is what was made, and takes schedulers, hooks, a GradScaler, clipping and averages as in one process.
/// </summary>
/// <remarks>
/// Bits. A batch is cut into leaves, a power of two for each rank, and their gradients are summed by one fixed tree. The same leaves give the same bits on
/// 1, 2, 4, 8 ... ranks, sharded or not; other numbers of ranks give the same bits each time. A parameter without a gradient on every rank is passed over,
/// and where some have one it counts as zero on the others.
///
/// State. Of rules that go element by element each rank keeps a slice of all parameters laid end to end, and of those that make a number of all parameters
/// together (Prodigy, D-Adaptation), too: the number goes over all ranks. Parameters of rules that look at whole tensors (Muon, Adafactor, SOAP) are dealt
/// out. LBFGS is cut as a vector, and its dot products go over all ranks.
///
/// Sparse gradients are summed row by row, for rules that take them. SAM and WSAM go around <see cref="Optimizer"/>; their closures work out the gradients
/// of this rank's leaves.
/// </remarks>
public sealed partial class Sharded : IStateful
{
    private readonly List<Section> sections = [];
    private readonly Stack<(int Level, double Loss)> losses = [];
    private readonly long bucketBytes;
    private readonly SlicedSurvey survey;
    private bool isCollected;
    private double? sumOfLosses;
    private int leavesAdded;

    private Sharded(
        World world,
        IReadOnlyList<IParameterOrGroup> given,
        Func<IReadOnlyList<IParameterOrGroup>, Optimizer> make,
        Shard shard,
        int leaves,
        long bucketBytes
    )
    {
        (World, Shard, LeafCount, this.bucketBytes) = (world, shard, leaves, bucketBytes);
        Optimizer = make([.. given.Select(Shared)]);
        ArgumentNullException.ThrowIfNull(Optimizer, "what make returns");
        survey = new(world, () => Optimizer.ParamGroups.Select(group => group.Parameters.Cast<SharedTensor>()));
        Divide(0);
        Optimizer.Ranks = new Ranks(this);
    }

    /// <summary>An optimizer over all ranks.</summary>
    /// <param name="world">The ranks; each calls this with parameters of the same names, shapes and dtypes in the same order. All begin with the elements of rank 0.</param>
    /// <param name="parameters">Parameters, or groups of them with options of their own; those of a TorchSharp module, too.</param>
    /// <param name="make">Makes the optimizer from what it is given: parameters or groups that stand for these, in the same order.</param>
    /// <param name="shard">What each rank has a part of only.</param>
    /// <param name="leaves">Into how many leaves a batch is cut: a power of two for each rank; one for each rank when null.</param>
    /// <param name="bucketBytes">About how many bytes are sent together; at least 1.</param>
    /// <exception cref="ArgumentException">The leaves are no power of two for each rank; the optimizer has other parameters than it was given.</exception>
    /// <exception cref="WorldException">The ranks differ in parameters, rule, options, or in how they are divided; the message says where.</exception>
    /// <exception cref="NotSupportedException">A parameter lies on another device.</exception>
    public static Sharded Over(
        World world,
        IEnumerable<IParameterOrGroup> parameters,
        Func<IReadOnlyList<IParameterOrGroup>, Optimizer> make,
        Shard shard = Shard.State,
        int? leaves = null,
        long bucketBytes = 25 << 20
    )
    {
        ArgumentNullException.ThrowIfNull(world);
        ArgumentNullException.ThrowIfNull(parameters);
        ArgumentNullException.ThrowIfNull(make);
        ArgumentOutOfRangeException.ThrowIfLessThan(bucketBytes, 1);
        return new(world, [.. parameters], make, shard, CheckedLeaves(leaves ?? world.Size, world.Size), bucketBytes);
    }

    /// <summary>Leaves of which each rank has a power of two.</summary>
    /// <exception cref="ArgumentException">They are not such.</exception>
    internal static int CheckedLeaves(int leaves, int ranks) =>
        leaves > 0 && leaves % ranks == 0 && int.IsPow2(leaves / ranks)
            ? leaves
            : throw new ArgumentException(
                FormattableString.Invariant(
                    $"{leaves} leaves for {ranks} ranks; there must be a power of two for each rank: {ranks}, {2 * ranks}, {4 * ranks}, ..."
                ),
                nameof(leaves)
            );

    /// <summary>The ranks.</summary>
    public World World { get; }

    /// <summary>The optimizer that was made; its steps are those of all ranks.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>What each rank has a part of only.</summary>
    public Shard Shard { get; }

    /// <summary>Into how many leaves a batch is cut, over all ranks.</summary>
    public int LeafCount { get; }

    /// <summary>Who steps what: a plan for the parameters of the constructor, and one for each group that was added.</summary>
    public IReadOnlyList<ShardPlan> Plans => [.. sections.Select(section => section.Plan)];

    /// <summary>The parameters as they were given, in the order of the groups.</summary>
    public IReadOnlyList<IParameter> Parameters => [.. Tensors.Select(tensor => tensor.Given)];

    /// <summary>Bytes of this rank's state, as it is now.</summary>
    public long StateBytes =>
        Optimizer
            .ParamGroups.SelectMany(group => Enumerable.Range(0, group.Parameters.Count).Select(row => group.Memory.Entries(row)))
            .Sum(state => state.Values.Sum(Bytes));

    internal IEnumerable<SharedTensor> Tensors => Optimizer.ParamGroups.SelectMany(group => group.Parameters).Cast<SharedTensor>();

    internal IReadOnlyList<Section> Sections => sections;

    /// <summary>The leaves of this rank in a batch of so many rows.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There are fewer rows than leaves.</exception>
    public IEnumerable<Leaf> Leaves(int rows)
    {
        if (rows < LeafCount)
            throw new ArgumentOutOfRangeException(
                nameof(rows),
                rows,
                FormattableString.Invariant($"a batch must have at least a row for each of its {LeafCount} leaves")
            );
        return LeavesOf(rows);
    }

    private IEnumerable<Leaf> LeavesOf(int rows)
    {
        var each = LeafCount / World.Size;
        for (var leaf = World.Rank * each; leaf < (World.Rank + 1) * each; leaf++)
        {
            var (from, to) = ((int)((long)rows * leaf / LeafCount), (int)((long)rows * (leaf + 1) / LeafCount));
            yield return new(leaf, from..to, (double)(to - from) * LeafCount / rows);
        }
    }

    /// <summary>Takes the gradients of a leaf: call it after each backward pass, and <see cref="ZeroGrad"/> before the next. With one leaf for each rank it may be left out.</summary>
    /// <param name="loss">The loss of the leaf; see <see cref="MeanLoss()"/>.</param>
    /// <exception cref="InvalidOperationException">All leaves of this rank were added already, and no step has taken them.</exception>
    public void AddLeaf(double loss = double.NaN)
    {
        var each = LeafCount / World.Size;
        if (leavesAdded == each)
            throw new InvalidOperationException(
                FormattableString.Invariant($"all {each} leaves of this rank were added already; take a step, or call DropLeaves")
            );
        (isCollected, sumOfLosses) = (false, null);
        if (each > 1)
            foreach (var tensor in Tensors)
                tensor.AddLeaf();
        foreach (var tensor in Tensors)
            tensor.IsTaken = false;
        leavesAdded++;
        var sum = (Level: 0, Loss: loss);
        while (losses.TryPeek(out var before) && before.Level == sum.Level)
            sum = (sum.Level + 1, losses.Pop().Loss + sum.Loss);
        losses.Push(sum);
    }

    /// <summary>Forgets leaves that were added and that no step has taken.</summary>
    public void DropLeaves()
    {
        foreach (var tensor in Tensors)
            tensor.TakeLeaves();
        losses.Clear();
        (leavesAdded, sumOfLosses) = (0, null);
    }

    /// <summary>
    /// Says that the gradient of a parameter is final while the backward pass goes on with others: what is complete of a bucket is sent meanwhile. For
    /// backward passes of one's own, called on every rank in the same order; TorchSharp has no hooks for gradients. Without it all are sent by <see cref="Collect"/>.
    /// </summary>
    /// <exception cref="ArgumentException">The optimizer does not have the parameter.</exception>
    public void GradientReady(IParameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        foreach (var section in sections)
            if (section.Tensors.FirstOrDefault(tensor => tensor.Identity.Equals(parameter.Identity)) is { } tensor)
            {
                // Those of earlier leaves are added up here.
                if (leavesAdded + 1 < LeafCount / World.Size)
                    return;
                BeginStep();
                if (World.Size > 1)
                    section.Ready(tensor);
                return;
            }
        throw new ArgumentException($"the optimizer does not have {Optimizer.Label(parameter)}", nameof(parameter));
    }

    private bool hasBegun;

    private void BeginStep()
    {
        if (hasBegun)
            return;
        hasBegun = true;
        World.Step++;
    }

    /// <summary>
    /// Makes the gradients the means over all leaves of all ranks. <see cref="Step"/> does it by itself; by hand it is for those who look at gradients
    /// before the step. Under <see cref="Shard.None"/> the parameters' own gradients become the means.
    /// </summary>
    /// <exception cref="InvalidOperationException">Some leaves of this rank were added, and not all.</exception>
    /// <exception cref="WorldException">Another rank gives no answer.</exception>
    public void Collect()
    {
        if (isCollected)
            return;
        var each = LeafCount / World.Size;
        if (each > 1 && leavesAdded != each)
            throw new InvalidOperationException(
                FormattableString.Invariant($"{leavesAdded} of this rank's {each} leaves were added; call AddLeaf after each backward pass")
            );
        if (LeafCount > 1)
        {
            BeginStep();
            // The losses go with what ranks tell each other anyway.
            var loss = losses.TryPeek(out var sum) ? sum.Loss : double.NaN;
            foreach (var section in sections)
                sumOfLosses = section.Collect(loss);
        }
        isCollected = true;
    }

    /// <summary>The mean of the losses that were given to <see cref="AddLeaf"/>, over all leaves of all ranks by the tree of the gradients. After <see cref="Collect"/> every rank knows it already; before that it is asked for.</summary>
    /// <exception cref="InvalidOperationException">Not all leaves of this rank were added.</exception>
    /// <exception cref="WorldException">Another rank gives no answer.</exception>
    public double MeanLoss() =>
        leavesAdded == LeafCount / World.Size
            ? (sumOfLosses ??= World.Sum("mean loss", losses.Peek().Loss)) / LeafCount
            : throw new InvalidOperationException(
                FormattableString.Invariant($"{leavesAdded} of this rank's {LeafCount / World.Size} leaves were added")
            );

    /// <summary>The mean of a number over all ranks.</summary>
    /// <exception cref="WorldException">Another rank gives no answer.</exception>
    public double MeanOverRanks(double number) => World.Sum("mean over ranks", number) / World.Size;

    /// <summary>A step of all ranks; see <see cref="Optim.Optimizer.Step()"/>.</summary>
    public void Step() => Optimizer.Step();

    /// <summary>A step with a closure, as LBFGS needs: it works out loss and gradients of this rank's leaves, and may be called several times on every rank.</summary>
    public T Step<T>(Func<T> closure) => Optimizer.Step(closure);

    /// <summary>Drops the gradients of all parameters, or fills them with zeros.</summary>
    public void ZeroGrad(bool setToNone = true) => Optimizer.ZeroGrad(setToNone);

    private static long Bytes(Tree tree) =>
        tree switch
        {
            Tree.Tensor { Item: var view } => view.Count * view.DType.Size(),
            Tree.List { Item: var items } => items.Sum(Bytes),
            _ => 0,
        };

    /// <summary>The state of all ranks, which is read while they save it together; see <see cref="ShardedCheckpoint.Save"/>.</summary>
    Tree IStateful.SaveState() => new ShardedState(this).Write().ToTree();

    /// <summary>What a whole state has of this rank's slices.</summary>
    PreparedLoad IStateful.PrepareLoad(Tree state, bool strict) => ((IStateful)Optimizer).PrepareLoad(state, strict);

    /// <summary>Such as <c>AdamW on rank 0 of 4, Shard.State</c>.</summary>
    public override string ToString() =>
        FormattableString.Invariant($"{Optimizer.Algorithm.Name} on rank {World.Rank} of {World.Size}, Shard.{Shard}");

    /// <summary>What the optimizer asks of the others.</summary>
    private sealed class Ranks(Sharded sharded) : IRanks
    {
        public SlicesAcross? Slices => sharded.World.Size > 1 && sharded.Shard != Shard.None ? sharded.survey : null;

        public void Join(Parameters parameters) =>
            parameters.Totals = Slices is null ? null : new RankTotals(sharded.World, [.. sharded.Tensors]);

        public IReadOnlyList<IParameter> Wholes => sharded.Parameters;

        public bool HasGradients =>
            sharded.LeafCount > 1 && (sharded.Optimizer.IsAccumulating || sharded.Tensors.Any(tensor => tensor.IsPresent));

        public void Collect() => sharded.Collect();

        public void Anew()
        {
            sharded.DropLeaves();
            sharded.isCollected = false;
        }

        public void Publish()
        {
            if (sharded.Shard != Shard.None)
                foreach (var section in sharded.sections)
                    section.Publish();
        }

        public void End()
        {
            (sharded.isCollected, sharded.hasBegun, sharded.leavesAdded, sharded.sumOfLosses) = (false, false, 0, null);
            sharded.losses.Clear();
        }

        public double MeanLoss(double loss) =>
            sharded.leavesAdded == sharded.LeafCount / sharded.World.Size && !double.IsNaN(sharded.losses.Peek().Loss)
                ? sharded.MeanLoss()
                : sharded.MeanOverRanks(loss);

        public void RefuseGroup(ParameterGroup group) =>
            throw new InvalidOperationException(
                "the optimizer is one of several ranks: add groups by AddParamGroup of Sharded, which divides them among all"
            );
    }
}
