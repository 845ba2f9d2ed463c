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
        var sums = Array.ConvertAll(code.Reductions, _ => text.New('w'));
        foreach (var sum in sums)
            text.Line($"mov.b64 {sum}, {text.Constant(true, 0)}");
        var at = text.Into('d', "add.s64", $"{begin}, {lane}");
        text.Label("FOURS");
        var last = text.Into('d', "add.s64", $"{at}, {3 * Sums}");
        var over = text.Into('p', "setp.ge.u64", $"{last}, {end}");
        text.Line($"@{over} bra ONES");
        elements.Elements(at, 4, Sums, Take);
        text.Line($"add.s64 {at}, {at}, {4 * Sums}");
        text.Line($"bra FOURS");
        text.Label("ONES");
        var done = text.Into('p', "setp.ge.u64", $"{at}, {end}");
        text.Line($"@{done} bra STORE");
        elements.Elements(at, 1, 1, Take);
        text.Line($"add.s64 {at}, {at}, {Sums}");
        text.Line($"bra ONES");
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

        void Take(Func<ArrayReduction, PtxLane<T>> value)
        {
            for (var i = 0; i < sums.Length; i++)
            {
                var taken = Reducers.Take(code.Reductions[i].Kind, new(sums[i]), Widened(value(code.Reductions[i])));
                text.Line($"mov.b64 {sums[i]}, {taken.Register}");
            }
        }

        PtxLane<double> Widened(PtxLane<T> value)
        {
            if (code.IsDouble)
                return new(value.Register);
            var narrow = text.Into('f', "mov.b32", $"{value.Register}");
            var wide = text.Into('g', "cvt.f64.f32", $"{narrow}");
            return new(text.Into('w', "mov.b64", $"{wide}"));
        }
    }
}

/// <summary>The reductions of programs on lanes: the product's own reducers.</summary>
internal static class Reducers
{
    public static PtxLane<double> Take(Operation kind, PtxLane<double> sum, PtxLane<double> x) =>
        kind switch
        {
            Operation.Sum => Take<Sums>(sum, x),
            Operation.SumOfSquares => Take<Squares>(sum, x),
            Operation.LargestMagnitude => Take<Largest>(sum, x),
            _ => throw new NotSupportedException($"{kind} is no reduction"),
        };

    public static PtxLane<double> Join(bool isLargest, PtxLane<double> left, PtxLane<double> right) =>
        isLargest ? Join<Largest>(left, right) : Join<Sums>(left, right);

    private static PtxLane<double> Take<R>(PtxLane<double> sum, PtxLane<double> x)
        where R : struct, IReducer => R.Take(sum, x, x);

    private static PtxLane<double> Join<R>(PtxLane<double> left, PtxLane<double> right)
        where R : struct, IReducer => R.Join(left, right);
}
