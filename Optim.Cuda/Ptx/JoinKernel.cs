namespace Optim.Cuda;

/// <summary>What running sums come to, by the tree of the processor: those of a block in halves, then blocks of a slice in pairs of neighbours.</summary>
internal static class JoinKernel
{
    /// <summary>Threads of a block.</summary>
    public const int Threads = 256;

    /// <summary>The 32 running sums of each block, a thread for each.</summary>
    /// <param name="isLargest">Whether the larger one is taken; else both are added.</param>
    public static PtxKernel OfBlocks(bool isLargest)
    {
        var text = new PtxText();
        PtxLane.Current = text;
        text.Parameter("p_sums", 8);
        text.Parameter("p_blocks", 8);
        text.Parameter("p_out", 8);
        var block = SliceSearch.Thread(text, Threads);
        var blocks = text.Into('d', "ld.param.u64", $"[p_blocks]");
        var behind = text.Into('p', "setp.ge.u64", $"{block}, {blocks}");
        text.Line($"@{behind} bra END");
        var start = text.Into('d', "ld.param.u64", $"[p_sums]");
        var offset = text.Into('d', "mul.lo.s64", $"{block}, {8 * SumsKernel.Sums}");
        var own = text.Into('d', "add.s64", $"{start}, {offset}");
        var sums = new PtxLane<double>[SumsKernel.Sums];
        for (var i = 0; i < sums.Length; i++)
            sums[i] = new(text.Into('w', "ld.global.f64", $"[{own}+{8 * i}]"));
        for (var half = sums.Length / 2; half > 0; half /= 2)
        for (var i = 0; i < half; i++)
            sums[i] = Reducers.Join(isLargest, sums[i], sums[i + half]);
        var target = text.Into('d', "ld.param.u64", $"[p_out]");
        var place = text.Into('d', "shl.b64", $"{block}, 3");
        text.Line($"add.s64 {target}, {target}, {place}");
        text.Line($"st.global.f64 [{target}], {sums[0].Register}");
        text.Label("END");
        text.Line($"ret");
        return text.ToKernel(Threads);
    }

    /// <summary>The blocks of each slice, in place, a block of threads for each slice: these wait for each other from level to level.</summary>
    /// <inheritdoc cref="OfBlocks"/>
    public static PtxKernel OfSlices(bool isLargest)
    {
        var text = new PtxText();
        PtxLane.Current = text;
        SliceSearch.Parameters(text);
        text.Parameter("p_joined", 8);
        text.Parameter("p_out", 8);
        var slice = text.Into('r', "mov.u32", $"%ctaid.x");
        var slices = text.Into('r', "ld.param.u32", $"[p_slices]");
        var none = text.Into('p', "setp.ge.u32", $"{slice}, {slices}");
        text.Line($"@{none} bra END");
        var id = text.Into('r', "mov.u32", $"%tid.x");
        var thread = text.Into('d', "cvt.u64.u32", $"{id}");
        var table = text.Into('d', "ld.param.u64", $"[p_table]");
        var bytes = text.Into('r', "ld.param.u32", $"[p_entry]");
        var offset = text.Into('d', "mul.wide.u32", $"{slice}, {bytes}");
        var entry = text.Into('d', "add.s64", $"{table}, {offset}");
        var first = text.Into('d', "ld.global.u64", $"[{entry}]");
        var elements = text.Into('d', "ld.global.u64", $"[{entry}+8]");
        var whole = text.Into('d', "add.s64", $"{elements}, {PtxKernel.Block - 1}");
        var count = text.Into('d', "shr.u64", $"{whole}, 12");
        var joined = text.Into('d', "ld.param.u64", $"[p_joined]");
        var place = text.Into('d', "shl.b64", $"{first}, 3");
        text.Line($"add.s64 {joined}, {joined}, {place}");
        var apart = text.Into('d', "mov.u64", $"1");
        text.Label("LEVEL");
        var isOne = text.Into('p', "setp.ge.u64", $"{apart}, {count}");
        text.Line($"@{isOne} bra STORE");
        var pair = text.Into('d', "shl.b64", $"{apart}, 1");
        var left = text.Into('d', "mul.lo.s64", $"{thread}, {pair}");
        text.Label("PAIR");
        var right = text.Into('d', "add.s64", $"{left}, {apart}");
        var over = text.Into('p', "setp.ge.u64", $"{right}, {count}");
        text.Line($"@{over} bra NEXT");
        var atLeft = text.Into('d', "shl.b64", $"{left}, 3");
        var atRight = text.Into('d', "shl.b64", $"{right}, 3");
        text.Line($"add.s64 {atLeft}, {joined}, {atLeft}");
        text.Line($"add.s64 {atRight}, {joined}, {atRight}");
        var a = new PtxLane<double>(text.Into('w', "ld.global.f64", $"[{atLeft}]"));
        var b = new PtxLane<double>(text.Into('w', "ld.global.f64", $"[{atRight}]"));
        text.Line($"st.global.f64 [{atLeft}], {Reducers.Join(isLargest, a, b).Register}");
        var further = text.Into('d', "mul.lo.s64", $"{pair}, {Threads}");
        text.Line($"add.s64 {left}, {left}, {further}");
        text.Line($"bra PAIR");
        text.Label("NEXT");
        text.Line($"bar.sync 0");
        text.Line($"mov.u64 {apart}, {pair}");
        text.Line($"bra LEVEL");
        text.Label("STORE");
        var isOther = text.Into('p', "setp.ne.u32", $"{id}, 0");
        text.Line($"@{isOther} bra END");
        var isEmpty = text.Into('p', "setp.eq.u64", $"{count}, 0");
        var result = text.Into('w', "mov.b64", $"{text.Constant(true, 0)}");
        text.Line($"@{isEmpty} bra EMPTY");
        var sum = new PtxLane<double>(text.Into('w', "ld.global.f64", $"[{joined}]"));
        // One NaN for all: which one comes out of an addition of two is the machine's choice.
        var one = PtxLane<double>.Select(PtxLane<double>.IsNaN(sum), PtxLane<double>.Of(double.NaN), sum);
        text.Line($"mov.b64 {result}, {one.Register}");
        text.Label("EMPTY");
        var target = text.Into('d', "ld.param.u64", $"[p_out]");
        var own = text.Into('d', "mul.wide.u32", $"{slice}, 8");
        text.Line($"add.s64 {target}, {target}, {own}");
        text.Line($"st.global.f64 [{target}], {result}");
        text.Label("END");
        text.Line($"ret");
        return text.ToKernel(Threads);
    }
}
