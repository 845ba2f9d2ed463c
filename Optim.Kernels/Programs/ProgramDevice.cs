using System.Collections.Concurrent;

namespace Optim.Kernels;

/// <summary>
/// Runs the visits of recorded programs where the processor does not reach: over tables of addresses that lie on one device. What is made of options
/// and the step alone stays with the processor. So programs, what surrounds them and the numbers that they keep are the same there.
/// </summary>
internal abstract unsafe class ProgramDevice : Executor
{
    private static readonly ConcurrentDictionary<string, Func<Device, ProgramDevice?>> kinds = new(StringComparer.Ordinal);

    /// <summary>Whoever is registered last for a kind of device, such as <c>cuda</c>, runs programs there; the function returns null where it does not.</summary>
    public static void Register(string kind, Func<Device, ProgramDevice?> find) => kinds[kind] = find;

    /// <summary>Forgets who runs programs on a kind of device.</summary>
    public static void Forget(string kind) => kinds.TryRemove(kind, out _);

    /// <summary>Who runs programs on a device; null when nobody does.</summary>
    public static ProgramDevice? Find(Device device) =>
        device.Kind is not null && kinds.TryGetValue(device.Kind, out var find) ? find(device) : null;

    /// <summary>Whether it runs a program. Others are left to whoever steps whole tensors.</summary>
    public abstract bool Takes(StepProgram program);

    /// <summary>Makes what a visit of some slices needs, so that running it cannot fail: code, memory, the table there. Nothing changes by it.</summary>
    /// <param name="code">The visit.</param>
    /// <param name="table">Slices, all of which lie on this device.</param>
    /// <param name="first">The first one.</param>
    /// <param name="count">How many.</param>
    /// <param name="eachHasNumbers">Whether each slice has numbers of its own.</param>
    /// <param name="guard">What guards it; null for nothing.</param>
    /// <param name="narrow">How the columns of the table are kept, where some are narrow.</param>
    public abstract void Prepare(
        KernelCode code,
        SliceTable table,
        int first,
        int count,
        bool eachHasNumbers,
        StepGuard? guard = null,
        NarrowTable? narrow = null
    );

    /// <summary>One visit of some slices. It returns at once, unless there are reductions.</summary>
    /// <param name="code">The visit.</param>
    /// <param name="table">The slices.</param>
    /// <param name="first">The first one.</param>
    /// <param name="count">How many.</param>
    /// <param name="numbers">The numbers that are handed in, in the type of the arithmetic.</param>
    /// <param name="apart">How many bytes further those of the next slice lie; 0 where all have the same.</param>
    /// <param name="results">What each slice comes to: all slices of the first reduction, then all of the next one.</param>
    /// <param name="guard">What guards it; null for nothing.</param>
    /// <param name="narrow">How the columns of the table are kept, where some are narrow.</param>
    /// <param name="step">The step, counted from 1, by which they are rounded.</param>
    public abstract void Run(
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
    );

    /// <summary>
    /// Whether it runs all visits of a program by itself, and works out there what is made of its tensors, so that nobody waits between them.
    /// </summary>
    public virtual bool RunsWhole(StepProgram program) => false;

    /// <summary>Makes what <see cref="RunWhole"/> needs, so that running it cannot fail. Nothing changes by it.</summary>
    /// <param name="runs">A program for each kind of parameters, aligned.</param>
    /// <param name="segments">The segments, all of which lie on this device.</param>
    /// <param name="kinds">The kind of each segment.</param>
    public virtual void PrepareWhole(ProgramRun[] runs, ReadOnlySpan<ProgramSegment> segments, ReadOnlySpan<int> kinds) =>
        throw new NotSupportedException($"{Name} runs visit by visit");

    /// <summary>All visits of all segments, and the numbers that tensors keep. It returns at once, unless numbers of the step are made of the tensors.</summary>
    /// <inheritdoc cref="PrepareWhole"/>
    public virtual void RunWhole(ProgramRun[] runs, ReadOnlySpan<ProgramSegment> segments, ReadOnlySpan<int> kinds) =>
        throw new NotSupportedException($"{Name} runs visit by visit");

    /// <summary>Room for leaves of programs there.</summary>
    /// <param name="nodes">The leaves.</param>
    /// <param name="rates">For each of them the tensor from which it is read; null for its place there.</param>
    public virtual DeviceLeaves NewLeaves(Node[] nodes, RateTensor?[] rates) => throw new NotSupportedException($"{Name} has no leaves");

    /// <summary>Makes what <see cref="RunOnLeaves"/> needs, so that running it cannot fail. Nothing changes by it.</summary>
    public virtual void PrepareOnLeaves(ProgramRun run, in ProgramSegment segment) =>
        throw new NotSupportedException($"{Name} has no leaves");

    /// <summary>A step of a segment by its leaves there, which count it. It returns at once.</summary>
    public virtual void RunOnLeaves(ProgramRun run, in ProgramSegment segment) => throw new NotSupportedException($"{Name} has no leaves");

    /// <summary>Whether what is launched now is noted for a graph, and not run.</summary>
    public virtual bool IsCapturing => false;

    /// <summary>
    /// Looks at gradients that lie here, without waiting; null where it cannot, and then nothing was done. Their norm is that of
    /// <see cref="Reduction"/>, one after the other.
    /// </summary>
    /// <param name="owner">Who looks: what is found lies there until it looks again.</param>
    /// <param name="gradients">The gradients, in order.</param>
    /// <param name="isLargest">Whether the norm is the largest magnitude; else it is the Euclidean one.</param>
    /// <param name="factor">By which each element is multiplied first, rounded to its own type.</param>
    /// <param name="most">What the norm is clipped to; null for not at all.</param>
    public virtual DeviceSurvey? Look(object owner, ReadOnlySpan<TensorView> gradients, bool isLargest, double factor, double? most) =>
        null;

    /// <summary>Memory there that grows.</summary>
    public abstract DeviceRoom NewRoom();

    /// <summary>Makes what sums of rows or columns need, so that working them out cannot fail.</summary>
    /// <param name="code">The elements, each summed or its square, as reductions.</param>
    /// <param name="tables">Where sums lie.</param>
    /// <param name="eachHasNumbers">Whether each slice has numbers of its own.</param>
    /// <param name="guard">What guards it; null for nothing.</param>
    public abstract void PrepareSums(KernelCode code, SumsTables tables, bool eachHasNumbers, StepGuard? guard = null);

    /// <summary>Works out sums of rows or columns, by the order of <see cref="SpreadSpan"/>. It returns at once.</summary>
    /// <param name="code">The elements, as reductions.</param>
    /// <param name="tables">Where sums lie.</param>
    /// <param name="numbers">The numbers that are handed in.</param>
    /// <param name="apart">How many bytes further those of the next slice lie; 0 where all have the same.</param>
    /// <param name="guard">What guards it; null for nothing.</param>
    public abstract void RunSums(KernelCode code, SumsTables tables, byte* numbers, nint apart, StepGuard? guard = null);

    /// <summary>Makes what means of rows and columns need, so that working them out cannot fail.</summary>
    /// <param name="tables">Where they lie.</param>
    /// <param name="dtype">The dtype of parameters and gradients.</param>
    /// <param name="isNear">Whether means move from where they are; else from where they go.</param>
    /// <param name="isGuarded">Whether they stay where a gradient was not finite.</param>
    public abstract void PrepareFactors(AdafactorTables tables, DType dtype, bool isNear, bool isGuarded);

    /// <summary>
    /// Moves means of rows and columns, and works out what squares are expected to be by them, in the order of <see cref="AdafactorKernel{T}"/>. It returns
    /// at once.
    /// </summary>
    /// <param name="tables">Where they lie.</param>
    /// <param name="dtype">The dtype of parameters and gradients.</param>
    /// <param name="isNear">Whether means move from where they are; else from where they go.</param>
    /// <param name="numbers">What the options come to.</param>
    /// <param name="survey">What was found in the gradients; null where nobody looked.</param>
    public abstract void RunFactors(AdafactorTables tables, DType dtype, bool isNear, in AdafactorNumbers numbers, DeviceSurvey? survey);

    /// <summary>Makes what it needs to read and write numbers at some addresses there.</summary>
    public abstract void PrepareNumbers(ReadOnlySpan<nint> addresses, bool isDouble);

    /// <summary>Reads a number from each of some addresses there.</summary>
    public abstract void Read(ReadOnlySpan<nint> addresses, bool isDouble, Span<double> numbers);

    /// <summary>Writes a number to each of some addresses there.</summary>
    public abstract void Write(ReadOnlySpan<nint> addresses, bool isDouble, ReadOnlySpan<double> numbers);

    public override bool IsOfDevice => true;

    /// <summary>What passes of the processor do in the same step: on the calling thread.</summary>
    public override int Run(nint length, delegate* <nint, nint, void*, void> body, void* context) => Caller.Run(length, body, context);
}

/// <summary>Memory of a device that is used again, and grows.</summary>
internal abstract class DeviceRoom
{
    /// <summary>Where it lies, since it was reserved.</summary>
    public abstract nint Address { get; }

    /// <summary>Makes sure that there are so many bytes; what was in it may be lost.</summary>
    public abstract void Reserve(nint bytes);
}
