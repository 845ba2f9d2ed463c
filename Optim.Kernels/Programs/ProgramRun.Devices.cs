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

    private void PrepareSpreadsOn(ProgramDevice device, Prepared now, in ProgramSegment segment)
    {
        var (visit, spreads) = (now.OnDevice ??= new(program, now.Visit), SpreadsOn(device));
        var places = Array.ConvertAll(now.Visit.Made, made => made.Place);
        for (var i = 0; i < now.Works.Length; i++)
            if (now.Works[i] is { } work)
            {
                var table = spreads.LayWork(places[i], now.Visit.Made[i].Work!.Spreads, in segment, work.Visit.Code.Size);
                device.Prepare(work.Visit.Code, table, 0, table.Count, work.OfTensor.Length > 0);
            }
        var each = now.OfTensor.Length > 0;
        foreach (var sums in visit.Sums)
            device.PrepareSums(sums.Code, spreads.LaySums(visit, sums, in segment, places, static (_, _) => 0), each);
        if (!visit.Rest.IsEmpty)
            device.Prepare(visit.Rest, spreads.Lay(visit, in segment, places, static (_, _) => 0), 0, segment.Count, each);
    }

    private int RunSpreadsOn(ProgramDevice device, Prepared now, int index, in ProgramSegment segment)
    {
        var (visit, spreads) = (now.OnDevice ??= new(program, now.Visit), SpreadsOn(device));
        var places = Array.ConvertAll(now.Visit.Made, made => made.Place);
        var pass = default(ProgramPass);
        for (var i = 0; i < now.Works.Length; i++)
            if (now.Works[i] is { } work)
            {
                var table = spreads.LayWork(places[i], now.Visit.Made[i].Work!.Spreads, in segment, work.Visit.Code.Size);
                WriteNumbers(work, index, in segment, ref pass);
                device.Run(work.Visit.Code, table, 0, table.Count, pass.Numbers, pass.NumbersStride, []);
            }
        WriteNumbers(now, index, in segment, ref pass);
        var (slices, first) = (segment.Spread!, segment.First);
        ulong KeyOf(int place, int slice)
        {
            var node = program.Nodes[place];
            return Noise.Key(slices[first + slice].Stream, values[node.A], values[node.B]);
        }
        if (visit.Made.Any(made => made.Operation == Operation.Noise))
            EvaluateNumbers(Scope.Step);
        // They read what the rest stores, as it was before.
        foreach (var sums in visit.Sums)
            device.RunSums(sums.Code, spreads.LaySums(visit, sums, in segment, places, KeyOf), pass.Numbers, pass.NumbersStride);
        if (visit.Rest.IsEmpty)
            return 1;
        var results = new double[visit.Rest.Reductions.Length * segment.Count];
        var laid = spreads.Lay(visit, in segment, places, KeyOf);
        device.Run(visit.Rest, laid, 0, segment.Count, pass.Numbers, pass.NumbersStride, results);
        for (var i = 0; i < now.Visit.Reductions.Length; i++)
        for (var slice = 0; slice < segment.Count; slice++)
            Reduced(now.Visit.Reductions[i], index, in segment, slice, results[i * segment.Count + slice]);
        return 1;
    }
}
