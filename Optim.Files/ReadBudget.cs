namespace Optim;

/// <summary>
/// What reading a file may take beside its tensors: a file that needs more is refused, however small it is. The defaults are far
/// above what checkpoints of models need, and keep reading below 256 MB and a few seconds.
/// </summary>
public sealed record ReadBudget
{
    /// <summary>What is used where none is given.</summary>
    public static ReadBudget Default => new(); // a new one each time: a record can be written to by reflection

    /// <summary>Values and instructions of a pickle, values that are referred to again counted each time. 10 million by default.</summary>
    public long Nodes { get; init; } = 10_000_000;

    /// <summary>Bytes of memory for values, names and the description of tensors. 96 MB by default.</summary>
    public long Bytes { get; init; } = 96 << 20;

    /// <summary>Characters of keys that are hashed or compared. 64 million by default.</summary>
    public long HashedCharacters { get; init; } = 64 << 20;

    /// <summary>Bytes that tensors may have beyond what is stored, because they repeat elements. 64 MB by default.</summary>
    public long RepeatedBytes { get; init; } = 64 << 20;
}
