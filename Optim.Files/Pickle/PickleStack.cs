using System.Runtime.InteropServices;

namespace Optim.Checkpoints;

/// <summary>The values that a pickle works with: a stack with marks in it, and those that it keeps by number. All of them are paid for.</summary>
internal sealed class PickleStack(Budget budget)
{
    private readonly List<object?> stack = [];
    private readonly List<int> marks = [];
    private readonly Dictionary<uint, object?> memo = [];
    private int deepest;

    /// <summary>The value that is left at the end.</summary>
    public object? Only() =>
        stack.Count == 1 && marks.Count == 0 ? stack[0] : throw new PickleException("its end is not where its value is complete");

    public void Mark()
    {
        if (marks.Count >= deepest)
            budget.Memory(8);
        marks.Add(stack.Count);
    }

    /// <summary>Keeps the last value under the next number.</summary>
    public void Remember() => Remember((uint)memo.Count);

    public void Remember(uint index)
    {
        if (!memo.ContainsKey(index))
            budget.Memory(64);
        memo[index] = Top();
    }

    public object? Remembered(uint index) =>
        memo.TryGetValue(index, out var value) ? value : throw new PickleException($"it takes up entry {index}, which it never kept");

    public void Push(object? value)
    {
        if (stack.Count >= deepest)
        {
            budget.Memory(24);
            deepest = stack.Count + 1;
        }
        stack.Add(value);
    }

    public object? Top() =>
        stack.Count > (marks.Count > 0 ? marks[^1] : 0) ? stack[^1] : throw new PickleException("it takes a value where there is none");

    public object? Pop()
    {
        var value = Top();
        stack.RemoveAt(stack.Count - 1);
        return value;
    }

    public object?[] PopMarked()
    {
        if (marks.Count == 0)
            throw new PickleException("it takes values up to a mark that is not there");
        var start = marks[^1];
        marks.RemoveAt(marks.Count - 1);
        budget.Memory(8L * (stack.Count - start));
        var items = CollectionsMarshal.AsSpan(stack)[start..].ToArray();
        stack.RemoveRange(start, items.Length);
        return items;
    }
}
