using System.Numerics;
using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>
/// A visit without reductions as a kernel over a table of slices, of all of which the elements are gone over in one launch: a block takes a piece of
/// one slice, a thread some neighbouring elements at a time where all arrays lie at multiples of 16 bytes, else one: four, or two of float64, whose
/// divisions and roots are long.
/// </summary>
internal static class ElementKernel
{
    /// <summary>Threads of a block.</summary>
    public const int Threads = 256;

    /// <summary>The text.</summary>
    /// <param name="code">The visit.</param>
    /// <param name="inMemory">Whether the numbers are in memory, and may be others for each slice; else they are handed in.</param>
    /// <param name="guard">What keeps it from doing anything; null for nothing.</param>
    public static PtxKernel Render(KernelCode code, bool inMemory, Guard? guard = null) =>
        code.IsDouble ? Render<double>(code, inMemory, guard) : Render<float>(code, inMemory, guard);

    private static PtxKernel Render<T>(KernelCode code, bool inMemory, Guard? guard)
        where T : unmanaged
    {
        var text = new PtxText();
        SliceSearch.Parameters(text);
        SliceSearch.NumberParameters(text, code.Numbers, code.Size, inMemory);
        guard?.Parameter(text);
        var elements = new ElementCode<T>(code, text);
        var number = text.Into('r', "mov.u32", $"%ctaid.x");
        var block = text.Into('d', "cvt.u64.u32", $"{number}");
        var (slice, entry, begin, end) = SliceSearch.Find(text, block, guard);
        elements.LoadAddresses(entry);
        elements.Uniform(SliceSearch.Numbers(text, code.Numbers, code.IsDouble, inMemory, slice, guard));
        var id = text.Into('r', "mov.u32", $"%tid.x");
        var thread = text.Into('d', "cvt.u64.u32", $"{id}");
        var width = code.IsDouble ? 2 : 4;
        var (first, one) = (text.New('d'), text.New('d'));
        var misaligned = elements.Misaligned();
        text.Line($"add.s64 {one}, {begin}, {thread}");
        text.Line($"@{misaligned} bra ONES");
        text.Line($"shl.b64 {first}, {thread}, {BitOperations.Log2((uint)width)}");
        text.Line($"add.s64 {first}, {begin}, {first}");
        text.Label("SEVERAL");
        var last = text.Into('d', "add.s64", $"{first}, {width}");
        var over = text.Into('p', "setp.gt.u64", $"{last}, {end}");
        text.Line($"@{over} bra REST");
        elements.Elements(first, width, 1);
        text.Line($"add.s64 {first}, {first}, {width * Threads}");
        text.Line($"bra SEVERAL");
        text.Label("REST");
        text.Line($"and.b64 {one}, {end}, -{width}");
        text.Line($"add.s64 {one}, {one}, {thread}");
        text.Label("ONES");
        var done = text.Into('p', "setp.ge.u64", $"{one}, {end}");
        text.Line($"@{done} bra END");
        elements.Elements(one, 1, 1);
        text.Line($"add.s64 {one}, {one}, {Threads}");
        text.Line($"bra ONES");
        text.Label("END");
        text.Line($"ret");
        return text.ToKernel(Threads);
    }
}
