using System.Globalization;
using Optim.Core;

namespace Optim;

/// <summary>One argument of a scheduler's constructor: this row serves the constructor, the catalogue, state dicts and help texts.</summary>
public sealed class SchedulerSetting
{
    private readonly Func<OptionValue, OptionValue?> read;

    private SchedulerSetting(string name, OptionValue? standard, string says, string allowed, Func<OptionValue, OptionValue?> read) =>
        (Name, Default, Says, Allowed, this.read) = (name, standard, says, allowed, read);

    /// <summary>As PyTorch spells it, such as <c>T_max</c>.</summary>
    public string Name { get; }

    /// <summary>Its value when it is not given; null when it must be given.</summary>
    public OptionValue? Default { get; }

    /// <summary>What it does, in a few words.</summary>
    public string Says { get; }

    /// <summary>What is allowed, in words after "must be".</summary>
    public string Allowed { get; }

    /// <summary>The setting that all schedulers have which count epochs.</summary>
    internal static SchedulerSetting LastEpoch { get; } =
        Whole("last_epoch", -1, -1, "the last epoch that is over, to go on with a run; -1: from the start");

    internal static SchedulerSetting Number(string name, Interval range, OptionValue? standard, string says) =>
        new(name, standard, says, range.Words, value => ToNumber(value) is { } x && range.Holds(x) ? x : null);

    internal static SchedulerSetting Whole(string name, long least, OptionValue? standard, string says) =>
        new(name, standard, says, string.Create(CultureInfo.InvariantCulture, $"a whole number of at least {least}"), WholeFrom(least));

    internal static SchedulerSetting Flag(string name, OptionValue standard, string says) =>
        new(name, standard, says, "True or False", value => value.IsBool ? value : null);

    internal static SchedulerSetting Choice(string name, string[] choices, OptionValue standard, string says) =>
        new(
            name,
            standard,
            says,
            string.Join(" or ", choices.Select(choice => $"'{choice}'")),
            value => value is OptionValue.Text text && choices.Contains(text.Item, StringComparer.Ordinal) ? value : null
        );

    /// <summary>A number, or one for each parameter group.</summary>
    internal static SchedulerSetting PerGroup(string name, Interval range, OptionValue? standard, string says) =>
        new(
            name,
            standard,
            says,
            $"{range.Words}, or a list with such a number for each parameter group",
            value => Each(value, x => ToNumber(x) is { } number && range.Holds(number) ? number : null)
        );

    /// <summary>Whole numbers of at least 0, in any order.</summary>
    internal static SchedulerSetting WholeNumbers(string name, string says) =>
        new(
            name,
            null,
            says,
            "a list of whole numbers of at least 0",
            value => Each(value, WholeFrom(0)) is { } read ? (read.IsTuple ? read : Many([read])) : null
        );

    /// <summary>The same setting, which may also be None, and is when nothing is said.</summary>
    internal SchedulerSetting OrNone() =>
        new(Name, OptionValue.None, Says, $"None, or {Allowed}", value => value.IsNone ? value : read(value));

    /// <summary>The value in the kind of the setting.</summary>
    /// <exception cref="OptionException">It is of another kind, or not allowed.</exception>
    internal OptionValue Check(string scheduler, OptionValue value) =>
        read(value) ?? throw new OptionException($"{scheduler}: {Name} is {value}; it must be {Allowed}", Name);

    internal static OptionValue TextOf(PlateauMode mode) =>
        mode switch
        {
            PlateauMode.Min => "min",
            PlateauMode.Max => "max",
            _ => mode.ToString(),
        };

    internal static OptionValue TextOf(ThresholdMode mode) =>
        mode switch
        {
            ThresholdMode.Relative => "rel",
            ThresholdMode.Absolute => "abs",
            ThresholdMode.RelativeToMagnitude => "rel_magnitude",
            _ => mode.ToString(),
        };

    internal static OptionValue TextOf(Descent curve) =>
        curve switch
        {
            Descent.Linear => "linear",
            Descent.Cosine => "cosine",
            Descent.OneMinusSqrt => "1-sqrt",
            Descent.Power => "power",
            Descent.Exponential => "exp",
            _ => curve.ToString(),
        };

    internal static OptionValue TextOf(TimmStable stable) =>
        stable switch
        {
            TimmStable.Constant => "constant",
            TimmStable.InverseSqrt => "rsqrt",
            TimmStable.Power => "power",
            _ => stable.ToString(),
        };

    internal static OptionValue OrNone(double? value) => value is { } given ? given : OptionValue.None;

    internal static OptionValue OrNone(int? value) => value is { } given ? given : OptionValue.None;

    internal static OptionValue TextOf(Anneal anneal) =>
        anneal switch
        {
            Anneal.Cosine => "cos",
            Anneal.Linear => "linear",
            _ => anneal.ToString(),
        };

    internal static OptionValue Many(IEnumerable<OptionValue> values) => OptionValue.TupleOf(values);

    private static OptionValue? Each(OptionValue value, Func<OptionValue, OptionValue?> one)
    {
        if (value is not OptionValue.Tuple many)
            return one(value);
        var read = many.Item.Select(one).ToList();
        return read.Contains(null) ? null : Many(read!);
    }

    private static Func<OptionValue, OptionValue?> WholeFrom(long least) =>
        value => ToNumber(value) is { } x && Math.Floor(x) == x && Math.Abs(x) < 9e15 && x >= least ? (long)x : null;

    private static double? ToNumber(OptionValue value) =>
        value switch
        {
            OptionValue.Float number => number.Item,
            OptionValue.Int number => number.Item,
            _ => null,
        };
}
