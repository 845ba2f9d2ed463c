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

    // Of one block and less, of several, and none.
    private static readonly int[] lengths = [1, 70, 4099, 0, 9000];

    /// <summary>What a device is called here, while it looks at gradients.</summary>
    private const string Kind = "gpu-check";

    // A formula, and a definition with norms.
    private static readonly string[] Clipped = ["AdamW", "Lamb"];

    private readonly DriverGpu gpu;
    private readonly CudaDevice kernels;
    private readonly Action<string> say;

    /// <param name="driver">The driver.</param>
    /// <param name="host">Whose memory and streams are used.</param>
    /// <param name="ordinal">Which device.</param>
    /// <param name="say">Prints a line.</param>
    public GpuCheck(CudaDriver driver, CudaHost host, int ordinal, Action<string> say)
    {
        gpu = new(driver, host, ordinal);
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
        foreach (var (name, program) in programs.Where(each => Clipped.Contains(each.Name)))
        {
            var (compared, differ) = (0L, 0L);
            foreach (var dtype in dtypes)
                for (var i = 0; i < 2 * repetitions; i++)
                {
                    var (count, wrong) = CompareFound(program, dtype, isSpoilt: i % 2 == 1, seed: i);
                    (compared, differ) = (compared + count, differ + wrong);
                }
            var label = $"{name}, clipped there";
            say(FormattableString.Invariant($"{label, -32} {8 * repetitions, 6} {compared, 12} {differ, 8}"));
            (all, different) = (all + compared, different + differ);
        }
        say(FormattableString.Invariant($"{all} elements compared with the processor's, {different} differ"));
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

    /// <summary>
    /// A step that goes by what is found in its gradients on the device: their norm is clipped, and it is left out where one is not finite.
    /// </summary>
    private (long Elements, long Different) CompareFound(StepProgram step, DType dtype, bool isSpoilt, int seed)
    {
        const double most = 0.25;
        var program = new Surroundings(false, true, false, false).Around(step);
        var (here, there) = (new Arrays(program, dtype, 0, seed), new Arrays(program, dtype, 0, seed));
        if (isSpoilt)
        {
            here.Spoil();
            there.Spoil();
        }
        using var moved = there.Move(gpu);
        var (own, other) = (here.Table(null), there.Table(moved));
        // Sums of squares of float64 may overflow: the processor looks after them.
        var isLargest = dtype == DType.Float64;
        var norm = NormOf(GradientsIn(own, dtype, Device.Cpu, here), isLargest);
        var device = new Device(Kind, 0);
        ProgramDevice.Register(Kind, _ => kernels);
        var survey = kernels.Look(this, GradientsIn(other, dtype, device, moved), isLargest, 1, most);
        ProgramDevice.Forget(Kind);
        if (survey is null)
            return (0, 1);
        if (!isSpoilt)
            _ = StepOn(null, program, dtype, own, Math.Min(1, most / (norm + 1e-6)));
        // The factor that is handed in is not the one that counts.
        _ = StepOn(kernels, program, dtype, other, 3, survey);
        var (isFinite, found, _) = survey.Read();
        there.Fetch(gpu, moved);
        var isRight = isFinite != isSpoilt && (isSpoilt || found == norm);
        return (here.Elements, here.Differing(there) + (isRight ? 0 : 1));
    }

    private static double NormOf(TensorView[] gradients, bool isLargest)
    {
        var parts = new double[gradients.Length];
        (isLargest ? Reduction.LargestMagnitude : Reduction.SumOfSquares).Each(gradients, parts, Executor.Caller);
        return isLargest ? parts.Max() : Math.Sqrt(parts.Aggregate(0.0, (sum, part) => sum + part));
    }

    private static TensorView[] GradientsIn(SliceTable table, DType dtype, Device device, object owner) =>
        [
            .. Enumerable
                .Range(0, lengths.Length)
                .Where(tensor => lengths[tensor] > 0)
                .Select(tensor => new TensorView(table.AddressOf(tensor, 1), Layout.Strided(dtype, [lengths[tensor]], [1], device), owner)),
        ];

    private static int StepOn(
        ProgramDevice? device,
        StepProgram program,
        DType dtype,
        SliceTable table,
        double clip = 0.5,
        DeviceSurvey? survey = null
    )
    {
        var run = new ProgramRun(program);
        // Any numbers will do that are no special ones.
        var leaves = Array.ConvertAll(
            run.Leaves,
            leaf =>
                leaf.Operation == Operation.StepCount ? 3
                : leaf.Name == Surroundings.Clip ? clip
                : 0.1 + leaf.Name.Length / 64.0
        );
        return run.Run([new(table, 0, table.Count, dtype, leaves, null, device, Survey: survey)], Executor.Caller);
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
        private readonly DType dtype;

        public Arrays(StepProgram program, DType dtype, int shift, int seed)
        {
            (this.shift, this.dtype) = (shift, dtype);
            sizes = new int[program.Arrays.Length];
            arrays = new byte[sizes.Length][];
            var random = new Random(seed);
            for (var array = 0; array < sizes.Length; array++)
            {
                var isState = program.Arrays[array] is not (StepProgram.Parameter or StepProgram.Gradient or StepProgram.GradientSum);
                var own = isState && dtype != DType.Float64 ? DType.Float32 : dtype;
                sizes[array] = own.Size();
                arrays[array] = GC.AllocateUninitializedArray<byte>(Start(lengths.Length) * sizes[array], pinned: true);
                for (var i = 0; i < Start(lengths.Length); i++)
                    Set(arrays[array], i, own, random.NextDouble() - (isState ? 0 : 0.5));
            }
        }

        /// <summary>One element of one gradient is not finite.</summary>
        public void Spoil() => Set(arrays[1], Start(2) + 4000, dtype, double.PositiveInfinity);

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
