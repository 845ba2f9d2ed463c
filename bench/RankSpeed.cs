using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace Optim.Bench;

/// <summary>
/// `./optim bench ranks`: rows per second of whole training runs, of two ranks with a thread each against one process with two threads, and of a world of one
/// against no world, in turn.
/// </summary>
internal static class RankSpeed
{
    private sealed record Comparison(string Name, string[] Ours, string[] Theirs);

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
            "Trains an MLP 784-128-10 with AdamW and batches of 128 rows by ./optim train, on two ranks and in one process, in turn, and prints rows per second, medians of all rounds, and the ratio. It needs an MPI launcher; two minutes."
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
            var (ours, theirs) = (new List<double>(), new List<double>());
            for (var round = 0; round < rounds; round++)
            {
                ours.Add(RowsPerSecond([.. common, .. comparison.Ours]));
                theirs.Add(RowsPerSecond([.. common, .. comparison.Theirs]));
                Console.Error.WriteLine(
                    FormattableString.Invariant(
                        $"[{round + 1}/{rounds}] {comparison.Name}: {ours[^1] / 1000:F1} and {theirs[^1] / 1000:F1}"
                    )
                );
            }
            // Of neighbouring runs, as machines drift.
            var ratio = Median([.. ours.Zip(theirs, (a, b) => a / b)]);
            Console.WriteLine(
                FormattableString.Invariant($"{comparison.Name}: {Median(ours) / 1000:F1} and {Median(theirs) / 1000:F1}, {ratio:F2}x")
            );
        }
        return 0;
    }

    /// <summary>Of a run of the command, by what it says of itself: starting processes does not count.</summary>
    private static double RowsPerSecond(string[] arguments)
    {
        var path = Path.GetTempFileName();
        try
        {
            var start = new ProcessStartInfo(Script()) { RedirectStandardOutput = true, RedirectStandardError = true };
            foreach (var argument in (string[])[.. arguments, "--json", path])
                start.ArgumentList.Add(argument);
            using var process = Process.Start(start)!;
            var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
            process.WaitForExit();
            if (process.ExitCode != 0)
                throw new InvalidOperationException($"./optim {string.Join(' ', arguments)} has failed: {output.Result}{errors.Result}");
            using var result = JsonDocument.Parse(File.ReadAllText(path));
            // The last batch of an epoch has fewer rows, on either side.
            return 128 * result.RootElement.GetProperty("losses").GetArrayLength() / result.RootElement.GetProperty("seconds").GetDouble();
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static string Script()
    {
        var name = OperatingSystem.IsWindows() ? "optim.cmd" : "optim";
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, name)) && File.Exists(Path.Combine(folder.FullName, "Optim.sln")))
                return Path.Combine(folder.FullName, name);
        throw new InvalidOperationException($"there is no {name} above {AppContext.BaseDirectory}: run it in the project's folder");
    }

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);
}
