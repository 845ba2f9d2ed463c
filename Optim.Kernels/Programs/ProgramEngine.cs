using System.Numerics;
using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>How recorded programs run on the processor.</summary>
public enum Engine
{
    /// <summary>By machine code that is made when a program first runs.</summary>
    Emitted = 0,

    /// <summary>
    /// Operation by operation over blocks that stay in the cache: where no code can be made, as in programs that were compiled ahead
    /// of time.
    /// </summary>
    Blocks = 1,
}

/// <summary>The engine of recorded programs: of rules by definition, and of what surrounds a step. Each gives the same bits.</summary>
public static class ProgramEngine
{
    private static readonly Lock compiling = new();
    private static readonly Dictionary<KernelCode, WeakReference<VisitKernel>?[]> kernels = [];
    private static int purgeAt = 64;

    /// <summary>Emitted where the runtime can make code, Blocks elsewhere. Tests set it to compare them.</summary>
    /// <exception cref="NotSupportedException">Emitted, where the runtime makes no code.</exception>
    public static Engine Current
    {
        get => field;
        set =>
            field =
                value == Engine.Emitted && !RuntimeFeature.IsDynamicCodeSupported
                    ? throw new NotSupportedException(
                        "this program was compiled ahead of time: its runtime makes no code, so the engine is Blocks"
                    )
                    : value;
    } = RuntimeFeature.IsDynamicCodeSupported ? Engine.Emitted : Engine.Blocks;

    /// <summary>Whether formulas with nothing around them run as recorded programs, too: to compare engines with the static driver.</summary>
    internal static bool RunsFormulas { get; set; }

    /// <summary>
    /// Whether a formula with nothing around it runs as a program: also where its state is narrow and the engine has one loop for widening, stepping
    /// and narrowing.
    /// </summary>
    internal static bool RunsFormula(bool isNarrow) => RunsFormulas || (isNarrow && !IsBlocks && NarrowCodec.IsFused);

    /// <summary>Whether programs run by blocks: where that is asked for, and at a width of one number.</summary>
    internal static bool IsBlocks => Lanes.Width == Width.Single || Current == Engine.Blocks;

    /// <summary>How many kernels were made so far: by it tests see that a changed number makes none.</summary>
    internal static int Made { get; private set; }

    /// <summary>The kernel of a code at the current width. It is made once, and goes when nobody keeps it any more.</summary>
    internal static VisitKernel KernelOf(KernelCode code)
    {
        // Vectors of one number are none: there the emitted code would be emulated.
        var (width, engine) = (Lanes.Width, IsBlocks ? Engine.Blocks : Engine.Emitted);
        var slot = 2 * BitOperations.Log2((uint)width) + (int)engine;
        lock (compiling)
        {
            if (!kernels.TryGetValue(code, out var known))
            {
                if (kernels.Count >= purgeAt)
                    Purge();
                kernels.Add(code, known = new WeakReference<VisitKernel>?[2 * BitOperations.Log2((uint)Width.Bits512) + 2]);
            }
            if (known[slot] is { } reference && reference.TryGetTarget(out var kernel))
                return kernel;
            kernel = Make(code, width, engine);
            known[slot] = new(kernel);
            Made++;
            return kernel;
        }
    }

    private static void Purge()
    {
        foreach (var (code, known) in kernels)
            if (Array.TrueForAll(known, reference => reference?.TryGetTarget(out _) != true))
                kernels.Remove(code);
        purgeAt = 2 * Math.Max(kernels.Count, 32);
    }

    private static VisitKernel Make(KernelCode code, Width width, Engine engine)
    {
        if (RuntimeFeature.IsDynamicCodeSupported && engine == Engine.Emitted)
            return new EmittedKernel(code, width);
        return width switch
        {
            Width.Bits512 => BlockKernel.Of<Lane512<float>, Lane512<double>>(code),
            Width.Bits256 => BlockKernel.Of<Lane256<float>, Lane256<double>>(code),
            Width.Bits128 => BlockKernel.Of<Lane128<float>, Lane128<double>>(code),
            _ => BlockKernel.Of<Lane1<float>, Lane1<double>>(code),
        };
    }
}
