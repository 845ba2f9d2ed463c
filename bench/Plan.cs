using Optim.Kernels;

namespace Optim.Bench;

/// <summary>What is compared with what, and how.</summary>
internal sealed record Measurement(RuleCase Rule, ParameterList List, DType DType, int Threads, string Parameters, string Peer)
{
    public const string Fused = "libtorch fused",
        Ops = "libtorch ops",
        TorchSharp = "torchsharp",
        Passes = "libtorch passes",
        Copy = "libtorch copy",
        Traffic = "traffic",
        Single = "float32",
        Emitted = "emitted",
        Blocks = "blocks";

    public static readonly string[] Peers = [Fused, Ops, TorchSharp, Passes, Copy, Traffic, Single, Emitted, Blocks];

    public bool IsTraining => List == Training.Step;

    public override string ToString() =>
        $"{Rule.Name}, {List.Name}, {DType.Name()}, {Threads} {(Threads == 1 ? "thread" : "threads")}, {Parameters}, {Peer}";
}

/// <summary>Which measurements there are.</summary>
internal static class Plan
{
    /// <summary>Every list against every peer, with host parameters; and some with TorchSharp's, some in float64, and training.</summary>
    public static IEnumerable<Measurement> All(IReadOnlyList<int> threads) =>
        from list in ParameterList.All.Append(Training.Step)
        from rule in RuleCase.All
        from dtype in (DType[])[DType.Float32, DType.Float64, DType.BFloat16, DType.Float16]
        from parameters in (string[])[Row.Host, Row.TorchSharp]
        from peer in Measurement.Peers
        from count in threads
        let measurement = new Measurement(rule, list, dtype, count, parameters, peer)
        where peer != Measurement.Fused || rule.HasFused
        where
            (peer == Measurement.Passes || (rule == RuleCase.Tail && peer == Measurement.Blocks)) == (rule == RuleCase.Tail)
            && (peer == Measurement.Copy) == (rule == RuleCase.Average)
        // TorchSharp's RAdam multiplies by lr twice.
        where peer != Measurement.TorchSharp || rule != RuleCase.RAdam
        where Belongs(measurement)
        select measurement;

    private static bool Belongs(Measurement m) =>
        m.Rule.IsDefinition || m.Peer == Measurement.Blocks
            ? (m.Rule.IsDefinition || m.Rule == RuleCase.Tail)
                && m.DType == DType.Float32
                && m.Parameters == Row.Host
                && (
                    m.Peer == Measurement.Ops ? m.Rule == RuleCase.Chain && m.List.Name is "16M" or "resnet50" or "1000 x 1K"
                    : m.Peer == Measurement.Traffic
                        ? m.Rule.IsDefinition && (m.List.Name == "16M" || (m.Rule == RuleCase.Chain && m.List.Name == "resnet50"))
                    : m.Peer == Measurement.Blocks && m.List.Name is "64K" or "16M" or "1000 x 1K"
                )
        : m.Peer == Measurement.Emitted
            ? !(
                m.Rule.IsOfWholeTensors || m.IsTraining || m.Rule == RuleCase.LBFGS || m.Rule == RuleCase.Tail || m.Rule == RuleCase.Average
            )
                && m.DType == DType.Float32
                && m.Parameters == Row.Host
                && m.Threads == 2
                && m.List.Name is not ("1K" or "mlp")
                && !m.List.Name.EndsWith("matrices", StringComparison.Ordinal)
        : m.Rule == RuleCase.LBFGS ? m.List.Name == "1M" && m.Peer == Measurement.TorchSharp && m.DType == DType.Float32
        : m.DType is DType.BFloat16 or DType.Float16 || m.Peer == Measurement.Single
            ? m.DType is DType.BFloat16 or DType.Float16
                && m.Peer == Measurement.Single
                && (m.Rule == RuleCase.Adam || m.Rule == RuleCase.SGDMomentum || m.Rule == RuleCase.RMSprop)
                && m.List.Name is "16M" or "64K"
                && m.Parameters == Row.Host
        : m.Peer == Measurement.Traffic
            ? m.List.Name is "16M" or "64M" or "resnet50"
                && m.DType == DType.Float32
                && m.Parameters == Row.Host
                && !m.Rule.IsOfWholeTensors
        : m.List.Name.EndsWith("matrices", StringComparison.Ordinal) || m.Rule.IsOfWholeTensors
            ? m.Peer == Measurement.Ops
                && m.DType == DType.Float32
                && m.Parameters == Row.Host
                && (
                    m.Rule == RuleCase.Adafactor
                        ? m.List.Name == "resnet50"
                        : m.Rule == RuleCase.Muon && m.List.Name.EndsWith("matrices", StringComparison.Ordinal)
                )
        : m.Rule == RuleCase.Tail
            ? m.List.Name is "resnet50" or "gpt2_124m" or "1000 x 1K" && m.Parameters == Row.Host && m.DType == DType.Float32
        : m.Rule == RuleCase.Average ? m.List.Name is "64K" or "16M" && m.Parameters == Row.Host && m.DType == DType.Float32
        : m.IsTraining ? m.Parameters == Row.TorchSharp && m.Peer == Measurement.TorchSharp && m.DType == DType.Float32
        : m.DType == DType.Float64
            ? m.Parameters == Row.Host && (m.Rule == RuleCase.Adam || m.Rule == RuleCase.SGDMomentum) && m.List.Name is "64K" or "1M"
        : m.Parameters == Row.Host
            || (
                m.Peer != Measurement.Ops
                && (m.Rule == RuleCase.Adam || m.Rule == RuleCase.SGDMomentum)
                && m.List.Name is not ("64M" or "gpt2_124m")
            );

    /// <summary>
    /// What `--quick` measures of all these: what the goals ask for, and a little of the rest; but none of the lists of which a step or
    /// two take as long as everything else.
    /// </summary>
    public static bool IsQuick(Measurement m) =>
        m.List.Name is not ("64M" or "gpt2_124m" or "vit_b16 matrices")
        && !(m.Peer == Measurement.Traffic && m.List.Name == "resnet50") // 16M says the same
        && !(m.Threads == 1 && (m.Rule == RuleCase.Adafactor || m.Rule == RuleCase.Muon || m.Rule == RuleCase.LBFGS)) // two threads say the same
        && !(m.Peer == Measurement.Blocks && m.List.Name != "16M")
        && (
            Goal.All.Any(goal => !goal.IsAboutAll && goal.Applies(m))
            || (m.Threads == 2 && m.List.Name == "64K" && m.DType != DType.Float16)
            || (m.IsTraining && m.Threads == 2)
        )
        && (m.Peer != Measurement.Emitted || (m.List.Name is "64K" or "16M" or "1000 x 1K" && m.Rule == RuleCase.Adam));
}
