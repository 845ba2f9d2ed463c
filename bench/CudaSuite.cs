using System.Globalization;
using Optim.Bench.Peers;
using static TorchSharp.torch;

namespace Optim.Bench;

/// <summary>Steps of parameters on a GPU: ours beside libtorch's fused operator, or its operators one by one where it has none.</summary>
internal static class CudaSuite
{
    public const string Name = "cuda";

    private static readonly string[] lists = ["mlp", "64K", "16M", "resnet50", "gpt2_124m", "10000 x 64"];

    // Lists by which rules without a fused operator are measured.
    private static readonly string[] some = ["16M", "resnet50"];

    /// <summary>Measures and prints; 1 where there is no GPU.</summary>
    /// <param name="rules">Names of rules; all where empty.</param>
    /// <param name="chosen">Names of lists; all where empty.</param>
    /// <param name="isQuick">Whether to measure shortly.</param>
    public static int Run(IReadOnlyCollection<string> rules, IReadOnlyCollection<string> chosen, bool isQuick)
    {
        if (!cuda.is_available())
        {
            Console.Error.WriteLine("bench: libtorch finds no GPU here; --suite cuda needs one, and libtorch for CUDA.");
            return 1;
        }
        Tensors.Place = CUDA;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"A copy on the device: {Copy() / 1e9:F0} GB/s."));
        Console.WriteLine();
        Console.WriteLine("| rule | list | us | peer | its us | ratio | by |");
        Console.WriteLine("|---|---|---|---|---|---|---|");
        // The first one brings this program to its full speed, and is measured again.
        var isFirst = true;
        foreach (var rule in RuleCase.All.Where(rule => !rule.IsDefinition && !rule.IsOfWholeTensors))
        foreach (var list in ParameterList.All)
        {
            if (rule == RuleCase.LBFGS || rule == RuleCase.Tail || rule == RuleCase.Average)
                continue;
            var isMeasured =
                chosen.Count > 0
                    ? chosen.Contains(list.Name, StringComparer.OrdinalIgnoreCase)
                    : (rule.HasFused ? lists : some).Contains(list.Name);
            if (!isMeasured || (rules.Count > 0 && !rules.Any(rule.Is)))
                continue;
            if (isFirst)
                _ = Measure(rule, list, Effort.Full);
            isFirst = false;
            Console.WriteLine(Measure(rule, list, isQuick ? Effort.Quick(250) : Effort.Full));
        }
        return 0;
    }

    private static string Measure(RuleCase rule, ParameterList list, Effort effort)
    {
        var peer = rule.HasFused ? Measurement.Fused : Measurement.Ops;
        var row = Comparison.Run(new(rule, list, Kernels.DType.Float32, 1, Row.Cuda, peer), effort).Single();
        return string.Create(
            CultureInfo.InvariantCulture,
            $"| {row.Rule} | {row.List} | {row.OursUs:F1} | {row.Peer} | {row.PeerUs:F1} | {row.Ratio:F2}x | {row.Executor} |"
        );
    }

    /// <summary>Bytes a second that a copy reads and writes.</summary>
    private static double Copy()
    {
        const long elements = 1 << 26;
        using var source = ones(elements, device: CUDA);
        using var target = zeros(elements, device: CUDA);
        var block = Timing.Of(() => target.copy_(source), () => cuda.synchronize());
        block(10);
        return Enumerable.Range(0, 5).Max(_ => 2 * sizeof(float) * elements / block(50)[0] * 1e6);
    }
}
