using System.Globalization;
using Optim.Core;

namespace Optim;

/// <summary>A number among the options of groups: an option, or one of the numbers of an option, as in <c>betas[0]</c>.</summary>
internal sealed record OptionSlot(string Name, int? Index)
{
    /// <summary>What cyclic schedulers call momentum; null where a rule has none.</summary>
    public static OptionSlot? Momentum(Algorithm algorithm) =>
        algorithm.Has("betas") ? new("betas", 0)
        : algorithm.Has("momentum") ? new("momentum", null)
        : null;

    /// <exception cref="OptionException">The optimizer has no such option, or it is no number.</exception>
    public static OptionSlot Parse(Optimizer optimizer, string text)
    {
        var open = text.IndexOf('[', StringComparison.Ordinal);
        var indexed = open > 0 && text[^1] == ']';
        var slot = indexed
            ? int.TryParse(text.AsSpan(open + 1, text.Length - open - 2), NumberStyles.None, CultureInfo.InvariantCulture, out var index)
                ? new OptionSlot(text[..open], index)
                : throw new OptionException($"option is {text}; the brackets must hold a whole number", "option")
            : new(text, null);
        foreach (var group in optimizer.ParamGroups)
            slot.Read(group);
        return slot;
    }

    public double Read(ParameterGroup group) =>
        (Index, group[Name]) switch
        {
            (null, OptionValue.Float or OptionValue.Int) => (double)group[Name],
            ({ } i, OptionValue.Tuple many) when i < many.Item.Length => (double)many.Item[i],
            (_, var value) => throw new OptionException(
                $"option is {this}, and {Name} is {value}; a schedule needs a number" + (value.IsTuple ? $", such as {Name}[0]" : ""),
                "option"
            ),
        };

    /// <summary>The entry of the group's options with that number.</summary>
    public KeyValuePair<string, OptionValue> With(ParameterGroup group, double value)
    {
        if (Index is not { } index)
            return KeyValuePair.Create<string, OptionValue>(Name, value);
        var many = ((OptionValue.Tuple)group[Name]).Item;
        return KeyValuePair.Create(Name, SchedulerSetting.Many(many.Select((old, i) => i == index ? value : old)));
    }

    public override string ToString() => Index is { } index ? string.Create(CultureInfo.InvariantCulture, $"{Name}[{index}]") : Name;
}
