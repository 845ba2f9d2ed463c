using System.CommandLine;
using System.Diagnostics;
using Optim.Bench;

// `./optim bench`: our optimizers against libtorch's fused operators, libtorch operator by operator, and TorchSharp's optimizers.
var json = new Option<FileInfo?>("--json")
{
    Description =
        "Write the results to this file, too: a list of rows, and one row with the machine. It is brought up to date after each row.",
    HelpName = "FILE",
};
var quick = new Option<bool>("--quick")
{
    Description =
        "At most three minutes: shorter measurements, and only what the goals ask for, without the lists whose steps take longest; the report says what only the full run measures. With --rule, --list, --peer or --threads: all that they choose, measured shortly.",
};
var suite = new Option<string>("--suite")
{
    Description =
        "What is compared: torch.optim's rules (optimizers), or the rules of the catalogue beside the same rules on libtorch's operators (catalogue; by far the most of it is the operators; --peer traffic takes two minutes), or Adam with narrow state beside float32 state and libtorch's fused operator (narrow), or steps on a GPU beside libtorch's fused operators there, and its operators one by one (cuda; it needs libtorch for CUDA).",
    HelpName = $"optimizers|{CatalogueSuite.Name}|{NarrowSuite.Name}|{CudaSuite.Name}",
    DefaultValueFactory = _ => "optimizers",
};
suite.AcceptOnlyFromAmong("optimizers", CatalogueSuite.Name, NarrowSuite.Name, CudaSuite.Name);
var rules = Filter(
    "--rule",
    "Only this rule; sgd stands for plain SGD and SGD with momentum.",
    [.. RuleCase.All.Select(rule => rule.Name), .. Optim.Core.Catalogue.All.Select(entry => entry.Name)]
);
rules.HelpName = "RULE";
var lists = Filter(
    "--list",
    "Only this list of parameters.",
    [.. ParameterList.All.Append(Training.Step).Append(NarrowSuite.ManyMiddling).Select(list => list.Name)]
);
var peers = Filter("--peer", "Only against this peer.", Measurement.Peers);
var threads = new Option<int[]>("--threads")
{
    Description =
        "Threads on both sides; 1 and 2 where not given. May be repeated; of the catalogue one number, all cores where not given.",
    HelpName = "N",
};
threads.Validators.Add(result =>
{
    foreach (var token in result.Tokens)
        if (int.TryParse(token.Value, out var count) && (count < 1 || count > Environment.ProcessorCount))
            result.AddError($"--threads {count}: this machine has {Environment.ProcessorCount} cores.");
});

var command = new RootCommand(
    "Compares optimizer.Step() with libtorch and TorchSharp, in one process: alternating blocks of at least 20 ms, at least 31 of them on either side, and of each side's blocks the 25th percentile. A full run takes some 45 minutes and 12 GB of memory."
)
{
    json,
    quick,
    suite,
    rules,
    lists,
    peers,
    threads,
};
command.Validators.Add(result =>
{
    if (result.GetValue(suite) == CudaSuite.Name)
        foreach (var option in (Option[])[json, peers, threads])
            if (result.GetResult(option) is { Implicit: false })
                result.AddError($"{option.Name}: --suite {CudaSuite.Name} does not take it; it takes --rule, --list and --quick.");
    if (result.GetValue(suite) != CatalogueSuite.Name)
        return;
    if (result.GetValue(json) is not null)
        result.AddError($"--json: the table of --suite {CatalogueSuite.Name} is printed, and not written to a file.");
    if (result.GetValue(threads) is { Length: > 1 } counts)
        result.AddError($"--threads {string.Join(" ", counts)}: --suite {CatalogueSuite.Name} takes one number.");
});
command.Add(Checkpoints.Create());
command.Add(ShardScale.Create());
command.Add(RankSpeed.Create());
command.SetAction(result =>
{
    if (result.GetValue(suite) == NarrowSuite.Name)
        return NarrowSuite.Run(
            result.GetValue(lists) ?? [],
            result.GetValue(threads) is { Length: > 0 } threadCount ? threadCount[0] : Environment.ProcessorCount,
            result.GetValue(quick)
        );
    if (result.GetValue(suite) == CudaSuite.Name)
        return CudaSuite.Run(result.GetValue(rules) ?? [], result.GetValue(lists) ?? [], result.GetValue(quick));
    if (result.GetValue(suite) == CatalogueSuite.Name)
        return CatalogueSuite.Run(
            result.GetValue(rules) ?? [],
            result.GetValue(lists) ?? [],
            result.GetValue(peers) ?? [],
            result.GetValue(threads) is { Length: > 0 } chosenThreads ? chosenThreads[0] : Environment.ProcessorCount,
            result.GetValue(quick)
        );
    var counts = result.GetValue(threads) is { Length: > 0 } given
        ? given
        : [.. ((int[])[1, 2]).Where(count => count <= Environment.ProcessorCount)];
    var isFiltered = ((Option[])[rules, lists, peers, threads]).Any(option => result.GetResult(option) is { Implicit: false });
    var chosen = Plan.All(counts)
        .Where(m => Chosen(result.GetValue(rules), m.Rule.Is))
        .Where(m => Chosen(result.GetValue(lists), name => m.List.Name.Equals(name, StringComparison.OrdinalIgnoreCase)))
        .Where(m => Chosen(result.GetValue(peers), name => m.Peer.Equals(name, StringComparison.OrdinalIgnoreCase)))
        .Where(m => !result.GetValue(quick) || isFiltered || Plan.IsQuick(m))
        .ToArray();
    if (chosen.Length == 0)
    {
        Console.Error.WriteLine(
            "bench: nothing to measure: no row has all that was asked for (libtorch has fused operators for sgd, adam and adamw only)."
        );
        return 1;
    }
    var rows = Measure(chosen, result.GetValue(quick), result.GetValue(json)?.FullName);
    Report.Print(rows, result.GetValue(quick) && !isFiltered ? [.. Plan.All(counts).Except(chosen)] : []);
    return 0;
});
return command.Parse(args.Length > 0 && args[0] == "bench" ? args[1..] : args).Invoke();

static Option<string[]> Filter(string name, string description, string[] values)
{
    var option = new Option<string[]>(name) { Description = description + " May be repeated.", HelpName = string.Join("|", values) };
    return option.AcceptOnlyFromAmong(StringComparer.OrdinalIgnoreCase, values);
}

static bool Chosen(string[]? asked, Func<string, bool> isIt) => asked is not { Length: > 0 } || asked.Any(isIt);

static List<Row> Measure(Measurement[] chosen, bool isQuick, string? path)
{
    const double QuickMs = 110_000; // of the three minutes, what is left after start and report
    var stopped = false;
    Console.CancelKeyPress += (_, pressed) =>
    {
        if (!stopped)
            Console.Error.WriteLine("bench: stopping after this row.");
        pressed.Cancel = !stopped; // the second time at once
        stopped = true;
    };
    var clock = Stopwatch.StartNew();
    var rows = new List<Row>();
    for (var i = 0; i < chosen.Length && !stopped; i++)
    {
        var effort = isQuick ? Effort.Quick((QuickMs - clock.ElapsedMilliseconds) / (chosen.Length - i)) : Effort.Full;
        Console.Error.Write(FormattableString.Invariant($"[{i + 1}/{chosen.Length}] {clock.Elapsed:mm\\:ss} {chosen[i]}: "));
        var measured = Comparison.Run(chosen[i], effort).ToArray();
        Console.Error.WriteLine(Report.Short(measured[0]));
        rows.AddRange(measured);
        if (path != null)
            Json.Save(path, rows);
    }
    return rows;
}
