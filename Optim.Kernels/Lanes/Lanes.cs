using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Optim.Kernels;

/// <summary>How many bits of numbers a kernel works on at a time.</summary>
public enum Width
{
    /// <summary>The widest that this machine has.</summary>
    Widest = 0,

    /// <summary>One number at a time.</summary>
    Single = 1,

    /// <summary>128 bits: SSE, NEON.</summary>
    Bits128 = 128,

    /// <summary>256 bits: AVX2.</summary>
    Bits256 = 256,

    /// <summary>512 bits: AVX-512.</summary>
    Bits512 = 512,
}

/// <summary>The widths of this machine.</summary>
public static class Lanes
{
    /// <summary>
    /// The width that kernels use. Every width gives the same bits; a wider one than the machine has is emulated, slowly.
    /// Tests set it to compare them; it is meant for nothing else. Under Native AOT there are kernels of the widest only, and setting it does nothing.
    /// </summary>
    public static Width Width
    {
        get => field;
        set =>
            field =
                !Enum.IsDefined(value)
                    ? throw new ArgumentOutOfRangeException(nameof(value), value, "a width is 1, 128, 256 or 512 bits, or 0 for the widest")
                : IsCompiled(value) ? value
                : Widest();
    } = Widest();

    /// <summary>Bits of the widest register of this machine: 512, 256, 128, or 0 when it has none.</summary>
    public static int WidestBits => Widest() == Width.Single ? 0 : (int)Widest();

    /// <summary>
    /// Whether there are kernels of a width: of every one where code is compiled at run time. Native AOT compiles what can be reached, used or
    /// not, and reaches those of the widest only. A constant to the compiler.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool IsCompiled(Width width) => width != Width.Widest && (RuntimeFeature.IsDynamicCodeSupported || width == Widest());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Width Widest() =>
        Vector512.IsHardwareAccelerated ? Width.Bits512
        : Vector256.IsHardwareAccelerated ? Width.Bits256
        : Vector128.IsHardwareAccelerated ? Width.Bits128
        : Width.Single;
}
