using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Optim.Kernels;

namespace Optim.Distributed;

// What ranks tell each other beside gradients and parameters.
public sealed partial class World
{
    /// <summary>Refuses ranks of which one has other words for what all must have: this one says in which line.</summary>
    internal void Agree(string operation, string what, IReadOnlyList<string> lines)
    {
        if (Size == 1)
            return;
        var hashes = Exchange(operation, SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', lines))));
        var others = Enumerable.Range(0, Size).Where(rank => !hashes[rank].AsSpan().SequenceEqual(hashes[0])).ToList();
        if (others.Count == 0)
            return;
        var first = Encoding
            .UTF8.GetString(Exchange(operation, Rank == 0 ? Encoding.UTF8.GetBytes(string.Join('\n', lines)) : [])[0])
            .Split('\n');
        var line = Enumerable.Range(0, Math.Max(first.Length, lines.Count)).FirstOrDefault(i => Line(first, i) != Line(lines, i));
        var difference = others.Contains(Rank) ? $": here '{Line(lines, line)}', there '{Line(first, line)}'" : "";
        throw Fail(
            operation,
            null,
            FormattableString.Invariant(
                $"{what} must be the same on all ranks; other than on rank 0 {(others.Count == 1 ? "it is" : "they are")} on rank {string.Join(", ", others)}{difference}"
            )
        );

        static string Line(IReadOnlyList<string> lines, int i) => i < lines.Count ? lines[i] : "(nothing)";
    }

    /// <summary>The bytes of every rank, which may have more or less of them.</summary>
    internal byte[][] Exchange(string operation, byte[] mine)
    {
        if (Size == 1)
            return [mine];
        var sizes = GatherNumbers(operation, [mine.Length], [.. Enumerable.Repeat(1, Size)]);
        return Exchange(operation, mine, rank => (int)sizes[rank][0]);
    }

    /// <summary>For each flag whether it is true on any rank.</summary>
    internal bool[] AnyOf(string operation, bool[] mine) => AnyOf(operation, mine, 0).Are;

    /// <summary>For each flag whether it is true on any rank, and the sum of a number over all ranks by the tree of neighbours, in one exchange.</summary>
    internal (bool[] Are, double Sum) AnyOf(string operation, bool[] mine, double number)
    {
        var bytes = new byte[sizeof(double) + (mine.Length + 7) / 8];
        BinaryPrimitives.WriteDoubleLittleEndian(bytes, number);
        var bits = bytes.AsSpan(sizeof(double));
        for (var i = 0; i < mine.Length; i++)
            if (mine[i])
                bits[i / 8] |= (byte)(1 << i % 8);
        var all = Exchange(operation, bytes, _ => bytes.Length);
        return (
            [.. mine.Select((_, i) => Array.Exists(all, each => (each[sizeof(double) + i / 8] >> i % 8 & 1) != 0))],
            SumOf(Array.ConvertAll(all, each => BinaryPrimitives.ReadDoubleLittleEndian(each)))
        );
    }

    private byte[][] Exchange(string operation, byte[] mine, Func<int, int> lengthOf)
    {
        var offsets = new nint[Size + 1];
        for (var place = 0; place < Size; place++)
            offsets[place + 1] = offsets[place] + lengthOf(Tree.Order[place]);
        var buffer = TensorView.Zeros(DType.UInt8, offsets[Size]);
        mine.CopyTo(buffer.AsSpan<byte>()[(int)offsets[Tree.PlaceOf(Rank)]..]);
        if (Size > 1 && offsets[Size] > 0)
            Wait(Gather(operation, null, buffer, offsets));
        var found = new byte[Size][];
        for (var place = 0; place < Size; place++)
            found[Tree.Order[place]] = buffer.AsSpan<byte>()[(int)offsets[place]..(int)offsets[place + 1]].ToArray();
        return found;
    }

    /// <summary>Numbers of every rank, of which all know how many each has.</summary>
    internal double[][] GatherNumbers(string operation, ReadOnlySpan<double> mine, ReadOnlySpan<int> counts)
    {
        var offsets = new nint[Size + 1];
        for (var place = 0; place < Size; place++)
            offsets[place + 1] = offsets[place] + counts[Tree.Order[place]] * sizeof(double);
        var buffer = TensorView.Zeros(DType.Float64, offsets[Size] / sizeof(double));
        mine.CopyTo(buffer.AsSpan<double>()[(int)(offsets[Tree.PlaceOf(Rank)] / sizeof(double))..]);
        if (Size > 1 && offsets[Size] > 0)
            Wait(Gather(operation, null, buffer, offsets));
        var found = new double[Size][];
        for (var place = 0; place < Size; place++)
            found[Tree.Order[place]] = buffer
                .AsSpan<double>()[(int)(offsets[place] / sizeof(double))..(int)(offsets[place + 1] / sizeof(double))]
                .ToArray();
        return found;
    }

    /// <summary>Numbers of every rank, which may have more or less of them.</summary>
    internal double[][] GatherNumbers(string operation, double[] mine)
    {
        var counts = GatherNumbers(operation, [mine.Length], [.. Enumerable.Repeat(1, Size)]);
        return GatherNumbers(operation, mine, [.. counts.Select(each => (int)each[0])]);
    }

    /// <summary>The sum of a number over all ranks, by the tree of neighbours.</summary>
    internal double Sum(string operation, double mine)
    {
        if (Size == 1)
            return mine;
        var all = GatherNumbers(operation, [mine], [.. Enumerable.Repeat(1, Size)]).Select(each => each[0]).ToArray();
        return SumOf(all);
    }

    /// <summary>The sum of numbers by the tree of neighbours.</summary>
    internal static double SumOf(double[] numbers)
    {
        var sums = numbers.ToArray();
        for (var apart = 1; apart < sums.Length; apart *= 2)
        for (var i = 0; i + apart < sums.Length; i += 2 * apart)
            sums[i] += sums[i + apart];
        return sums.Length == 0 ? 0 : sums[0];
    }
}
