using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>How .safetensors files call dtypes.</summary>
internal static class SafetensorsDTypes
{
    private static readonly Dictionary<string, DType> byName = new(StringComparer.Ordinal)
    {
        ["F64"] = DType.Float64,
        ["F32"] = DType.Float32,
        ["F16"] = DType.Float16,
        ["BF16"] = DType.BFloat16,
        ["F8_E4M3"] = DType.Float8_E4M3FN,
        ["F8_E5M2"] = DType.Float8_E5M2,
        ["F8_E4M3FNUZ"] = DType.Float8_E4M3FNUZ,
        ["F8_E5M2FNUZ"] = DType.Float8_E5M2FNUZ,
        ["F8_E8M0"] = DType.Float8_E8M0FNU,
        ["F4"] = DType.Float4_E2M1FN_X2,
        ["I64"] = DType.Int64,
        ["I32"] = DType.Int32,
        ["I16"] = DType.Int16,
        ["I8"] = DType.Int8,
        ["U64"] = DType.UInt64,
        ["U32"] = DType.UInt32,
        ["U16"] = DType.UInt16,
        ["U8"] = DType.UInt8,
        ["BOOL"] = DType.Bool,
        ["C64"] = DType.Complex64,
    };

    public static bool TryParse(string name, out DType dtype) => byName.TryGetValue(name, out dtype);

    public static IEnumerable<string> Names => byName.Keys;

    /// <summary>The name; null when the format has none.</summary>
    public static string? Name(DType dtype) => byName.FirstOrDefault(entry => entry.Value == dtype).Key;

    /// <summary>A shape of the format as PyTorch counts: two elements of four bits are one of its own. Null when they do not fit.</summary>
    public static long[]? Pack(DType dtype, long[] shape) =>
        dtype != DType.Float4_E2M1FN_X2 ? shape
        : shape.Length > 0 && shape[^1] % 2 == 0 ? [.. shape[..^1], shape[^1] / 2]
        : null;

    /// <summary>A shape of PyTorch as the format counts.</summary>
    public static IEnumerable<long> Unpack(DType dtype, IReadOnlyList<long> shape) =>
        dtype != DType.Float4_E2M1FN_X2 ? shape
        : shape.Count == 0 ? [2]
        : shape.Take(shape.Count - 1).Append(checked(shape[^1] * 2));
}
