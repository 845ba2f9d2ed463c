using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>
/// Numbers of tensors as a kernel: a thread for each slice works out its own in double, and stores them where the next visit reads them. Where the leaves
/// of a step lie there, too, one thread works out the numbers of all slices, and counts on.
/// </summary>
internal static class NumbersKernel
{
    /// <summary>Threads of a block.</summary>
    public const int Threads = 256;

    /// <summary>The text.</summary>
    /// <param name="code">The numbers.</param>
    /// <param name="guard">What keeps it from storing numbers that tensors keep; null for nothing.</param>
    public static PtxKernel Render(NumberCode code, Guard? guard)
    {
        var text = new PtxText();
        PtxLane.Current = text;
        SliceSearch.Parameters(text);
        if (code.Given.Length > 0)
            text.ParameterArray("p_given", code.Given.Length * sizeof(double));
        text.Parameter("p_results", 8);
        text.Parameter("p_totals", 8);
        text.Parameter("p_numbers", 8);
        if (code.LeafStores.Length > 0)
            text.Parameter("p_leaves", 8);
        guard?.Parameter(text);
        var slice = SliceSearch.Thread(text, Threads);
        var count = text.Into('r', "ld.param.u32", $"[p_slices]");
        var slices = text.Into('d', "cvt.u64.u32", $"{count}");
        var behind = text.Into('p', "setp.ge.u64", $"{slice}, {slices}");
        text.Line($"@{behind} bra END");
        guard?.Skip(text);
        var table = text.Into('d', "ld.param.u64", $"[p_table]");
        var bytes = text.Into('r', "ld.param.u32", $"[p_entry]");
        var wide = text.Into('d', "cvt.u64.u32", $"{bytes}");
        var offset = text.Into('d', "mul.lo.s64", $"{slice}, {wide}");
        var entry = text.Into('d', "add.s64", $"{table}, {offset}");
        var results = text.Into('d', "ld.param.u64", $"[p_results]");
        var own = text.Into('d', "shl.b64", $"{slice}, 3");
        text.Line($"add.s64 {results}, {results}, {own}");
        var apart = text.Into('d', "shl.b64", $"{slices}, 3");
        var totals = text.Into('d', "ld.param.u64", $"[p_totals]");
        var leaves = code.LeafStores.Length > 0 ? text.Into('d', "ld.param.u64", $"[p_leaves]") : "";
        var values = new PtxLane<double>[code.Nodes.Length];
        var masks = new bool[code.Nodes.Length];
        for (var i = 0; i < values.Length; i++)
        {
            masks[i] = code.Nodes[i].Operation.IsMask();
            values[i] = Value(code.Nodes[i]);
        }
        if (code.Results.Length > 0)
        {
            var target = text.Into('d', "ld.param.u64", $"[p_numbers]");
            var place = text.Into('d', "mul.lo.s64", $"{slice}, {code.Results.Length * code.Size}");
            text.Line($"add.s64 {target}, {target}, {place}");
            for (var i = 0; i < code.Results.Length; i++)
                Store($"{target}+{i * code.Size}", Number(code.Results[i]));
        }
        // All of them are worked out: one may be made of another that is stored here.
        foreach (var store in code.Stores)
            Store(AddressOf(store.Array), Number(store.Node));
        foreach (var store in code.LeafStores)
            text.Line($"st.global.f64 [{leaves}+{8 * store.Array}], {Number(store.Node).Register}");
        text.Label("END");
        text.Line($"ret");
        return text.ToKernel(Threads);

        string AddressOf(long array) => text.Into('d', "ld.global.u64", $"[{entry}+{8 * (PtxKernel.Head + array)}]");

        PtxLane<double> Value(Node node)
        {
            switch (node.Operation)
            {
                case Operation.Constant:
                    return PtxLane<double>.Of(node.Constant);
                case Operation.Number:
                    return new(text.Into('w', "ld.param.f64", $"[p_given+{8 * node.Value}]"));
                case Operation.Given:
                    return Leaf((int)node.Value);
                case Operation.Load:
                    var further = text.Into('d', "mul.lo.s64", $"{apart}, {node.Value}");
                    var at = text.Into('d', "add.s64", $"{results}, {further}");
                    return new(text.Into('w', "ld.global.f64", $"[{at}]"));
                case Operation.Kept:
                    return new(text.Into('w', "ld.global.f64", $"[{totals}+{8 * node.Value}]"));
                case Operation.ElementCount:
                    var reals = text.Into('d', "ld.global.u64", $"[{entry}+8]");
                    var elements = code.Parts == 1 ? reals : text.Into('d', "shr.u64", $"{reals}, 1");
                    var whole = text.Into('g', "cvt.rn.f64.u64", $"{elements}");
                    return new(text.Into('w', "mov.b64", $"{whole}"));
                case Operation.TensorNumber:
                    return Load(AddressOf(node.Value));
                case Operation.Select:
                    return PtxLane<double>.Select(Mask(node.A), Number(node.B), Number(node.C));
                default:
                    return PtxLane<double>.Of(node.Operation, Number(node.A), () => Number(node.B), () => Number(node.C));
            }
        }

        // A mask that is used as a number is 1 or 0, and a number as a mask is whether it is not 0.
        PtxLane<double> Number(int at) =>
            masks[at] ? PtxLane<double>.Select(values[at], PtxLane<double>.Of(1), PtxLane<double>.Of(0)) : values[at];

        PtxLane<double> Mask(int at) =>
            masks[at] ? values[at] : PtxLane<double>.Greater(PtxLane<double>.Abs(values[at]), PtxLane<double>.Of(0));

        PtxLane<double> Load(string address) => LoadAs(address, code.IsDouble);

        PtxLane<double> LoadAs(string address, bool isDouble) =>
            isDouble
                ? new(text.Into('w', "ld.global.f64", $"[{address}]"))
                : new(SliceSearch.Widened(text, text.Into('v', "ld.global.f32", $"[{address}]")));

        // The place of a leaf that is read from a tensor has that tensor's address.
        PtxLane<double> Leaf(int leaf)
        {
            var rate = leaf < code.Rates.Length ? code.Rates[leaf] : null;
            var at = $"{leaves}+{8 * leaf}";
            return rate is { } dtype ? LoadAs(text.Into('d', "ld.global.u64", $"[{at}]"), dtype == DType.Float64) : LoadAs(at, true);
        }

        void Store(string address, PtxLane<double> value)
        {
            if (code.IsDouble)
                text.Line($"st.global.f64 [{address}], {value.Register}");
            else
                text.Line($"st.global.f32 [{address}], {SliceSearch.Narrow(text, value.Register)}");
        }
    }
}
