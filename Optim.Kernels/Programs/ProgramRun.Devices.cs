namespace Optim.Kernels;

// Visits with spreads, on a device.
internal sealed unsafe partial class ProgramRun
{
    private readonly Dictionary<ProgramDevice, DeviceSpreads> spreadsOnDevices = [];

    private static bool HasSpreads(Prepared now) => now.Visit.Made.Length + now.Visit.Taken.Length > 0;

    private DeviceSpreads SpreadsOn(ProgramDevice device)
    {
        if (!spreadsOnDevices.TryGetValue(device, out var known))
            spreadsOnDevices.Add(device, known = new(device));
        return known;
    }

    /// <summary>What a visit of a segment launches on a device, in order; tables are laid out for it.</summary>
    public List<DeviceLaunch> LaunchesFor(ProgramDevice device, int visit, in ProgramSegment segment)
    {
        var now = VisitOf(visit, segment.DType);
        if (HasSpreads(now))
            return SpreadLaunches(device, now, in segment);
        var code = now.Visit.Code;
        return code.IsEmpty
            ? []
            :
            [
                new(code, segment.Table, null)
                {
                    First = segment.First,
                    Count = segment.Count,
                    Narrow = segment.Narrow,
                },
            ];
    }

    private List<DeviceLaunch> SpreadLaunches(ProgramDevice device, Prepared now, in ProgramSegment segment)
    {
        var (visit, spreads) = (now.OnDevice ??= new(program, now.Visit), SpreadsOn(device));
        var places = Array.ConvertAll(now.Visit.Made, made => made.Place);
        var launches = new List<DeviceLaunch>();
        for (var i = 0; i < now.Works.Length; i++)
            if (now.Works[i]?.Visit.Code is { } work)
            {
                var table = spreads.LayWork(places[i], now.Visit.Made[i].Work!.Spreads, in segment, work.Size);
                launches.Add(new(work, table, null) { Count = table.Count, Work = i });
            }
        var (slices, first) = (segment.Spread!, segment.First);
        ulong KeyOf(int place, int slice)
        {
            var node = program.Nodes[place];
            return Noise.Key(slices[first + slice].Stream, values[node.A], values[node.B]);
        }
        if (visit.Made.Any(made => made.Operation == Operation.Noise))
        {
            Enter(segment.Leaves);
            EvaluateNumbers(Scope.Step);
        }
        // They read what the rest stores, as it was before.
        foreach (var sums in visit.Sums)
            launches.Add(new(sums.Code, null, spreads.LaySums(visit, sums, in segment, places, KeyOf)));
        if (!visit.Rest.IsEmpty)
            launches.Add(new(visit.Rest, spreads.Lay(visit, in segment, places, KeyOf), null) { Count = segment.Count });
        return launches;
    }

    private void PrepareSpreadsOn(ProgramDevice device, Prepared now, in ProgramSegment segment)
    {
        foreach (var launch in SpreadLaunches(device, now, in segment))
        {
            var each = WorkOf(now, launch).OfTensor.Length > 0;
            if (launch.Sums is { } sums)
                device.PrepareSums(launch.Code, sums, each, GuardOf(now, launch, in segment));
            else
                device.Prepare(launch.Code, launch.Table!, 0, launch.Count, each, GuardOf(now, launch, in segment));
        }
    }

    private int RunSpreadsOn(ProgramDevice device, Prepared now, int index, in ProgramSegment segment)
    {
        var pass = default(ProgramPass);
        foreach (var launch in SpreadLaunches(device, now, in segment))
        {
            WriteNumbers(WorkOf(now, launch), index, in segment, ref pass);
            var guard = GuardOf(now, launch, in segment);
            if (launch.Sums is { } sums)
            {
                device.RunSums(launch.Code, sums, pass.Numbers, pass.NumbersStride, guard);
                continue;
            }
            var results = new double[launch.Code.Reductions.Length * segment.Count];
            device.Run(launch.Code, launch.Table!, 0, launch.Count, pass.Numbers, pass.NumbersStride, results, guard);
            for (var i = 0; i < launch.Code.Reductions.Length; i++)
            for (var slice = 0; slice < segment.Count; slice++)
                Reduced(now.Visit.Reductions[i], index, in segment, slice, results[i * segment.Count + slice]);
        }
        return 1;
    }

    /// <summary>What is worked out of totals reads no gradient, and stores nothing that stays.</summary>
    private StepGuard? GuardOf(Prepared now, DeviceLaunch launch, in ProgramSegment segment) =>
        launch.Work < 0 ? StepGuard.Of(segment.Survey, program, now.Visit) : null;

    private static Prepared WorkOf(Prepared now, DeviceLaunch launch) => launch.Work < 0 ? now : now.Works[launch.Work]!;
}

/// <summary>What is launched on a device for a visit.</summary>
/// <param name="Code">What it does.</param>
/// <param name="Table">The slices that it goes over; null for sums.</param>
/// <param name="Sums">Where sums of rows or columns lie; null for anything else.</param>
internal sealed record DeviceLaunch(KernelCode Code, SliceTable? Table, SumsTables? Sums)
{
    /// <summary>The first slice.</summary>
    public int First { get; init; }

    /// <summary>How many.</summary>
    public int Count { get; init; }

    /// <summary>How the columns of the table are kept, where some are narrow.</summary>
    public NarrowTable? Narrow { get; init; }

    /// <summary>Which of the spreads that the visit reads it works out of totals; -1 for the visit itself.</summary>
    public int Work { get; init; } = -1;
}
