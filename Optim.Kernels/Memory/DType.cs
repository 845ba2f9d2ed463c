namespace Optim.Kernels;

/// <summary>The type of a tensor's elements. The numbers are libtorch's (c10::ScalarType).</summary>
public enum DType : sbyte
{
    /// <summary>Unsigned 8-bit integer.</summary>
    UInt8 = 0,

    /// <summary>Signed 8-bit integer.</summary>
    Int8 = 1,

    /// <summary>Signed 16-bit integer.</summary>
    Int16 = 2,

    /// <summary>Signed 32-bit integer.</summary>
    Int32 = 3,

    /// <summary>Signed 64-bit integer.</summary>
    Int64 = 4,

    /// <summary>IEEE 754 half precision.</summary>
    Float16 = 5,

    /// <summary>IEEE 754 single precision.</summary>
    Float32 = 6,

    /// <summary>IEEE 754 double precision.</summary>
    Float64 = 7,

    /// <summary>Pairs of <see cref="Float16"/>.</summary>
    Complex32 = 8,

    /// <summary>Pairs of <see cref="Float32"/>.</summary>
    Complex64 = 9,

    /// <summary>Pairs of <see cref="Float64"/>.</summary>
    Complex128 = 10,

    /// <summary>One byte, 0 or 1.</summary>
    Bool = 11,

    /// <summary>The upper half of a <see cref="Float32"/>.</summary>
    BFloat16 = 15,

    /// <summary>Eight bits, two of them mantissa: the upper half of a <see cref="Float16"/>.</summary>
    Float8_E5M2 = 23,

    /// <summary>Eight bits, three of them mantissa, without infinities.</summary>
    Float8_E4M3FN = 24,

    /// <summary>Eight bits, two of them mantissa, without infinities and negative zero; the bits of that are NaN.</summary>
    Float8_E5M2FNUZ = 25,

    /// <summary>Eight bits, three of them mantissa, without infinities and negative zero; the bits of that are NaN.</summary>
    Float8_E4M3FNUZ = 26,

    /// <summary>Unsigned 16-bit integer.</summary>
    UInt16 = 27,

    /// <summary>Unsigned 32-bit integer.</summary>
    UInt32 = 28,

    /// <summary>Unsigned 64-bit integer.</summary>
    UInt64 = 29,

    /// <summary>Eight bits of exponent: powers of two, for scales.</summary>
    Float8_E8M0FNU = 44,

    /// <summary>Pairs of four bits in a byte, one of them mantissa, the first in the lower half.</summary>
    Float4_E2M1FN_X2 = 45,
}

/// <summary>What can be asked of a <see cref="DType"/>.</summary>
public static class DTypes
{
    /// <summary>How many dtypes there are, for tables by dtype.</summary>
    internal const int Count = (int)DType.Float4_E2M1FN_X2 + 1;

    /// <summary>Bytes an element takes.</summary>
    public static int Size(this DType dtype) =>
        dtype switch
        {
            DType.UInt8 or DType.Int8 or DType.Bool => 1,
            DType.Float8_E5M2 or DType.Float8_E4M3FN or DType.Float8_E5M2FNUZ or DType.Float8_E4M3FNUZ => 1,
            DType.Float8_E8M0FNU or DType.Float4_E2M1FN_X2 => 1,
            DType.Int16 or DType.UInt16 or DType.Float16 or DType.BFloat16 => 2,
            DType.Int32 or DType.UInt32 or DType.Float32 or DType.Complex32 => 4,
            DType.Int64 or DType.UInt64 or DType.Float64 or DType.Complex64 => 8,
            DType.Complex128 => 16,
            _ => throw new ArgumentOutOfRangeException(nameof(dtype), dtype, "not a dtype"),
        };

    /// <summary>The dtype of the state of parameters of this one, and of the arithmetic: half types are stepped in float32.</summary>
    public static DType ToStateDType(this DType dtype) => dtype is DType.Float16 or DType.BFloat16 ? DType.Float32 : dtype;

    /// <summary>The distance from 1 to the next number of a real floating point dtype.</summary>
    public static double Epsilon(this DType dtype) =>
        dtype switch
        {
            DType.Float16 => 1.0 / (1 << 10),
            DType.BFloat16 => 1.0 / (1 << 7),
            DType.Float32 => 1.0 / (1 << 23),
            DType.Float64 => 1.0 / (1L << 52),
            _ => throw new ArgumentOutOfRangeException(nameof(dtype), dtype, "not a real floating point dtype"),
        };

    /// <summary>Numbers in an element: 2 for complex ones, and where two share a byte.</summary>
    public static int Parts(this DType dtype) => dtype.IsComplex() || dtype is DType.Complex32 or DType.Float4_E2M1FN_X2 ? 2 : 1;

    /// <summary>PyTorch's name, such as <c>float32</c>.</summary>
    public static string Name(this DType dtype) => dtype.ToString().ToLowerInvariant();

    /// <summary>Whether the elements are real floating point numbers.</summary>
    public static bool IsFloatingPoint(this DType dtype) => dtype is DType.Float16 or DType.Float32 or DType.Float64 or DType.BFloat16;

    /// <summary>Whether the elements are complex numbers that can be computed with; <see cref="DType.Complex32"/> is only stored.</summary>
    public static bool IsComplex(this DType dtype) => dtype is DType.Complex64 or DType.Complex128;

    /// <summary>The dtype that PyTorch calls <paramref name="name"/>.</summary>
    /// <exception cref="ArgumentException">There is none of that name.</exception>
    public static DType Parse(string name) =>
        Enum.GetValues<DType>().Cast<DType?>().FirstOrDefault(dtype => dtype!.Value.Name() == name)
        ?? throw new ArgumentException(
            $"dtype '{name}' is not known; it can be {string.Join(", ", Enum.GetValues<DType>().Select(Name))}",
            nameof(name)
        );

    /// <summary>The dtype whose elements are of the .NET type <typeparamref name="T"/>.</summary>
    /// <exception cref="NotSupportedException">There is none.</exception>
    public static DType Of<T>()
        where T : unmanaged =>
        default(T) switch
        {
            byte => DType.UInt8,
            sbyte => DType.Int8,
            short => DType.Int16,
            int => DType.Int32,
            long => DType.Int64,
            System.Half => DType.Float16,
            float => DType.Float32,
            double => DType.Float64,
            ushort => DType.UInt16,
            uint => DType.UInt32,
            ulong => DType.UInt64,
            bool => DType.Bool,
            System.Numerics.Complex => DType.Complex128,
            _ => throw new NotSupportedException($"no dtype has elements of type {typeof(T)}"),
        };
}
