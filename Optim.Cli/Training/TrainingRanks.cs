using Optim.Distributed;

namespace Optim.Cli.Training;

/// <summary>The ranks of a training run: each has the model, and works on its leaves of a batch.</summary>
/// <param name="world">The ranks.</param>
/// <param name="leaves">Into how many leaves a batch is cut.</param>
/// <param name="shard">What each rank has a part of only.</param>
public sealed class TrainingRanks(World world, int leaves, Shard shard)
{
    private readonly List<Sharded> optimizers = [];

    /// <summary>The ranks.</summary>
    public World World => world;

    /// <summary>The optimizers, in the order in which they were made.</summary>
    public IReadOnlyList<Sharded> Optimizers => optimizers;

    /// <summary>An optimizer over all ranks.</summary>
    public Optimizer Over(IReadOnlyList<IParameterOrGroup> parameters, Func<IReadOnlyList<IParameterOrGroup>, Optimizer> make)
    {
        optimizers.Add(Sharded.Over(world, parameters, make, shard, leaves));
        return optimizers[^1].Optimizer;
    }

    /// <summary>Works out the gradients of this rank's leaves.</summary>
    /// <param name="rows">The batch.</param>
    /// <param name="backward">Adds the gradients of rows, times a weight, and returns their loss.</param>
    /// <returns>The mean loss of the batch.</returns>
    public double Backward(ArraySegment<int> rows, Func<ArraySegment<int>, double, double> backward)
    {
        optimizers.ForEach(optimizer => optimizer.DropLeaves());
        foreach (var leaf in optimizers[0].Leaves(rows.Count))
        {
            // Gradients that the optimizer reads stay where they are; where it has means of its own they may be made anew, which is faster.
            optimizers.ForEach(optimizer => optimizer.ZeroGrad(setToNone: world.Size > 1 && shard != Shard.None));
            var loss = backward(rows[leaf.Rows], leaf.Weight);
            optimizers.ForEach(optimizer => optimizer.AddLeaf(loss));
        }
        // The loss goes with the gradients.
        Collect();
        return optimizers[0].MeanLoss();
    }

    /// <summary>Makes the gradients the means over all ranks.</summary>
    public void Collect() => optimizers.ForEach(optimizer => optimizer.Collect());

    /// <summary>How many of some rows are right, of which each rank looks at its part.</summary>
    public double CountRight(ArraySegment<int> rows, Func<ArraySegment<int>, int> count)
    {
        var (from, to) = ((int)((long)rows.Count * world.Rank / world.Size), (int)((long)rows.Count * (world.Rank + 1) / world.Size));
        return world.Sum("test", count(rows[from..to]));
    }
}
