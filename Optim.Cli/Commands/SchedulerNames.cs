namespace Optim.Cli.Commands;

/// <summary>Schedulers in help texts.</summary>
internal static class SchedulerNames
{
    /// <summary>The short names of all, for an option's description.</summary>
    public static string Known =>
        string.Join(", ", Schedulers.All.Concat(Schedulers.OfHuggingFace).Concat(Schedulers.OfTimm).Select(kind => kind.ShortName));

    /// <summary>All of them with their settings and defaults, a line or two each.</summary>
    public static string Table =>
        string.Join(
            '\n',
            Lines(
                Schedulers.All,
                "Schedules, and their settings with the defaults (T_max and total_steps are the number of steps when they are not given):"
            ),
            Lines(
                Schedulers.OfHuggingFace,
                "Those of Hugging Face's transformers (num_training_steps is the number of steps when it is not given, num_warmup_steps 0, num_decay_steps a fifth of the steps):"
            ),
            Lines(
                Schedulers.OfTimm,
                "Those of timm, which count the steps here (t_initial is the number of steps when it is not given; decay_t 30 % of it, for multistep 30, 60 and 90 %, for wsd 20 %; decay_rate 0.1):"
            )
        );

    private static string Lines(IEnumerable<SchedulerKind> kinds, string title) =>
        string.Join(
            '\n',
            kinds
                .Select(kind =>
                    $"  {kind.ShortName}{(kind.Name == kind.ShortName ? "" : $" ({kind.Name})")}: {kind.Says}\n      {Settings(kind)}".TrimEnd()
                )
                .Prepend(title)
        );

    private static string Settings(SchedulerKind kind) =>
        string.Join(
            ", ",
            kind.Settings.Where(setting => setting.Name != "last_epoch")
                .Select(setting => setting.Default is { } value ? $"{setting.Name}={value}" : $"{setting.Name} (needed)")
        );
}
