using System.Globalization;
using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>Running sums in registers, which elements of a slice are taken into.</summary>
internal static class RunningSums
{
    /// <summary>A register for each reduction, of nothing.</summary>
    public static string[] Begin(PtxText text, ArrayReduction[] reductions)
    {
        var sums = Array.ConvertAll(reductions, _ => text.New('w'));
        foreach (var sum in sums)
            text.Line($"mov.b64 {sum}, {text.Constant(true, 0)}");
        return sums;
    }

    /// <summary>Every 32nd element from one on, up to an end. Goes on at STORE.</summary>
    public static void OfWarp<T>(PtxText text, ElementCode<T> elements, KernelCode code, string[] sums, string at, string end)
        where T : unmanaged
    {
        const int apart = SumsKernel.Sums;
        text.Label("FOURS");
        var last = text.Into('d', "add.s64", $"{at}, {3 * apart}");
        var over = text.Into('p', "setp.ge.u64", $"{last}, {end}");
        text.Line($"@{over} bra ONES");
        elements.Elements(at, 4, apart, value => Take(text, code, sums, value));
        text.Line($"add.s64 {at}, {at}, {4 * apart}");
        Rest(text, elements, code, sums, at, apart.ToString(CultureInfo.InvariantCulture), end);
    }

    /// <summary>The elements that lie so many apart, which a register says, up to an end. Goes on at STORE.</summary>
    public static void OfThread<T>(
        PtxText text,
        ElementCode<T> elements,
        KernelCode code,
        string[] sums,
        string at,
        string apart,
        string end
    )
        where T : unmanaged
    {
        var next = new string[4];
        var step = text.Into('d', "shl.b64", $"{apart}, 2");
        text.Label("FOURS");
        next[0] = at;
        for (var i = 1; i < next.Length; i++)
            next[i] = text.Into('d', "add.s64", $"{next[i - 1]}, {apart}");
        var over = text.Into('p', "setp.ge.u64", $"{next[^1]}, {end}");
        text.Line($"@{over} bra ONES");
        // Nothing is stored here: the assembler may load all of them first.
        foreach (var element in next)
            elements.Elements(element, 1, 1, value => Take(text, code, sums, value));
        text.Line($"add.s64 {at}, {at}, {step}");
        Rest(text, elements, code, sums, at, apart, end);
    }

    /// <summary>The end of a loop over four elements at a time, and what it leaves over, one by one.</summary>
    private static void Rest<T>(PtxText text, ElementCode<T> elements, KernelCode code, string[] sums, string at, string apart, string end)
        where T : unmanaged
    {
        text.Line($"bra FOURS");
        text.Label("ONES");
        var done = text.Into('p', "setp.ge.u64", $"{at}, {end}");
        text.Line($"@{done} bra STORE");
        elements.Elements(at, 1, 1, value => Take(text, code, sums, value));
        text.Line($"add.s64 {at}, {at}, {apart}");
        text.Line($"bra ONES");
    }

    /// <summary>What the 32 threads of a warp have, in halves; the first thread has the whole. All of them are to come here.</summary>
    public static string Joined(PtxText text, string sum)
    {
        PtxLane.Current = text;
        var joined = sum;
        for (var half = SumsKernel.Sums / 2; half > 0; half /= 2)
        {
            var low = Down(text, text.Into('r', "cvt.u32.u64", $"{joined}"), half);
            var moved = text.Into('d', "shr.u64", $"{joined}, 32");
            var high = Down(text, text.Into('r', "cvt.u32.u64", $"{moved}"), half);
            var (lowWide, highWide) = (text.Into('d', "cvt.u64.u32", $"{low}"), text.Into('d', "cvt.u64.u32", $"{high}"));
            var above = text.Into('d', "shl.b64", $"{highWide}, 32");
            var other = text.Into('w', "or.b64", $"{lowWide}, {above}");
            joined = Reducers.Join(isLargest: false, new(joined), new(other)).Register;
        }
        return joined;
    }

    private static string Down(PtxText text, string word, int lanes) => text.Into('r', "shfl.sync.down.b32", $"{word}, {lanes}, 31, -1");

    private static void Take<T>(PtxText text, KernelCode code, string[] sums, Func<int, PtxLane<T>> value)
        where T : unmanaged
    {
        for (var i = 0; i < sums.Length; i++)
        {
            var (kind, array) = code.Reductions[i];
            var other = code.Reductions[i].Other;
            var x = Widened(text, value(array));
            var taken = Reducers.Take(kind, new(sums[i]), x, other < 0 ? x : Widened(text, value(other)));
            text.Line($"mov.b64 {sums[i]}, {taken.Register}");
        }
    }

    private static PtxLane<double> Widened<T>(PtxText text, PtxLane<T> value)
        where T : unmanaged => new(PtxLane<T>.IsDouble ? value.Register : SliceSearch.Widened(text, value.Register));
}
