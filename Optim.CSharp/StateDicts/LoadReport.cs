using System.Globalization;

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
    /// <summary>Names of a list that are printed; of more only the number.</summary>
    private const int MostPrinted = 20;

    /// <summary>Nothing yet.</summary>
    public static LoadReport Empty { get; } = new([], [], [], []);

    /// <summary>What became of the options of each parameter group; empty for what has no groups.</summary>
    public IReadOnlyList<GroupReport> Groups { get; init; } = [];

    /// <summary>The lists in words, a line each.</summary>
    public override string ToString() =>
        string.Join(
            '\n',
            [
                $"matched: {List(Matched)}",
                $"missing: {List(Missing)}",
                $"unexpected: {List(Unexpected)}",
                $"converted: {List(Converted)}",
                .. Groups.Select(group => group.ToString()),
            ]
        );

    internal static string List(IReadOnlyCollection<string>? names) =>
        names is null or { Count: 0 }
            ? "none"
            : string.Join(", ", names.Take(MostPrinted))
                + (names.Count > MostPrinted ? string.Create(CultureInfo.InvariantCulture, $" and {names.Count - MostPrinted} more") : "");
}

/// <summary>What became of the options of a parameter group in a load.</summary>
/// <param name="Group">The number of the optimizer's group.</param>
/// <param name="Parameters">Its parameters by name, or by number where they have no names.</param>
/// <param name="Saved">The numbers of the saved groups that hold its parameters: none, one, or several.</param>
/// <param name="IsLoaded">Whether it took over the saved options; otherwise it keeps those that it had.</param>
public sealed record GroupReport(int Group, IReadOnlyList<string> Parameters, IReadOnlyList<int> Saved, bool IsLoaded)
{
    /// <summary>In words: <c>parameter group 1 (head.weight, head.bias): keeps its own options, as no saved group has its parameters</c>.</summary>
    public override string ToString()
    {
        var saved = string.Join(", ", Saved.Select(number => number.ToString(CultureInfo.InvariantCulture)));
        var what =
            IsLoaded ? $"options of saved group {saved}"
            : Saved.Count == 0 ? "keeps its own options, as no saved group has its parameters"
            : $"keeps its own options, as the saved groups {saved}, which have its parameters, differ in theirs";
        return FormattableString.Invariant($"parameter group {Group} ({LoadReport.List(Parameters)}): {what}");
    }
}
