using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>What a thread does with its elements, as text: all loads, all values, all stores. The order makes no difference to what is stored.</summary>
/// <typeparam name="T">The type of the arithmetic: float or double.</typeparam>
internal sealed class ElementCode<T>
    where T : unmanaged
{
    private readonly KernelCode code;
    private readonly PtxText text;
    private readonly Dictionary<int, string> addresses = [];
    private readonly SpreadCode<T> spreads;
    private readonly PtxLane<T>[] values;

    /// <param name="code">The visit.</param>
    /// <param name="text">Where it is written.</param>
    public ElementCode(KernelCode code, PtxText text)
    {
        (this.code, this.text) = (code, text);
        values = new PtxLane<T>[code.Nodes.Length];
        spreads = new(code, text);
        PtxLane.Current = text;
    }

    /// <summary>The arrays of memory that are read or written, in order.</summary>
    public IEnumerable<ArrayUse> Arrays => code.ArrayUses.Where(use => use.Array < code.Arrays);

    /// <summary>The register of an array's address.</summary>
    public string AddressOf(int array) => addresses[array];

    /// <summary>The addresses of the arrays of a slice, from its entry.</summary>
    public void LoadAddresses(string entry)
    {
        foreach (var use in Arrays)
            addresses[use.Array] = text.Into('d', "ld.global.u64", $"[{entry}+{8 * (PtxKernel.Head + use.Array)}]");
        spreads.LoadWords(entry);
    }

    /// <summary>What is the same for all elements of a slice: numbers, and what is made of them alone.</summary>
    /// <param name="number">Loads a number into a register.</param>
    public void Uniform(Func<int, string> number)
    {
        for (var i = 0; i < values.Length; i++)
            if (code.IsUniform[i])
                values[i] = code.Nodes[i].Operation == Operation.Number ? new(number((int)code.Nodes[i].Value)) : Compute(code.Nodes[i]);
    }

    /// <summary>Some elements of the thread: loaded, worked out, and stored.</summary>
    /// <param name="index">The register of the first one's place in the slice.</param>
    /// <param name="width">How many: 1, 4, or 2 of float64.</param>
    /// <param name="apart">How far the next one lies: 1, or more where each is loaded by itself.</param>
    /// <param name="take">Takes the values of an element by their arrays, for reductions; after the loads of all, in their order.</param>
    public void Elements(string index, int width, int apart, Action<Func<int, PtxLane<T>>>? take = null)
    {
        PtxLane.Current = text;
        var places = new Dictionary<int, string>();
        foreach (var use in Arrays)
        {
            var offset = text.Into('d', "shl.b64", $"{index}, {(use.Size == 2 ? 1 : use.Size == 4 ? 2 : 3)}");
            places[use.Array] = text.Into('d', "add.s64", $"{addresses[use.Array]}, {offset}");
        }
        var loaded = new PtxLane<T>[width][];
        for (var lane = 0; lane < width; lane++)
            loaded[lane] = new PtxLane<T>[values.Length];
        for (var i = 0; i < values.Length; i++)
            if (code.Nodes[i].Operation is Operation.Load or Operation.LoadWords)
            {
                var (array, isWords) = ((int)code.Nodes[i].Value, code.Nodes[i].Operation == Operation.LoadWords);
                var found = array < code.Arrays ? Load(places[array], isWords, width, apart) : spreads.Load(array, index, width, apart);
                for (var lane = 0; lane < width; lane++)
                    loaded[lane][i] = found[lane];
            }
        // What is reduced as it lies in memory, and no value reads.
        var bare = new Dictionary<int, PtxLane<T>[]>();
        foreach (var array in code.Reductions.SelectMany(reduction => new[] { reduction.Array, reduction.Other }))
            if (array >= 0 && IsBare(array) && !bare.ContainsKey(array))
                bare.Add(array, array < code.Arrays ? Load(places[array], false, width, apart) : spreads.Load(array, index, width, apart));
        for (var lane = 0; lane < width; lane++)
        {
            for (var i = 0; i < values.Length; i++)
                if (!code.IsUniform[i])
                    loaded[lane][i] = loaded[lane][i].Register is null ? Compute(code.Nodes[i], loaded[lane]) : loaded[lane][i];
            var own = lane;
            take?.Invoke(array => IsBare(array) ? bare[array][own] : At(StoreOf(array)!.Node, loaded[own]));
        }
        foreach (var store in code.Stores)
            if (store.Array < code.Arrays)
                Store(places[store.Array], store.IsWords, [.. loaded.Select(lane => At(store.Node, lane))], apart);
    }

    /// <summary>A comparison of the alignment of all arrays: a predicate that holds where several elements cannot be loaded at once.</summary>
    public string Misaligned()
    {
        var all = "";
        foreach (var use in Arrays)
        {
            // Words of 16 bits are to lie at multiples of 8, others at 16: moved so that one mask will do.
            var address = use.Size == 2 ? text.Into('d', "shl.b64", $"{addresses[use.Array]}, 1") : addresses[use.Array];
            all = all.Length == 0 ? address : text.Into('d', "or.b64", $"{all}, {address}");
        }
        var rest = text.Into('d', "and.b64", $"{all}, 15");
        return text.Into('p', "setp.ne.s64", $"{rest}, 0");
    }

    /// <summary>What stores the elements that a reduction takes; null for elements as they lie in memory.</summary>
    private Store? StoreOf(int array) => Array.Find(code.Stores, store => store.Array == array && !store.IsWords);

    private bool IsBare(int array) => StoreOf(array) is null;

    private PtxLane<T>[] Load(string place, bool isWords, int width, int apart)
    {
        var found = new PtxLane<T>[width];
        for (var lane = 0; lane < width; lane++)
            found[lane] = new(text.Value(PtxLane<T>.IsDouble));
        if (isWords)
        {
            var words = found.Select(_ => text.New('h')).ToArray();
            if (width == 4 && apart == 1)
                text.Line($"ld.global.v4.u16 {{{string.Join(", ", words)}}}, [{place}]");
            else
                for (var lane = 0; lane < width; lane++)
                    text.Line($"ld.global.u16 {words[lane]}, [{place}{Offset(lane * apart * 2)}]");
            for (var lane = 0; lane < width; lane++)
                text.Line($"cvt.u32.u16 {found[lane].Register}, {words[lane]}");
            return found;
        }
        for (var lane = 0; lane < width; )
        {
            var together = width > 1 && apart == 1 ? 16 / code.Size : 1;
            var list = string.Join(", ", found.Skip(lane).Take(together).Select(each => each.Register));
            var vector = together > 1 ? $".v{together}" : "";
            text.Line($"ld.global{vector}.{Type} {(together > 1 ? $"{{{list}}}" : list)}, [{place}{Offset(lane * apart * code.Size)}]");
            lane += together;
        }
        return found;
    }

    private void Store(string place, bool isWords, PtxLane<T>[] stored, int apart)
    {
        if (isWords)
        {
            var words = Array.ConvertAll(stored, value => text.Into('h', "cvt.u16.u32", $"{value.Register}"));
            if (stored.Length == 4 && apart == 1)
                text.Line($"st.global.v4.u16 [{place}], {{{string.Join(", ", words)}}}");
            else
                for (var lane = 0; lane < stored.Length; lane++)
                    text.Line($"st.global.u16 [{place}{Offset(lane * apart * 2)}], {words[lane]}");
            return;
        }
        for (var lane = 0; lane < stored.Length; )
        {
            var together = stored.Length > 1 && apart == 1 ? 16 / code.Size : 1;
            var list = string.Join(", ", stored.Skip(lane).Take(together).Select(each => each.Register));
            var vector = together > 1 ? $".v{together}" : "";
            text.Line($"st.global{vector}.{Type} [{place}{Offset(lane * apart * code.Size)}], {(together > 1 ? $"{{{list}}}" : list)}");
            lane += together;
        }
    }

    private static string Type => PtxLane<T>.IsDouble ? "f64" : "f32";

    private static string Offset(int bytes) => bytes == 0 ? "" : FormattableString.Invariant($"+{bytes}");

    private PtxLane<T> At(int node, PtxLane<T>[] lane) => code.IsUniform[node] ? values[node] : lane[node];

    private PtxLane<T> Compute(Node node) => Compute(node, values);

    private PtxLane<T> Compute(Node node, PtxLane<T>[] lane)
    {
        PtxLane<T> A() => At(node.A, lane);
        PtxLane<T> B() => At(node.B, lane);
        PtxLane<T> C() => At(node.C, lane);
        return node.Operation switch
        {
            Operation.Constant => PtxLane<T>.Of(node.Constant),
            Operation.Bits => PtxLane<T>.OfBits((uint)node.Value),
            Operation.Select => PtxLane<T>.Select(A(), B(), C()),
            Operation.And => PtxLane<T>.And(A(), B()),
            Operation.Or => PtxLane<T>.Or(A(), B()),
            Operation.AddBits => PtxLane<T>.AddBits(A(), B()),
            Operation.ShiftLeft => PtxLane<T>.ShiftLeft(A(), (int)node.Value),
            Operation.ShiftRight => PtxLane<T>.ShiftRight(A(), (int)node.Value),
            Operation.GreaterBits => PtxLane<T>.GreaterBits(A(), B()),
            var other => PtxLane<T>.Of(other, A(), B, C),
        };
    }
}
