using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>
/// A visit with reductions as a kernel: a warp takes a block of a slice, and its 32 threads are the 32 running sums that the block has on the processor,
/// so that sums are formed by the same tree. Each thread writes its sum; no thread waits for another.
/// </summary>
internal static class SumsKernel
{
    /// <summary>Running sums of a block.</summary>
    public const int Sums = 32;

    /// <summary>Threads of a block of the grid.</summary>
    public const int Threads = 256;

    /// <summary>Blocks of slices that a block of the grid takes.</summary>
    public const int Warps = Threads / Sums;

    /// <summary>The text.</summary>
    /// <inheritdoc cref="ElementKernel.Render"/>
    public static PtxKernel Render(KernelCode code, bool inMemory, Guard? guard = null) =>
        code.IsDouble ? Render<double>(code, inMemory, guard) : Render<float>(code, inMemory, guard);

    private static PtxKernel Render<T>(KernelCode code, bool inMemory, Guard? guard)
        where T : unmanaged
    {
        var text = new PtxText();
        SliceSearch.Parameters(text);
        SliceSearch.NumberParameters(text, code.Numbers, code.Size, inMemory);
        text.Parameter("p_sums", 8);
        text.Parameter("p_blocks", 8);
        guard?.Parameter(text);
        var elements = new ElementCode<T>(code, text);
        var number = text.Into('r', "mov.u32", $"%ctaid.x");
        var id = text.Into('r', "mov.u32", $"%tid.x");
        var warp = text.Into('r', "shr.u32", $"{id}, 5");
        var laneWord = text.Into('r', "and.b32", $"{id}, 31");
        var lane = text.Into('d', "cvt.u64.u32", $"{laneWord}");
        var before = text.Into('d', "mul.wide.u32", $"{number}, {Warps}");
        var own = text.Into('d', "cvt.u64.u32", $"{warp}");
        var block = text.Into('d', "add.s64", $"{before}, {own}");
        var blocks = text.Into('d', "ld.param.u64", $"[p_blocks]");
        var behind = text.Into('p', "setp.ge.u64", $"{block}, {blocks}");
        text.Line($"@{behind} bra END");
        var (slice, entry, begin, end) = SliceSearch.Find(text, block, guard);
        elements.LoadAddresses(entry);
        elements.Uniform(SliceSearch.Numbers(text, code.Numbers, code.IsDouble, inMemory, slice, guard));
        var sums = RunningSums.Begin(text, code.Reductions);
        var at = text.Into('d', "add.s64", $"{begin}, {lane}");
        RunningSums.OfWarp(text, elements, code, sums, at, end);
        text.Label("STORE");
        // All blocks of the first reduction, then all of the next one.
        var target = text.Into('d', "ld.param.u64", $"[p_sums]");
        var place = text.Into('d', "mul.lo.s64", $"{block}, {8 * Sums}");
        var inBlock = text.Into('d', "shl.b64", $"{lane}, 3");
        text.Line($"add.s64 {target}, {target}, {place}");
        text.Line($"add.s64 {target}, {target}, {inBlock}");
        var apart = text.Into('d', "mul.lo.s64", $"{blocks}, {8 * Sums}");
        for (var i = 0; i < sums.Length; i++)
        {
            text.Line($"st.global.f64 [{target}], {sums[i]}");
            if (i + 1 < sums.Length)
                text.Line($"add.s64 {target}, {target}, {apart}");
        }
        text.Label("END");
        text.Line($"ret");
        return text.ToKernel(Threads);
    }
}

/// <summary>The reductions of programs on lanes: the product's own reducers.</summary>
internal static class Reducers
{
    public static PtxLane<double> Take(Operation kind, PtxLane<double> sum, PtxLane<double> x, PtxLane<double> y) =>
        kind switch
        {
            Operation.Sum => Take<Sums>(sum, x, y),
            Operation.SumOfSquares => Take<Squares>(sum, x, y),
            Operation.LargestMagnitude => Take<Largest>(sum, x, y),
            Operation.SumOfMagnitudes => Take<Magnitudes>(sum, x, y),
            Operation.SumOfProducts => Take<Products>(sum, x, y),
            _ => throw new NotSupportedException($"{kind} is no reduction"),
        };

    public static PtxLane<double> Join(bool isLargest, PtxLane<double> left, PtxLane<double> right) =>
        isLargest ? Join<Largest>(left, right) : Join<Sums>(left, right);

    private static PtxLane<double> Take<R>(PtxLane<double> sum, PtxLane<double> x, PtxLane<double> y)
        where R : struct, IReducer => R.Take(sum, x, y);

    private static PtxLane<double> Join<R>(PtxLane<double> left, PtxLane<double> right)
        where R : struct, IReducer => R.Join(left, right);
}
