using Optim.Kernels;

namespace Optim.Cuda;

// Sums of rows and columns.
internal sealed unsafe partial class CudaDevice
{
    private readonly Dictionary<(KernelCode, bool InMemory, bool OfColumns, Guard?), Loaded> sumsKernels = [];
    private readonly Dictionary<(int Sums, bool? OfRows, bool IsDouble), Loaded> joinsOfSums = [];

    public override DeviceRoom NewRoom() => new Scratch(gpu);

    public override void PrepareSums(KernelCode code, SumsTables tables, bool eachHasNumbers, StepGuard? guard = null)
    {
        lock (alone)
        {
            var inMemory = ProgramKernels.NumbersAreInMemory(code, eachHasNumbers);
            foreach (var (_, table, units) in LaunchesOf(code, inMemory, tables, guard))
                _ = TableOf(table, 0, table.Count, units);
            if (inMemory)
                numbersRoom.Reserve((eachHasNumbers ? tables.Totals.Count : 1) * (nint)code.Numbers * code.Size);
        }
    }

    public override void RunSums(KernelCode code, SumsTables tables, byte* numbers, nint apart, StepGuard? guard = null)
    {
        lock (alone)
        {
            var inMemory = ProgramKernels.NumbersAreInMemory(code, apart > 0);
            var numbersAt = inMemory ? Uploaded(code, numbers, apart > 0 ? tables.Totals.Count : 1) : 0;
            LaunchSums(code, tables, inMemory, numbers, numbersAt, (int)apart, guard);
        }
    }

    /// <summary>Launches sums of rows or columns, whose numbers are handed in or lie there.</summary>
    private void LaunchSums(
        KernelCode code,
        SumsTables tables,
        bool inMemory,
        byte* numbers,
        nint numbersAt,
        int apartBytes,
        StepGuard? guard
    )
    {
        nint bandsApart = 1;
        var found = AddressOf(guard?.Survey);
        var parameters = stackalloc void*[6];
        foreach (var (kernel, table, units) in LaunchesOf(code, inMemory, tables, guard))
        {
            var there = TableOf(table, 0, table.Count, units);
            var (address, slices, entry) = (there.Address, there.Slices, there.EntryBytes);
            var n = 0;
            parameters[n++] = &address;
            parameters[n++] = &slices;
            parameters[n++] = &entry;
            var isPairs = ReferenceEquals(table, tables.Bands);
            if (isPairs)
                parameters[n++] = &bandsApart;
            else if (!ReferenceEquals(table, tables.Totals) && inMemory)
            {
                parameters[n++] = &numbersAt;
                parameters[n++] = &apartBytes;
            }
            else if (!ReferenceEquals(table, tables.Totals) && code.Numbers > 0)
                parameters[n++] = numbers;
            if (guard is not null && !isPairs && !ReferenceEquals(table, tables.Totals))
                parameters[n++] = &found;
            if (there.Blocks > 0)
                Launch(kernel, there.Blocks, parameters);
            if (isPairs)
                bandsApart *= 2;
        }
    }

    /// <summary>The launches of sums in order: their kernels, their tables, and how many units of work a block takes. A pass over pairs of bands is one for each level.</summary>
    private List<(Loaded Kernel, SliceTable Table, int Units)> LaunchesOf(
        KernelCode code,
        bool inMemory,
        SumsTables tables,
        StepGuard? guard
    )
    {
        var launches = new List<(Loaded, SliceTable, int)>();
        if (tables.Parts.Length > 0)
            launches.Add((SumsKernelOf(code, inMemory, ofColumns: false, guard), tables.Parts, SumsKernel.Warps));
        if (tables.RunningSums.Length > 0)
            launches.Add((SumsKernelOf(code, inMemory, ofColumns: true, guard), tables.RunningSums, SpreadKernels.Threads));
        var (sums, isDouble) = (code.Reductions.Length, code.IsDouble);
        for (nint apart = 1; apart < tables.MostBands; apart *= 2)
            launches.Add((JoinOfSums(sums, null, isDouble), tables.Bands, SpreadKernels.Threads));
        if (tables.Parts.Length + tables.RunningSums.Length > 0)
            launches.Add((JoinOfSums(sums, tables.IsOfRows, isDouble), tables.Totals, SpreadKernels.Threads));
        return launches;
    }

    private Loaded SumsKernelOf(KernelCode code, bool inMemory, bool ofColumns, StepGuard? by)
    {
        Guard? guard = by is { } own ? new Guard(own.ClipAt) : null;
        if (!sumsKernels.TryGetValue((code, inMemory, ofColumns, guard), out var known))
            sumsKernels.Add(
                (code, inMemory, ofColumns, guard),
                known = Load(ofColumns ? SpreadKernels.OfColumns(code, inMemory, guard) : SpreadKernels.Parts(code, inMemory, guard))
            );
        return known;
    }

    private Loaded JoinOfSums(int sums, bool? ofRows, bool isDouble)
    {
        if (!joinsOfSums.TryGetValue((sums, ofRows, isDouble), out var known))
            joinsOfSums.Add(
                (sums, ofRows, isDouble),
                known = Load(ofRows is { } rows ? SpreadKernels.Totals(sums, rows, isDouble) : SpreadKernels.Pairs(sums))
            );
        return known;
    }
}
