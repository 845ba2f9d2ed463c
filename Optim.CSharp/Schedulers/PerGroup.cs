using System.Runtime.CompilerServices;
using Optim.Core;

namespace Optim;

/// <summary>A number for all parameter groups, or one for each: <c>maxLr: 0.1</c> or <c>maxLr: [0.1, 0.3]</c>.</summary>
[CollectionBuilder(typeof(PerGroup), nameof(Each))]
public readonly struct PerGroup : IEnumerable<double>
{
    private PerGroup(OptionValue value) => Value = value;

    internal OptionValue Value => field ?? 0.0;

    /// <summary>One number for all.</summary>
    public static implicit operator PerGroup(double value) => new(value);

    /// <summary>One number for each.</summary>
    public static implicit operator PerGroup(double[] values)
    {
        ArgumentNullException.ThrowIfNull(values);
        return Each(values);
    }

    /// <summary>One number for each.</summary>
    public static PerGroup Each(ReadOnlySpan<double> values) =>
        new(SchedulerSetting.Many(values.ToArray().Select(value => (OptionValue)value)));

    /// <summary>The numbers.</summary>
    public IEnumerator<double> GetEnumerator() =>
        (Value is OptionValue.Tuple many ? many.Item.Select(value => (double)value) : [(double)Value]).GetEnumerator();

    System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => GetEnumerator();
}
