using System.Globalization;
using Optim.Bench.Peers;
using Optim.Core;
using static TorchSharp.torch;

namespace Optim.Bench;

/// <summary>Adam with narrow state beside the same step with float32 state, and libtorch's fused operator.</summary>
internal static class NarrowSuite
{
    public const string Name = "narrow";

    private const long K = 1024;

    /// <summary>A thousand tensors, each of 32 blocks.</summary>
    public static readonly ParameterList ManyMiddling = new("1000 x 8K", [.. Enumerable.Repeat(new[] { 8 * K }, 1000)]);

    private static readonly string[] lists = ["64K", "1M", "16M", "resnet50"];

    /// <summary>Measures and prints.</summary>
    /// <param name="chosen">Names of lists; all where empty.</param>
    /// <param name="threads">Threads on both sides.</param>
    /// <param name="isQuick">Whether to measure shortly.</param>
    public static int Run(IReadOnlyCollection<string> chosen, int threads, bool isQuick)
    {
        Threads.Count = threads;
        set_num_threads(threads);
        Console.WriteLine("| list | storage | bytes of state an element | us | against float32 | against libtorch's fused op | GB/s |");
        Console.WriteLine("|---|---|---|---|---|---|---|");
        foreach (var list in ParameterList.All.Where(list => lists.Contains(list.Name)).Append(ManyMiddling))
            if (chosen.Count == 0 || chosen.Contains(list.Name, StringComparer.OrdinalIgnoreCase))
                foreach (var storage in (StateStorage[])[StateStorage.Float32, StateStorage.BFloat16, StateStorage.Blockwise8])
                    Measure(list, storage, isQuick ? Effort.Quick(250) : Effort.Full);
        if (chosen.Count == 0)
            NarrowQuality.Run(isQuick);
        return 0;
    }

    private static void Measure(ParameterList list, StateStorage storage, Effort effort)
    {
        using var ours = Ours.Over(parameters => new Adam(parameters, stateStorage: storage), list);
        using var wide = Ours.Over(parameters => new Adam(parameters), list);
        using var fused = new LibtorchFused(RuleCase.Adam, list, ScalarType.Float32);
        var (narrowUs, wideUs) = Timing.Compare(Timing.Of(ours.Step), Timing.Of(wide.Step), effort);
        var (again, fusedUs) = Timing.Compare(Timing.Of(ours.Step), Timing.Of(fused.Step), effort);
        var bytes = 2 * storage.BytesPerElement;
        // Parameter and gradient are read, the parameter is written, state is read and written.
        var moved = list.Count * (3 * sizeof(float) + 2 * bytes);
        Console.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"| {list.Name} | {storage.Name} | {bytes:F2} | {narrowUs[0]:F1} | {wideUs[0] / narrowUs[0]:F2}x | {fusedUs[0] / again[0]:F2}x | {moved / narrowUs[0] / 1e3:F1} |"
            )
        );
    }
}
