using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace Optim.Bench;

/// <summary>
/// `./optim bench ranks`: rows per second of training runs, of two ranks with a thread each against one process with two threads, and of a world of one
/// against no world, in turn. A rate is that of a run behind its first fifth: .NET compiles the code of a step until then, in each rank, however many rows
/// follow. What comes of whole runs is printed, too.
/// </summary>
internal static partial class RankSpeed
{
    private sealed record Comparison(string Name, string[] Ours, string[] Theirs);

    /// <summary>Thousands of rows per second.</summary>
    /// <param name="Behind">Behind the first fifth of a run.</param>
    /// <param name="Whole">Of a whole run.</param>
    private readonly record struct Rate(double Behind, double Whole);

    private static readonly Comparison[] comparisons =
    [
        new("2 ranks x 1 thread against 1 process x 2 threads", ["--ranks", "2"], []),
        new("a world of one against no world", ["--leaves", "1"], []),
    ];

    public static Command Create()
    {
        var rounds = new Option<int>("--rounds")
        {
            Description = "How often either side runs, in turn; at least 1.",
            DefaultValueFactory = _ => 5,
        };
        rounds.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() < 1)
                result.AddError($"--rounds is {result.GetValueOrDefault<int>()}; it must be at least 1.");
        });
        var epochs = new Option<int>("--epochs")
        {
            Description = "Passes over the data in a run; at least 1.",
            DefaultValueFactory = _ => 6,
        };
        epochs.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() < 1)
                result.AddError($"--epochs is {result.GetValueOrDefault<int>()}; it must be at least 1.");
        });
        var backend = new Option<string>("--backend")
        {
            Description = "What works out the gradients: TorchSharp, by its threads, or the command's own model, which has one.",
            DefaultValueFactory = _ => "torchsharp",
        };
        backend.AcceptOnlyFromAmong("torchsharp", "host");
        var data = new Option<string>("--data")
        {
            Description = "What is trained on, as of ./optim train.",
            DefaultValueFactory = _ => "fashion-mnist",
        };
        var command = new Command(
            "ranks",
            "Trains an MLP 784-128-10 with AdamW and batches of 128 rows by ./optim train, on two ranks and in one process, in turn, and prints rows per second behind the first fifth of a run, in which code is compiled, medians of all rounds, the ratio, and that of whole runs. It needs an MPI launcher; two minutes."
        )
        {
            rounds,
            epochs,
            backend,
            data,
        };
        command.SetAction(result =>
            Run(result.GetValue(rounds), result.GetValue(epochs), result.GetValue(backend)!, result.GetValue(data)!)
        );
        return command;
    }

    private static int Run(int rounds, int epochs, string backend, string data)
    {
        string[] common =
        [
            "train",
            "--data",
            data,
            "--hidden",
            "128",
            "--batch-size",
            "128",
            "--optimizer",
            "adamw",
            "--epochs",
            epochs.ToString(CultureInfo.InvariantCulture),
            "--threads",
            "2",
            .. backend == "torchsharp" ? ["--backend", "torchsharp"] : Array.Empty<string>(),
        ];
        Console.WriteLine($"MLP 784-128-10 on {data}, AdamW, batches of 128, {backend}; thousands of rows per second, medians of {rounds}");
        foreach (var comparison in comparisons)
        {
            var (ours, theirs) = (new List<Rate>(), new List<Rate>());
            for (var round = 0; round < rounds; round++)
            {
                ours.Add(RateOf([.. common, .. comparison.Ours]));
                theirs.Add(RateOf([.. common, .. comparison.Theirs]));
                Console.Error.WriteLine(
                    FormattableString.Invariant(
                        $"[{round + 1}/{rounds}] {comparison.Name}: {ours[^1].Behind:F1} and {theirs[^1].Behind:F1}, whole runs {ours[^1].Whole:F1} and {theirs[^1].Whole:F1}"
                    )
                );
            }
            // Of neighbouring runs, as machines drift.
            double Ratio(Func<Rate, double> of) => Median(ours.Zip(theirs, (a, b) => of(a) / of(b)));
            Console.WriteLine(
                FormattableString.Invariant(
                    $"{comparison.Name}: {Median(ours.Select(rate => rate.Behind)):F1} and {Median(theirs.Select(rate => rate.Behind)):F1}, {Ratio(rate => rate.Behind):F2}x; whole runs {Ratio(rate => rate.Whole):F2}x"
                )
            );
        }
        return 0;
    }

    /// <summary>Of a run of the command, by the line that it prints for each tenth: starting processes does not count.</summary>
    private static Rate RateOf(string[] arguments)
    {
        var start = new ProcessStartInfo(Script()) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        process.WaitForExit();
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"./optim {string.Join(' ', arguments)} has failed: {output.Result}{errors.Result}");
        var tenths = Progress()
            .Matches(errors.Result + output.Result)
            .Select(line =>
            {
                // The last batch of an epoch has fewer rows, on either side.
                var rows = 128 * double.Parse(line.Groups["step"].Value, CultureInfo.InvariantCulture) / 1000;
                return (
                    Rows: rows,
                    Seconds: rows / (double.Parse(line.Groups["speed"].Value, NumberStyles.Number, CultureInfo.InvariantCulture) / 1000)
                );
            })
            .ToArray();
        if (tenths.Length < 10)
            throw new InvalidOperationException($"./optim {string.Join(' ', arguments)} tells of {tenths.Length} tenths of its run");
        var (begun, whole) = (tenths[1], tenths[^1]);
        return new((whole.Rows - begun.Rows) / (whole.Seconds - begun.Seconds), whole.Rows / whole.Seconds);
    }

    [GeneratedRegex(@"step\s+(?<step>\d+)/\d+ .* (?<speed>[\d,]+) rows/s")]
    private static partial Regex Progress();

    private static string Script()
    {
        var name = OperatingSystem.IsWindows() ? "optim.cmd" : "optim";
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, name)) && File.Exists(Path.Combine(folder.FullName, "Optim.sln")))
                return Path.Combine(folder.FullName, name);
        throw new InvalidOperationException($"there is no {name} above {AppContext.BaseDirectory}: run it in the project's folder");
    }

    private static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        return sorted[sorted.Length / 2];
    }
}
