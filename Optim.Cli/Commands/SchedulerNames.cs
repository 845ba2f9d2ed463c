namespace Optim.Cli.Commands;

/// <summary>Schedulers in help texts.</summary>
internal static class SchedulerNames
{
    /// <summary>The short names of all, for an option's description.</summary>
    public static string Known => string.Join(", ", Schedulers.All.Select(kind => kind.ShortName));

    /// <summary>All of them with their settings and defaults, a line or two each.</summary>
    public static string Table =>
        string.Join(
            '\n',
            Schedulers
                .All.Select(kind =>
                    $"  {kind.ShortName} ({kind.Name}): {kind.Says}\n      {string.Join(", ", kind.Settings.Where(setting => setting.Name != "last_epoch").Select(setting => setting.Default is { } value ? $"{setting.Name}={value}" : $"{setting.Name} (needed)"))}"
                )
                .Prepend(
                    "Schedules, and their settings with the defaults (T_max and total_steps are the number of steps when they are not given):"
                )
        );
}
