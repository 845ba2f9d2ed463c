using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>
/// Means of rows and columns as Adafactor keeps them, by the order of the processor: over <see cref="AdafactorTables"/>, whose entries say what there is
/// to do in units of work. What is done to a mean is the formula's, on registers.
/// </summary>
internal static class FactorKernels
{
    /// <summary>Sums of groups of elements: a warp for each part, by the fixed tree, or a thread, one element after the other.</summary>
    public static PtxKernel Sums(KernelCode code, bool ofWarps) => code.IsDouble ? Sums<double>(code, ofWarps) : Sums<float>(code, ofWarps);

    private static PtxKernel Sums<T>(KernelCode code, bool ofWarps)
        where T : unmanaged
    {
        var (text, elements) = SpreadKernels.Begin<T>(code, inMemory: false);
        string entry,
            unit,
            lane = "";
        if (ofWarps)
            (_, entry, unit, lane) = SpreadKernels.WarpUnit(text);
        else
            (_, entry, unit) = SpreadKernels.Unit(text);
        elements.LoadAddresses(entry);
        elements.Uniform(_ => throw new NotSupportedException("a number in a sum of squares"));
        string Word(int word) => SpreadKernels.Word(text, entry, code.Arrays + word);
        var (size, parts, bandSize, bands) = (Word(0), Word(1), Word(2), Word(3));
        var inGroup = text.Into('d', "mul.lo.s64", $"{bands}, {parts}");
        var (group, inBands) = Divided(text, unit, inGroup);
        var (band, part) = Divided(text, inBands, parts);
        var start = text.Into('d', "mul.lo.s64", $"{group}, {size}");
        var end = text.Into('d', "add.s64", $"{start}, {size}");
        var before = text.Into('d', "mul.lo.s64", $"{band}, {bandSize}");
        var begin = text.Into('d', "add.s64", $"{start}, {before}");
        var full = text.Into('d', "add.s64", $"{begin}, {bandSize}");
        var to = text.Into('d', "min.u64", $"{full}, {end}");
        var first = ofWarps ? text.Into('d', "cvt.u64.u32", $"{lane}") : part;
        var at = text.Into('d', "add.s64", $"{begin}, {first}");
        var sums = RunningSums.Begin(text, code.Reductions);
        var target = code.Arrays + AdafactorTables.SumsWords - 1;
        if (ofWarps)
        {
            RunningSums.OfWarp(text, elements, code, sums, at, to);
            SpreadKernels.StoreJoined(text, entry, target, unit, lane, sums);
        }
        else
        {
            RunningSums.OfThread(text, elements, code, sums, at, parts, to);
            text.Label("STORE");
            SpreadKernels.Store(text, entry, target, unit, sums);
        }
        return SpreadKernels.End(text);
    }

    /// <summary>Means that move to what parts come to.</summary>
    /// <param name="isDouble">Whether they are of float64; else of float32.</param>
    /// <param name="isNear">Whether they move from where they are.</param>
    /// <param name="guard">What keeps them where they are; null for nothing.</param>
    public static PtxKernel Means(bool isDouble, bool isNear, Guard? guard = null) =>
        isDouble ? Means<double>(isNear, guard) : Means<float>(isNear, guard);

    private static PtxKernel Means<T>(bool isNear, Guard? guard)
        where T : unmanaged
    {
        var size = PtxLane<T>.IsDouble ? sizeof(double) : sizeof(float);
        var (text, entry, unit, mean) = Mean(2 * size, guard);
        var place = Place<T>(text, SpreadKernels.Word(text, entry, 1), unit);
        var (weight, rest) = (Number<T>(text, 0), Number<T>(text, size));
        Store(text, place, TensorMath.Between(Load<T>(text, place), Narrow<T>(text, mean), weight, rest, isNear));
        return SpreadKernels.End(text);
    }

    /// <summary>What products of means are multiplied by, of the means of rows.</summary>
    /// <param name="isDouble">Whether it is of float64; else of float32.</param>
    public static PtxKernel Scales(bool isDouble) => isDouble ? Scales<double>() : Scales<float>();

    private static PtxKernel Scales<T>()
        where T : unmanaged
    {
        var (text, entry, unit, mean) = Mean(sizeof(double), null);
        var scale = AdafactorFormula.Scale(mean, Number<double>(text, 0));
        Store(text, Place<T>(text, SpreadKernels.Word(text, entry, 1), unit), Narrow<T>(text, scale));
        return SpreadKernels.End(text);
    }

    /// <summary>What squares of elements are expected to be.</summary>
    /// <param name="isDouble">Whether it is of float64; else of float32.</param>
    public static PtxKernel Expected(bool isDouble) => isDouble ? Expected<double>() : Expected<float>();

    private static PtxKernel Expected<T>()
        where T : unmanaged
    {
        var text = new PtxText();
        SliceSearch.Parameters(text);
        PtxLane.Current = text;
        var (_, entry, unit) = SpreadKernels.Unit(text);
        string Word(int word) => SpreadKernels.Word(text, entry, word);
        var (rows, columns) = (Word(4), Word(5));
        var (row, column) = Divided(text, unit, columns);
        var (matrix, _) = Divided(text, row, rows);
        var before = text.Into('d', "mul.lo.s64", $"{matrix}, {columns}");
        var ofColumn = text.Into('d', "add.s64", $"{before}, {column}");
        PtxLane<T> At(int word, string place) => Load<T>(text, Place<T>(text, Word(word), place));
        Store(
            text,
            Place<T>(text, Word(0), unit),
            AdafactorFormula.Expected(AdafactorFormula.Scaled(At(1, row), At(3, matrix)), At(2, ofColumn))
        );
        return SpreadKernels.End(text);
    }

    /// <summary>The beginning of a kernel in which each thread has a mean of what parts come to.</summary>
    private static (PtxText Text, string Entry, string Unit, PtxLane<double> Mean) Mean(int numbers, Guard? guard)
    {
        var text = new PtxText();
        SliceSearch.Parameters(text);
        text.ParameterArray("p_numbers", numbers);
        guard?.Parameter(text);
        PtxLane.Current = text;
        var (_, entry, unit) = SpreadKernels.Unit(text, guard);
        string Word(int word) => SpreadKernels.Word(text, entry, word);
        var (parts, bands) = (Word(2), Word(3));
        var (group, part) = Divided(text, unit, parts);
        var inGroup = text.Into('d', "mul.lo.s64", $"{parts}, {bands}");
        var before = text.Into('d', "mul.lo.s64", $"{group}, {inGroup}");
        var at = text.Into('d', "add.s64", $"{before}, {part}");
        var end = text.Into('d', "add.s64", $"{at}, {inGroup}");
        var total = SpreadKernels.Sum(text, entry, 0, 1, at, parts, end)[0];
        var elements = text.Into('g', "cvt.rn.f64.u64", $"{Word(4)}");
        return (text, entry, unit, new PtxLane<double>(total) / new PtxLane<double>(text.Into('w', "mov.b64", $"{elements}")));
    }

    /// <summary>A quotient of whole numbers, and the remainder.</summary>
    private static (string Quotient, string Remainder) Divided(PtxText text, string number, string by)
    {
        var quotient = text.Into('d', "div.u64", $"{number}, {by}");
        var whole = text.Into('d', "mul.lo.s64", $"{quotient}, {by}");
        return (quotient, text.Into('d', "sub.s64", $"{number}, {whole}"));
    }

    private static string Type<T>()
        where T : unmanaged => PtxLane<T>.IsDouble ? "f64" : "f32";

    private static string Place<T>(PtxText text, string start, string number)
        where T : unmanaged
    {
        var offset = text.Into('d', "shl.b64", $"{number}, {(PtxLane<T>.IsDouble ? 3 : 2)}");
        return text.Into('d', "add.s64", $"{start}, {offset}");
    }

    private static PtxLane<T> Number<T>(PtxText text, int offset)
        where T : unmanaged => Loaded<T>(text, "param", $"p_numbers+{offset}");

    private static PtxLane<T> Load<T>(PtxText text, string place)
        where T : unmanaged => Loaded<T>(text, "global", place);

    private static PtxLane<T> Loaded<T>(PtxText text, string space, string place)
        where T : unmanaged
    {
        var register = text.Value(PtxLane<T>.IsDouble);
        text.Line($"ld.{space}.{Type<T>()} {register}, [{place}]");
        return new(register);
    }

    private static void Store<T>(PtxText text, string place, PtxLane<T> value)
        where T : unmanaged => text.Line($"st.global.{Type<T>()} [{place}], {value.Register}");

    private static PtxLane<T> Narrow<T>(PtxText text, PtxLane<double> value)
        where T : unmanaged => new(PtxLane<T>.IsDouble ? value.Register : SliceSearch.Narrow(text, value.Register));
}
