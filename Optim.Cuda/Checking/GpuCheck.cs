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

    /// <summary>How many sets of numbers each step is tried with; every other one does not begin at a multiple of 16 bytes.</summary>
    private const int variations = 4;

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

    // Elements so far.
    private long compared,
        different;

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
        say(FormattableString.Invariant($"{"rule", -32} {"runs", 6} {"elements", 12} {"differ", 8} {"kernels", 8} {"longest, ms", 12}"));
        var taken = programs.Where(each => kernels.Takes(each.Program)).ToArray();
        foreach (var (name, program) in taken)
            Row(
                name,
                repetitions * dtypes.Length,
                from dtype in dtypes
                from seed in Enumerable.Range(0, Math.Min(repetitions, variations))
                select Compare(program, dtype, seed, (repetitions - seed + variations - 1) / variations)
            );
        foreach (var (name, program) in programs.Where(each => Clipped.Contains(each.Name)))
            Row(
                $"{name}, clipped there",
                2 * repetitions * dtypes.Length,
                from dtype in dtypes
                from i in Enumerable.Range(0, 2 * repetitions)
                select CompareFound(program, dtype, isSpoilt: i % 2 == 1, seed: i)
            );
        Row(
            "Adafactor",
            4 * repetitions,
            from i in Enumerable.Range(0, 4 * repetitions)
            select CompareFactors(i % 2 == 0 ? DType.Float32 : DType.Float64, isNear: i / 2 % 2 == 1, seed: i)
        );
        foreach (var (name, program) in programs.Where(each => narrowRules.Contains(each.Name)))
        foreach (var format in narrowFormats)
            Row(
                $"{name}, {StateStorage.NameOf(format)}",
                repetitions * narrowDTypes.Length,
                from dtype in narrowDTypes
                from i in Enumerable.Range(0, repetitions)
                select CompareNarrow(program, format, dtype, shift: i % 2, seed: i)
            );
        say(FormattableString.Invariant($"{compared} elements compared with the processor's, {different} differ"));
        foreach (var (name, program) in taken.Take(streamed))
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
        var times = gpu.Compiled.Select(time => time.TotalMilliseconds).DefaultIfEmpty().Order().ToArray();
        say(
            FormattableString.Invariant(
                $"{times.Length} kernels compiled, or found in the driver's cache: {times[times.Length / 2]:F1} ms in the middle, {times[^1]:F1} ms the longest"
            )
        );
        Measure(taken, elements);
        MeasureNarrow(elements);
        return different == 0;
    }

    /// <summary>A line of the table: steps as they are compared, and the kernels that were compiled for them.</summary>
    private void Row(string label, int runs, IEnumerable<(long Elements, long Different)> steps)
    {
        var before = gpu.Compiled.Count;
        var (elements, differ) = steps.Aggregate((0L, 0L), (sum, each) => (sum.Item1 + each.Elements, sum.Item2 + each.Different));
        var longest = gpu.Compiled.Skip(before).Select(time => time.TotalMilliseconds).DefaultIfEmpty().Max();
        say(
            FormattableString.Invariant(
                $"{label, -32} {runs, 6} {elements, 12} {differ, 8} {gpu.Compiled.Count - before, 8} {longest, 12:F1}"
            )
        );
        (compared, different) = (compared + elements, different + differ);
    }

    /// <summary>The same step again and again, of one set of numbers.</summary>
    private (long Elements, long Different) Compare(StepProgram program, DType dtype, int seed, int repetitions)
    {
        var start = new CheckedArrays(program, dtype, seed % 2, seed);
        var (here, there) = (start.Copy(), start.Copy());
        _ = StepOn(null, program, dtype, here.Table(null));
        using var moved = start.Move(gpu);
        var (run, table, differ) = (new ProgramRun(program), there.Table(moved), 0L);
        for (var i = 0; i < repetitions; i++)
        {
            start.Give(gpu, moved);
            StepOn(kernels, run, dtype, table);
            there.Fetch(gpu, moved);
            differ += here.Differing(there);
        }
        return (repetitions * here.Elements, differ);
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
    ) => StepOn(device, new ProgramRun(program), dtype, table, clip, survey);

    private static int StepOn(
        ProgramDevice? device,
        ProgramRun run,
        DType dtype,
        SliceTable table,
        double clip = 0.5,
        DeviceSurvey? survey = null
    ) => run.Run([new(table, 0, table.Count, dtype, LeavesOf(run, clip), shapes, device, Survey: survey)], Executor.Caller);
}
