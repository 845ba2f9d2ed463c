namespace Optim.Kernels;

/// <summary>An array that a visit writes.</summary>
/// <param name="Array">Its place in an entry of the slice table.</param>
/// <param name="Node">The value.</param>
/// <param name="IsWords">Whether it is a word of 16 bits; else it is of the type of the arithmetic.</param>
internal sealed record Store(int Array, int Node, bool IsWords);

/// <summary>A number that a visit makes of an array, or of one that is written for it alone.</summary>
/// <param name="Kind">Which reduction.</param>
/// <param name="Array">Its place in an entry, or after the arrays there.</param>
internal sealed record ArrayReduction(Operation Kind, int Array)
{
    /// <summary>The second array of a sum of products; -1 for none.</summary>
    public int Other { get; init; } = -1;
}

/// <summary>An array that a visit reads or writes.</summary>
/// <param name="Array">Its place.</param>
/// <param name="Size">Bytes of an element.</param>
/// <param name="IsRead">Whether it is read.</param>
/// <param name="IsWritten">Whether it is written.</param>
internal sealed record ArrayUse(int Array, int Size, bool IsRead, bool IsWritten);

/// <summary>A room that holds a spread, on a device: not an element for each place, but what is the same for many.</summary>
/// <param name="Room">The place, after the arrays.</param>
/// <param name="Operation">Noise, of which the first word is the key; else a sum of rows or columns, of which it is the address of the totals.</param>
/// <param name="Dimensions">How many first dimensions count; the second word says how many elements come after them.</param>
internal sealed record SpreadRoom(int Room, Operation Operation, int Dimensions);

/// <summary>
/// What a visit of memory does with each element, down to the words of half types: what engines compile. Only its structure is
/// compared: numbers are handed in, so a changed one compiles nothing.
/// </summary>
internal sealed class KernelCode : IEquatable<KernelCode>
{
    private readonly int hash;

    /// <param name="nodes">Values, operands first.</param>
    /// <param name="stores">What is written; arrays from <paramref name="arrays"/> on are room for reductions and spreads.</param>
    /// <param name="reductions">Numbers that are made of arrays.</param>
    /// <param name="arrays">Arrays in an entry of the slice table.</param>
    /// <param name="numbers">Numbers that are handed in.</param>
    /// <param name="isDouble">Whether the arithmetic is of float64; else of float32.</param>
    public KernelCode(Node[] nodes, Store[] stores, ArrayReduction[] reductions, int arrays, int numbers, bool isDouble)
    {
        (Nodes, Stores, Reductions, Arrays, Numbers, IsDouble) = (nodes, stores, reductions, arrays, numbers, isDouble);
        IsUniform = new bool[nodes.Length];
        Uses = new int[nodes.Length];
        for (var i = 0; i < nodes.Length; i++)
        {
            IsUniform[i] = nodes[i].Operation is not (Operation.Load or Operation.LoadWords);
            for (var k = 0; k < 3 && nodes[i].Operand(k) is >= 0 and var operand; k++)
            {
                IsUniform[i] &= IsUniform[operand];
                Uses[operand]++;
            }
        }
        foreach (var store in stores)
            Uses[store.Node]++;
        ArrayUses = UsesOfArrays();
        foreach (var use in ArrayUses)
            Footprint += use.Size;
        var code = new HashCode();
        foreach (var node in nodes)
            code.Add(node);
        foreach (var store in stores)
            code.Add(store);
        hash = code.ToHashCode();
    }

    public Node[] Nodes { get; }
    public Store[] Stores { get; }
    public ArrayReduction[] Reductions { get; }
    public int Arrays { get; }

    /// <summary>Of a device's code: the rooms that hold spreads, of which an entry of its table has two words each, in their order.</summary>
    public SpreadRoom[] Spreads { get; init; } = [];
    public int Numbers { get; }
    public bool IsDouble { get; }

    /// <summary>Which values are the same for all elements.</summary>
    public bool[] IsUniform { get; }

    /// <summary>How often each value is used.</summary>
    public int[] Uses { get; }

    /// <summary>The arrays that are read or written, room for reductions and spreads included.</summary>
    public ArrayUse[] ArrayUses { get; }

    /// <summary>How many rooms there are for reductions and spreads.</summary>
    public int Rooms => ArrayUses.Length == 0 ? 0 : Math.Max(0, ArrayUses[^1].Array + 1 - Arrays);

    /// <summary>Bytes of all arrays that an element has a place in.</summary>
    public int Footprint { get; }

    /// <summary>Operations on each element: neither loads nor what is the same for all elements.</summary>
    public int Operations =>
        Nodes.Where((node, i) => !IsUniform[i] && node.Operation is not (Operation.Load or Operation.LoadWords)).Count();

    /// <summary>Bytes that are moved for each element.</summary>
    public int Bytes => ArrayUses.Where(use => use.Array < Arrays).Sum(use => use.Size * ((use.IsRead ? 1 : 0) + (use.IsWritten ? 1 : 0)));

    /// <summary>Whether it does nothing.</summary>
    public bool IsEmpty => Stores.Length == 0 && Reductions.Length == 0;

    /// <summary>Bytes of an element of the arithmetic.</summary>
    public int Size => IsDouble ? sizeof(double) : sizeof(float);

    /// <summary>The same code in operations that are rounded once, where there are exponential functions, logarithms, cube roots and powers: with the same bits.</summary>
    public KernelCode SpelledOut()
    {
        if (!Nodes.Any(node => IsSpelledOut(node.Operation)))
            return this;
        var (expressions, list) = (new Expression[Nodes.Length], new NodeList());
        for (var i = 0; i < Nodes.Length; i++)
            expressions[i] = SpelledOut(Nodes[i], expressions);
        var stores = Array.ConvertAll(Stores, store => store with { Node = list.Add(expressions[store.Node]) });
        return new(list.ToArray(), stores, Reductions, Arrays, Numbers, IsDouble);
    }

    private static bool IsSpelledOut(Operation operation) =>
        operation is Operation.Exp or Operation.Log or Operation.Cbrt or Operation.Power;

    private Expression SpelledOut(Node node, Expression[] known)
    {
        switch (node.Operation)
        {
            case Operation.Constant:
                return Expression.Of(node.Constant);
            case var operation when IsSpelledOut(operation):
                var (a, b) = (new Recorder(known[node.A]), node.B < 0 ? default : new Recorder(known[node.B]));
                return (IsDouble ? SpelledOut<double>(operation, a, b) : SpelledOut<float>(operation, a, b)).Expression;
            default:
                var operands = new Expression[node.Operands];
                for (var k = 0; k < operands.Length; k++)
                    operands[k] = known[node.Operand(k)];
                return new(node.Operation, Scope.Element, operands, node.Value, node.Name);
        }
    }

    private static Recorder SpelledOut<T>(Operation operation, Recorder a, Recorder b) =>
        operation switch
        {
            Operation.Exp => LaneMath.Exp<Recorder, T>(a),
            Operation.Log => LaneMath.Log<Recorder, T>(a),
            Operation.Cbrt => LaneMath.Cbrt<Recorder, T>(a),
            _ => LaneMath.Pow<Recorder, T>(a, b),
        };

    /// <summary>The code of some of its stores and reductions alone, in which rooms hold spreads.</summary>
    public KernelCode Only(Store[] stores, ArrayReduction[] reductions, SpreadRoom[] spreads)
    {
        var needed = new bool[Nodes.Length];
        foreach (var store in stores)
            needed[store.Node] = true;
        for (var i = needed.Length - 1; i >= 0; i--)
        for (var k = 0; k < 3 && needed[i] && Nodes[i].Operand(k) is >= 0 and var operand; k++)
            needed[operand] = true;
        var (places, kept) = (new int[needed.Length], new List<Node>());
        for (var i = 0; i < needed.Length; i++)
        {
            if (!needed[i])
                continue;
            int At(int operand) => operand < 0 ? operand : places[operand];
            places[i] = kept.Count;
            kept.Add(Nodes[i] with { A = At(Nodes[i].A), B = At(Nodes[i].B), C = At(Nodes[i].C) });
        }
        var moved = Array.ConvertAll(stores, store => store with { Node = places[store.Node] });
        return new([.. kept], moved, reductions, Arrays, Numbers, IsDouble) { Spreads = spreads };
    }

    public bool Equals(KernelCode? other) =>
        ReferenceEquals(this, other)
        || (
            other is not null
            && hash == other.hash
            && IsDouble == other.IsDouble
            && Arrays == other.Arrays
            && Nodes.AsSpan().SequenceEqual(other.Nodes)
            && Stores.AsSpan().SequenceEqual(other.Stores)
            && Reductions.AsSpan().SequenceEqual(other.Reductions)
            && Spreads.AsSpan().SequenceEqual(other.Spreads)
        );

    public override bool Equals(object? other) => Equals(other as KernelCode);

    public override int GetHashCode() => hash;

    /// <summary>Each array once, in order.</summary>
    private ArrayUse[] UsesOfArrays()
    {
        var most = Arrays;
        foreach (var store in Stores)
            most = Math.Max(most, store.Array + 1);
        foreach (var reduction in Reductions)
            most = Math.Max(most, reduction.Array + 1);
        foreach (var node in Nodes)
            if (node.Operation is Operation.Load or Operation.LoadWords)
                most = Math.Max(most, (int)node.Value + 1);
        var uses = new ArrayUse?[most];
        foreach (var node in Nodes)
            if (node.Operation is Operation.Load or Operation.LoadWords)
                Note((int)node.Value, node.Operation == Operation.Load ? Size : sizeof(ushort), true, false);
        foreach (var store in Stores)
            Note(store.Array, store.IsWords ? sizeof(ushort) : Size, false, true);
        foreach (var reduction in Reductions)
        {
            if (reduction.Array < Arrays || !Array.Exists(Stores, store => store.Array == reduction.Array))
                Note(reduction.Array, Size, true, false);
            if (reduction.Other >= 0)
                Note(reduction.Other, Size, true, false);
        }
        var found = new List<ArrayUse>();
        foreach (var use in uses)
            if (use is not null)
                found.Add(use);
        return found.ToArray();

        void Note(int array, int size, bool isRead, bool isWritten) =>
            uses[array] = new(array, size, isRead || uses[array]?.IsRead == true, isWritten || uses[array]?.IsWritten == true);
    }
}

/// <summary>One pass over memory: its code, and which values of the program are the numbers that are handed in and the reductions that come out.</summary>
/// <param name="Code">What it does with each element.</param>
/// <param name="Numbers">The values that are handed in, by their places in the program.</param>
/// <param name="Reductions">The values that come out, by their places in the program.</param>
/// <param name="Made">The spreads that it reads.</param>
/// <param name="Taken">The spreads that come out.</param>
internal sealed record Visit(KernelCode Code, int[] Numbers, int[] Reductions, VisitSpread[] Made, VisitSpread[] Taken);

/// <summary>A spread that a visit reads, or that comes out of it.</summary>
/// <param name="Place">Its place in the program.</param>
/// <param name="Room">The place, after the arrays, of the room for a block of it.</param>
/// <param name="Work">How it is worked out of the totals of spreads; null for a spread itself.</param>
internal sealed record VisitSpread(int Place, int Room, TotalsVisit? Work = null);

/// <summary>What is worked out of the totals of rows, or of columns, alone: once for each of these, and not for each element.</summary>
/// <param name="Visit">The work, over an array of totals for each spread and one for what they come to.</param>
/// <param name="Spreads">These spreads, by their places in the program.</param>
internal sealed record TotalsVisit(Visit Visit, int[] Spreads);
