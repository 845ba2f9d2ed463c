using System.Buffers.Text;
using System.IO.Compression;
using System.Numerics;

namespace Optim.Cli.Data;

/// <summary>
/// 1797 handwritten digits of 8x8 pixels from 0 to 16, each with its label: UCI Optical Recognition of Handwritten Digits
/// (E. Alpaydin, C. Kaynak, 1998), CC BY 4.0. They are embedded in the program.
/// </summary>
public sealed class Digits
{
    /// <summary>Pixels of one digit.</summary>
    public const int Pixels = 64;

    /// <summary>Labels: the digits 0 to 9.</summary>
    public const int Classes = 10;

    /// <summary>Rows to train on, about 80 %; the others are to test. (The recorded runs split at the same number.)</summary>
    public const int TrainingRows = 1437;

    private const byte Brightest = 16;

    private readonly byte[] pixels;
    private readonly byte[] labels;

    private Digits(byte[] pixels, byte[] labels) => (this.pixels, this.labels) = (pixels, labels);

    /// <summary>Number of rows.</summary>
    public int Count => labels.Length;

    /// <summary>The label of a row.</summary>
    public int Label(int row) => labels[row];

    /// <summary>All pixels, row after row, from 0 to 1.</summary>
    public T[] Images<T>()
        where T : IFloatingPointIeee754<T>
    {
        var brightest = T.CreateChecked(Brightest);
        return Array.ConvertAll(pixels, pixel => T.CreateChecked(pixel) / brightest);
    }

    /// <summary>Reads the embedded file.</summary>
    public static Digits Load()
    {
        using var file = typeof(Digits).Assembly.GetManifestResourceStream("digits.csv.gz")!;
        using var unzipped = new GZipStream(file, CompressionMode.Decompress);
        using var text = new MemoryStream();
        unzipped.CopyTo(text);
        return Parse(text.GetBuffer().AsSpan(0, (int)text.Length));
    }

    private static Digits Parse(ReadOnlySpan<byte> text)
    {
        var pixels = new List<byte>();
        var labels = new List<byte>();
        for (var column = 0; Utf8Parser.TryParse(text, out byte number, out var length); column = (column + 1) % (Pixels + 1))
        {
            (column < Pixels ? pixels : labels).Add(number);
            text = text[Math.Min(length + 1, text.Length)..]; // and the comma or the end of the line
        }
        if (!text.TrimEnd("\r\n"u8).IsEmpty || pixels.Count != labels.Count * Pixels || labels.Count <= TrainingRows)
            throw new InvalidDataException("The embedded digits are damaged: build the program anew.");
        return new Digits([.. pixels], [.. labels]);
    }
}
