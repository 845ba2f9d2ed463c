namespace Optim.Kernels;

/// <summary>The numbers that eight and four bits stand for.</summary>
internal static class NarrowFloats
{
    private static ReadOnlySpan<double> Float4Sizes => [0, 0.5, 1, 1.5, 2, 3, 4, 6];

    /// <summary>A byte of one of the dtypes called Float8.</summary>
    public static double Float8(DType dtype, byte bits) =>
        dtype switch
        {
            DType.Float8_E5M2 => (double)BitConverter.UInt16BitsToHalf((ushort)(bits << 8)),
            DType.Float8_E8M0FNU => bits == 255 ? double.NaN : Math.ScaleB(1, bits - 127),
            DType.Float8_E4M3FN => (bits & 127) == 127 ? double.NaN : Signed(bits, 3, 7),
            DType.Float8_E4M3FNUZ => bits == 128 ? double.NaN : Signed(bits, 3, 8),
            _ => bits == 128 ? double.NaN : Signed(bits, 2, 16),
        };

    /// <summary>Four bits: a sign, two of exponent, one of mantissa.</summary>
    public static double Float4(int bits) => (bits & 8) == 0 ? Float4Sizes[bits & 7] : -Float4Sizes[bits & 7];

    /// <summary>A sign, an exponent, and bits of mantissa; the smallest exponent is that of numbers without the leading one.</summary>
    private static double Signed(byte bits, int mantissaBits, int bias)
    {
        var (exponent, mantissa) = ((bits & 127) >> mantissaBits, bits & ((1 << mantissaBits) - 1));
        var fraction = Math.ScaleB(mantissa, -mantissaBits);
        var size = exponent == 0 ? Math.ScaleB(fraction, 1 - bias) : Math.ScaleB(1 + fraction, exponent - bias);
        return bits < 128 ? size : -size;
    }
}
