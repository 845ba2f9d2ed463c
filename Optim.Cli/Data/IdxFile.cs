using System.Buffers.Binary;
using System.IO.Compression;

namespace Optim.Cli.Data;

/// <summary>
/// An array in the IDX format of the MNIST files, gzipped or not: two zero bytes, one for the type of the numbers, one for the number of
/// dimensions, their sizes as big-endian 32 bits, and the numbers, big-endian and row-major.
/// </summary>
public sealed class IdxFile
{
    private const int MostDimensions = 8;
    private const int MostPacked = 1032; // what gzip can make of one byte, at the most

    private readonly ElementType type;

    private IdxFile(ElementType type, int[] sizes, byte[] bytes) => (this.type, Sizes, Bytes) = (type, sizes, bytes);

    private enum ElementType : byte
    {
        Byte = 0x08,
        SignedByte = 0x09,
        Int16 = 0x0B,
        Int32 = 0x0C,
        Single = 0x0D,
        Double = 0x0E,
    }

    /// <summary>The sizes of its dimensions, at least one.</summary>
    public IReadOnlyList<int> Sizes { get; }

    /// <summary>The numbers as they lie in the file.</summary>
    public byte[] Bytes { get; }

    /// <summary>Whether the numbers are bytes from 0 to 255.</summary>
    public bool IsOfBytes => type == ElementType.Byte;

    /// <summary>The numbers.</summary>
    public double[] Numbers()
    {
        var width = Width(type);
        var numbers = new double[Bytes.Length / width];
        for (var i = 0; i < numbers.Length; i++)
        {
            var number = Bytes.AsSpan(i * width, width);
            numbers[i] = type switch
            {
                ElementType.Byte => number[0],
                ElementType.SignedByte => (sbyte)number[0],
                ElementType.Int16 => BinaryPrimitives.ReadInt16BigEndian(number),
                ElementType.Int32 => BinaryPrimitives.ReadInt32BigEndian(number),
                ElementType.Single => BinaryPrimitives.ReadSingleBigEndian(number),
                _ => BinaryPrimitives.ReadDoubleBigEndian(number),
            };
        }
        return numbers;
    }

    /// <summary>Reads a file.</summary>
    /// <exception cref="InvalidDataException">It is no IDX file, or a damaged one; the message names it.</exception>
    public static IdxFile Read(string path)
    {
        using var file = File.OpenRead(path);
        var isPacked = file.ReadByte() == 0x1F && file.ReadByte() == 0x8B;
        file.Position = 0;
        try
        {
            if (!isPacked)
                return Read(file, file.Length);
            using var unpacked = new GZipStream(file, CompressionMode.Decompress);
            return Read(unpacked, file.Length * MostPacked);
        }
        catch (EndOfStreamException)
        {
            throw new InvalidDataException($"{path}: the file ends too early.");
        }
        catch (InvalidDataException e)
        {
            throw new InvalidDataException($"{path}: {e.Message.TrimEnd('.')}.", e);
        }
    }

    /// <param name="stream">The file.</param>
    /// <param name="most">It has no more bytes than these: sizes that need more are not believed.</param>
    private static IdxFile Read(Stream stream, long most)
    {
        Span<byte> magic = stackalloc byte[4];
        stream.ReadExactly(magic);
        var type = (ElementType)magic[2];
        if (magic[0] != 0 || magic[1] != 0 || !Enum.IsDefined(type) || magic[3] is 0 or > MostDimensions)
            throw new InvalidDataException(
                $"this is no IDX file: it begins with {Convert.ToHexString(magic)}, and not with 0000, a type (08, 09, 0B to 0E) and a number of dimensions"
            );
        var sizes = new int[magic[3]];
        Span<byte> size = stackalloc byte[4];
        var length = (Int128)Width(type);
        foreach (ref var each in sizes.AsSpan())
        {
            stream.ReadExactly(size);
            each = BinaryPrimitives.ReadInt32BigEndian(size);
            if (each < 0)
                throw new InvalidDataException("a dimension is larger than 2147483647");
            length *= each;
        }
        if (length > most)
            throw new EndOfStreamException();
        if (length > Array.MaxLength)
            throw new InvalidDataException($"it holds {length} bytes, more than this program can keep in one array");
        var bytes = new byte[(int)length];
        stream.ReadExactly(bytes);
        if (stream.ReadByte() >= 0)
            throw new InvalidDataException($"there is more in the file than its sizes, {string.Join(" x ", sizes)}, say");
        return new IdxFile(type, sizes, bytes);
    }

    private static int Width(ElementType type) =>
        type switch
        {
            ElementType.Byte or ElementType.SignedByte => 1,
            ElementType.Int16 => 2,
            ElementType.Int32 or ElementType.Single => 4,
            _ => 8,
        };
}
