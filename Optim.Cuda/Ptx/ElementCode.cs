using System.Numerics;
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
        var places = Places(index);
        var loaded = Begin(width);
        foreach (var (node, array, isWords) in Loads)
        {
            var found = array < code.Arrays ? Load(places[array], isWords, width, apart) : spreads.Load(array, index, width, apart);
            for (var lane = 0; lane < width; lane++)
                loaded[lane][node] = found[lane];
        }
        // What is reduced as it lies in memory, and no value reads.
        var bare = new Dictionary<int, PtxLane<T>[]>();
        foreach (var array in code.Reductions.SelectMany(reduction => new[] { reduction.Array, reduction.Other }))
            if (array >= 0 && IsBare(array) && !bare.ContainsKey(array))
                bare.Add(array, array < code.Arrays ? Load(places[array], false, width, apart) : spreads.Load(array, index, width, apart));
        for (var lane = 0; lane < width; lane++)
        {
            Compute(loaded[lane]);
            var own = lane;
            take?.Invoke(array => IsBare(array) ? bare[array][own] : At(StoreOf(array)!.Node, loaded[own]));
        }
        foreach (var store in code.Stores)
            if (store.Array < code.Arrays)
                Store(places[store.Array], store.IsWords, Stored(store, loaded), apart);
    }

    /// <summary>Where the elements of all arrays lie that begin with one.</summary>
    /// <param name="index">The register of its place in the slice.</param>
    /// <param name="sizeOf">How many bytes an element of an array has; null for those of the arithmetic and of words.</param>
    public Dictionary<int, string> Places(string index, Func<ArrayUse, int>? sizeOf = null)
    {
        var places = new Dictionary<int, string>();
        foreach (var use in Arrays)
        {
            var bits = BitOperations.Log2((uint)(sizeOf?.Invoke(use) ?? use.Size));
            var offset = bits == 0 ? index : text.Into('d', "shl.b64", $"{index}, {bits}");
            places[use.Array] = text.Into('d', "add.s64", $"{addresses[use.Array]}, {offset}");
        }
        return places;
    }

    /// <summary>The values that are loaded, their arrays, and whether these are of words.</summary>
    public IEnumerable<(int Node, int Array, bool IsWords)> Loads =>
        from node in Enumerable.Range(0, values.Length)
        where code.Nodes[node].Operation is Operation.Load or Operation.LoadWords
        select (node, (int)code.Nodes[node].Value, code.Nodes[node].Operation == Operation.LoadWords);

    /// <summary>Room for the values of some elements.</summary>
    public PtxLane<T>[][] Begin(int width)
    {
        var loaded = new PtxLane<T>[width][];
        for (var lane = 0; lane < width; lane++)
            loaded[lane] = new PtxLane<T>[values.Length];
        return loaded;
    }

    /// <summary>What is worked out of the loaded values of an element.</summary>
    public void Compute(PtxLane<T>[] lane)
    {
        for (var i = 0; i < values.Length; i++)
            if (!code.IsUniform[i] && lane[i].Register is null)
                lane[i] = Compute(code.Nodes[i], lane);
    }

    /// <summary>The registers of what some elements store.</summary>
    public string[] Stored(Store store, PtxLane<T>[][] lanes) => Array.ConvertAll(lanes, lane => At(store.Node, lane).Register);

    /// <summary>A comparison of the alignment of all arrays: a predicate that holds where several elements cannot be loaded at once.</summary>
    public string Misaligned() => text.Into('p', "setp.ne.s64", $"{Misalignment()}, 0");

    /// <summary>The register of what is 0 where all arrays lie as several elements that are loaded at once must.</summary>
    /// <param name="sizeOf">How many bytes an element of an array has; null for those of the arithmetic and of words.</param>
    public string Misalignment(Func<ArrayUse, int>? sizeOf = null)
    {
        var all = "";
        foreach (var use in Arrays)
        {
            // Words of 16 bits are to lie at multiples of 8, bytes of 4, others of 16: moved so that one mask will do.
            var bits = (sizeOf?.Invoke(use) ?? use.Size) switch
            {
                1 => 2,
                2 => 1,
                _ => 0,
            };
            var address = bits == 0 ? addresses[use.Array] : text.Into('d', "shl.b64", $"{addresses[use.Array]}, {bits}");
            all = all.Length == 0 ? address : text.Into('d', "or.b64", $"{all}, {address}");
        }
        return text.Into('d', "and.b64", $"{all}, 15");
    }

    /// <summary>What stores the elements that a reduction takes; null for elements as they lie in memory.</summary>
    private Store? StoreOf(int array) => Array.Find(code.Stores, store => store.Array == array && !store.IsWords);

    private bool IsBare(int array) => StoreOf(array) is null;

    private PtxLane<T>[] Load(string place, bool isWords, int width, int apart)
    {
        var found = new PtxLane<T>[width];
        for (var lane = 0; lane < width; lane++)
            found[lane] = new(text.Value(PtxLane<T>.IsDouble));
        Load(place, isWords, Array.ConvertAll(found, each => each.Register), apart);
        return found;
    }

    /// <summary>Loads some elements of an array.</summary>
    /// <param name="place">The register of the first one's address.</param>
    /// <param name="isWords">Whether they are words of 16 bits; else they are of the type of the arithmetic.</param>
    /// <param name="registers">Where to: one register or several.</param>
    /// <param name="apart">How far the next one lies.</param>
    public void Load(string place, bool isWords, string[] registers, int apart)
    {
        var width = registers.Length;
        if (isWords)
        {
            var words = Array.ConvertAll(registers, _ => text.New('h'));
            if (width == 4 && apart == 1)
                text.Line($"ld.global.v4.u16 {{{string.Join(", ", words)}}}, [{place}]");
            else
                for (var lane = 0; lane < width; lane++)
                    text.Line($"ld.global.u16 {words[lane]}, [{place}{Offset(lane * apart * 2)}]");
            for (var lane = 0; lane < width; lane++)
                text.Line($"cvt.u32.u16 {registers[lane]}, {words[lane]}");
            return;
        }
        for (var lane = 0; lane < width; )
        {
            var together = width > 1 && apart == 1 ? 16 / code.Size : 1;
            var list = string.Join(", ", registers.Skip(lane).Take(together));
            var vector = together > 1 ? $".v{together}" : "";
            text.Line($"ld.global{vector}.{Type} {(together > 1 ? $"{{{list}}}" : list)}, [{place}{Offset(lane * apart * code.Size)}]");
            lane += together;
        }
    }

    /// <summary>Stores some elements of an array.</summary>
    /// <inheritdoc cref="Load(string, bool, string[], int)"/>
    public void Store(string place, bool isWords, string[] registers, int apart)
    {
        var width = registers.Length;
        if (isWords)
        {
            var words = Array.ConvertAll(registers, register => text.Into('h', "cvt.u16.u32", $"{register}"));
            if (width == 4 && apart == 1)
                text.Line($"st.global.v4.u16 [{place}], {{{string.Join(", ", words)}}}");
            else
                for (var lane = 0; lane < width; lane++)
                    text.Line($"st.global.u16 [{place}{Offset(lane * apart * 2)}], {words[lane]}");
            return;
        }
        for (var lane = 0; lane < width; )
        {
            var together = width > 1 && apart == 1 ? 16 / code.Size : 1;
            var list = string.Join(", ", registers.Skip(lane).Take(together));
            var vector = together > 1 ? $".v{together}" : "";
            text.Line($"st.global{vector}.{Type} [{place}{Offset(lane * apart * code.Size)}], {(together > 1 ? $"{{{list}}}" : list)}");
            lane += together;
        }
    }

    private static string Type => PtxLane<T>.IsDouble ? "f64" : "f32";

    /// <summary>What stands behind a register for an address so many bytes further.</summary>
    public static string Offset(int bytes) => bytes == 0 ? "" : FormattableString.Invariant($"+{bytes}");

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
