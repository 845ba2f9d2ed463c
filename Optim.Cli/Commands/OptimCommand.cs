using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.Reflection;
using Optim.Core;
using Optim.Distributed;
using Spectre.Console;

namespace Optim.Cli.Commands;

/// <summary>The optim command as a whole.</summary>
public static class OptimCommand
{
    /// <summary>Exit code when something is wrong, or came out otherwise than recorded.</summary>
    public const int Failed = 1;

    /// <summary>Exit code after Ctrl-C.</summary>
    public const int Interrupted = 130;

    /// <summary>The version of this program.</summary>
    public static string Version { get; } =
        typeof(OptimCommand).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion.Split('+')[0];

    /// <summary>
    /// Runs the command as a shell would, and returns its exit code. What is wrong is said in one sentence on <paramref name="error"/>.
    /// </summary>
    public static int Run(IReadOnlyList<string> args, TextWriter output, TextWriter error, CancellationToken cancel = default)
    {
        var screen = new Screen(() => AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(output) }), error);
        try
        {
            var parsed = Create(args, screen, cancel).Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
            if (parsed.Errors.Count > 0 && parsed.Action is not PrintAction)
                throw new CommandException(Arguments.Explain(parsed));
            return parsed.Invoke(
                new InvocationConfiguration
                {
                    Output = output,
                    Error = error,
                    EnableDefaultExceptionHandler = false,
                    ProcessTerminationTimeout = null,
                }
            );
        }
        catch (Exception e) when (IsForUsers(e))
        {
            error.WriteLine($"optim: {e.Message}");
            return Failed;
        }
    }

    private static RootCommand Create(IReadOnlyList<string> args, Screen screen, CancellationToken cancel)
    {
        var root = new RootCommand("Optimizers for .NET, the ones of torch.optim, to be tried on real data.")
        {
            Named(TrainCommand.Name, TrainCommand.Description, null, () => TrainCommand.Create(screen, cancel)),
            Named(RaceCommand.Name, RaceCommand.Description, RaceCommand.Optimizers, () => RaceCommand.Create(screen, cancel)),
            Named(ScheduleCommand.Name, ScheduleCommand.Description, ScheduleCommand.Schedules, () => ScheduleCommand.Create(screen)),
            Named(InspectCommand.Name, InspectCommand.Description, InspectCommand.File, () => InspectCommand.Create(screen)),
            Named(VerifyCommand.Name, VerifyCommand.Description, VerifyCommand.Target, () => VerifyCommand.Create(screen, cancel)),
            Named(ExplainCommand.Name, ExplainCommand.Description, ExplainCommand.Rules, () => ExplainCommand.Create(screen)),
            Named(PtxCommand.Name, PtxCommand.Description, PtxCommand.Rules, () => PtxCommand.Create(screen)),
            Named(GpuCheckCommand.Name, GpuCheckCommand.Description, null, () => GpuCheckCommand.Create(screen.Say)),
        };

        // A command that is not on the line is only listed: its options name all rules and schedules, and making these takes longer than the rest.
        Command Named(string name, string description, string? argument, Func<Command> create)
        {
            if (args.Contains(name))
                return create();
            var listed = new Command(name, description);
            if (argument is not null)
                listed.Add(new Argument<string>(argument));
            return listed;
        }

        var help = root.Options.OfType<HelpOption>().Single();
        var plain = (HelpAction)help.Action!;
        help.Description = "Show help; each command has its own";
        help.Action = new PrintAction(parsed =>
        {
            plain.Invoke(parsed);
            if (Details(parsed.CommandResult.Command.Name) is { } details)
                parsed.InvocationConfiguration.Output.WriteLine(details);
        });
        var version = root.Options.OfType<VersionOption>().Single();
        version.Description = "Show the version";
        version.Action = new PrintAction(parsed => parsed.InvocationConfiguration.Output.WriteLine($"optim {Version}"));
        root.SetAction(parsed => root.Parse("--help").Invoke(parsed.InvocationConfiguration));
        return root;
    }

    /// <summary>What the help of a command adds to the list of its options.</summary>
    private static string? Details(string command) =>
        command switch
        {
            TrainCommand.Name => TrainCommand.Details,
            RaceCommand.Name => RaceCommand.Details,
            ScheduleCommand.Name => ScheduleCommand.Details,
            VerifyCommand.Name => VerifyCommand.Details,
            _ => null,
        };

    /// <summary>Whether it tells of a mistake in what was asked for, and not of one in the program.</summary>
    private static bool IsForUsers(Exception e) =>
        e
            is CommandException
                or OptionException
                or NotSupportedException
                or IOException
                or InvalidDataException
                or UnauthorizedAccessException
                or WorldException;

    /// <summary>What is asked with an option of its own, whatever else is on the line.</summary>
    private sealed class PrintAction(Action<ParseResult> answer) : SynchronousCommandLineAction
    {
        public override int Invoke(ParseResult parsed)
        {
            answer(parsed);
            return 0;
        }
    }
}
