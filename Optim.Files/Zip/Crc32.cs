using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Optim.Checkpoints;

/// <summary>The checksum of zip archives (IEEE 802.3, reflected polynomial 0xEDB88320).</summary>
internal static class Crc32
{
    private static readonly uint[][] tables = Tables();

    /// <summary>The checksum of what has the checksum <paramref name="crc"/> (0 for nothing), followed by further bytes.</summary>
    public static uint Append(uint crc, ReadOnlySpan<byte> bytes)
    {
        crc = ~crc;
        if (Pclmulqdq.IsSupported && bytes.Length >= 64)
        {
            var folded = bytes.Length & ~15;
            crc = Fold(crc, bytes[..folded]);
            bytes = bytes[folded..];
        }
        return ~Plain(crc, bytes);
    }

    /// <summary>The checksum of one piece followed by another, from those of both.</summary>
    /// <param name="first">Of the first piece.</param>
    /// <param name="second">Of the second.</param>
    /// <param name="length">Bytes of the second.</param>
    public static uint Combine(uint first, uint second, long length)
    {
        // The first times x^(8 length), by squaring; bit 31 of a reflected polynomial is x^0.
        var (power, factor) = (0x8000_0000, 0x0080_0000u);
        for (; length > 0; length >>= 1, factor = Multiply(factor, factor))
            if ((length & 1) != 0)
                power = Multiply(power, factor);
        return Multiply(first, power) ^ second;
    }

    private static uint Multiply(uint a, uint b)
    {
        var product = 0u;
        for (; a != 0; a <<= 1, b = (b >> 1) ^ ((b & 1) == 0 ? 0 : 0xEDB88320))
            if ((a & 0x8000_0000) != 0)
                product ^= b;
        return product;
    }

    /// <summary>Eight bytes at a time, by tables.</summary>
    internal static uint Plain(uint crc, ReadOnlySpan<byte> bytes)
    {
        for (; bytes.Length >= 8; bytes = bytes[8..])
        {
            var low = crc ^ BinaryPrimitives.ReadUInt32LittleEndian(bytes);
            var high = BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]);
            crc =
                tables[7][(byte)low]
                ^ tables[6][(byte)(low >> 8)]
                ^ tables[5][(byte)(low >> 16)]
                ^ tables[4][low >> 24]
                ^ tables[3][(byte)high]
                ^ tables[2][(byte)(high >> 8)]
                ^ tables[1][(byte)(high >> 16)]
                ^ tables[0][high >> 24];
        }
        foreach (var b in bytes)
            crc = tables[0][(byte)(crc ^ b)] ^ (crc >> 8);
        return crc;
    }

    /// <summary>
    /// 64 bytes at a time by carry-less multiplication: what lies 512 (128) bits ahead is multiplied by x^512 (x^128) modulo the
    /// polynomial and added on, down to 128 bits, which the tables finish. Gopal et al., Fast CRC computation for generic polynomials, 2009.
    /// </summary>
    private static uint Fold(uint crc, ReadOnlySpan<byte> bytes)
    {
        var by512 = Vector128.Create(0x154442bd4L, 0x1c6e41596L);
        var by128 = Vector128.Create(0x1751997d0L, 0x0ccaa009eL);
        var blocks = MemoryMarshal.Cast<byte, Vector128<long>>(bytes);
        var (a, b, c, d) = (blocks[0] ^ Vector128.CreateScalar((long)crc), blocks[1], blocks[2], blocks[3]);
        var at = 4;
        for (; at + 4 <= blocks.Length; at += 4)
        {
            a = Step(a, by512) ^ blocks[at];
            b = Step(b, by512) ^ blocks[at + 1];
            c = Step(c, by512) ^ blocks[at + 2];
            d = Step(d, by512) ^ blocks[at + 3];
        }
        a = Step(a, by128) ^ b;
        a = Step(a, by128) ^ c;
        a = Step(a, by128) ^ d;
        for (; at < blocks.Length; at++)
            a = Step(a, by128) ^ blocks[at];
        Span<byte> rest = stackalloc byte[16];
        a.AsByte().CopyTo(rest);
        return Plain(0, rest);
    }

    private static Vector128<long> Step(Vector128<long> value, Vector128<long> factors) =>
        Pclmulqdq.CarrylessMultiply(value, factors, 0x00) ^ Pclmulqdq.CarrylessMultiply(value, factors, 0x11);

    private static uint[][] Tables()
    {
        var tables = new uint[8][];
        for (var table = 0; table < 8; table++)
        {
            tables[table] = new uint[256];
            for (var i = 0u; i < 256; i++)
                if (table > 0)
                    tables[table][i] = tables[0][(byte)tables[table - 1][i]] ^ (tables[table - 1][i] >> 8);
                else
                {
                    var crc = i;
                    for (var bit = 0; bit < 8; bit++)
                        crc = (crc >> 1) ^ ((crc & 1) == 0 ? 0 : 0xEDB88320);
                    tables[0][i] = crc;
                }
        }
        return tables;
    }
}
