using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Optim.Cli.Models;

/// <summary>The arithmetic of <see cref="Linear{T}"/>.</summary>
internal static class Rows
{
    /// <summary>target += scale * row, element by element, with a rounding after each of the two operations.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void AddScaled<T>(Span<T> target, T scale, ReadOnlySpan<T> row)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        row = row[..target.Length];
        var scales = new Vector<T>(scale);
        var wideTarget = MemoryMarshal.Cast<T, Vector<T>>(target);
        var wideRow = MemoryMarshal.Cast<T, Vector<T>>(row);
        for (var i = 0; i < wideTarget.Length; i++)
            wideTarget[i] += scales * wideRow[i];
        for (var i = wideTarget.Length * Vector<T>.Count; i < target.Length; i++)
            target[i] += scale * row[i];
    }
}
