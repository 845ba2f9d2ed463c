using System.Globalization;
using Optim.Core;
using static TorchSharp.torch;

namespace Optim.Bench;

/// <summary>
/// The rules of the catalogue, by our kernels beside the same rules on libtorch's operators, and at 16M beside as many bytes of memory traffic
/// without arithmetic. Rules over whole tensors are measured on the matrices of ViT-B/16.
/// </summary>
internal static class CatalogueSuite
{
    public const string Name = "catalogue";

    /// <summary>A rule may take so many times the time of its own traffic.</summary>
    private const double MostOfTraffic = 1.3;

    private static readonly string[] elementLists = ["64K", "1M", "16M", "1000 x 1K"];
    private const string WholeList = "vit_b16 matrices";

    /// <summary>One rule on one list: microseconds of a step by our kernels, by libtorch's operators, and of the same traffic.</summary>
    private sealed record Result(string Rule, string List, bool IsOfElements, double Ours, double Operators, double? Traffic)
    {
        public double Ratio => Operators / Ours;

        public double? OfTraffic => Ours / Traffic;
    }

    /// <summary>Measures and prints; whether every goal is reached is said at the end.</summary>
    public static int Run(IReadOnlyCollection<string> rules, IReadOnlyCollection<string> lists, bool isQuick)
    {
        var entries = Catalogue
            .All.Where(entry => rules.Count == 0 || rules.Contains(entry.Name, StringComparer.OrdinalIgnoreCase))
            .ToList();
        var rows = (
            from entry in entries
            let isOfElements = entry.Rule is DefinedRule
            from list in ParameterList.All
            where isOfElements ? elementLists.Contains(list.Name) : list.Name == WholeList
            where lists.Count == 0 || lists.Contains(list.Name, StringComparer.OrdinalIgnoreCase)
            select (entry, isOfElements, list)
        ).ToList();
        if (rows.Count == 0)
        {
            Console.Error.WriteLine("bench: nothing to measure: no rule of the catalogue on such a list.");
            return 1;
        }
        Console.WriteLine("| rule | list | ours, us | libtorch's operators, us | ratio | of its own traffic |");
        Console.WriteLine("|---|---|---|---|---|---|");
        var results = new List<Result>();
        foreach (var (entry, isOfElements, list) in rows)
        {
            var result = Measure(entry.Rule, isOfElements, list, isQuick ? Effort.Quick(250) : Effort.Full);
            results.Add(result);
            Console.WriteLine(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"| {result.Rule} | {result.List} | {result.Ours:F1} | {result.Operators:F1} | {result.Ratio:F2}x | {(result.OfTraffic is { } part ? part.ToString("F2", CultureInfo.InvariantCulture) : "–")} |"
                )
            );
            // State that nobody holds any more goes before the next rule asks for memory.
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        Say("slower than libtorch's operators", results.Where(result => result.IsOfElements && result.Ratio < 1));
        Say(
            $"more than {MostOfTraffic.ToString(CultureInfo.InvariantCulture)} times its own traffic",
            results.Where(result => result.OfTraffic > MostOfTraffic)
        );
        return 0;
    }

    private static void Say(string what, IEnumerable<Result> results)
    {
        var found = results.Select(result => $"{result.Rule} on {result.List}").ToList();
        Console.WriteLine();
        Console.WriteLine($"{what}: {(found.Count == 0 ? "none" : string.Join(", ", found))}");
    }

    private static Result Measure(Rule rule, bool isOfElements, ParameterList list, Effort effort)
    {
        var options = rule.Has("lr") ? rule.Replace(rule.Defaults, "lr", RuleCase.Lr) : rule.Defaults;
        using var ours = Ours.Over(parameters => Of(rule, options, parameters), list);
        using var operators = new OperatorSide(rule, options, list);
        var (oursUs, operatorsUs) = Timing.Compare(Timing.Of(ours.Step), Timing.Of(operators.Step), effort);
        if (!isOfElements || list.Name != "16M")
            return new(rule.Name, list.Name, isOfElements, oursUs[0], operatorsUs[0], null);
        var bytes = ExplanationModule.ofRule(rule, options).Visits.Sum(visit => visit.Bytes);
        var columns = rule.ColumnsUnder(options).Length;
        using var traffic = Ours.Over(parameters => new RuleOptimizer(TrafficOf(columns), parameters), list);
        var (again, trafficUs) = Timing.Compare(Timing.Of(ours.Step), Timing.Of(traffic.Step), effort);
        // The traffic's rule reads the gradient, and reads and writes everything else.
        var moved = sizeof(float) * (3 + 2 * columns);
        return new(rule.Name, list.Name, isOfElements, again[0], operatorsUs[0], trafficUs[0] * bytes / moved);
    }

    /// <summary>Moves a parameter and so many columns by the gradient.</summary>
    private static DefinedRule TrafficOf(int columns) =>
        DefinedRule.Define(
            $"Traffic of {columns}",
            r =>
            {
                for (var i = 0; i < columns; i++)
                {
                    var column = r.Column($"c{i}");
                    r.Set(column, column + r.Gradient);
                }
                return r.Parameter + r.Gradient;
            }
        );

    private sealed class OperatorSide : IDisposable
    {
        private readonly Tensor[] tensors,
            gradients;
        private readonly Optimizer optimizer;

        public OperatorSide(Rule rule, IOptimizerOptions options, ParameterList list)
        {
            (tensors, gradients) = (Peers.Tensors.Parameters(list, ScalarType.Float32), Peers.Tensors.Gradients(list, ScalarType.Float32));
            for (var i = 0; i < tensors.Length; i++)
            {
                tensors[i].requires_grad_(true);
                tensors[i].grad = gradients[i];
            }
            optimizer = Of(rule, options, Torch.Parameters(Torch.Operators, [.. tensors.Select((tensor, i) => ($"p{i}", tensor))]));
        }

        public void Step() => optimizer.Step();

        public void Dispose() => Peers.Tensors.Dispose(tensors, gradients);
    }

    private static RuleOptimizer Of(Rule rule, IOptimizerOptions options, IEnumerable<IParameter> parameters) =>
        new(rule, parameters, [.. rule.OptionNames.Select(option => (option, rule.Read(options, option)))]);
}
