using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>
/// Runs programs on one of NVIDIA's devices: each visit of all slices of a dtype and step count is one launch, and reductions take two more. What was
/// reduced is read back, as the processor makes numbers of it.
/// </summary>
internal sealed unsafe partial class CudaDevice(Gpu gpu) : ProgramDevice
{
    /// <summary>Tables of one list of parameters that are kept.</summary>
    private const int MostTables = 256;

    private readonly Lock alone = new();
    private readonly Dictionary<(KernelCode, bool), Loaded> kernels = [];
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

    public override void Prepare(KernelCode code, SliceTable table, int first, int count, bool eachHasNumbers)
    {
        lock (alone)
        {
            var inMemory = ProgramKernels.NumbersAreInMemory(code, eachHasNumbers);
            _ = KernelOf(code, inMemory);
            var there = TableOf(table, first, count);
            if (inMemory)
                numbersRoom.Reserve((eachHasNumbers ? count : 1) * (nint)code.Numbers * code.Size);
            if (code.Reductions.Length > 0)
            {
                foreach (var reduction in code.Reductions)
                    _ = JoinsOf(reduction.Kind == Operation.LargestMagnitude);
                sumsRoom.Reserve(SumsBytes(code, there));
            }
        }
    }

    public override void Run(KernelCode code, SliceTable table, int first, int count, byte* numbers, nint apart, Span<double> results)
    {
        lock (alone)
        {
            var there = TableOf(table, first, count);
            if (there.Blocks == 0)
            {
                results.Clear();
                return;
            }
            var inMemory = ProgramKernels.NumbersAreInMemory(code, apart > 0);
            var kernel = KernelOf(code, inMemory);
            var (address, slices, entry, blocks) = (there.Address, there.Slices, there.EntryBytes, there.Blocks);
            var (numbersAt, apartBytes) = ((nint)0, (int)apart);
            if (inMemory)
            {
                var bytes = (apart > 0 ? count : 1) * (nint)code.Numbers * code.Size;
                numbersRoom.Reserve(bytes);
                numbersAt = numbersRoom.Address;
                gpu.Upload(numbersAt, numbers, bytes);
            }
            var parameters = stackalloc void*[7];
            var n = 0;
            parameters[n++] = &address;
            parameters[n++] = &slices;
            parameters[n++] = &entry;
            if (inMemory)
            {
                parameters[n++] = &numbersAt;
                parameters[n++] = &apartBytes;
            }
            else if (code.Numbers > 0)
                parameters[n++] = numbers;
            if (code.Reductions.Length == 0)
            {
                Launch(kernel, blocks, parameters);
                return;
            }
            sumsRoom.Reserve(SumsBytes(code, there));
            var sums = sumsRoom.Address;
            parameters[n++] = &sums;
            parameters[n++] = &blocks;
            Launch(kernel, (blocks + SumsKernel.Warps - 1) / SumsKernel.Warps, parameters);
            Join(code, there, sums, results);
        }
    }

    public override void PrepareNumbers(ReadOnlySpan<nint> addresses, bool isDouble)
    {
        lock (alone)
        {
            _ = KernelOf(NumberCode(isDouble, reads: true), false);
            _ = KernelOf(NumberCode(isDouble, reads: false), false);
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

    private void Join(KernelCode code, DeviceTable table, nint sums, Span<double> results)
    {
        var (address, slices, entry, blocks) = (table.Address, table.Slices, table.EntryBytes, table.Blocks);
        var joined = sums + sizeof(double) * blocks * code.Reductions.Length * SumsKernel.Sums;
        var made = joined + sizeof(double) * blocks;
        nint from,
            to;
        var first = stackalloc void*[] { &from, &blocks, &joined };
        var second = stackalloc void*[] { &address, &slices, &entry, &joined, &to };
        for (var i = 0; i < code.Reductions.Length; i++)
        {
            var (ofBlocks, ofSlices) = JoinsOf(code.Reductions[i].Kind == Operation.LargestMagnitude);
            from = sums + sizeof(double) * blocks * i * SumsKernel.Sums;
            to = made + sizeof(double) * (nint)slices * i;
            Launch(ofBlocks, (blocks + JoinKernel.Threads - 1) / JoinKernel.Threads, first);
            Launch(ofSlices, slices, second);
        }
        fixed (double* target = results)
            gpu.Download(target, made, results.Length * (nint)sizeof(double));
    }

    private void Launch(Loaded kernel, nint blocks, void** parameters)
    {
        if (blocks > int.MaxValue)
            throw new CudaException($"{gpu.Name}: a launch of {blocks} blocks; at most {int.MaxValue} are possible");
        gpu.Launch(kernel.Function, kernel.Kernel, (uint)blocks, parameters);
        Launches++;
    }

    private DeviceTable TableOf(SliceTable table, int first, int count, int units = PtxKernel.Block)
    {
        var known = tables.GetOrCreateValue(table);
        if (!known.TryGetValue((first, count), out var there))
        {
            if (known.Count >= MostTables)
                known.Clear();
            known.Add((first, count), there = new(gpu));
        }
        var before = there.Uploads;
        there.Update(table, first, count, units);
        Uploads += there.Uploads - before;
        return there;
    }

    private Loaded KernelOf(KernelCode code, bool inMemory)
    {
        if (kernels.TryGetValue((code, inMemory), out var known))
            return known;
        known = Load(code.Reductions.Length > 0 ? SumsKernel.Render(code, inMemory) : ElementKernel.Render(code, inMemory));
        kernels.Add((code, inMemory), known);
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

    private static KernelCode NumberCode(bool isDouble, bool reads) =>
        new([new(Operation.Load, Value: reads ? 1 : 0)], [new(reads ? 0 : 1, 0, false)], [], 2, 0, isDouble);

    private void Move(SliceTable table, bool isDouble, bool reads) => Run(NumberCode(isDouble, reads), table, 0, table.Count, null, 0, []);

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
