using System.Globalization;
using Optim.Bench.Peers;
using Optim.Core;
using static TorchSharp.torch;

namespace Optim.Bench;

/// <summary>
/// The rules of the catalogue, by our kernels beside the same rules on libtorch's operators, and at 16M beside the memory traffic of their
/// visits without arithmetic. Rules over whole tensors are measured on the matrices of ViT-B/16.
/// </summary>
internal static class CatalogueSuite
{
    public const string Name = "catalogue";

    /// <summary>A rule may take so many times the time of its own traffic.</summary>
    private const double MostOfTraffic = 1.3;

    private static readonly string[] elementLists = ["64K", "1M", "16M", "1000 x 1K"];
    private const string WholeList = "vit_b16 matrices";
    private const string TrafficList = "16M";

    /// <summary>One rule on one list: microseconds of a step by our kernels, and by what it is compared with.</summary>
    private sealed record Result(string Rule, string List, double Ours, double? Operators, double? Traffic)
    {
        public double? Ratio => Operators / Ours;

        public double? OfTraffic => Ours / Traffic;

        public string Place => $"{Rule} on {List}";
    }

    /// <summary>Measures and prints; whether every goal is reached is said at the end.</summary>
    /// <param name="rules">Names of rules; all where empty.</param>
    /// <param name="lists">Names of lists; all where empty.</param>
    /// <param name="peers">Of libtorch's operators and the traffic; both where empty.</param>
    /// <param name="threads">Threads on both sides.</param>
    /// <param name="isQuick">Whether to measure shortly.</param>
    public static int Run(
        IReadOnlyCollection<string> rules,
        IReadOnlyCollection<string> lists,
        IReadOnlyCollection<string> peers,
        int threads,
        bool isQuick
    )
    {
        bool Has(string peer) => peers.Count == 0 || peers.Contains(peer, StringComparer.OrdinalIgnoreCase);
        var rows = (
            from entry in Catalogue.All
            where rules.Count == 0 || rules.Contains(entry.Name, StringComparer.OrdinalIgnoreCase)
            let isOfElements = entry.Rule is DefinedRule
            from list in ParameterList.All
            where isOfElements ? elementLists.Contains(list.Name) : list.Name == WholeList
            where lists.Count == 0 || lists.Contains(list.Name, StringComparer.OrdinalIgnoreCase)
            let beside = (Operators: Has(Measurement.Ops), Traffic: isOfElements && list.Name == TrafficList && Has(Measurement.Traffic))
            where beside.Operators || beside.Traffic
            select (entry, isOfElements, list, beside)
        ).ToList();
        if (rows.Count == 0)
        {
            Console.Error.WriteLine(
                $"bench: nothing to measure: a rule of elements is measured on {string.Join(", ", elementLists)}, one of matrices on {WholeList}; against {Measurement.Ops}, and elements at {TrafficList} against {Measurement.Traffic}."
            );
            return 1;
        }
        Threads.Count = threads;
        set_num_threads(threads);
        Console.WriteLine("| rule | list | ours, us | libtorch's operators, us | ratio | of its own traffic |");
        Console.WriteLine("|---|---|---|---|---|---|");
        var (operators, traffic) = (new List<Result>(), new List<Result>());
        foreach (var (entry, isOfElements, list, beside) in rows)
        {
            var result = Measure(entry.Rule, list, beside, isQuick ? Effort.Quick(250) : Effort.Full);
            if (isOfElements && beside.Operators)
                operators.Add(result);
            if (beside.Traffic)
                traffic.Add(result);
            Console.WriteLine(
                $"| {result.Rule} | {result.List} | {Number(result.Ours, "F1")} | {Number(result.Operators, "F1")} | {Number(result.Ratio, "F2")} | {Number(result.OfTraffic, "F2")} |"
            );
            // State that nobody holds any more goes before the next rule asks for memory.
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        Say("slower than libtorch's operators", operators, result => result.Ratio < 1);
        Say(
            string.Create(CultureInfo.InvariantCulture, $"more than {MostOfTraffic} times its own traffic"),
            traffic,
            result => result.OfTraffic > MostOfTraffic
        );
        return 0;
    }

    private static string Number(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "–";

    private static void Say(string what, List<Result> measured, Func<Result, bool> isIt)
    {
        if (measured.Count == 0)
            return;
        var found = measured.Where(isIt).Select(result => result.Place).ToList();
        Console.WriteLine();
        Console.WriteLine($"{what}: {(found.Count == 0 ? "none" : string.Join(", ", found))} (of {measured.Count})");
    }

    private static Result Measure(Rule rule, ParameterList list, (bool Operators, bool Traffic) beside, Effort effort)
    {
        var options = rule.Has("lr") ? rule.Replace(rule.Defaults, "lr", RuleCase.Lr) : rule.Defaults;
        using var ours = Ours.Over(parameters => Of(rule, options, parameters), list);
        var (oursUs, operatorsUs, trafficUs) = (double.NaN, (double?)null, (double?)null);
        if (beside.Operators)
        {
            using var operators = new OperatorSide(rule, options, list);
            (oursUs, operatorsUs) = Compare(ours, Timing.Of(operators.Step), effort);
        }
        if (beside.Traffic)
        {
            var traffic = new VisitTraffic(ExplanationModule.ofRule(rule, options).Visits, (int)list.Count);
            (oursUs, trafficUs) = Compare(ours, Timing.Of(traffic.Step), effort);
        }
        return new(rule.Name, list.Name, oursUs, operatorsUs, trafficUs);
    }

    private static (double Ours, double Theirs) Compare(Ours ours, Block theirs, Effort effort)
    {
        var (oursUs, theirsUs) = Timing.Compare(Timing.Of(ours.Step), theirs, effort);
        return (oursUs[0], theirsUs[0]);
    }

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
