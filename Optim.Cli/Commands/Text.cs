using Optim.Cli.Training;
using Optim.Core;

namespace Optim.Cli.Commands;

/// <summary>How things are put in words; numbers always in the invariant culture.</summary>
internal static class Text
{
    /// <summary>Options as PyTorch prints them: lr=0.001, betas=(0.9, 0.999), ...</summary>
    public static string Options(IEnumerable<(string Name, OptionValue Value)> options) =>
        string.Join(", ", options.Select(option => $"{option.Name}={option.Value}"));

    /// <summary>A share of some rows.</summary>
    public static string Percent(double share) => FormattableString.Invariant($"{share * 100:f2} %");

    /// <summary>A loss with the digits that one reads.</summary>
    public static string Loss(double loss) =>
        double.IsNaN(loss) ? "nan"
        : double.IsInfinity(loss) ? (loss > 0 ? "inf" : "-inf")
        : FormattableString.Invariant($"{loss:g4}");

    /// <summary>A learning rate with more digits than one needs.</summary>
    public static string Rate(double rate) => FormattableString.Invariant($"{rate:g9}");

    /// <summary>How fast it goes.</summary>
    public static string Speed(TrainingProgress progress) => FormattableString.Invariant($"{progress.Rows / progress.Seconds:n0} rows/s");

    /// <summary>A difference, or a dash for none.</summary>
    public static string Difference(double difference) => FormattableString.Invariant($"{difference:0.0e0}");
}
