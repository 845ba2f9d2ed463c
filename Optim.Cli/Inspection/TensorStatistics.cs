using System.Globalization;
using Optim.Kernels;

namespace Optim.Cli.Inspection;

/// <summary>What can be said of the elements of a tensor; NaN are counted and left out of the rest. Of complex numbers, of both parts.</summary>
/// <param name="Min">The least element; NaN when there is none.</param>
/// <param name="Max">The greatest.</param>
/// <param name="Mean">The mean.</param>
/// <param name="NaN">How many are NaN.</param>
internal sealed record TensorStatistics(double Min, double Max, double Mean, long NaN)
{
    private const int Chunk = 1 << 18;

    public static TensorStatistics Of(TensorView view)
    {
        var (min, max, sum, count, nan) = (double.PositiveInfinity, double.NegativeInfinity, 0.0, 0L, 0L);
        foreach (var values in Chunks(view))
        foreach (var value in values)
            if (double.IsNaN(value))
                nan++;
            else
                (min, max, sum, count) = (Math.Min(min, value), Math.Max(max, value), sum + value, count + 1);
        return count == 0 ? new(double.NaN, double.NaN, double.NaN, nan) : new(min, max, sum / count, nan);
    }

    /// <summary>The elements in row-major order, some at a time: a tensor in a file may be larger than memory.</summary>
    public static IEnumerable<double[]> Chunks(TensorView view)
    {
        var inOrder = view.Layout.IsContiguous ? view : view.Copy();
        var size = view.DType.Size();
        for (nint at = 0; at < inOrder.Count; at += Chunk)
        {
            var layout = Layout.Contiguous(view.DType, Math.Min(Chunk, inOrder.Count - at));
            yield return new TensorView(inOrder.Address + at * size, layout, inOrder.Owner).ToDoubles();
        }
        GC.KeepAlive(inOrder.Owner);
    }

    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"min {Min:g6}, max {Max:g6}, mean {Mean:g6}, {NaN} NaN");
}

/// <summary>The statistics of a file's tensors: worked out once for each window of its memory, and not when windows overlap without end.</summary>
/// <param name="fileLength">Bytes of the file.</param>
internal sealed class FileStatistics(long fileLength)
{
    private const long Overlaps = 8;
    private const long Small = 64 << 20;

    private readonly Dictionary<(object?, nint, Layout), TensorStatistics> found = [];
    private long bytes;

    /// <summary>Null when the tensors have more than 8 times the bytes of the file: they are windows of the same memory over and over.</summary>
    public TensorStatistics? Of(TensorView view)
    {
        var key = (view.Owner, view.Address, view.Layout);
        if (found.TryGetValue(key, out var known))
            return known;
        var size = (long)view.Count * view.DType.Size();
        if (bytes + size > Overlaps * fileLength + Small)
            return null;
        bytes += size;
        return found[key] = TensorStatistics.Of(view);
    }
}
