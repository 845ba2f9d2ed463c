namespace Optim.Kernels;

/// <summary>How a row of a column is kept.</summary>
internal enum NarrowKind : byte
{
    /// <summary>As wide as the arithmetic.</summary>
    Wide = 0,

    /// <summary>bfloat16, of numbers of either sign or of none.</summary>
    BFloat16 = 1,

    /// <summary>Eight bits of numbers of either sign.</summary>
    Signed8 = 2,

    /// <summary>Eight bits of numbers that are at least 0, over twice as many powers of two: as their roots would be kept.</summary>
    NonNegative8 = 3,
}

/// <summary>What can be asked of a <see cref="NarrowKind"/>.</summary>
internal static class NarrowKinds
{
    /// <summary>The dtype of its codes.</summary>
    public static DType CodesOf(NarrowKind kind) =>
        kind switch
        {
            NarrowKind.BFloat16 => DType.BFloat16,
            NarrowKind.Wide => DType.Float32,
            _ => DType.UInt8,
        };

    /// <summary>Bytes of a code.</summary>
    public static int SizeOf(NarrowKind kind) => kind == NarrowKind.BFloat16 ? sizeof(ushort) : 1;

    /// <summary>Whether blocks have scales.</summary>
    public static bool HasScales(NarrowKind kind) => kind >= NarrowKind.Signed8;

    /// <summary>How many blocks so many elements are.</summary>
    public static nint Blocks(nint elements) => (elements + StateStorage.BlockLength - 1) / StateStorage.BlockLength;

    /// <summary>The format.</summary>
    public static StateFormat FormatOf(NarrowKind kind) =>
        kind switch
        {
            NarrowKind.Wide => StateFormat.Float32,
            NarrowKind.BFloat16 => StateFormat.BFloat16,
            _ => StateFormat.Blockwise8,
        };

    /// <summary>What the map of codes is called in files: it stands for these bits and no others.</summary>
    public static string MapOf(NarrowKind kind) =>
        kind switch
        {
            NarrowKind.BFloat16 => "optim.bfloat16",
            NarrowKind.Signed8 => "optim.signed8.256",
            NarrowKind.NonNegative8 => "optim.nonnegative8.256",
            _ => "float32",
        };

    /// <summary>The kind of a map's name.</summary>
    /// <exception cref="ArgumentException">There is no such map.</exception>
    public static NarrowKind OfMap(string map) =>
        map switch
        {
            "optim.bfloat16" => NarrowKind.BFloat16,
            "optim.signed8.256" => NarrowKind.Signed8,
            "optim.nonnegative8.256" => NarrowKind.NonNegative8,
            _ => throw new ArgumentException(
                $"the map '{map}' is not known; it can be optim.bfloat16, optim.signed8.256 or optim.nonnegative8.256"
            ),
        };
}
