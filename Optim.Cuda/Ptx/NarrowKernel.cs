using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>
/// A visit of slices with narrow columns as a kernel: a warp takes one block of state after the other, of which a thread has two times four
/// neighbouring elements. Codes become numbers in registers, the elements are worked out as in any <see cref="ElementKernel"/>, and numbers become codes.
/// </summary>
internal sealed class NarrowKernel
{
    /// <summary>Threads of a block.</summary>
    public const int Threads = 128;

    // Eight elements take many registers; with all that there are, too few warps wait for memory at a time. Adam on an H100, against float32: 8 bits 1.56
    // times as fast, 1.27 with blocks of 256 threads and all registers, 1.47 with 80 registers.
    private const int BlocksAtOnce = 5;

    /// <summary>Bytes of the hashes of places, which lie before a table's entries.</summary>
    public const int PlacesBytes = StateStorage.BlockLength * sizeof(uint);

    private const int Block = StateStorage.BlockLength;

    /// <summary>Neighbouring elements of a thread.</summary>
    private const int Together = 4;

    /// <summary>How far its other ones lie.</summary>
    private const int Apart = Block / 2;

    private readonly KernelCode code;
    private readonly NarrowColumns columns;
    private readonly bool countsThere;
    private readonly PtxText text = new();
    private readonly ElementCode<float> elements;
    private readonly NarrowCode narrow;
    private readonly NarrowNoise noise;
    private readonly ElementAccess access;
    private readonly ArrayUse[] uses;

    private NarrowKernel(KernelCode code, NarrowColumns columns, bool countsThere)
    {
        if (code.IsDouble || code.Reductions.Length > 0 || code.Rooms > 0)
            throw new NotSupportedException("narrow state in a visit of float64, or with reductions or spreads");
        (this.code, this.columns, this.countsThere) = (code, columns, countsThere);
        elements = new(code, text);
        (narrow, noise) = (new(text), new(text));
        access = new(text, elements);
        uses = [.. elements.Arrays.Where(use => KindOf(use.Array) != NarrowKind.Wide)];
    }

    /// <summary>The text.</summary>
    /// <param name="code">The visit.</param>
    /// <param name="columns">How the columns are kept.</param>
    /// <param name="inMemory">Whether the numbers are in memory, and may be others for each slice; else they are handed in.</param>
    /// <param name="countsThere">Whether the step by which is rounded is read from the device, so that a graph can repeat it; else it is handed in.</param>
    /// <param name="guard">What keeps it from doing anything; null for nothing.</param>
    public static PtxKernel Render(KernelCode code, NarrowColumns columns, bool inMemory, bool countsThere = false, Guard? guard = null) =>
        new NarrowKernel(code, columns, countsThere).Render(inMemory, guard);

    private NarrowKind KindOf(int array) => columns.OfArray(array);

    private PtxKernel Render(bool inMemory, Guard? guard)
    {
        SliceSearch.Parameters(text);
        SliceSearch.NumberParameters(text, code.Numbers, code.Size, inMemory);
        guard?.Parameter(text);
        text.Parameter("p_step", countsThere ? 8 : 4);
        var (slice, entry, begin, end) = SliceSearch.Find(text, SpreadKernels.Block(text), guard);
        elements.LoadAddresses(entry);
        elements.Uniform(SliceSearch.Numbers(text, code.Numbers, code.IsDouble, inMemory, slice, guard));
        // Behind the addresses, and what else an entry has: the first block, and where scales lie.
        var entryBytes = Wide(text.Into('r', "ld.param.u32", $"[p_entry]"));
        var next = D("add.s64", $"{entry}, {entryBytes}");
        var words = D("sub.s64", $"{next}, {8 * columns.Words}");
        var scales = uses.Where(use => NarrowKinds.HasScales(KindOf(use.Array)))
            .ToDictionary(use => use.Array, use => D("ld.global.u64", $"[{words}+{8 * (use.Array - 1)}]"));
        var firstBlock = D("ld.global.u64", $"[{words}]");
        var places = D("sub.s64", $"{D("ld.param.u64", $"[p_table]")}, {PlacesBytes}");
        var step = noise.OfStep(countsThere ? CountedStep() : text.Into('r', "ld.param.u32", $"[p_step]"));
        var misaligned = elements.Misalignment(SizeOf);
        var id = text.Into('r', "mov.u32", $"%tid.x");
        var warp = text.Into('r', "shr.u32", $"{id}, 5");
        var lane = text.Into('r', "and.b32", $"{id}, 31");
        var isFirst = P("setp.eq.u32", $"{lane}, 0");
        var own = text.Into('r', "shl.b32", $"{lane}, 2");
        var inBlock = Wide(own);
        var before = D("shl.b64", $"{Wide(warp)}, 8");
        var at = D("add.s64", $"{begin}, {before}");
        text.Label("BLOCK");
        var done = P("setp.ge.u64", $"{at}, {end}");
        text.Line($"@{done} bra END");
        var number = D("shr.u64", $"{at}, 8");
        var turn = noise.Turn(D("add.s64", $"{firstBlock}, {number}"));
        var state = new BlockOfState
        {
            Slow = IsSlow(misaligned, at, end),
            End = end,
            Places = Hashes(places, turn, own),
            Step = step,
            Scales = scales.ToDictionary(scale => scale.Key, scale => ScaleOf(scale.Value, number)),
            IsFirst = isFirst,
        };
        var first = D("add.s64", $"{at}, {inBlock}");
        state.Indices = [first, D("add.s64", $"{first}, {Apart}")];
        Step(state);
        text.Line($"add.s64 {at}, {at}, {Threads / 32 * Block}");
        text.Line($"bra BLOCK");
        text.Label("END");
        text.Line($"ret");
        return text.ToKernel(Threads, BlocksAtOnce);
    }

    /// <summary>What a thread knows of the block of its warp, in registers.</summary>
    private sealed class BlockOfState
    {
        /// <summary>Whether elements are loaded and stored one by one, as they do not lie as they should or are too few.</summary>
        public required string Slow { get; init; }
        public required string End { get; init; }

        /// <summary>The hashes of the places of its elements.</summary>
        public required string[] Places { get; init; }

        /// <summary>What the step adds to them.</summary>
        public required string Step { get; init; }

        /// <summary>The address and the value of the scale of each array.</summary>
        public required Dictionary<int, (string Address, string Value)> Scales { get; init; }

        /// <summary>Whether it is the thread that stores the scales.</summary>
        public required string IsFirst { get; init; }

        /// <summary>The places of its elements in the slice, four from each.</summary>
        public string[] Indices { get; set; } = [];

        /// <summary>Whether each of its elements is there, where the block is shorter.</summary>
        public string[] IsThere { get; set; } = [];
    }

    /// <summary>The step that the device has counted: that is the next one now.</summary>
    private string CountedStep()
    {
        var address = D("ld.param.u64", $"[p_step]");
        var counted = text.Into('w', "ld.global.f64", $"[{address}]");
        var number = text.Into('g', "mov.b64", $"{counted}");
        var whole = D("cvt.rzi.u64.f64", $"{number}");
        var next = text.Into('r', "cvt.u32.u64", $"{whole}");
        return text.Into('r', "sub.s32", $"{next}, 1");
    }

    private int SizeOf(ArrayUse use) => KindOf(use.Array) is var kind and not NarrowKind.Wide ? NarrowKinds.SizeOf(kind) : use.Size;

    private string IsSlow(string misaligned, string at, string end)
    {
        var whole = D("add.s64", $"{at}, {Block}");
        var isShort = P("setp.gt.u64", $"{whole}, {end}");
        var either = D("selp.b64", $"1, {misaligned}, {isShort}");
        return P("setp.ne.s64", $"{either}, 0");
    }

    private (string Address, string Value) ScaleOf(string scales, string number)
    {
        var offset = D("shl.b64", $"{number}, 2");
        var address = D("add.s64", $"{scales}, {offset}");
        return (address, text.Into('r', "ld.global.u32", $"[{address}]"));
    }

    /// <summary>Of the first four elements, and of the other ones.</summary>
    private string[] Hashes(string places, string turn, string own)
    {
        var first = text.Into('r', "add.s32", $"{turn}, {own}");
        var found = new List<string>();
        foreach (var apart in new[] { 0, Apart })
        {
            var place = apart == 0 ? first : text.Into('r', "add.s32", $"{first}, {apart}");
            var inTable = text.Into('r', "and.b32", $"{place}, {Block - 1}");
            var offset = D("mul.wide.u32", $"{inTable}, {sizeof(uint)}");
            var address = D("add.s64", $"{places}, {offset}");
            string[] four = [.. Enumerable.Range(0, Together).Select(_ => text.New('r'))];
            text.Line($"ld.global.v4.u32 {{{string.Join(", ", four)}}}, [{address}]");
            found.AddRange(four);
        }
        return [.. found];
    }

    /// <summary>A block: its codes become numbers, all elements are worked out, and what is stored becomes codes again.</summary>
    private void Step(BlockOfState block)
    {
        PtxLane.Current = text;
        var places = Array.ConvertAll(block.Indices, index => elements.Places(index, SizeOf));
        var lanes = Load(block, places);
        foreach (var lane in lanes)
            elements.Compute(lane);
        Store(block, places, lanes);
    }

    /// <summary>All loads of a thread, in one of two ways.</summary>
    private PtxLane<float>[][] Load(BlockOfState block, Dictionary<int, string>[] places)
    {
        var lanes = elements.Begin(NarrowCode.Elements);
        var loads = elements.Loads.ToArray();
        var codes = new Dictionary<int, string[]>();
        foreach (var (node, array, _) in loads)
            if (KindOf(array) != NarrowKind.Wide)
                codes[array] = New('r');
            else
                for (var lane = 0; lane < lanes.Length; lane++)
                    lanes[lane][node] = new(text.New('v'));
        string[] RegistersOf(int node, int array) =>
            codes.TryGetValue(array, out var known) ? known : Array.ConvertAll(lanes, lane => lane[node].Register);
        var (one, loaded) = (text.NewLabel("ONE"), text.NewLabel("LOADED"));
        text.Line($"@{block.Slow} bra {one}");
        foreach (var (node, array, isWords) in loads)
            for (var group = 0; group < 2; group++)
                access.LoadFour(KindOf(array), isWords, places[group][array], [.. RegistersOf(node, array).Skip(4 * group).Take(4)]);
        text.Line($"bra {loaded}");
        text.Label(one);
        block.IsThere = [.. Enumerable.Range(0, NarrowCode.Elements).Select(i => IsThere(block, i))];
        foreach (var (node, array, isWords) in loads)
            for (var i = 0; i < NarrowCode.Elements; i++)
                access.LoadOne(KindOf(array), isWords, places[i / 4][array], i % 4, RegistersOf(node, array)[i], block.IsThere[i]);
        text.Label(loaded);
        foreach (var (node, array, _) in loads)
            if (codes.TryGetValue(array, out var known))
            {
                var scale = block.Scales.TryGetValue(array, out var found) ? found.Value : "";
                var values = narrow.Widen(KindOf(array), known, scale);
                for (var lane = 0; lane < lanes.Length; lane++)
                    lanes[lane][node] = new(values[lane]);
            }
        return lanes;
    }

    private string IsThere(BlockOfState block, int element)
    {
        var place = element % 4 == 0 ? block.Indices[element / 4] : D("add.s64", $"{block.Indices[element / 4]}, {element % 4}");
        return P("setp.gt.u64", $"{block.End}, {place}");
    }

    /// <summary>Makes codes of what narrow columns have become, and stores all.</summary>
    private void Store(BlockOfState block, Dictionary<int, string>[] places, PtxLane<float>[][] lanes)
    {
        var stores = code.Stores;
        var numbers = stores.Select(store => elements.Stored(store, lanes)).ToArray();
        for (var i = 0; i < stores.Length; i++)
            if (KindOf(stores[i].Array) != NarrowKind.Wide)
                // What codes are made of is spoilt, and others may store it, too.
                numbers[i] = Array.ConvertAll(numbers[i], number => text.Into('v', "mov.b32", $"{number}"));
        Clear(block, stores.Zip(numbers).Where(each => KindOf(each.First.Array) != NarrowKind.Wide).SelectMany(each => each.Second));
        for (var i = 0; i < stores.Length; i++)
        {
            var (array, kind) = (stores[i].Array, KindOf(stores[i].Array));
            if (kind == NarrowKind.Wide)
                continue;
            var up = noise.Of(kind, block.Places, block.Step, array - 2);
            (numbers[i], var scale) = narrow.Narrow(kind, numbers[i], up);
            if (NarrowKinds.HasScales(kind))
                text.Line($"@{block.IsFirst} st.global.u32 [{block.Scales[array].Address}], {scale}");
        }
        var (one, stored) = (text.NewLabel("ONE"), text.NewLabel("STORED"));
        text.Line($"@{block.Slow} bra {one}");
        for (var i = 0; i < stores.Length; i++)
        for (var group = 0; group < 2; group++)
            access.StoreFour(
                KindOf(stores[i].Array),
                stores[i].IsWords,
                places[group][stores[i].Array],
                [.. numbers[i].Skip(4 * group).Take(4)]
            );
        text.Line($"bra {stored}");
        text.Label(one);
        for (var i = 0; i < stores.Length; i++)
        for (var k = 0; k < NarrowCode.Elements; k++)
            access.StoreOne(
                KindOf(stores[i].Array),
                stores[i].IsWords,
                places[k / 4][stores[i].Array],
                k % 4,
                numbers[i][k],
                block.IsThere[k]
            );
        text.Label(stored);
    }

    /// <summary>What is behind the last element is 0.</summary>
    private void Clear(BlockOfState block, IEnumerable<string> numbers)
    {
        var whole = text.NewLabel("WHOLE");
        text.Line($"@!{block.Slow} bra {whole}");
        foreach (var (number, i) in numbers.Select((number, i) => (number, i % NarrowCode.Elements)))
            text.Line($"@!{block.IsThere[i]} mov.b32 {number}, 0");
        text.Label(whole);
    }

    private string[] New(char kind) => [.. Enumerable.Range(0, NarrowCode.Elements).Select(_ => text.New(kind))];

    private string Wide(string register) => D("cvt.u64.u32", $"{register}");

    private string D(string instruction, FormattableString operands) => text.Into('d', instruction, operands);

    private string P(string instruction, FormattableString operands) => text.Into('p', instruction, operands);
}
