using System.Globalization;
using System.Text;

namespace Optim.Kernels;

/// <summary>A tensor in words and numbers, for debuggers and consoles.</summary>
internal static class PrintedTensor
{
    /// <summary>Elements that are printed.</summary>
    private const int Most = 8;

    /// <summary>Elements up to which a tensor of another device is copied for it.</summary>
    private const int MostCopied = 4096;

    public static string Of(TensorView tensor)
    {
        var text = new StringBuilder(tensor.Layout.ToString());
        if (!tensor.Layout.IsOnCpu)
            text.Append(" on ").Append(tensor.Device);
        if (tensor.Count == 0 || !tensor.Layout.IsOnCpu && tensor.Count > MostCopied)
            return text.ToString();
        try
        {
            var source = tensor.ToHost();
            if (source.Address == 0 && source.Owner is not DeferredMemory)
                return text.ToString();
            var first = Enumerable.Range(0, (int)Math.Min(Most, source.Count)).Select(i => Element(source, i));
            text.Append(" (").AppendJoin(", ", first).Append(source.Count > Most ? ", ...)" : ")");
        }
        catch (Exception error) when (error is IOException or ObjectDisposedException or NotSupportedException)
        {
            text.Append(", which cannot be read");
        }
        return text.ToString();
    }

    /// <summary>An element by its number in row-major order.</summary>
    private static string Element(TensorView tensor, long number)
    {
        var place = 0L;
        for (var d = tensor.Shape.Length - 1; d >= 0; number /= tensor.Shape[d--])
            place += number % tensor.Shape[d] * tensor.Strides[d];
        var address = tensor.Address + (nint)(place * tensor.DType.Size());
        var parts = new TensorView(address, Layout.Contiguous(tensor.DType, []), tensor.Owner).ToDoubles();
        // The shortest text that the dtype tells from its neighbours.
        string Text(double part) =>
            tensor.DType is DType.Float64 or DType.Complex128 || !(tensor.DType.IsFloatingPoint() || tensor.DType.IsComplex())
                ? part.ToString("R", CultureInfo.InvariantCulture)
                : ((float)part).ToString("R", CultureInfo.InvariantCulture);
        return parts is [var real, var imaginary]
            ? $"{Text(real)}{(double.IsNegative(imaginary) ? "" : "+")}{Text(imaginary)}j"
            : Text(parts[0]);
    }
}
