using System.Runtime.CompilerServices;
using Optim.Kernels;

namespace Optim.Cuda;

// Runs that go through all visits on the device: numbers of tensors are worked out there, and nobody waits for them.
internal sealed unsafe partial class CudaDevice
{
    private readonly ConditionalWeakTable<ProgramRun, List<WholePlan>> plans = [];
    private readonly ConditionalWeakTable<NumberCode, Dictionary<bool, Loaded>> numberKernels = [];
    private readonly Loaded?[] totalKernels = new Loaded?[2];

    /// <summary>Plans of one run that are kept.</summary>
    private const int MostPlans = 64;

    public override bool RunsWhole(StepProgram program) => ProgramKernels.RunWhole(program);

    public override void PrepareWhole(ProgramRun[] runs, ReadOnlySpan<ProgramSegment> segments, ReadOnlySpan<int> kinds)
    {
        lock (alone)
        {
            var plan = PlanOf(runs, segments, kinds);
            foreach (var total in plan.Totals)
                _ = TotalOf(total.IsLargest);
            for (var i = 0; i < segments.Length; i++)
            {
                var (run, dtype) = (runs[kinds[i]], segments[i].DType);
                for (var visit = 0; visit < run.Program.VisitPlan.Count; visit++)
                    PrepareVisit(run, visit, in segments[i]);
                if (run.NumbersFor(run.Program.VisitPlan.Count, dtype).Code is { Stores.Length: > 0 } end)
                    _ = KernelOf(end, segments[i].Survey is not null);
            }
            plan.Lay(gpu);
        }
    }

    public override void RunWhole(ProgramRun[] runs, ReadOnlySpan<ProgramSegment> segments, ReadOnlySpan<int> kinds)
    {
        lock (alone)
        {
            var plan = PlanOf(runs, segments, kinds);
            plan.Lay(gpu);
            var visits = 0;
            foreach (var run in runs)
                visits = Math.Max(visits, run.Program.VisitPlan.Count);
            for (var visit = 0; visit < visits; visit++)
            {
                for (var i = 0; i < segments.Length; i++)
                    if (visit < runs[kinds[i]].Program.VisitPlan.Count)
                        RunVisit(plan, runs[kinds[i]], kinds[i], visit, i, in segments[i]);
                foreach (var total in plan.Totals)
                    if (total.Visit == visit)
                        LaunchTotal(TotalOf(total.IsLargest), plan.At(total.List), total.Parts.Length, plan.At(total.Cell), null);
            }
            for (var i = 0; i < segments.Length; i++)
            {
                var run = runs[kinds[i]];
                var end = run.NumbersFor(run.Program.VisitPlan.Count, segments[i].DType);
                if (end.Code.Stores.Length > 0)
                    LaunchNumbers(plan, run, kinds[i], end, i, in segments[i], 0);
            }
            ReadKept(plan, runs);
        }
    }

    /// <summary>Waits for totals of which numbers are made that the step keeps; none are in most rules.</summary>
    private void ReadKept(WholePlan plan, ProgramRun[] runs)
    {
        for (var kind = 0; kind < runs.Length; kind++)
        {
            var (run, totals) = (runs[kind], runs[kind].Totals);
            if (run.KeptTotals.Length == 0)
                continue;
            var values = new double[totals.Length];
            fixed (double* target = values)
                gpu.Download(target, plan.TotalsOf(kind), values.Length * (nint)sizeof(double));
            for (var i = 0; i < values.Length; i++)
                run.Take(totals[i], values[i]);
        }
    }

    private DeviceTable TableOf(in ProgramSegment segment) => TableOf(segment.Table, segment.First, segment.Count, narrow: segment.Narrow);

    private WholePlan PlanOf(ProgramRun[] runs, ReadOnlySpan<ProgramSegment> segments, ReadOnlySpan<int> kinds)
    {
        var known = plans.GetOrCreateValue(runs[0]);
        foreach (var plan in known)
            if (plan.Is(runs, segments, kinds))
                return plan;
        if (known.Count >= MostPlans)
            known.Clear();
        var made = new WholePlan(runs, segments, kinds);
        known.Add(made);
        return made;
    }

    private static bool IsInMemory(KernelCode code, NumberCode numbers) =>
        ProgramKernels.NumbersAreInMemory(code, eachHasNumbers: !numbers.IsOfStep);

    private void PrepareVisit(ProgramRun run, int visit, in ProgramSegment segment)
    {
        foreach (var launch in run.LaunchesFor(this, visit, in segment))
        {
            var numbers = run.NumbersFor(visit, segment.DType, launch.Work).Code;
            var inMemory = IsInMemory(launch.Code, numbers);
            if (inMemory && !numbers.IsOfStep)
                _ = KernelOf(numbers, segment.Survey is not null);
            if (launch.Sums is { } sums)
            {
                PrepareSums(launch.Code, sums, !numbers.IsOfStep, GuardOf(run, visit, launch, in segment));
                continue;
            }
            var there = TableOf(launch.Table!, launch.First, launch.Count, narrow: launch.Narrow);
            PrepareVisit(launch.Code, there, inMemory, numbers.IsOfTensors, GuardOf(run, visit, launch, in segment));
        }
    }

    private static StepGuard? GuardOf(ProgramRun run, int visit, DeviceLaunch launch, in ProgramSegment segment) =>
        launch.Work < 0 ? StepGuard.Of(segment.Survey, run.Program, run.VisitFor(visit, segment.DType)) : null;

    private void RunVisit(WholePlan plan, ProgramRun run, int kind, int visit, int at, in ProgramSegment segment)
    {
        foreach (var launch in run.LaunchesFor(this, visit, in segment))
            Run(launch, plan, run, kind, visit, at, in segment);
    }

    private void Run(DeviceLaunch launch, WholePlan plan, ProgramRun run, int kind, int visit, int at, in ProgramSegment segment)
    {
        var (code, numbers) = (launch.Code, run.NumbersFor(visit, segment.DType, launch.Work));
        var inMemory = IsInMemory(code, numbers.Code);
        var handed = stackalloc byte[inMemory ? 0 : code.Numbers * code.Size];
        var apart = inMemory && numbers.Code.IsOfTensors ? code.Numbers * code.Size : 0;
        if (inMemory)
        {
            numbersRoom.Reserve((apart > 0 ? segment.Count : 1) * (nint)code.Numbers * code.Size);
            if (numbers.Code.IsOfStep)
                UploadNumbers(run, numbers, in segment);
            else
                LaunchNumbers(plan, run, kind, numbers, at, in segment, numbersRoom.Address);
        }
        else if (code.Numbers > 0)
            HandIn(run, numbers, in segment, handed);
        var numbersAt = inMemory ? numbersRoom.Address : 0;
        if (launch.Sums is { } sums)
        {
            LaunchSums(code, sums, inMemory, handed, numbersAt, apart, GuardOf(run, visit, launch, in segment));
            return;
        }
        var there = TableOf(launch.Table!, launch.First, launch.Count, narrow: launch.Narrow);
        var targets = stackalloc nint[code.Reductions.Length];
        var reduced = run.VisitFor(visit, segment.DType).Reductions;
        for (var i = 0; i < code.Reductions.Length; i++)
            targets[i] = plan.ResultOf(at, reduced[i]);
        Launch(
            new VisitLaunch(code, there, inMemory, GuardOf(run, visit, launch, in segment))
            {
                Numbers = handed,
                NumbersAt = numbersAt,
                Apart = apart,
                Step = segment.Step,
            },
            targets
        );
    }

    /// <summary>Numbers of the step alone, in the order in which the visit takes them.</summary>
    private static void HandIn(ProgramRun run, DeviceNumbers numbers, in ProgramSegment segment, byte* target)
    {
        var code = numbers.Code;
        Span<double> given = stackalloc double[code.Given.Length];
        run.HandIn(numbers, segment.Leaves, given);
        for (var i = 0; i < code.Results.Length; i++)
        {
            var node = code.Nodes[code.Results[i]];
            var value = node.Operation == Operation.Constant ? node.Constant : given[(int)node.Value];
            if (code.IsDouble)
                ((double*)target)[i] = value;
            else
                ((float*)target)[i] = (float)value;
        }
    }

    private void UploadNumbers(ProgramRun run, DeviceNumbers numbers, in ProgramSegment segment)
    {
        var bytes = numbers.Code.Results.Length * numbers.Code.Size;
        var copy = stackalloc byte[bytes];
        HandIn(run, numbers, in segment, copy);
        gpu.Upload(numbersRoom.Address, copy, bytes);
    }

    private void LaunchNumbers(
        WholePlan plan,
        ProgramRun run,
        int kind,
        DeviceNumbers numbers,
        int at,
        in ProgramSegment segment,
        nint target
    )
    {
        var (code, there) = (numbers.Code, TableOf(in segment));
        var (table, slices, entry) = (there.Address, code.IsOfTensors ? there.Slices : 1, there.EntryBytes);
        var given = stackalloc double[code.Given.Length];
        run.HandIn(numbers, segment.Leaves, new(given, code.Given.Length));
        var (results, totals, found) = (plan.Results(at), plan.TotalsOf(kind), AddressOf(segment.Survey));
        var parameters = stackalloc void*[8];
        var n = 0;
        parameters[n++] = &table;
        parameters[n++] = &slices;
        parameters[n++] = &entry;
        if (code.Given.Length > 0)
            parameters[n++] = given;
        parameters[n++] = &results;
        parameters[n++] = &totals;
        parameters[n++] = &target;
        if (segment.Survey is not null)
            parameters[n++] = &found;
        Launch(KernelOf(code, segment.Survey is not null), (slices + NumbersKernel.Threads - 1) / NumbersKernel.Threads, parameters);
    }

    /// <summary>Joins parts, and where there is a norm to clip to hands that in.</summary>
    private void LaunchTotal(Loaded kernel, nint list, nint count, nint target, double? most)
    {
        var limit = most ?? 0;
        var parameters = stackalloc void*[] { &list, &count, &target, &limit };
        Launch(kernel, 1, parameters);
    }

    private Loaded TotalOf(bool isLargest) => totalKernels[isLargest ? 1 : 0] ??= Load(TotalsKernel.OfParts(isLargest));

    private Loaded KernelOf(NumberCode code, bool isGuarded)
    {
        var known = numberKernels.GetOrCreateValue(code);
        if (!known.TryGetValue(isGuarded, out var kernel))
            known.Add(isGuarded, kernel = Load(NumbersKernel.Render(code, isGuarded ? new Guard(-1) : null)));
        return kernel;
    }
}
