using System.Collections.Immutable;
using Optim.Cli.Commands;
using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>Options for the parameters whose names a pattern matches, as <c>*.bias:weight_decay=0</c>.</summary>
/// <param name="Pattern">Before the last colon.</param>
/// <param name="Options">After it.</param>
public sealed record GroupSetting(string Pattern, IReadOnlyList<(string Name, OptionValue Value)> Options)
{
    /// <summary>Reads it.</summary>
    /// <exception cref="CommandException">It is not written so.</exception>
    internal static GroupSetting Parse(string text)
    {
        var colon = text.LastIndexOf(':');
        return colon <= 0
            ? throw new CommandException($"--group is '{text}'; it must be PATTERN:NAME=VALUE, such as *.bias:weight_decay=0.")
            : new(text[..colon], NamedSettings.ReadSettings($"--group {text}", text[(colon + 1)..]));
    }

    /// <summary>The optimizers of a model's parameters, and their groups; null where all parameters of an optimizer are one.</summary>
    /// <exception cref="CommandException">A pattern matches nothing, or several match a parameter and there is no order, or a rule takes no groups.</exception>
    internal static (ParameterGroups? Groups, Optimizer[] Optimizers) Optimizers(
        IReadOnlyList<OptimizerShare> shares,
        IEnumerable<IParameter> parameters,
        TrainingSettings settings,
        TrainingRanks? ranks = null
    )
    {
        if (settings.Groups.IsEmpty)
            return (null, [.. shares.Select(share => share.Create(ranks: ranks))]);
        try
        {
            var groups = Of(parameters, settings.Groups, settings.GroupOrder);
            return (groups, [.. shares.Select(share => share.Create(groups, ranks))]);
        }
        catch (ArgumentException error) when (error is not OptionException)
        {
            // The name of a parameter of ours says nothing to those who call the command.
            var said = error.Message.Split(" (Parameter '")[0];
            var order = settings is { Groups.Length: > 1, GroupOrder: null } ? " (--group-order gives an order)" : "";
            throw new CommandException($"--group: {said}{order}.");
        }
    }

    private static ParameterGroups Of(IEnumerable<IParameter> parameters, ImmutableArray<GroupSetting> settings, string? order)
    {
        var groups = settings.Aggregate(
            ParameterGroups.For(parameters),
            (groups, setting) => groups.Where(setting.Pattern, [.. setting.Options])
        );
        return order switch
        {
            "first" => groups.FirstWins(),
            "last" => groups.LastWins(),
            _ => groups,
        };
    }

    /// <summary>As it was written.</summary>
    public override string ToString() => $"{Pattern}:{string.Join(",", Options.Select(option => $"{option.Name}={option.Value}"))}";
}
