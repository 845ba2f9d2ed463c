using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>
/// Runs programs on one of NVIDIA's devices: each visit of all slices of a dtype and step count is one launch, and reductions take two more. What is
/// made of reductions is worked out there, too, in runs that go through all visits; else it is read back, and the processor does it.
/// </summary>
internal sealed unsafe partial class CudaDevice(Gpu gpu) : ProgramDevice
{
    /// <summary>Tables of one list of parameters that are kept.</summary>
    private const int MostTables = 256;

    private readonly Lock alone = new();
    private readonly Dictionary<(KernelCode, bool, Guard?, NarrowColumns?, bool), Loaded> kernels = [];
    private readonly Dictionary<string, Loaded> byText = new(StringComparer.Ordinal);
    private readonly ConditionalWeakTable<SliceTable, Dictionary<(int, int), DeviceTable>> tables = [];
    private readonly Dictionary<(nint, int), SliceTable> numberTables = [];
    private readonly Scratch numbersRoom = new(gpu);
    private readonly Scratch sumsRoom = new(gpu);

    private readonly (Loaded OfBlocks, Loaded OfSlices)?[] joins = new (Loaded, Loaded)?[2];

    private sealed record Loaded(PtxKernel Kernel, nint Function);

    public override string Name => $"kernels on {gpu.Name}";

    /// <summary>Launches so far, but for those that try a kernel.</summary>
    public long Launches { get; private set; }

    /// <summary>Uploads of tables so far.</summary>
    public long Uploads { get; private set; }

    /// <summary>Kernels that were compiled so far.</summary>
    public int Compiled => byText.Count;

    public override bool Takes(StepProgram program) => true;

    public override bool IsCapturing => gpu.IsCapturing;

    /// <summary>The device itself.</summary>
    public Gpu Gpu => gpu;

    public override void Prepare(
        KernelCode code,
        SliceTable table,
        int first,
        int count,
        bool eachHasNumbers,
        StepGuard? guard = null,
        NarrowTable? narrow = null
    )
    {
        lock (alone)
        {
            var inMemory = ProgramKernels.NumbersAreInMemory(code, eachHasNumbers);
            PrepareVisit(code, TableOf(table, first, count, narrow: narrow), inMemory, eachHasNumbers, guard);
        }
    }

    /// <summary>The kernel, and memory for numbers and sums.</summary>
    private void PrepareVisit(KernelCode code, DeviceTable there, bool inMemory, bool eachHasNumbers, StepGuard? guard)
    {
        _ = KernelOf(code, inMemory, guard, there.Narrow);
        var count = there.Slices;
        if (inMemory)
            numbersRoom.Reserve((eachHasNumbers ? count : 1) * (nint)code.Numbers * code.Size);
        if (code.Reductions.Length == 0)
            return;
        foreach (var reduction in code.Reductions)
            _ = JoinsOf(reduction.Kind == Operation.LargestMagnitude);
        sumsRoom.Reserve(SumsBytes(code, there));
    }

    public override void Run(
        KernelCode code,
        SliceTable table,
        int first,
        int count,
        byte* numbers,
        nint apart,
        Span<double> results,
        StepGuard? guard = null,
        NarrowTable? narrow = null,
        long step = 0
    )
    {
        lock (alone)
        {
            var there = TableOf(table, first, count, narrow: narrow);
            if (there.Blocks == 0)
            {
                results.Clear();
                return;
            }
            var inMemory = ProgramKernels.NumbersAreInMemory(code, apart > 0);
            var launch = new VisitLaunch(code, there, inMemory, guard)
            {
                Numbers = numbers,
                Apart = (int)apart,
                Step = step,
            };
            if (inMemory)
                launch.NumbersAt = Uploaded(code, numbers, apart > 0 ? count : 1);
            var targets = stackalloc nint[code.Reductions.Length];
            if (code.Reductions.Length > 0)
                sumsRoom.Reserve(SumsBytes(code, there));
            for (var i = 0; i < code.Reductions.Length; i++)
                targets[i] = MadeAt(code, there) + sizeof(double) * (nint)there.Slices * i;
            Launch(in launch, targets);
            if (code.Reductions.Length > 0)
                fixed (double* target = results)
                    gpu.Download(target, targets[0], results.Length * (nint)sizeof(double));
        }
    }

    /// <summary>The numbers of a visit there, of so many slices.</summary>
    private nint Uploaded(KernelCode code, byte* numbers, int count)
    {
        var bytes = count * (nint)code.Numbers * code.Size;
        numbersRoom.Reserve(bytes);
        gpu.Upload(numbersRoom.Address, numbers, bytes);
        return numbersRoom.Address;
    }

    /// <summary>A visit as it is launched.</summary>
    private ref struct VisitLaunch(KernelCode code, DeviceTable there, bool inMemory, StepGuard? guard)
    {
        public readonly KernelCode Code = code;
        public readonly DeviceTable There = there;
        public readonly bool InMemory = inMemory;
        public readonly StepGuard? Guard = guard;

        /// <summary>The numbers that are handed in, where they are not in memory.</summary>
        public byte* Numbers;

        /// <summary>Where they lie, where they are.</summary>
        public nint NumbersAt;

        /// <summary>How many bytes further those of the next slice lie.</summary>
        public int Apart;

        /// <summary>The step by which narrow columns are rounded.</summary>
        public long Step;

        /// <summary>Where the step after it lies, where the device counts; else 0.</summary>
        public nint NextStepAt;
    }

    /// <summary>Launches a visit, and what joins its sums.</summary>
    /// <param name="launch">The visit.</param>
    /// <param name="targets">Where what slices come to is stored, for each reduction.</param>
    private void Launch(in VisitLaunch launch, nint* targets)
    {
        var (code, there) = (launch.Code, launch.There);
        var kernel = KernelOf(code, launch.InMemory, launch.Guard, there.Narrow, launch.NextStepAt != 0);
        var (address, slices, entry, blocks) = (there.Address, there.Slices, there.EntryBytes, there.Blocks);
        var (numbersAt, apart, found) = (launch.NumbersAt, launch.Apart, AddressOf(launch.Guard?.Survey));
        var parameters = stackalloc void*[8];
        var n = 0;
        parameters[n++] = &address;
        parameters[n++] = &slices;
        parameters[n++] = &entry;
        if (launch.InMemory)
        {
            parameters[n++] = &numbersAt;
            parameters[n++] = &apart;
        }
        else if (code.Numbers > 0)
            parameters[n++] = launch.Numbers;
        var sums = (nint)0;
        if (code.Reductions.Length > 0)
        {
            sumsRoom.Reserve(SumsBytes(code, there));
            sums = sumsRoom.Address;
            parameters[n++] = &sums;
            parameters[n++] = &blocks;
        }
        if (launch.Guard is not null)
            parameters[n++] = &found;
        var (step, nextStepAt) = ((uint)launch.Step, launch.NextStepAt);
        if (there.Narrow is not null)
            parameters[n++] = nextStepAt != 0 ? &nextStepAt : &step;
        if (code.Reductions.Length == 0)
        {
            if (blocks > 0)
                Launch(kernel, blocks, parameters);
            return;
        }
        if (blocks > 0)
            Launch(kernel, (blocks + SumsKernel.Warps - 1) / SumsKernel.Warps, parameters);
        Join(code, there, sums, targets);
    }

    private static nint AddressOf(DeviceSurvey? survey) => survey is GradientsFound found ? found.Address : 0;

    public override void PrepareNumbers(ReadOnlySpan<nint> addresses, bool isDouble)
    {
        lock (alone)
        {
            _ = KernelOf(CopyCode(isDouble, reads: true), false);
            _ = KernelOf(CopyCode(isDouble, reads: false), false);
            _ = NumbersTableOf(addresses, isDouble);
        }
    }

    public override void Read(ReadOnlySpan<nint> addresses, bool isDouble, Span<double> numbers)
    {
        lock (alone)
        {
            var (table, buffer) = NumbersTableOf(addresses, isDouble);
            Move(table, isDouble, reads: true);
            var size = isDouble ? sizeof(double) : sizeof(float);
            var copy = new byte[addresses.Length * size];
            fixed (byte* target = copy)
                gpu.Download(target, buffer, copy.Length);
            for (var i = 0; i < numbers.Length; i++)
                numbers[i] = isDouble ? MemoryMarshal.Cast<byte, double>(copy)[i] : MemoryMarshal.Cast<byte, float>(copy)[i];
        }
    }

    public override void Write(ReadOnlySpan<nint> addresses, bool isDouble, ReadOnlySpan<double> numbers)
    {
        lock (alone)
        {
            var (table, buffer) = NumbersTableOf(addresses, isDouble);
            var copy = new byte[addresses.Length * (isDouble ? sizeof(double) : sizeof(float))];
            var wide = MemoryMarshal.Cast<byte, double>(copy.AsSpan());
            var narrow = MemoryMarshal.Cast<byte, float>(copy.AsSpan());
            for (var i = 0; i < numbers.Length; i++)
                if (isDouble)
                    wide[i] = numbers[i];
                else
                    narrow[i] = (float)numbers[i];
            fixed (byte* source = copy)
                gpu.Upload(buffer, source, copy.Length);
            Move(table, isDouble, reads: false);
        }
    }

    // Running sums of all reductions, what blocks come to of one of them, and what slices come to of all.
    private static nint SumsBytes(KernelCode code, DeviceTable table) =>
        sizeof(double) * (table.Blocks * (code.Reductions.Length * SumsKernel.Sums + 1) + code.Reductions.Length * (nint)table.Slices);

    private nint MadeAt(KernelCode code, DeviceTable table) =>
        sumsRoom.Address + sizeof(double) * table.Blocks * (code.Reductions.Length * SumsKernel.Sums + 1);

    private void Join(KernelCode code, DeviceTable table, nint sums, nint* targets)
    {
        var (address, slices, entry, blocks) = (table.Address, table.Slices, table.EntryBytes, table.Blocks);
        var joined = sums + sizeof(double) * blocks * code.Reductions.Length * SumsKernel.Sums;
        nint from,
            to;
        var first = stackalloc void*[] { &from, &blocks, &joined };
        var second = stackalloc void*[] { &address, &slices, &entry, &joined, &to };
        for (var i = 0; i < code.Reductions.Length; i++)
        {
            var (ofBlocks, ofSlices) = JoinsOf(code.Reductions[i].Kind == Operation.LargestMagnitude);
            from = sums + sizeof(double) * blocks * i * SumsKernel.Sums;
            to = targets[i];
            if (blocks > 0)
                Launch(ofBlocks, (blocks + JoinKernel.Threads - 1) / JoinKernel.Threads, first);
            Launch(ofSlices, slices, second);
        }
    }

    private void Launch(Loaded kernel, nint blocks, void** parameters)
    {
        if (blocks > int.MaxValue)
            throw new CudaException($"{gpu.Name}: a launch of {blocks} blocks; at most {int.MaxValue} are possible");
        gpu.Launch(kernel.Function, kernel.Kernel, (uint)blocks, parameters);
        Launches++;
    }

    private DeviceTable TableOf(SliceTable table, int first, int count, int units = PtxKernel.Block, NarrowTable? narrow = null)
    {
        var known = tables.GetOrCreateValue(table);
        if (!known.TryGetValue((first, count), out var there))
        {
            if (known.Count >= MostTables)
                known.Clear();
            known.Add((first, count), there = new(gpu));
        }
        var before = there.Uploads;
        there.Update(table, first, count, units, narrow);
        Uploads += there.Uploads - before;
        return there;
    }

    private Loaded KernelOf(KernelCode code, bool inMemory, StepGuard? by = null, NarrowColumns? narrow = null, bool countsThere = false)
    {
        Guard? guard = by is { } own ? new Guard(own.ClipAt) : null;
        var key = (code, inMemory, guard, narrow, narrow is not null && countsThere);
        if (kernels.TryGetValue(key, out var known))
            return known;
        known = Load(
            narrow is not null ? NarrowKernel.Render(code, narrow, inMemory, countsThere, guard)
            : code.Reductions.Length > 0 ? SumsKernel.Render(code, inMemory, guard)
            : ElementKernel.Render(code, inMemory, guard)
        );
        kernels.Add(key, known);
        return known;
    }

    private (Loaded OfBlocks, Loaded OfSlices) JoinsOf(bool isLargest) =>
        joins[isLargest ? 1 : 0] ??= (Load(JoinKernel.OfBlocks(isLargest)), Load(JoinKernel.OfSlices(isLargest)));

    /// <summary>Compiles a kernel, and launches it over nothing: what refuses a launch refuses this one, before anything has changed.</summary>
    private Loaded Load(PtxKernel kernel)
    {
        if (byText.TryGetValue(kernel.Text, out var known))
            return known;
        known = new(kernel, gpu.Load(kernel));
        const int words = ProgramKernels.MostParameterBytes / sizeof(long);
        var zeros = stackalloc long[words];
        new Span<long>(zeros, words).Clear();
        var parameters = stackalloc void*[kernel.Parameters.Length];
        for (var i = 0; i < kernel.Parameters.Length; i++)
            parameters[i] = zeros;
        gpu.Launch(known.Function, kernel, 1, parameters);
        byText.Add(kernel.Text, known);
        return known;
    }

    private static KernelCode CopyCode(bool isDouble, bool reads) =>
        new([new(Operation.Load, Value: reads ? 1 : 0)], [new(reads ? 0 : 1, 0, false)], [], 2, 0, isDouble);

    private void Move(SliceTable table, bool isDouble, bool reads) => Run(CopyCode(isDouble, reads), table, 0, table.Count, null, 0, []);

    /// <summary>A slice for each number: a place in a buffer, and where it lies.</summary>
    private (SliceTable Table, nint Buffer) NumbersTableOf(ReadOnlySpan<nint> addresses, bool isDouble)
    {
        var size = isDouble ? sizeof(double) : sizeof(float);
        numbersRoom.Reserve(addresses.Length * (nint)size);
        if (!numberTables.TryGetValue((addresses[0], addresses.Length), out var table))
        {
            if (numberTables.Count >= MostTables)
                numberTables.Clear();
            numberTables.Add((addresses[0], addresses.Length), table = new());
        }
        table.Reset(addresses.Length, 0);
        for (var i = 0; i < addresses.Length; i++)
            table.Add(1, numbersRoom.Address + i * size, addresses[i]);
        _ = TableOf(table, 0, table.Count);
        return (table, numbersRoom.Address);
    }
}
