namespace Optim;

/// <summary>How a loaded state finds its parameter.</summary>
public enum MatchBy
{
    /// <summary>By name where both sides have names, by order otherwise.</summary>
    Automatic,

    /// <summary>By name; both sides must have names.</summary>
    Name,

    /// <summary>By order, as PyTorch does; names are not looked at.</summary>
    Order,
}

/// <summary>What a load did. Parameters are named, or numbered where they have no names.</summary>
/// <param name="Matched">Parameters that took over a state or its absence.</param>
/// <param name="Missing">Parameters that the dict does not have; they keep the state that they had.</param>
/// <param name="Unexpected">Parameters and keys of the dict that the optimizer does not have; they were left out.</param>
/// <param name="Converted">Tensors that were converted to their parameter's dtype.</param>
public sealed record LoadReport(
    IReadOnlyList<string> Matched,
    IReadOnlyList<string> Missing,
    IReadOnlyList<string> Unexpected,
    IReadOnlyList<string> Converted
)
{
    /// <summary>Nothing yet.</summary>
    public static LoadReport Empty { get; } = new([], [], [], []);
}
