using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>
/// Spreads as an element finds them: in what its row or column comes to, by its place, or as noise, which is worked out of a key and the place. Nothing
/// of either lies in memory element by element.
/// </summary>
/// <typeparam name="T">The type of the arithmetic: float or double.</typeparam>
internal sealed class SpreadCode<T>(KernelCode code, PtxText text)
    where T : unmanaged
{
    private readonly Dictionary<int, string> words = [];

    // By how many first dimensions count.
    private readonly Dictionary<int, string> columns = [];

    /// <summary>The words of a slice's entry.</summary>
    public void LoadWords(string entry)
    {
        for (var i = 0; i < code.Spreads.Length; i++)
        {
            var (room, operation, dimensions) = code.Spreads[i];
            if (!Array.Exists(code.ArrayUses, use => use.Array == room && use.IsRead))
                continue;
            var at = 8 * (PtxKernel.Head + code.Arrays + 2 * i);
            words[room] = text.Into('d', "ld.global.u64", $"[{entry}+{at}]");
            if (operation != Operation.Noise && !columns.ContainsKey(dimensions))
                columns[dimensions] = text.Into('d', "ld.global.u64", $"[{entry}+{at + 8}]");
        }
    }

    /// <summary>The values of a spread for some elements.</summary>
    /// <param name="room">Its room.</param>
    /// <param name="index">The register of the first one's place in the slice.</param>
    /// <param name="width">How many.</param>
    /// <param name="apart">How far the next one lies.</param>
    public PtxLane<T>[] Load(int room, string index, int width, int apart)
    {
        var spread = Array.Find(code.Spreads, each => each.Room == room)!;
        var found = new PtxLane<T>[width];
        var (row, column) = ("", "");
        for (var lane = 0; lane < width; lane++)
        {
            var place = lane == 0 ? index : text.Into('d', "add.s64", $"{index}, {lane * apart}");
            if (spread.Operation == Operation.Noise)
            {
                found[lane] = Noise(words[room], place);
                continue;
            }
            var length = columns[spread.Dimensions];
            if (lane == 0 || apart != 1)
            {
                row = text.Into('d', "div.u64", $"{place}, {length}");
                var begun = text.Into('d', "mul.lo.s64", $"{row}, {length}");
                column = text.Into('d', "sub.s64", $"{place}, {begun}");
            }
            else
            {
                // The next one: of the same row, or the first of the row after it.
                var next = text.Into('d', "add.s64", $"{column}, 1");
                var isOver = text.Into('p', "setp.ge.u64", $"{next}, {length}");
                var after = text.Into('d', "add.s64", $"{row}, 1");
                row = text.Into('d', "selp.b64", $"{after}, {row}, {isOver}");
                column = text.Into('d', "selp.b64", $"0, {next}, {isOver}");
            }
            var offset = text.Into('d', "shl.b64", $"{(spread.Operation.IsOfRows() ? row : column)}, {(PtxLane<T>.IsDouble ? 3 : 2)}");
            var address = text.Into('d', "add.s64", $"{words[room]}, {offset}");
            found[lane] = new(text.Value(PtxLane<T>.IsDouble));
            text.Line($"ld.global.{(PtxLane<T>.IsDouble ? "f64" : "f32")} {found[lane].Register}, [{address}]");
        }
        return found;
    }

    private PtxLane<T> Noise(string key, string place)
    {
        var twice = text.Into('d', "shl.b64", $"{place}, 1");
        var first = text.Into('d', "add.s64", $"{key}, {twice}");
        var second = text.Into('d', "add.s64", $"{first}, 1");
        var normal = Kernels.Noise.Normal(Uniform(Mixed(first)), Uniform(Mixed(second)));
        return new(PtxLane<T>.IsDouble ? normal.Register : SliceSearch.Narrow(text, normal.Register));
    }

    /// <summary>SplitMix64, as <see cref="Kernels.Noise"/> has it.</summary>
    private string Mixed(string bits)
    {
        var z = text.Into('d', "add.s64", $"{bits}, {Constant(Kernels.Noise.Gamma)}");
        z = Shifted(z, 30, Kernels.Noise.FirstFactor);
        z = Shifted(z, 27, Kernels.Noise.SecondFactor);
        var last = text.Into('d', "shr.u64", $"{z}, 31");
        return text.Into('d', "xor.b64", $"{z}, {last}");
    }

    private string Shifted(string z, int bits, ulong factor)
    {
        var moved = text.Into('d', "shr.u64", $"{z}, {bits}");
        var mixed = text.Into('d', "xor.b64", $"{z}, {moved}");
        return text.Into('d', "mul.lo.s64", $"{mixed}, {Constant(factor)}");
    }

    private PtxLane<double> Uniform(string bits)
    {
        var most = text.Into('d', "shr.u64", $"{bits}, 11");
        var more = text.Into('d', "add.s64", $"{most}, 1");
        var number = text.Into('g', "cvt.rn.f64.u64", $"{more}");
        return new PtxLane<double>(text.Into('w', "mov.b64", $"{number}")) * PtxLane<double>.Of(Kernels.Noise.UnitOfUniform);
    }

    private string Constant(ulong bits) => text.Constant(true, unchecked((long)bits));
}
