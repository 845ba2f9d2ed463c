using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>With what narrow state is rounded, as text: the hashes of <see cref="NarrowCodec"/>.</summary>
internal sealed class NarrowNoise(PtxText text)
{
    /// <summary>With what some numbers are rounded.</summary>
    /// <param name="kind">How they are kept.</param>
    /// <param name="places">The registers of the hashes of their places.</param>
    /// <param name="step">The register of what the step adds to them.</param>
    /// <param name="column">The column, which adds something, too.</param>
    public string[] Of(NarrowKind kind, string[] places, string step, int column)
    {
        var added = R("add.s32", $"{step}, {Bits(NarrowCodec.HashOf(column))}");
        var (shift, mask) = NarrowCodec.CutOff(kind);
        return Array.ConvertAll(
            places,
            place =>
            {
                var hash = R("add.s32", $"{place}, {added}");
                var moved = R("shr.u32", $"{hash}, {shift}");
                return mask == ~0u ? moved : R("and.b32", $"{moved}, {Bits(mask)}");
            }
        );
    }

    /// <summary>What a step adds to the hashes of places.</summary>
    public string OfStep(string step) => R("mul.lo.s32", $"{step}, {Bits(NarrowCodec.Golden)}");

    /// <summary>Where a block begins among the hashes of places, as <see cref="NarrowCodec.TurnOf"/> has it.</summary>
    /// <param name="block">The register of its number in the whole parameter, of 64 bits.</param>
    public string Turn(string block)
    {
        var low = R("cvt.u32.u64", $"{block}");
        var above = text.Into('d', "shr.u64", $"{block}, 32");
        var high = R("cvt.u32.u64", $"{above}");
        var product = R("mul.lo.s32", $"{low}, {Bits(NarrowCodec.OfBlocks)}");
        var hash = Hash(R("add.s32", $"{product}, {high}"));
        return R("and.b32", $"{hash}, {NarrowCodec.Turns}");
    }

    private string Hash(string x)
    {
        string Mixed(int shift)
        {
            var moved = R("shr.u32", $"{x}, {shift}");
            return R("xor.b32", $"{x}, {moved}");
        }
        x = R("mul.lo.s32", $"{Mixed(NarrowCodec.FirstShift)}, {Bits(NarrowCodec.FirstFactor)}");
        x = R("mul.lo.s32", $"{Mixed(NarrowCodec.SecondShift)}, {Bits(NarrowCodec.SecondFactor)}");
        return Mixed(NarrowCodec.LastShift);
    }

    private string R(string instruction, FormattableString operands) => text.Into('r', instruction, operands);

    /// <summary>A constant as it is written: with the sign that its bits would have.</summary>
    private static int Bits(uint constant) => (int)constant;
}
