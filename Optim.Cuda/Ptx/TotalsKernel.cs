using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>
/// What all tensors come to together, one after the other in the order of the parameters, as the processor joins them. One thread does it: there is
/// nothing to divide where the order is given. It may also say what that means for a step.
/// </summary>
internal static class TotalsKernel
{
    /// <summary>Threads of a block, of which one works.</summary>
    public const int Threads = 32;

    /// <summary>Parts that are loaded at once.</summary>
    private const int Together = 8;

    /// <summary>The total itself.</summary>
    /// <param name="isLargest">Whether the larger one is taken; else all are added.</param>
    public static PtxKernel OfParts(bool isLargest)
    {
        var text = new PtxText();
        var sum = Joined(text, isLargest);
        var target = text.Into('d', "ld.param.u64", $"[p_out]");
        text.Line($"st.global.f64 [{target}], {sum.Register}");
        return Ended(text);
    }

    /// <summary>
    /// A norm of gradients, and what it means for a step: whether one of them is not finite, and by what the others are multiplied so that the norm
    /// is at most a number (p_most).
    /// </summary>
    /// <param name="isLargest">Whether it is the largest magnitude; else the root of the sum of squares.</param>
    /// <param name="clips">Whether there is such a number.</param>
    public static PtxKernel OfGradients(bool isLargest, bool clips)
    {
        var text = new PtxText();
        var joined = Joined(text, isLargest);
        if (clips)
            text.ParameterArray("p_most", 8);
        var norm = isLargest ? joined : PtxLane<double>.Sqrt(joined);
        var target = text.Into('d', "ld.param.u64", $"[p_out]");
        // Of no number that is not finite the difference with itself is 0.
        var isNot = PtxLane<double>.IsNaN(norm - norm);
        var flag = PtxLane<double>.Select(isNot, PtxLane<double>.Of(1), PtxLane<double>.Of(0));
        text.Line($"st.global.f64 [{target}], {flag.Register}");
        text.Line($"st.global.f64 [{target}+{Guard.Norm}], {norm.Register}");
        if (clips)
        {
            var one = PtxLane<double>.Of(1);
            var most = new PtxLane<double>(text.Into('w', "ld.param.f64", $"[p_most]"));
            var factor = most / (norm + PtxLane<double>.Of(1e-6));
            var clipped = PtxLane<double>.Select(PtxLane<double>.Greater(factor, one), one, factor);
            text.Line($"st.global.f64 [{target}+{Guard.Factor}], {clipped.Register}");
        }
        return Ended(text);
    }

    private static PtxKernel Ended(PtxText text)
    {
        text.Label("END");
        text.Line($"ret");
        return text.ToKernel(Threads);
    }

    private static PtxLane<double> Joined(PtxText text, bool isLargest)
    {
        PtxLane.Current = text;
        text.Parameter("p_parts", 8);
        text.Parameter("p_count", 8);
        text.Parameter("p_out", 8);
        var id = text.Into('r', "mov.u32", $"%tid.x");
        var isOther = text.Into('p', "setp.ne.u32", $"{id}, 0");
        text.Line($"@{isOther} bra END");
        var count = text.Into('d', "ld.param.u64", $"[p_count]");
        var isNone = text.Into('p', "setp.eq.u64", $"{count}, 0");
        text.Line($"@{isNone} bra END");
        var list = text.Into('d', "ld.param.u64", $"[p_parts]");
        var at = text.Into('d', "mov.u64", $"0");
        var sum = new PtxLane<double>(text.Into('w', "mov.b64", $"{text.Constant(true, 0)}"));
        text.Label("MANY");
        var last = text.Into('d', "add.s64", $"{at}, {Together}");
        var over = text.Into('p', "setp.gt.u64", $"{last}, {count}");
        text.Line($"@{over} bra ONES");
        Take(Together);
        text.Line($"bra MANY");
        text.Label("ONES");
        var done = text.Into('p', "setp.ge.u64", $"{at}, {count}");
        text.Line($"@{done} bra STORE");
        Take(1);
        text.Line($"bra ONES");
        text.Label("STORE");
        return sum;

        void Take(int parts)
        {
            var loaded = new PtxLane<double>[parts];
            for (var i = 0; i < parts; i++)
            {
                var address = text.Into('d', "ld.global.u64", $"[{list}+{8 * i}]");
                loaded[i] = new(text.Into('w', "ld.global.f64", $"[{address}]"));
            }
            var joined = sum;
            foreach (var part in loaded)
                joined = Reducers.Join(isLargest, joined, part);
            text.Line($"mov.b64 {sum.Register}, {joined.Register}");
            text.Line($"add.s64 {list}, {list}, {8 * parts}");
            text.Line($"add.s64 {at}, {at}, {parts}");
        }
    }
}
