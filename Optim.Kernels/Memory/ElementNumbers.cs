namespace Optim.Kernels;

/// <summary>Elements of any dtype as numbers in double precision: widened exactly, or rounded once.</summary>
internal static unsafe class ElementNumbers
{
    /// <summary>The elements of a contiguous tensor, widened to double.</summary>
    public static void Widen(TensorView view, Span<double> values)
    {
        var p = (byte*)view.Address;
        var dtype = view.DType;
        for (var i = 0; i < values.Length; i++)
            values[i] = dtype switch
            {
                DType.UInt8 or DType.Bool => p[i],
                DType.UInt16 => ((ushort*)p)[i],
                DType.UInt32 => ((uint*)p)[i],
                DType.UInt64 => ((ulong*)p)[i],
                DType.Float8_E5M2 or DType.Float8_E4M3FN or DType.Float8_E5M2FNUZ or DType.Float8_E4M3FNUZ or DType.Float8_E8M0FNU =>
                    NarrowFloats.Float8(dtype, p[i]),
                DType.Float4_E2M1FN_X2 => NarrowFloats.Float4(p[i / 2] >> (i % 2 * 4)),
                DType.Int8 => ((sbyte*)p)[i],
                DType.Int16 => ((short*)p)[i],
                DType.Int32 => ((int*)p)[i],
                DType.Int64 => ((long*)p)[i],
                DType.Float16 or DType.Complex32 => (double)((Half*)p)[i],
                DType.BFloat16 => BitConverter.UInt32BitsToSingle((uint)((ushort*)p)[i] << 16),
                DType.Float32 or DType.Complex64 => ((float*)p)[i],
                _ => ((double*)p)[i],
            };
        GC.KeepAlive(view.Owner);
    }

    /// <summary>Sets the elements of a contiguous tensor of a floating point or complex dtype, in row-major order; parts of complex ones one by one.</summary>
    public static void Set(TensorView view, ReadOnlySpan<double> values)
    {
        var (p, dtype) = (view.Address, view.DType);
        for (var i = 0; i < values.Length; i++)
            switch (dtype)
            {
                case DType.Float32 or DType.Complex64:
                    ((float*)p)[i] = (float)values[i];
                    break;
                case DType.Float64 or DType.Complex128:
                    ((double*)p)[i] = values[i];
                    break;
                default:
                    ((ushort*)p)[i] = Word(dtype, values[i]);
                    break;
            }
        GC.KeepAlive(view.Owner);
    }

    /// <summary>A number as an element of float16 or bfloat16.</summary>
    public static ushort Word(DType dtype, double value)
    {
        // To odd first, so that the second rounding sees on which side of a tie the number was.
        var narrow = (float)value;
        if (narrow != value && double.IsFinite(value) && float.IsFinite(narrow) && (BitConverter.SingleToUInt32Bits(narrow) & 1) == 0)
            narrow = Math.Abs(narrow) > Math.Abs(value) == value > 0 ? MathF.BitDecrement(narrow) : MathF.BitIncrement(narrow);
        ushort word;
        if (dtype == DType.Float16)
            Float16.Store(Lane1<float>.Of(narrow), &word, 0);
        else
            BFloat16.Store(Lane1<float>.Of(narrow), &word, 0);
        return word;
    }
}
