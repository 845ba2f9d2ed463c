using System.Buffers.Text;
using System.IO.Compression;

namespace Optim.Cli.Data;

/// <summary>
/// 1797 handwritten digits of 8x8 pixels from 0 to 16, each with its label: UCI Optical Recognition of Handwritten Digits
/// (E. Alpaydin, C. Kaynak, 1998), CC BY 4.0. They are embedded in the program.
/// </summary>
public static class Digits
{
    /// <summary>What the data set is called.</summary>
    public const string Name = "digits";

    private const int Pixels = 64;
    private const int TrainingRows = 1437; // about 80 %; the recorded runs split at the same number
    private const double Brightest = 16;

    /// <summary>Reads the embedded file. Pixels are from 0 to 1; about 80 % of the rows, which a run draws, are to train on.</summary>
    public static DataSet Load()
    {
        using var file = typeof(Digits).Assembly.GetManifestResourceStream("digits.csv.gz")!;
        using var unzipped = new GZipStream(file, CompressionMode.Decompress);
        using var text = new MemoryStream();
        unzipped.CopyTo(text);
        return Parse(text.GetBuffer().AsSpan(0, (int)text.Length));
    }

    private static DataSet Parse(ReadOnlySpan<byte> text)
    {
        var pixels = new List<byte>();
        var labels = new List<int>();
        for (var column = 0; Utf8Parser.TryParse(text, out byte number, out var length); column = (column + 1) % (Pixels + 1))
        {
            if (column < Pixels)
                pixels.Add(number);
            else
                labels.Add(number);
            text = text[Math.Min(length + 1, text.Length)..]; // and the comma or the end of the line
        }
        if (!text.TrimEnd("\r\n"u8).IsEmpty || pixels.Count != labels.Count * Pixels || labels.Count <= TrainingRows)
            throw new InvalidDataException("The embedded digits are damaged: build the program anew.");
        return new DataSet(Name, [.. pixels], pixel => pixel / Brightest, [.. labels], TrainingRows, isSplit: false);
    }
}
