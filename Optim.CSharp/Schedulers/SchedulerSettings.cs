using Optim.Core;

namespace Optim;

/// <summary>Checked values for the settings of a kind; immutable.</summary>
internal sealed class SchedulerSettings
{
    private readonly OptionValue[] values;

    /// <exception cref="OptionException">A value is not allowed.</exception>
    public SchedulerSettings(SchedulerKind kind, OptionValue[] values)
    {
        Kind = kind;
        this.values = [.. kind.Settings.Select((setting, i) => setting.Check(kind.Name, values[i]))];
    }

    public SchedulerKind Kind { get; }

    public OptionValue this[string name] => values[Index(name)];

    public double Number(string name) => (double)this[name];

    public int Whole(string name) =>
        (long)this[name] is var value and <= int.MaxValue
            ? (int)value
            : throw new OptionException($"{Kind.Name}: {name} is {this[name]}; it must be at most {int.MaxValue}", name);

    public bool Flag(string name) => (bool)this[name];

    public string Text(string name) => (string)this[name];

    public Anneal Anneal(string name) => Text(name) == "cos" ? Core.Anneal.Cosine : Core.Anneal.Linear;

    public Descent Descent(string name) =>
        Text(name) switch
        {
            "linear" => Core.Descent.Linear,
            "cosine" => Core.Descent.Cosine,
            "1-sqrt" => Core.Descent.OneMinusSqrt,
            "power" => Core.Descent.Power,
            _ => Core.Descent.Exponential,
        };

    public PlateauMode PlateauMode() => Text("mode") == "min" ? Core.PlateauMode.Min : Core.PlateauMode.Max;

    public ThresholdMode ThresholdMode() =>
        Text("threshold_mode") switch
        {
            "rel" => Core.ThresholdMode.Relative,
            "abs" => Core.ThresholdMode.Absolute,
            _ => Core.ThresholdMode.RelativeToMagnitude,
        };

    /// <summary>The numbers of a list.</summary>
    public double[] Numbers(string name) =>
        this[name] is OptionValue.Tuple many ? [.. many.Item.Select(value => (double)value)] : [Number(name)];

    /// <summary>One number for each group.</summary>
    public double[] PerGroup(string name, int groups)
    {
        if (this[name] is not OptionValue.Tuple)
            return [.. Enumerable.Repeat(Number(name), groups)];
        var numbers = Numbers(name);
        return numbers.Length == groups
            ? numbers
            : throw new OptionException(
                FormattableString.Invariant(
                    $"{Kind.Name}: {name} is {this[name]}, which are {numbers.Length} values; it must be one, or one for each of the {groups} parameter groups"
                ),
                name
            );
    }

    /// <summary>The same settings with other values for some.</summary>
    public SchedulerSettings With(params (string Name, OptionValue Value)[] changes)
    {
        var changed = (OptionValue[])values.Clone();
        foreach (var (name, value) in changes)
            changed[Index(name)] = value;
        return new(Kind, changed);
    }

    private int Index(string name)
    {
        for (var i = 0; i < Kind.Settings.Count; i++)
            if (Kind.Settings[i].Name == name)
                return i;
        throw new ArgumentException($"{Kind.Name} has no setting '{name}'", nameof(name));
    }
}
