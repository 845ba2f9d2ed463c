using System.Diagnostics;
using System.Runtime.InteropServices;
using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>
/// Tries a device without libtorch: every kernel against the processor's, to the last bit, again and again; how long the first use of one takes; and how
/// many bytes a second kernels move, against a copy on the device.
/// </summary>
internal sealed unsafe class GpuCheck
{
    private static readonly DType[] dtypes = [DType.Float32, DType.Float64, DType.BFloat16, DType.Float16];

    /// <summary>Programs that are tried in two streams.</summary>
    private const int streamed = 8;

    // Of one block and less, of several, and none.
    private static readonly int[] lengths = [1, 70, 4099, 0, 9000];

    // The same as matrices: rows within blocks and over their ends, a single column.
    private static readonly SpreadSlice[] shapes =
    [
        new([1, 1], 1, 0),
        new([7, 10], 2, 1),
        new([4099, 1], 3, 2),
        new([0, 5], 4, 3),
        new([3, 3000], 5, 4),
    ];

    private readonly StreamHost host;
    private readonly DriverGpu gpu;
    private readonly CudaDevice kernels;
    private readonly Action<string> say;

    /// <param name="driver">The driver.</param>
    /// <param name="host">Whose memory and streams are used.</param>
    /// <param name="ordinal">Which device.</param>
    /// <param name="say">Prints a line.</param>
    public GpuCheck(CudaDriver driver, CudaHost host, int ordinal, Action<string> say)
    {
        this.host = new(host);
        gpu = new(driver, this.host, ordinal);
        kernels = new(gpu);
        this.say = say;
    }

    /// <summary>Runs it; true where no bit differs.</summary>
    /// <param name="programs">Steps of rules, by their names.</param>
    /// <param name="repetitions">How often each is compared.</param>
    /// <param name="elements">Elements of the tensor by which speed is measured.</param>
    public bool Run(IReadOnlyList<(string Name, StepProgram Program)> programs, int repetitions, long elements)
    {
        say(FormattableString.Invariant($"{gpu.Name}: {gpu.Model}, compute capability {gpu.Capability.Major}.{gpu.Capability.Minor}"));
        say(FormattableString.Invariant($"{"rule", -32} {"runs", 6} {"elements", 12} {"differ", 8} {"first use, ms", 14}"));
        var (all, different) = (0L, 0L);
        foreach (var (name, program) in programs.Where(each => kernels.Takes(each.Program)))
        {
            var (runs, compared, differ, first) = (0, 0L, 0L, 0.0);
            foreach (var dtype in dtypes)
                for (var i = 0; i < repetitions; i++)
                {
                    var (count, wrong, milliseconds) = Compare(program, dtype, shift: i % 2, seed: i);
                    (runs, compared, differ) = (runs + 1, compared + count, differ + wrong);
                    first = i == 0 ? Math.Max(first, milliseconds) : first;
                }
            say(FormattableString.Invariant($"{name, -32} {runs, 6} {compared, 12} {differ, 8} {first, 14:F1}"));
            (all, different) = (all + compared, different + differ);
        }
        say(FormattableString.Invariant($"{all} elements compared with the processor's, {different} differ"));
        foreach (var (name, program) in programs.Where(each => kernels.Takes(each.Program)).Take(streamed))
        {
            var differ = CompareStreams(program, repetitions);
            say(FormattableString.Invariant($"{name}, in two streams by turns: {differ} differ"));
            different += differ;
        }
        Measure(elements);
        return different == 0;
    }

    private (long Elements, long Different, double Milliseconds) Compare(StepProgram program, DType dtype, int shift, int seed)
    {
        var (here, there) = (new Arrays(program, dtype, shift, seed), new Arrays(program, dtype, shift, seed));
        using var moved = there.Move(gpu);
        _ = StepOn(null, program, dtype, here.Table(null));
        var clock = Stopwatch.StartNew();
        StepOn(kernels, program, dtype, there.Table(moved));
        gpu.Synchronize();
        var milliseconds = clock.Elapsed.TotalMilliseconds;
        there.Fetch(gpu, moved);
        return (here.Elements, here.Differing(there), milliseconds);
    }

    /// <summary>Two lists of tensors, each in a stream of its own, by turns and without waiting: what a step keeps is not another stream's.</summary>
    private long CompareStreams(StepProgram program, int steps)
    {
        const DType dtype = DType.Float32;
        nint[] streams = [gpu.CreateStream(), gpu.CreateStream()];
        Arrays[] here = [new(program, dtype, 0, 1), new(program, dtype, 1, 2)];
        Arrays[] there = [new(program, dtype, 0, 1), new(program, dtype, 1, 2)];
        var moved = new GpuMemory[2];
        for (var i = 0; i < 2; i++)
        {
            host.StreamNow = streams[i];
            moved[i] = there[i].Move(gpu);
        }
        for (var step = 0; step < steps; step++)
        for (var i = 0; i < 2; i++)
        {
            host.StreamNow = streams[i];
            _ = StepOn(null, program, dtype, here[i].Table(null));
            StepOn(kernels, program, dtype, there[i].Table(moved[i]));
        }
        var differ = 0L;
        for (var i = 0; i < 2; i++)
        {
            host.StreamNow = streams[i];
            there[i].Fetch(gpu, moved[i]);
            differ += here[i].Differing(there[i]);
            moved[i].Dispose();
            gpu.DestroyStream(streams[i]);
        }
        host.StreamNow = null;
        return differ;
    }

    /// <summary>Steps of parameters on several devices together, whose norms are over all of them; says how many elements differ from the processor's.</summary>
    /// <param name="driver">The driver.</param>
    /// <param name="host">Whose memory and streams are used.</param>
    /// <param name="program">The step.</param>
    public static long CompareDevices(CudaDriver driver, CudaHost host, StepProgram program)
    {
        const DType dtype = DType.Float32;
        var (gpus, run) = (new DriverGpu[driver.Devices], new ProgramRun(program));
        var (here, there) = (new Arrays[gpus.Length], new Arrays[gpus.Length]);
        var moved = new GpuMemory[gpus.Length];
        var (expected, found) = (new ProgramSegment[gpus.Length], new ProgramSegment[gpus.Length]);
        for (var i = 0; i < gpus.Length; i++)
        {
            gpus[i] = new(driver, host, i);
            (here[i], there[i]) = (new(program, dtype, 0, i), new(program, dtype, 0, i));
            moved[i] = there[i].Move(gpus[i]);
            var spread = Array.ConvertAll(shapes, shape => shape with { Row = shape.Row + i * shapes.Length });
            expected[i] = new(here[i].Table(null), 0, lengths.Length, dtype, LeavesOf(run), spread);
            found[i] = new(there[i].Table(moved[i]), 0, lengths.Length, dtype, LeavesOf(run), spread, new CudaDevice(gpus[i]));
        }
        run.Run(expected, Executor.Caller);
        new ProgramRun(program).Run(found, Executor.Caller);
        var differ = 0L;
        for (var i = 0; i < gpus.Length; i++)
        {
            there[i].Fetch(gpus[i], moved[i]);
            differ += here[i].Differing(there[i]);
            moved[i].Dispose();
        }
        return differ;
    }

    // Any numbers will do that are no special ones.
    private static double[] LeavesOf(ProgramRun run) =>
        Array.ConvertAll(run.Leaves, leaf => leaf.Operation == Operation.StepCount ? 3 : 0.1 + leaf.Name.Length / 64.0);

    private static int StepOn(ProgramDevice? device, StepProgram program, DType dtype, SliceTable table)
    {
        var run = new ProgramRun(program);
        return run.Run([new(table, 0, table.Count, dtype, LeavesOf(run), shapes, device)], Executor.Caller);
    }

    /// <summary>Bytes a second of Adam's kernel and of a copy, and the time of a list of small tensors.</summary>
    private void Measure(long elements)
    {
        var program = Driver<AdamFormula>.Instance.Surrounded(0, default);
        using var memory = gpu.Allocate((nint)(4 * elements * sizeof(float)));
        var large = new SliceTable();
        large.Reset(1, 2);
        large.Add((nint)elements, memory.Address, memory.Address + (nint)elements * sizeof(float));
        large.SetColumn(0, memory.Address + 2 * (nint)elements * sizeof(float));
        large.SetColumn(1, memory.Address + 3 * (nint)elements * sizeof(float));
        var code = new KernelCode([new(Operation.Load, Value: 1)], [new(0, 0, false)], [], 4, 0, false);
        var copy = Rate(() => kernels.Run(code, large, 0, 1, null, 0, []), elements * 8);
        var adam = Rate(() => StepOn(kernels, program, DType.Float32, large), elements * 28);
        say(
            FormattableString.Invariant(
                $"Adam, {elements} elements of float32: {adam / 1e9:F1} GB/s; a copy on the device: {copy / 1e9:F1} GB/s; {adam / copy:F2} of it"
            )
        );
        var (count, length) = ((int)Math.Min(10_000, elements / 64), 64);
        var small = new SliceTable();
        small.Reset(count, 2);
        for (nint i = 0; i < count; i++)
        {
            var at = memory.Address + i * length * sizeof(float);
            small.Add(length, at, at + (nint)elements * sizeof(float));
            small.SetColumn(0, at + 2 * (nint)elements * sizeof(float));
            small.SetColumn(1, at + 3 * (nint)elements * sizeof(float));
        }
        var rate = Rate(() => StepOn(kernels, program, DType.Float32, small), 1);
        say(FormattableString.Invariant($"Adam, {count} tensors of {length} elements in one launch: {1e6 / rate:F1} us"));
    }

    /// <summary>So many bytes a second, in the best of three rounds of ten.</summary>
    private double Rate(Action run, double bytes)
    {
        run();
        gpu.Synchronize();
        var best = double.MaxValue;
        for (var round = 0; round < 3; round++)
        {
            var clock = Stopwatch.StartNew();
            for (var i = 0; i < 10; i++)
                run();
            gpu.Synchronize();
            best = Math.Min(best, clock.Elapsed.TotalSeconds / 10);
        }
        return bytes / best;
    }

    /// <summary>The arrays of some tensors, in memory of the processor: each tensor's one after the other.</summary>
    private sealed class Arrays
    {
        private readonly byte[][] arrays;
        private readonly int[] sizes;
        private readonly int shift;
        private readonly bool isDouble;

        public Arrays(StepProgram program, DType dtype, int shift, int seed)
        {
            this.shift = shift;
            isDouble = dtype == DType.Float64;
            sizes = new int[program.Arrays.Length];
            arrays = new byte[sizes.Length][];
            var random = new Random(seed);
            for (var array = 0; array < sizes.Length; array++)
            {
                var isState = program.Arrays[array] is not (StepProgram.Parameter or StepProgram.Gradient or StepProgram.GradientSum);
                var own = isState && !isDouble ? DType.Float32 : dtype;
                sizes[array] = own.Size();
                arrays[array] = GC.AllocateUninitializedArray<byte>(Start(lengths.Length) * sizes[array], pinned: true);
                for (var i = 0; i < Start(lengths.Length); i++)
                    Set(arrays[array], i, own, random.NextDouble() - (isState ? 0 : 0.5));
            }
        }

        public long Elements => (long)lengths.Sum() * sizes.Length;

        // Behind the elements of the tensors before, and so many more that not all begin at a multiple of 16 bytes.
        private int Start(int tensor) => lengths.Take(tensor).Sum(length => (length + 63) / 64 * 64 + 64) + shift;

        public GpuMemory Move(DriverGpu gpu)
        {
            var memory = gpu.Allocate(arrays.Sum(array => (array.Length + 255) / 256 * 256));
            Each(memory, (address, array) => gpu.Upload(address, (void*)Marshal.UnsafeAddrOfPinnedArrayElement(array, 0), array.Length));
            return memory;
        }

        public void Fetch(DriverGpu gpu, GpuMemory memory) =>
            Each(memory, (address, array) => gpu.Download((void*)Marshal.UnsafeAddrOfPinnedArrayElement(array, 0), address, array.Length));

        public SliceTable Table(GpuMemory? memory)
        {
            var table = new SliceTable();
            table.Reset(lengths.Length, arrays.Length - 2);
            var starts = new List<nint>();
            if (memory is null)
                foreach (var array in arrays)
                    starts.Add(Marshal.UnsafeAddrOfPinnedArrayElement(array, 0));
            else
                Each(memory, (address, _) => starts.Add(address));
            for (var tensor = 0; tensor < lengths.Length; tensor++)
            {
                nint At(int array) => starts[array] + (nint)Start(tensor) * sizes[array];
                table.Add(lengths[tensor], At(0), At(1));
                for (var array = 2; array < arrays.Length; array++)
                    table.SetColumn(array - 2, At(array));
            }
            return table;
        }

        public long Differing(Arrays other)
        {
            var differ = 0L;
            for (var array = 0; array < arrays.Length; array++)
            {
                var size = sizes[array];
                for (var i = 0; i < arrays[array].Length; i += size)
                {
                    var a = arrays[array].AsSpan(i, size);
                    var b = other.arrays[array].AsSpan(i, size);
                    if (!a.SequenceEqual(b) && !(IsNaN(a) && IsNaN(b)))
                        differ++;
                }
            }
            return differ;
        }

        // Of a half type both kinds: NaN is stored as one number of each.
        private static bool IsNaN(ReadOnlySpan<byte> bytes) =>
            bytes.Length switch
            {
                8 => double.IsNaN(BitConverter.ToDouble(bytes)),
                4 => float.IsNaN(BitConverter.ToSingle(bytes)),
                _ => (BitConverter.ToUInt16(bytes) & 0x7FFF) is 0x7FC0 or 0x7E00,
            };

        private static void Set(byte[] array, int index, DType dtype, double value)
        {
            switch (dtype)
            {
                case DType.Float64:
                    BitConverter.TryWriteBytes(array.AsSpan(index * sizeof(double)), value);
                    break;
                case DType.Float32:
                    BitConverter.TryWriteBytes(array.AsSpan(index * sizeof(float)), (float)value);
                    break;
                case DType.Float16:
                    BitConverter.TryWriteBytes(array.AsSpan(index * 2), (Half)value);
                    break;
                default:
                    BitConverter.TryWriteBytes(array.AsSpan(index * 2), (ushort)(BitConverter.SingleToUInt32Bits((float)value) >> 16));
                    break;
            }
        }

        private void Each(GpuMemory memory, Action<nint, byte[]> visit)
        {
            var address = memory.Address;
            foreach (var array in arrays)
            {
                visit(address, array);
                address += (array.Length + 255) / 256 * 256;
            }
        }
    }
}
