using System.Globalization;

namespace Optim.Checkpoints;

/// <summary>A budget that is being spent; whoever reads counts here before it allocates.</summary>
/// <param name="limits">What may be spent.</param>
/// <param name="forCommand">Whether messages name the options of the command, or the argument of the library.</param>
internal sealed class Budget(ReadBudget limits, bool forCommand = false)
{
    private long nodes,
        bytes,
        hashed,
        repeated;

    /// <summary>A value or an instruction.</summary>
    public void Node(long count = 1) => Spend(ref nodes, count, limits.Nodes, nameof(limits.Nodes), "nodes");

    /// <summary>The values of a tree, those that are referred to again counted each time.</summary>
    public void Unfold(long count)
    {
        var unfolded = 0L;
        Spend(ref unfolded, count, limits.Nodes, nameof(limits.Nodes), "nodes, values counted each time that they are referred to,");
    }

    /// <summary>Memory that is about to be used.</summary>
    public void Memory(long count) => Spend(ref bytes, count, limits.Bytes, nameof(limits.Bytes), "bytes of memory for its values");

    /// <summary>Characters of a key that are about to be hashed or compared.</summary>
    public void Hash(long count) =>
        Spend(ref hashed, count, limits.HashedCharacters, nameof(limits.HashedCharacters), "hashed characters of keys");

    /// <summary>Bytes of a tensor beyond those that are stored.</summary>
    public void Repeat(long count) =>
        Spend(ref repeated, count, limits.RepeatedBytes, nameof(limits.RepeatedBytes), "bytes of repeated elements beyond what is stored");

    /// <summary>The option of the command that raises a part of the budget.</summary>
    public static string Option(string part) =>
        "--budget" + string.Concat(part.Select(c => char.IsUpper(c) ? $"-{char.ToLowerInvariant(c)}" : $"{c}"));

    private void Spend(ref long spent, long count, long limit, string part, string what)
    {
        spent = count > long.MaxValue - spent ? long.MaxValue : spent + count;
        if (spent > limit)
            throw new BudgetException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"its budget of {limit} {what} does not suffice, {spent} are reached; {Raised(part)}"
                )
            );
    }

    private string Raised(string part) =>
        forCommand ? $"{Option(part)} raises it" : $"the argument budget raises it: ReadBudget.Default with {{ {part} = ... }}";
}

/// <summary>A file that needs more than its budget; the message says of what, and how it is raised.</summary>
internal sealed class BudgetException(string message) : Exception(message);
