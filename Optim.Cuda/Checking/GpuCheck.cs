using System.Diagnostics;
using System.Runtime.InteropServices;
using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>
/// Tries a device without libtorch: every kernel against the processor's, to the last bit, again and again; how long the first use of one takes; and how
/// many bytes a second kernels move, against a copy on the device.
/// </summary>
internal sealed unsafe partial class GpuCheck
{
    private static readonly DType[] dtypes = [DType.Float32, DType.Float64, DType.BFloat16, DType.Float16];

    /// <summary>Programs that are tried in two streams.</summary>
    private const int streamed = 8;

    // Of one block and less, of several, and none.
    internal static readonly int[] Lengths = [1, 70, 4099, 0, 9000];

    /// <summary>What a device is called here, while it looks at gradients.</summary>
    private const string Kind = "gpu-check";

    // A formula, and a definition with norms.
    private static readonly string[] Clipped = ["AdamW", "Lamb"];

    // The same as matrices: rows within blocks and over their ends, a single column.
    private static readonly SpreadSlice[] shapes =
    [
        new([1, 1], 1, 0),
        new([7, 10], 2, 1),
        new([4099, 1], 3, 2),
        new([0, 5], 4, 3),
        new([3, 3000], 5, 4),
    ];

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
        var (ofFactors, wrongFactors) = (0L, 0L);
        for (var i = 0; i < 4 * repetitions; i++)
        {
            var (count, wrong) = CompareFactors(i % 2 == 0 ? DType.Float32 : DType.Float64, isNear: i / 2 % 2 == 1, seed: i);
            (ofFactors, wrongFactors) = (ofFactors + count, wrongFactors + wrong);
        }
        say(FormattableString.Invariant($"{"Adafactor", -32} {4 * repetitions, 6} {ofFactors, 12} {wrongFactors, 8}"));
        (all, different) = (all + ofFactors, different + wrongFactors);
        var (ofNarrow, wrongNarrow) = CompareNarrow(programs, repetitions);
        (all, different) = (all + ofNarrow, different + wrongNarrow);
        say(FormattableString.Invariant($"{all} elements compared with the processor's, {different} differ"));
        foreach (var (name, program) in programs.Where(each => kernels.Takes(each.Program)).Take(streamed))
        {
            var differ = CompareStreams(program, repetitions);
            say(FormattableString.Invariant($"{name}, in two streams by turns: {differ} differ"));
            different += differ;
        }
        foreach (var (name, program) in programs.Where(each => IsSteady(each.Program)).Take(streamed))
        {
            var differ = CompareGraph(program, repetitions);
            say(FormattableString.Invariant($"{name}, repeated as a graph: {differ} differ"));
            different += differ;
        }
        Measure(elements);
        MeasureNarrow(elements);
        return different == 0;
    }

    private (long Elements, long Different, double Milliseconds) Compare(StepProgram program, DType dtype, int shift, int seed)
    {
        var (here, there) = (new CheckedArrays(program, dtype, shift, seed), new CheckedArrays(program, dtype, shift, seed));
        using var moved = there.Move(gpu);
        _ = StepOn(null, program, dtype, here.Table(null));
        var clock = Stopwatch.StartNew();
        StepOn(kernels, program, dtype, there.Table(moved));
        gpu.Synchronize();
        var milliseconds = clock.Elapsed.TotalMilliseconds;
        there.Fetch(gpu, moved);
        return (here.Elements, here.Differing(there), milliseconds);
    }

    /// <summary>A step of Adafactor, of vectors and of matrices.</summary>
    private (long Elements, long Different) CompareFactors(DType dtype, bool isNear, int seed)
    {
        var program = AdafactorPrograms.Record(AdafactorKind.Single, isNear);
        var (here, there) = (new CheckedArrays(program, dtype, 0, seed), new CheckedArrays(program, dtype, 0, seed));
        using var moved = there.Move(gpu);
        var numbers = new AdafactorNumbers(Weight: isNear ? 0.4 : 0.6, Eps1: 0.1, Eps2: 1e-3, Rate: 0.1, Clip: 1.0, Keep: 0.9);
        var workspace = new Workspace();
        foreach (var tensor in FactorsIn(here.Table(null), dtype))
            AdafactorPass.Run(tensor, numbers, workspace, Executor.Caller);
        var (steps, tensors) = (new AdafactorPrograms(kernels), FactorsIn(there.Table(moved), dtype));
        steps.Prepare(tensors, numbers, null);
        steps.Run(tensors, numbers, null);
        gpu.Synchronize();
        there.Fetch(gpu, moved);
        return (here.Elements, here.Differing(there));
    }

    /// <summary>The tensors that have elements, as matrices; the third one is a vector.</summary>
    private static AdafactorTensor[] FactorsIn(SliceTable table, DType dtype) =>
        [
            .. Enumerable
                .Range(0, Lengths.Length)
                .Where(tensor => Lengths[tensor] > 0)
                .Select(tensor =>
                {
                    var (rows, isVector) = ((nint)shapes[tensor].Shape[0], tensor == 2);
                    var columns = isVector ? 0 : Lengths[tensor] / rows;
                    nint At(int array) => table.AddressOf(tensor, array);
                    return new AdafactorTensor(
                        dtype,
                        Lengths[tensor],
                        isVector ? 0 : rows,
                        columns,
                        At(0),
                        At(1),
                        At(2),
                        isVector ? 0 : At(3)
                    );
                }),
        ];

    /// <summary>
    /// A step that goes by what is found in its gradients on the device: their norm is clipped, and it is left out where one is not finite.
    /// </summary>
    private (long Elements, long Different) CompareFound(StepProgram step, DType dtype, bool isSpoilt, int seed)
    {
        const double most = 0.25;
        var program = new Surroundings(false, true, false, false).Around(step);
        var (here, there) = (new CheckedArrays(program, dtype, 0, seed), new CheckedArrays(program, dtype, 0, seed));
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
                .Range(0, Lengths.Length)
                .Where(tensor => Lengths[tensor] > 0)
                .Select(tensor => new TensorView(table.AddressOf(tensor, 1), Layout.Strided(dtype, [Lengths[tensor]], [1], device), owner)),
        ];

    // Any numbers will do that are no special ones.
    private static double[] LeavesOf(ProgramRun run, double clip = 0.5) =>
        Array.ConvertAll(
            run.Leaves,
            leaf =>
                leaf.Operation == Operation.StepCount ? 3
                : leaf.Name == Surroundings.Clip ? clip
                : 0.1 + leaf.Name.Length / 64.0
        );

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
        return run.Run([new(table, 0, table.Count, dtype, LeavesOf(run, clip), shapes, device, Survey: survey)], Executor.Caller);
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
}
