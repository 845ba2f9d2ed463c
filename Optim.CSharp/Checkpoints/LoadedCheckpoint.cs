using Optim.Core;

namespace Optim;

/// <summary>What Checkpoint.Load found: reports of what was loaded, and the other entries of the file.</summary>
public sealed class LoadedCheckpoint
{
    private readonly Dictionary<string, Tree> others;

    internal LoadedCheckpoint(Dictionary<string, LoadReport> reports, Dictionary<string, Tree> others) =>
        (Reports, this.others) = (reports, others);

    /// <summary>What each part used, converted, missed and left over.</summary>
    public IReadOnlyDictionary<string, LoadReport> Reports { get; }

    /// <summary>The entries that no part was given for, by name; plain values such as an epoch are read from here.</summary>
    public IReadOnlyDictionary<string, Tree> Others => others;

    /// <summary>An entry that no part was given for: <c>(int)loaded["epoch"]</c>.</summary>
    /// <exception cref="CheckpointException">The file has none of that name.</exception>
    public Tree this[string name] =>
        others.TryGetValue(name, out var value)
            ? value
            : throw new CheckpointException(
                $"the checkpoint has no further entry '{name}'; it has: {(others.Count == 0 ? "none" : string.Join(", ", others.Keys))}"
            );
}
