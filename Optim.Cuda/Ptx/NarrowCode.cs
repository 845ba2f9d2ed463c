using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>
/// The codes of narrow state as text, by the arithmetic of <see cref="NarrowCodec"/> and with its bits: a warp has a block of state, a thread eight of its
/// elements.
/// </summary>
internal sealed class NarrowCode(PtxText text)
{
    /// <summary>Elements of a thread.</summary>
    public const int Elements = StateStorage.BlockLength / Warp;

    private const int Warp = 32;

    // What these devices make where there is no number.
    private const uint NaN = 0x7FFF_FFFF;

    /// <summary>The numbers of some codes.</summary>
    /// <param name="kind">How they are kept.</param>
    /// <param name="codes">The registers of the codes.</param>
    /// <param name="scale">That of the block's scale, where blocks have some.</param>
    public string[] Widen(NarrowKind kind, string[] codes, string scale)
    {
        if (kind == NarrowKind.BFloat16)
            return Array.ConvertAll(codes, code => text.Into('v', "shl.b32", $"{code}, 16"));
        var top = R("and.b32", $"{scale}, {Bits(NarrowCodec.Magnitude & ~NarrowCodec.Free)}");
        var values = Array.ConvertAll(codes, _ => text.New('v'));
        if (kind == NarrowKind.Signed8)
            WidenSigned(codes, R("add.s32", $"{top}, {NarrowCodec.Signed.Base}"), values);
        else
        {
            var power = Power(R("and.b32", $"{scale}, {NarrowCodec.Class}"));
            var one = R("mov.u32", $"1");
            var added = R("shl.b32", $"{one}, {power}");
            WidenNonNegative(codes, R("add.s32", $"{top}, {added}"), First(power), values);
        }
        SetNaN(kind, codes, scale, values);
        return values;
    }

    private void WidenSigned(string[] codes, string top, string[] values)
    {
        for (var i = 0; i < codes.Length; i++)
        {
            var magnitude = R("and.b32", $"{codes[i]}, 127");
            var distance = R("sub.s32", $"{NarrowCodec.Signed.First}, {magnitude}");
            var number = R("sub.s32", $"{top}, {Distance(distance, NarrowCodec.Signed.Shift)}");
            var isAny = P("setp.ne.u32", $"{magnitude}, 0");
            var found = R("selp.b32", $"{number}, 0, {isAny}");
            var left = R("and.b32", $"{codes[i]}, 128");
            var sign = R("shl.b32", $"{left}, 24");
            text.Line($"or.b32 {values[i]}, {found}, {sign}");
        }
    }

    private void WidenNonNegative(string[] codes, string top, string first, string[] values)
    {
        for (var i = 0; i < codes.Length; i++)
        {
            var distance = R("sub.s32", $"{first}, {codes[i]}");
            var number = R("sub.s32", $"{top}, {Distance(distance, NarrowCodec.NonNegative.Shift)}");
            var isAny = P("setp.ne.u32", $"{codes[i]}, 0");
            text.Line($"selp.b32 {values[i]}, {number}, 0, {isAny}");
        }
    }

    /// <summary>In few blocks there is NaN.</summary>
    private void SetNaN(NarrowKind kind, string[] codes, string scale, string[] values)
    {
        var plain = text.NewLabel("NUMBERS");
        var hasNone = P("setp.gt.s32", $"{scale}, -1");
        text.Line($"@{hasNone} bra {plain}");
        for (var i = 0; i < codes.Length; i++)
        {
            var magnitude = kind == NarrowKind.Signed8 ? R("and.b32", $"{codes[i]}, 127") : codes[i];
            var isNaN = P("setp.eq.u32", $"{magnitude}, {NaNOf(kind)}");
            text.Line($"@{isNaN} mov.b32 {values[i]}, {NaN}");
        }
        text.Label(plain);
    }

    /// <summary>The codes of some numbers, and the scale of their block, which all threads of the warp have; none where blocks have none. All of them are to come here.</summary>
    /// <param name="kind">How they are kept.</param>
    /// <param name="numbers">The registers of the numbers, which are spoilt. What is behind the last element is 0.</param>
    /// <param name="noise">With what they are rounded.</param>
    public (string[] Codes, string Scale) Narrow(NarrowKind kind, string[] numbers, string[] noise)
    {
        if (kind == NarrowKind.BFloat16)
            return ([.. numbers.Zip(noise, Word)], "");
        var magnitudes = Array.ConvertAll(numbers, number => R("and.b32", $"{number}, {NarrowCodec.Magnitude}"));
        var largest = text.New('r');
        text.Line($"mov.u32 {largest}, {OfWarp("max.u32", magnitudes)}");
        var (spoilt, hasNaN) = MakeFinite(numbers, magnitudes, largest);
        var free = R("add.s32", $"{largest}, {NarrowCodec.Free}");
        var top = R("and.b32", $"{free}, {Bits(~NarrowCodec.Free)}");
        var isNothing = P("setp.eq.u32", $"{largest}, 0");
        var (codes, scale) =
            kind == NarrowKind.Signed8
                ? Signed(numbers, magnitudes, noise, top, isNothing)
                : NonNegative(magnitudes, noise, top, isNothing);
        SetCodes(kind, codes, spoilt);
        return (codes, R("or.b32", $"{scale}, {hasNaN}"));
    }

    /// <summary>
    /// In few blocks there is something that is not finite: NaN becomes 0 and is remembered, and what is too large as large as there is.
    /// </summary>
    /// <returns>The registers of a bit for each number that was NaN, and of what is said of that in the scale.</returns>
    private (string Spoilt, string HasNaN) MakeFinite(string[] numbers, string[] magnitudes, string largest)
    {
        var (spoilt, hasNaN, plain) = (text.New('r'), text.New('r'), text.NewLabel("FINITE"));
        text.Line($"mov.u32 {spoilt}, 0");
        text.Line($"mov.u32 {hasNaN}, 0");
        // The same for all threads.
        var isPlain = P("setp.le.u32", $"{largest}, {NarrowCodec.Largest}");
        text.Line($"@{isPlain} bra {plain}");
        for (var i = 0; i < numbers.Length; i++)
        {
            var isNaN = P("setp.gt.u32", $"{magnitudes[i]}, {NarrowCodec.Infinity}");
            text.Line($"@{isNaN} mov.b32 {numbers[i]}, 0");
            text.Line($"@{isNaN} mov.b32 {magnitudes[i]}, 0");
            text.Line($"@{isNaN} or.b32 {spoilt}, {spoilt}, {1 << i}");
            text.Line($"min.u32 {magnitudes[i]}, {magnitudes[i]}, {NarrowCodec.Largest}");
        }
        text.Line($"mov.u32 {largest}, {OfWarp("max.u32", magnitudes)}");
        var isSpoilt = P("setp.ne.u32", $"{spoilt}, 0");
        text.Line($"selp.b32 {hasNaN}, {Bits(NarrowCodec.HasNaN)}, 0, {Any(isSpoilt)}");
        text.Label(plain);
        return (spoilt, hasNaN);
    }

    private void SetCodes(NarrowKind kind, string[] codes, string spoilt)
    {
        var plain = text.NewLabel("CODES");
        var isPlain = P("setp.eq.u32", $"{spoilt}, 0");
        text.Line($"@{isPlain} bra {plain}");
        for (var i = 0; i < codes.Length; i++)
        {
            var bit = R("and.b32", $"{spoilt}, {1 << i}");
            var isNaN = P("setp.ne.u32", $"{bit}, 0");
            text.Line($"@{isNaN} mov.u32 {codes[i]}, {NaNOf(kind)}");
        }
        text.Label(plain);
    }

    private (string[] Codes, string Scale) Signed(string[] numbers, string[] magnitudes, string[] noise, string top, string isNothing)
    {
        var added = R("add.s32", $"{top}, {NarrowCodec.Signed.Base}");
        // Nothing has no sign, and very little has nothing else.
        var isLittle = P("setp.lt.u32", $"{top}, {NarrowCodec.Signed.Least}");
        var signs = R("selp.b32", $"0, 128, {isNothing}");
        var codes = new string[numbers.Length];
        for (var i = 0; i < codes.Length; i++)
        {
            var distance = R("sub.s32", $"{added}, {magnitudes[i]}");
            var below = R("sub.s32", $"{NarrowCodec.Signed.First}, {Rounded(distance, noise[i], NarrowCodec.Signed.Shift)}");
            var code = R("max.s32", $"{below}, 0");
            codes[i] = R("selp.b32", $"0, {code}, {isLittle}");
        }
        var scale = R("selp.b32", $"0, {HasZero(codes, top)}, {isLittle}");
        for (var i = 0; i < codes.Length; i++)
        {
            var moved = R("shr.u32", $"{numbers[i]}, 24");
            var sign = R("and.b32", $"{moved}, {signs}");
            codes[i] = R("or.b32", $"{codes[i]}, {sign}");
        }
        return (codes, scale);
    }

    private (string[] Codes, string Scale) NonNegative(string[] magnitudes, string[] noise, string top, string isNothing)
    {
        // Below 0 there is nothing smaller, as these have no sign.
        var smaller = OfWarp("min.u32", Array.ConvertAll(magnitudes, magnitude => R("sub.s32", $"{magnitude}, 1")));
        var smallest = R("add.s32", $"{smaller}, 1");
        var span = R("sub.s32", $"{top}, {smallest}");
        var kind = ClassOf(span);
        var power = Power(kind);
        var one = R("mov.u32", $"1");
        var added = R("shl.b32", $"{one}, {power}");
        var (last, first) = (Last(top, power, added), First(power));
        var codes = new string[magnitudes.Length];
        for (var i = 0; i < codes.Length; i++)
        {
            var distance = R("sub.s32", $"{top}, {magnitudes[i]}");
            var near = R("min.s32", $"{distance}, {last}");
            var below = Rounded(R("add.s32", $"{near}, {added}"), noise[i], NarrowCodec.NonNegative.Shift);
            var code = R("sub.s32", $"{first}, {below}");
            var isAny = P("setp.ne.u32", $"{magnitudes[i]}, 0");
            codes[i] = R("selp.b32", $"{code}, 0, {isAny}");
        }
        var ofClass = R("or.b32", $"{top}, {kind}");
        return (codes, R("selp.b32", $"0, {HasZero(magnitudes, ofClass)}, {isNothing}"));
    }

    /// <summary>A scale that says, too, whether one of some numbers is 0.</summary>
    private string HasZero(string[] numbers, string scale)
    {
        var isZero = P("setp.eq.u32", $"{Of("min.u32", numbers)}, 0");
        var said = R("selp.b32", $"{NarrowCodec.HasZero}, 0, {Any(isZero)}");
        return R("or.b32", $"{scale}, {said}");
    }

    private string ClassOf(string distance)
    {
        // Signs of differences, as on the processor.
        var classes = new[] { 17, 19, 21 }.Select(bits =>
        {
            var rest = R("sub.s32", $"{(NarrowCodec.NonNegative.Edge << bits) - 1}, {distance}");
            return R("shr.u32", $"{rest}, 31");
        });
        return classes.Aggregate((a, b) => R("add.s32", $"{a}, {b}"));
    }

    private string Power(string kind)
    {
        var twice = R("shl.b32", $"{kind}, 1");
        return R("add.s32", $"{twice}, {NarrowCodec.NonNegative.LeastPower}");
    }

    private string First(string power)
    {
        var moved = R("shl.b32", $"{power}, 6");
        return R("add.s32", $"{moved}, {NarrowCodec.NonNegative.First(0)}");
    }

    private string Last(string top, string power, string added)
    {
        const int shift = NarrowCodec.NonNegative.Shift;
        var (last, known) = (text.New('r'), text.NewLabel("LAST"));
        var furthest = R("mov.u32", $"{NarrowCodec.NonNegative.Furthest}");
        var less = R("sub.s32", $"{power}, 3");
        text.Line($"shl.b32 {last}, {furthest}, {less}");
        var isThere = P("setp.gt.s32", $"{top}, {last}");
        text.Line($"@{isThere} bra {known}");
        var below = R("sub.s32", $"{top}, 8");
        var bits = R("shr.u32", $"{Float(R("add.s32", $"{below}, {added}"))}, {shift}");
        string At(string code) => R("sub.s32", $"{Distance(code, shift)}, {added}");
        var (at, before) = (At(bits), At(R("sub.s32", $"{bits}, 1")));
        // The sum may have been rounded up to the next code.
        var isOver = P("setp.gt.s32", $"{at}, {below}");
        text.Line($"selp.b32 {last}, {before}, {at}, {isOver}");
        text.Label(known);
        return last;
    }

    private string Word(string number, string noise)
    {
        var magnitude = R("and.b32", $"{number}, {NarrowCodec.Magnitude}");
        var sum = R("add.s32", $"{magnitude}, {noise}");
        var moved = R("shr.u32", $"{sum}, 16");
        var least = R("min.u32", $"{magnitude}, 1");
        var kept = R("max.u32", $"{moved}, {least}");
        var finite = R("min.u32", $"{kept}, {0x7F7F}");
        var isNumber = P("setp.lt.u32", $"{magnitude}, {NarrowCodec.Infinity}");
        var isNaN = P("setp.gt.u32", $"{magnitude}, {NarrowCodec.Infinity}");
        var other = R("selp.b32", $"{0x7FC0}, {NarrowCodec.Infinity >> 16}, {isNaN}");
        var word = R("selp.b32", $"{finite}, {other}, {isNumber}");
        var above = R("shr.u32", $"{number}, 16");
        var sign = R("and.b32", $"{above}, {0x8000}");
        return R("or.b32", $"{word}, {sign}");
    }

    /// <summary>A distance from its code's bits: a float of few bits as a whole number.</summary>
    private string Distance(string code, int shift)
    {
        var bits = R("shl.b32", $"{code}, {shift}");
        var number = text.Into('f', "mov.b32", $"{bits}");
        return R("cvt.rzi.s32.f32", $"{number}");
    }

    /// <summary>The bits of a distance as a float, of which noise rounds up those that are cut off.</summary>
    private string Rounded(string distance, string noise, int shift)
    {
        var sum = R("add.s32", $"{Float(distance)}, {noise}");
        return R("shr.u32", $"{sum}, {shift}");
    }

    private string Float(string number)
    {
        var rounded = text.Into('f', "cvt.rn.f32.s32", $"{number}");
        return R("mov.b32", $"{rounded}");
    }

    /// <summary>The largest or smallest of some whole numbers of a thread.</summary>
    private string Of(string which, string[] numbers) => numbers.Aggregate((a, b) => R(which, $"{a}, {b}"));

    /// <summary>The same of all threads of the warp, which all of them have.</summary>
    private string OfWarp(string which, string[] numbers)
    {
        var found = Of(which, numbers);
        for (var half = Warp / 2; half > 0; half /= 2)
        {
            var other = R("shfl.sync.bfly.b32", $"{found}, {half}, 31, -1");
            found = R(which, $"{found}, {other}");
        }
        return found;
    }

    /// <summary>Whether something holds in any thread of the warp.</summary>
    private string Any(string holds) => P("vote.sync.any.pred", $"{holds}, -1");

    /// <summary>A constant as it is written: with the sign that its bits would have.</summary>
    private static int Bits(uint constant) => (int)constant;

    private static byte NaNOf(NarrowKind kind) => kind == NarrowKind.Signed8 ? NarrowCodec.Signed.NaN : NarrowCodec.NonNegative.NaN;

    private string R(string instruction, FormattableString operands) => text.Into('r', instruction, operands);

    private string P(string instruction, FormattableString operands) => text.Into('p', instruction, operands);
}
