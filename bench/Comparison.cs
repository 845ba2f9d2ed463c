using Optim.Bench.Peers;
using static TorchSharp.torch;

namespace Optim.Bench;

/// <summary>Carries out a measurement: makes both sides, sees that they agree, and times them.</summary>
internal static class Comparison
{
    public static IEnumerable<Row> Run(Measurement m, Effort effort)
    {
        Threads.Count = m.Threads;
        set_num_threads(m.Threads);
        Row[] rows = m.IsTraining ? Training.Run(m, effort) : [Steps(m, effort)];
        // Wrappers and state that nobody holds any more go before the next measurement asks for memory.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return rows;
    }

    private static Row Steps(Measurement m, Effort effort)
    {
        using var ours = Ours.Of(m);
        using var theirs = Peer(m);
        ours.Step();
        theirs.Step();
        // Traffic computes nothing, and bfloat16 rounds further than sides may differ.
        if (m.Peer is not (Measurement.Traffic or Measurement.Single))
            Agree(ours, theirs, m);
        if (m.Rule == RuleCase.Tail)
        {
            ours.Rest();
            theirs.Rest();
        }
        Action? finish = m.Parameters == Row.Cuda ? () => cuda.synchronize() : null;
        var (oursUs, theirsUs) = Timing.Compare(Timing.Of(ours.Step, finish), Timing.Of(theirs.Step, finish), effort);
        Finite(ours.Sample(), m);
        Finite(theirs.Sample(), m);
        return Make(m, m.List.Name, oursUs[0], theirsUs[0], Allocation.PerStep(ours.Step, oursUs[0]), ours.Executor);
    }

    public static Row Make(Measurement m, string list, double oursUs, double peerUs, double bytes, string executor) =>
        new(
            m.Rule.Name,
            list,
            Kernels.DTypes.Name(m.DType),
            m.Threads,
            m.Parameters,
            m.Peer,
            Math.Round(oursUs, 3),
            Math.Round(peerUs, 3),
            Math.Round(peerUs / oursUs, 3),
            bytes,
            executor,
            m.Rule.Options
        );

    private static Side Peer(Measurement m)
    {
        var dtype = (ScalarType)(int)m.DType;
        return m.Peer switch
        {
            Measurement.Fused => new LibtorchFused(m.Rule, m.List, dtype),
            Measurement.Ops when m.Rule == RuleCase.Chain => new LibtorchChain(m.List, dtype),
            Measurement.Ops when m.Rule.IsOfWholeTensors => new LibtorchMatrices(m.Rule, m.List, dtype),
            Measurement.Passes => new LibtorchPasses(m.List, dtype),
            Measurement.Traffic => Ours.Traffic(m),
            Measurement.Single => Ours.Of(m with { DType = Kernels.DType.Float32 }),
            Measurement.Blocks => new OnEngine(Ours.Of(m), Kernels.Engine.Blocks),
            Measurement.Emitted => new OnEngine(Ours.Of(m), Kernels.Engine.Emitted),
            Measurement.Copy => new LibtorchCopy(m.List, dtype),
            Measurement.Ops => new LibtorchOps(m.Rule, m.List, dtype),
            _ when m.Rule == RuleCase.LBFGS => new TorchSharpQuadratic(m.List),
            _ => new TorchSharpPeer(m.Rule, m.List, dtype),
        };
    }

    /// <summary>One step moves a parameter by up to 1e-4: sides that disagree by a hundredth of that do not run the same rule.</summary>
    private static void Agree(Side one, Side other, Measurement m)
    {
        if (one.Evaluations != other.Evaluations)
            throw new InvalidOperationException(
                $"{m}: our side asked for {one.Evaluations} losses, the other for {other.Evaluations}: they do not do the same work"
            );
        var (ours, theirs) = (one.Sample(), other.Sample());
        for (var i = 0; i < ours.Length; i++)
            if (!(Math.Abs(ours[i] - theirs[i]) <= 1e-2 * RuleCase.Lr))
                throw new InvalidOperationException(
                    FormattableString.Invariant(
                        $"{m}: after one step a parameter is {ours[i]:r} on our side and {theirs[i]:r} on the other"
                    )
                );
    }

    private static void Finite(double[] values, Measurement m)
    {
        if (!values.All(double.IsFinite))
            throw new InvalidOperationException($"{m}: a parameter is no longer finite");
    }
}
