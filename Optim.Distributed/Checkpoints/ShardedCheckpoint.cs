using Optim.Checkpoints;
using Optim.Core;

namespace Optim.Distributed;

/// <summary>
/// Checkpoints of all ranks: one file as <see cref="Checkpoint"/> has it, which PyTorch reads, with the same bytes whatever the number of ranks; it is loaded
/// on any number of ranks, or without ranks by <see cref="Checkpoint"/>. Rank 0 writes it and asks the others for their slices piece by piece, so that no rank needs
/// memory for more than its own part. An old file is replaced when the new one is whole.
/// <code>
/// ShardedCheckpoint.Save(world, "run.pt", ("model", parameters), ("optimizer", sharded), ("schedule", schedule));
/// </code>
/// </summary>
public static class ShardedCheckpoint
{
    /// <summary>Saves parts under their names, on all ranks together: what is no <see cref="Sharded"/> is saved as rank 0 has it.</summary>
    /// <param name="world">The ranks.</param>
    /// <param name="path">The file, which rank 0 writes.</param>
    /// <param name="parts">The parts; the same on every rank.</param>
    /// <exception cref="CheckpointException">It cannot be written; every rank throws, and the old file is there as a whole.</exception>
    /// <exception cref="WorldException">A rank is missing, or saves something else; the old file is there as a whole.</exception>
    public static void Save(World world, string path, params (string Name, object? Value)[] parts)
    {
        ArgumentNullException.ThrowIfNull(world);
        TreeFile.CheckPath(path);
        ArgumentNullException.ThrowIfNull(parts);
        Checkpoint.CheckNames(parts.Select(part => part.Name));
        var tensors = new List<GatheredMemory>();
        var trees = new List<(string, Tree)>();
        foreach (var (name, value) in parts)
            if (value is Sharded sharded)
            {
                var state = new ShardedState(sharded);
                trees.Add((name, state.Write().ToTree()));
                tensors.AddRange(state.Gathered);
            }
            else
                trees.Add((name, CheckpointParts.Save(name, value)));
        for (var i = 0; i < tensors.Count; i++)
            tensors[i].Number = i;
        world.Agree("save", "what is saved", [path, .. trees.Select(part => $"{part.Item1}: {part.Item2}")]);
        new GatheredFile(world, tensors).Write(path, Tree.Dict([.. trees]));
    }

    /// <summary>Loads parts by their names, on all ranks together: each reads its slices only. All ranks load, or none does.</summary>
    /// <param name="world">The ranks; as many as have saved it, or others.</param>
    /// <param name="path">The file, which every rank reads.</param>
    /// <param name="parts">The parts; the same on every rank.</param>
    /// <returns>Reports, and the entries for which no part was given.</returns>
    /// <exception cref="CheckpointException">A rank refuses the file; every rank throws, and nothing has changed.</exception>
    /// <exception cref="WorldException">A rank is missing, or reads another file; nothing has changed.</exception>
    public static LoadedCheckpoint Load(World world, string path, params (string Name, object Value)[] parts) =>
        Load(world, path, true, parts);

    /// <summary>The same, strictly or not.</summary>
    /// <param name="world">The ranks.</param>
    /// <param name="path">The file.</param>
    /// <param name="strict">False: what is missing or left over inside of a part is reported.</param>
    /// <param name="parts">What is loaded.</param>
    /// <inheritdoc cref="Load(World, string, ValueTuple{string, object}[])" path="/exception"/>
    public static LoadedCheckpoint Load(World world, string path, bool strict, params (string Name, object Value)[] parts)
    {
        ArgumentNullException.ThrowIfNull(world);
        // The checksums of the file are rank 0's to look at: the others would read all of it for them.
        return Checkpoint.Load(
            path,
            ReadBudget.Default,
            strict,
            parts,
            world.Rank == 0,
            (length, problem) => Agree(world, path, length, problem)
        );
    }

    private static void Agree(World world, string path, long length, string? problem)
    {
        var problems = world.Exchange("load", System.Text.Encoding.UTF8.GetBytes(problem ?? ""));
        var rank = Array.FindIndex(problems, each => each.Length > 0);
        if (problem is null && rank >= 0)
            throw new CheckpointException(
                FormattableString.Invariant($"rank {rank} could not load {path}: {System.Text.Encoding.UTF8.GetString(problems[rank])}")
            );
        if (rank < 0)
            world.Agree("load", $"the file {path}", [FormattableString.Invariant($"{length} bytes")]);
    }
}
