namespace Optim.Cuda;

/// <summary>How a kernel finds what it is to do: the parameters that all have, and the slice of a block.</summary>
internal static class SliceSearch
{
    /// <summary>The parameters of a kernel over slices: the table, how many slices, and bytes of an entry.</summary>
    public static void Parameters(PtxText text)
    {
        text.Parameter("p_table", 8);
        text.Parameter("p_slices", 4);
        text.Parameter("p_entry", 4);
    }

    /// <summary>The numbers: handed in, or in memory, where those of the next slice lie so many bytes further (0: the same for all).</summary>
    public static void NumberParameters(PtxText text, int numbers, int size, bool inMemory)
    {
        if (numbers == 0)
            return;
        if (inMemory)
        {
            text.Parameter("p_numbers", 8);
            text.Parameter("p_apart", 4);
        }
        else
            text.ParameterArray("p_numbers", numbers * size);
    }

    /// <summary>The way to a number of the slice that was found.</summary>
    public static Func<int, string> Numbers(PtxText text, int numbers, bool isDouble, bool inMemory, string slice, Guard? guard)
    {
        var size = isDouble ? 8 : 4;
        var type = isDouble ? "f64" : "f32";
        var address = "";
        if (numbers > 0 && inMemory)
        {
            var start = text.Into('d', "ld.param.u64", $"[p_numbers]");
            var apart = text.Into('r', "ld.param.u32", $"[p_apart]");
            var offset = text.Into('d', "mul.wide.u32", $"{slice}, {apart}");
            address = text.Into('d', "add.s64", $"{start}, {offset}");
        }
        return number =>
        {
            if (guard?.ClipAt == number)
                return Guard.ClipFactor(text, isDouble);
            var register = text.Value(isDouble);
            if (inMemory)
                text.Line($"ld.global.{type} {register}, [{address}+{number * size}]");
            else
                text.Line($"ld.param.{type} {register}, [p_numbers+{number * size}]");
            return register;
        };
    }

    /// <summary>The number of a thread among all of them.</summary>
    public static string Thread(PtxText text, int threads)
    {
        var number = text.Into('r', "mov.u32", $"%ctaid.x");
        var id = text.Into('r', "mov.u32", $"%tid.x");
        var before = text.Into('d', "mul.wide.u32", $"{number}, {threads}");
        var own = text.Into('d', "cvt.u64.u32", $"{id}");
        return text.Into('d', "add.s64", $"{before}, {own}");
    }

    /// <summary>A float of the arithmetic as a double.</summary>
    public static string Widened(PtxText text, string register)
    {
        var narrow = text.Into('f', "mov.b32", $"{register}");
        var wide = text.Into('g', "cvt.f64.f32", $"{narrow}");
        return text.Into('w', "mov.b64", $"{wide}");
    }

    /// <summary>A double rounded to a float, as a value of the arithmetic.</summary>
    public static string Narrow(PtxText text, string register)
    {
        var wide = text.Into('g', "mov.b64", $"{register}");
        var narrow = text.Into('f', "cvt.rn.f32.f64", $"{wide}");
        return text.Into('v', "mov.b32", $"{narrow}");
    }

    /// <summary>
    /// The slice of a block, by halving: the last one whose first block is not behind it. Jumps to END where there are no slices. The one of the block's
    /// own number is looked at before: of many small slices, which have a block each, it is the right one.
    /// </summary>
    /// <param name="text">The kernel.</param>
    /// <param name="block">The register of the block's number among all.</param>
    /// <param name="guard">What ends a block before it has looked for anything; null for nothing.</param>
    /// <param name="units">How many elements, or units of work, a block takes.</param>
    /// <returns>The registers of the slice's number, of its entry's address, and of the first of its elements for this block and one past the last.</returns>
    public static (string Slice, string Entry, string Begin, string End) Find(
        PtxText text,
        string block,
        Guard? guard,
        int units = PtxKernel.Block
    )
    {
        var (table, slices, bytes) = (
            text.Into('d', "ld.param.u64", $"[p_table]"),
            text.Into('r', "ld.param.u32", $"[p_slices]"),
            text.Into('r', "ld.param.u32", $"[p_entry]")
        );
        var none = text.Into('p', "setp.eq.u32", $"{slices}, 0");
        text.Line($"@{none} bra END");
        guard?.Skip(text);
        var (low, high, middle, next) = (text.New('r'), text.New('r'), text.New('r'), text.New('r'));
        var (found, behind) = (text.New('p'), text.New('p'));
        var (entry, first) = (text.New('d'), text.New('d'));
        string FirstOf(string slice)
        {
            var offset = text.Into('d', "mul.wide.u32", $"{slice}, {bytes}");
            var at = text.Into('d', "add.s64", $"{table}, {offset}");
            return text.Into('d', "ld.global.u64", $"[{at}]");
        }
        var last = text.Into('r', "sub.s32", $"{slices}, 1");
        var most = text.Into('d', "cvt.u64.u32", $"{last}");
        var nearest = text.Into('d', "min.u64", $"{block}, {most}");
        var guess = text.Into('r', "cvt.u32.u64", $"{nearest}");
        var more = text.Into('d', "add.s64", $"{nearest}, 1");
        var after = text.Into('r', "cvt.u32.u64", $"{text.Into('d', "min.u64", $"{more}, {most}")}");
        var isBehind = text.Into('p', "setp.le.u64", $"{FirstOf(guess)}, {block}");
        var isLast = text.Into('p', "setp.gt.u64", $"{FirstOf(after)}, {block}");
        var before = text.Into('r', "sub.s32", $"{guess}, 1");
        var bound = text.Into('r', "selp.b32", $"{guess}, {last}, {isLast}");
        text.Line($"selp.b32 {low}, {guess}, 0, {isBehind}");
        text.Line($"selp.b32 {high}, {bound}, {before}, {isBehind}");
        text.Label("SEARCH");
        text.Line($"setp.ge.u32 {found}, {low}, {high}");
        text.Line($"@{found} bra FOUND");
        text.Line($"add.s32 {middle}, {low}, {high}");
        text.Line($"add.s32 {middle}, {middle}, 1");
        text.Line($"shr.u32 {middle}, {middle}, 1");
        text.Line($"mul.wide.u32 {entry}, {middle}, {bytes}");
        text.Line($"add.s64 {entry}, {table}, {entry}");
        text.Line($"ld.global.u64 {first}, [{entry}]");
        text.Line($"setp.le.u64 {behind}, {first}, {block}");
        text.Line($"sub.s32 {next}, {middle}, 1");
        text.Line($"selp.b32 {low}, {middle}, {low}, {behind}");
        text.Line($"selp.b32 {high}, {high}, {next}, {behind}");
        text.Line($"bra SEARCH");
        text.Label("FOUND");
        text.Line($"mul.wide.u32 {entry}, {low}, {bytes}");
        text.Line($"add.s64 {entry}, {table}, {entry}");
        text.Line($"ld.global.u64 {first}, [{entry}]");
        var elements = text.Into('d', "ld.global.u64", $"[{entry}+8]");
        var own = text.Into('d', "sub.s64", $"{block}, {first}");
        var begin = text.Into('d', "mul.lo.s64", $"{own}, {units}");
        var full = text.Into('d', "add.s64", $"{begin}, {units}");
        var end = text.Into('d', "min.u64", $"{full}, {elements}");
        return (low, entry, begin, end);
    }
}
