using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>
/// Sums of rows and of columns as kernels, by the order of the processor: over <see cref="SumsTables"/>, whose entries say what there is to do in units of
/// work.
/// </summary>
internal static class SpreadKernels
{
    /// <summary>Threads of a block.</summary>
    public const int Threads = 256;

    /// <summary>What a row comes to in each of the blocks that it lies in: a warp for each.</summary>
    public static PtxKernel Parts(KernelCode code, bool inMemory, Guard? guard = null) =>
        code.IsDouble ? Parts<double>(code, inMemory, guard) : Parts<float>(code, inMemory, guard);

    /// <summary>Running sums of columns: a thread for each.</summary>
    public static PtxKernel OfColumns(KernelCode code, bool inMemory, Guard? guard = null) =>
        code.IsDouble ? OfColumns<double>(code, inMemory, guard) : OfColumns<float>(code, inMemory, guard);

    private static PtxKernel Parts<T>(KernelCode code, bool inMemory, Guard? guard)
        where T : unmanaged
    {
        var (text, elements) = Begin<T>(code, inMemory, guard);
        var (slice, entry, unit, lane) = WarpUnit(text, guard);
        elements.LoadAddresses(entry);
        elements.Uniform(SliceSearch.Numbers(text, code.Numbers, code.IsDouble, inMemory, slice, guard));
        var words = code.Arrays + 2 * code.Spreads.Length;
        var (columns, most) = (Word(text, entry, words), Word(text, entry, words + 1));
        var row = text.Into('d', "div.u64", $"{unit}, {most}");
        var before = text.Into('d', "mul.lo.s64", $"{row}, {most}");
        var part = text.Into('d', "sub.s64", $"{unit}, {before}");
        var first = text.Into('d', "mul.lo.s64", $"{row}, {columns}");
        var last = text.Into('d', "add.s64", $"{first}, {columns}");
        var firstBlock = text.Into('d', "shr.u64", $"{first}, 12");
        var inBlock = text.Into('d', "add.s64", $"{firstBlock}, {part}");
        var start = text.Into('d', "shl.b64", $"{inBlock}, 12");
        var full = text.Into('d', "add.s64", $"{start}, {PtxKernel.Block}");
        var from = text.Into('d', "max.u64", $"{start}, {first}");
        var to = text.Into('d', "min.u64", $"{full}, {last}");
        EndUnless(text, from, to);
        var sums = RunningSums.Begin(text, code.Reductions);
        var own = text.Into('d', "cvt.u64.u32", $"{lane}");
        var at = text.Into('d', "add.s64", $"{from}, {own}");
        RunningSums.OfWarp(text, elements, code, sums, at, to);
        StoreJoined(text, entry, words + 2, unit, lane, sums);
        return End(text);
    }

    private static PtxKernel OfColumns<T>(KernelCode code, bool inMemory, Guard? guard)
        where T : unmanaged
    {
        var (text, elements) = Begin<T>(code, inMemory, guard);
        var (slice, entry, unit) = Unit(text, guard);
        elements.LoadAddresses(entry);
        elements.Uniform(SliceSearch.Numbers(text, code.Numbers, code.IsDouble, inMemory, slice, guard));
        var words = code.Arrays + 2 * code.Spreads.Length;
        var (length, apart, bandLength) = (Word(text, entry, words), Word(text, entry, words + 1), Word(text, entry, words + 2));
        var band = text.Into('d', "div.u64", $"{unit}, {apart}");
        var before = text.Into('d', "mul.lo.s64", $"{band}, {apart}");
        var sum = text.Into('d', "sub.s64", $"{unit}, {before}");
        var start = text.Into('d', "mul.lo.s64", $"{band}, {bandLength}");
        // The first element of the band whose turn it is to go to this sum.
        var rounds = text.Into('d', "div.u64", $"{start}, {apart}");
        var whole = text.Into('d', "mul.lo.s64", $"{rounds}, {apart}");
        var turn = text.Into('d', "sub.s64", $"{start}, {whole}");
        var isLater = text.Into('p', "setp.ge.u64", $"{sum}, {turn}");
        var inRound = text.Into('d', "add.s64", $"{whole}, {sum}");
        var inNext = text.Into('d', "add.s64", $"{inRound}, {apart}");
        var at = text.Into('d', "selp.b64", $"{inRound}, {inNext}, {isLater}");
        var full = text.Into('d', "add.s64", $"{start}, {bandLength}");
        var to = text.Into('d', "min.u64", $"{full}, {length}");
        var sums = RunningSums.Begin(text, code.Reductions);
        RunningSums.OfThread(text, elements, code, sums, at, apart, to);
        text.Label("STORE");
        Store(text, entry, words + 3, unit, sums);
        return End(text);
    }

    /// <summary>Bands so many apart, in pairs: what the second comes to is added to the first.</summary>
    /// <param name="sums">How many sums.</param>
    public static PtxKernel Pairs(int sums)
    {
        var text = new PtxText();
        SliceSearch.Parameters(text);
        text.Parameter("p_apart", 8);
        PtxLane.Current = text;
        var (_, entry, unit) = Unit(text);
        var (inBand, bands) = (Word(text, entry, 0), Word(text, entry, 1));
        var apart = text.Into('d', "ld.param.u64", $"[p_apart]");
        var band = text.Into('d', "div.u64", $"{unit}, {inBand}");
        var pair = text.Into('d', "shl.b64", $"{apart}, 1");
        var mask = text.Into('d', "sub.s64", $"{pair}, 1");
        var rest = text.Into('d', "and.b64", $"{band}, {mask}");
        var isSecond = text.Into('p', "setp.ne.s64", $"{rest}, 0");
        text.Line($"@{isSecond} bra END");
        var other = text.Into('d', "add.s64", $"{band}, {apart}");
        EndUnless(text, other, bands);
        var further = text.Into('d', "mul.lo.s64", $"{apart}, {inBand}");
        var place = text.Into('d', "add.s64", $"{unit}, {further}");
        for (var i = 0; i < sums; i++)
        {
            var (left, right) = (Place(text, entry, 2 + i, unit), Place(text, entry, 2 + i, place));
            var joined = Reducers.Join(isLargest: false, Load(text, left), Load(text, right));
            text.Line($"st.global.f64 [{left}], {joined.Register}");
        }
        return End(text);
    }

    /// <summary>What rows come to of their parts, one after the other; or columns of their running sums.</summary>
    /// <param name="sums">How many sums.</param>
    /// <param name="ofRows">Whether rows are summed; else columns.</param>
    /// <param name="isDouble">Whether totals are of float64; else of float32.</param>
    public static PtxKernel Totals(int sums, bool ofRows, bool isDouble)
    {
        var text = new PtxText();
        SliceSearch.Parameters(text);
        PtxLane.Current = text;
        var (_, entry, unit) = Unit(text);
        var (columns, most) = (Word(text, entry, 0), Word(text, entry, 1));
        string at,
            step,
            end;
        if (ofRows)
        {
            // Parts of the blocks from that in which the row begins to that in which it ends.
            var first = text.Into('d', "mul.lo.s64", $"{unit}, {columns}");
            var behind = text.Into('d', "add.s64", $"{first}, {columns}");
            var last = text.Into('d', "sub.s64", $"{behind}, 1");
            var (firstBlock, lastBlock) = (text.Into('d', "shr.u64", $"{first}, 12"), text.Into('d', "shr.u64", $"{last}, 12"));
            at = text.Into('d', "mul.lo.s64", $"{unit}, {most}");
            var more = text.Into('d', "sub.s64", $"{lastBlock}, {firstBlock}");
            var count = text.Into('d', "add.s64", $"{more}, 1");
            end = text.Into('d', "add.s64", $"{at}, {count}");
            step = text.Into('d', "mov.u64", $"1");
        }
        else
        {
            at = text.Into('d', "mov.u64", $"{unit}");
            (step, end) = (columns, most);
        }
        var totals = Sum(text, entry, 2, sums, at, step, end);
        for (var i = 0; i < sums; i++)
        {
            var offset = text.Into('d', "shl.b64", $"{unit}, {(isDouble ? 3 : 2)}");
            var target = text.Into('d', "add.s64", $"{Word(text, entry, 2 + sums + i)}, {offset}");
            if (isDouble)
                text.Line($"st.global.f64 [{target}], {totals[i]}");
            else
            {
                var narrow = SliceSearch.Narrow(text, totals[i]);
                text.Line($"st.global.f32 [{target}], {narrow}");
            }
        }
        return End(text);
    }

    /// <summary>What parts come to that lie so many apart, from one on up to an end, one after the other.</summary>
    /// <param name="text">The kernel.</param>
    /// <param name="entry">The entry, of which a word for each sum says where parts lie.</param>
    /// <param name="word">The first of these words.</param>
    /// <param name="sums">How many sums.</param>
    /// <param name="at">The register of the first part's place.</param>
    /// <param name="step">That of how far the next one lies.</param>
    /// <param name="end">That of the end.</param>
    public static string[] Sum(PtxText text, string entry, int word, int sums, string at, string step, string end)
    {
        var totals = new string[sums];
        for (var i = 0; i < sums; i++)
        {
            var begun = Load(text, Place(text, entry, word + i, at));
            totals[i] = text.Into('w', "mov.b64", $"{begun.Register}");
        }
        text.Label("NEXT");
        text.Line($"add.s64 {at}, {at}, {step}");
        var done = text.Into('p', "setp.ge.u64", $"{at}, {end}");
        text.Line($"@{done} bra STORE");
        for (var i = 0; i < sums; i++)
        {
            var joined = Reducers.Join(isLargest: false, new(totals[i]), Load(text, Place(text, entry, word + i, at)));
            text.Line($"mov.b64 {totals[i]}, {joined.Register}");
        }
        text.Line($"bra NEXT");
        text.Label("STORE");
        return totals;
    }

    /// <summary>The beginning of a kernel over elements.</summary>
    public static (PtxText Text, ElementCode<T> Elements) Begin<T>(KernelCode code, bool inMemory, Guard? guard = null)
        where T : unmanaged
    {
        var text = new PtxText();
        SliceSearch.Parameters(text);
        SliceSearch.NumberParameters(text, code.Numbers, code.Size, inMemory);
        guard?.Parameter(text);
        return (text, new(code, text));
    }

    public static PtxKernel End(PtxText text)
    {
        text.Label("END");
        text.Line($"ret");
        return text.ToKernel(Threads);
    }

    public static string Block(PtxText text)
    {
        var number = text.Into('r', "mov.u32", $"%ctaid.x");
        return text.Into('d', "cvt.u64.u32", $"{number}");
    }

    /// <summary>The unit of a thread, where each has one.</summary>
    public static (string Slice, string Entry, string Unit) Unit(PtxText text, Guard? guard = null)
    {
        var (slice, entry, begin, end) = SliceSearch.Find(text, Block(text), guard, Threads);
        var id = text.Into('r', "mov.u32", $"%tid.x");
        var thread = text.Into('d', "cvt.u64.u32", $"{id}");
        var unit = text.Into('d', "add.s64", $"{begin}, {thread}");
        EndUnless(text, unit, end);
        return (slice, entry, unit);
    }

    /// <summary>The unit of a warp, where each has one, and the number of a thread in it.</summary>
    public static (string Slice, string Entry, string Unit, string Lane) WarpUnit(PtxText text, Guard? guard = null)
    {
        var (slice, entry, begin, end) = SliceSearch.Find(text, Block(text), guard, SumsKernel.Warps);
        var id = text.Into('r', "mov.u32", $"%tid.x");
        var warp = text.Into('r', "shr.u32", $"{id}, 5");
        var lane = text.Into('r', "and.b32", $"{id}, 31");
        var own = text.Into('d', "cvt.u64.u32", $"{warp}");
        var unit = text.Into('d', "add.s64", $"{begin}, {own}");
        EndUnless(text, unit, end);
        return (slice, entry, unit, lane);
    }

    /// <summary>What the threads of a warp have, joined, goes where the first of them stores it.</summary>
    public static void StoreJoined(PtxText text, string entry, int word, string unit, string lane, string[] sums)
    {
        text.Label("STORE");
        var joined = Array.ConvertAll(sums, sum => RunningSums.Joined(text, sum));
        var isOther = text.Into('p', "setp.ne.u32", $"{lane}, 0");
        text.Line($"@{isOther} bra END");
        Store(text, entry, word, unit, joined);
    }

    public static void EndUnless(PtxText text, string number, string below)
    {
        var isBehind = text.Into('p', "setp.ge.u64", $"{number}, {below}");
        text.Line($"@{isBehind} bra END");
    }

    /// <summary>A word of an entry, after its head.</summary>
    public static string Word(PtxText text, string entry, int word) =>
        text.Into('d', "ld.global.u64", $"[{entry}+{8 * (PtxKernel.Head + word)}]");

    private static string Place(PtxText text, string entry, int word, string number)
    {
        var start = Word(text, entry, word);
        var offset = text.Into('d', "shl.b64", $"{number}, 3");
        return text.Into('d', "add.s64", $"{start}, {offset}");
    }

    private static PtxLane<double> Load(PtxText text, string place) => new(text.Into('w', "ld.global.f64", $"[{place}]"));

    public static void Store(PtxText text, string entry, int word, string unit, string[] sums)
    {
        for (var i = 0; i < sums.Length; i++)
            text.Line($"st.global.f64 [{Place(text, entry, word + i, unit)}], {sums[i]}");
    }
}
