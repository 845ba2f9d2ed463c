namespace Optim.Kernels;

/// <summary>Where a value is: in an array, in room beside them, or the same vector for all elements.</summary>
internal enum Location : byte
{
    Array,
    Room,
    Uniform,
}

internal readonly record struct BlockOperand(Location Location, int Index);

internal readonly unsafe struct BlockInstruction(
    BlockLoop loop,
    BlockOperand target,
    BlockOperand a,
    BlockOperand b,
    BlockOperand c,
    BlockOperand d
)
{
    public readonly delegate* <BlockArguments*, void> Loop = loop.Body;
    public readonly BlockOperand Target = target,
        A = a,
        B = b,
        C = c,
        D = d;
}

/// <summary>Decides where each value is, and in which order they are worked out.</summary>
internal sealed class BlockPlan(KernelCode code, BlockLoops loops)
{
    private readonly BlockOperand[] places = new BlockOperand[code.Nodes.Length];
    private readonly int[] lastUse = new int[code.Nodes.Length];
    private readonly Stack<int> free = new();

    /// <summary>Values that are worked out with the one that alone needs them, and what they are as one operation with it.</summary>
    private readonly bool[] isInner = new bool[code.Nodes.Length];
    private readonly Fused?[] fused = new Fused?[code.Nodes.Length];

    /// <summary>Some operations as one, and its operands.</summary>
    private sealed record Fused(Fusion Fusion, int[] Operands, BlockLoop? Loop = null);

    public int Rooms { get; private set; }
    public int Uniforms { get; private set; } = code.Numbers;

    public (BlockInstruction[], BlockInstruction[], (int, double, uint, bool)[]) Plan()
    {
        var (once, each) = (new List<BlockInstruction>(), new List<BlockInstruction>());
        var constants = new List<(int, double, uint, bool)>();
        Fuse();
        FindLastUses();
        var direct = ValuesInTheirArrays();
        for (var i = 0; i < code.Nodes.Length; i++)
        {
            var node = code.Nodes[i];
            switch (node.Operation)
            {
                case var _ when isInner[i]:
                    continue;
                case Operation.Number:
                    places[i] = new(Location.Uniform, (int)node.Value);
                    continue;
                case Operation.Constant or Operation.Bits:
                    places[i] = new(Location.Uniform, Uniforms++);
                    var isBits = node.Operation == Operation.Bits;
                    constants.Add((places[i].Index, isBits ? 0 : node.Constant, isBits ? (uint)node.Value : 0, isBits));
                    continue;
                case Operation.Load:
                    places[i] = new(Location.Array, (int)node.Value);
                    continue;
            }
            var (a, b, c, d) =
                node.Operation == Operation.LoadWords
                    ? (new(Location.Array, ~(int)node.Value), default, default, default)
                    : (Of(OperandOf(i, 0)), Of(OperandOf(i, 1)), Of(OperandOf(i, 2)), Of(OperandOf(i, 3)));
            // Operands that are not needed any more leave their room to the result.
            if (!code.IsUniform[i])
                for (var k = 0; k < 4; k++)
                    Release(OperandOf(i, k), i);
            places[i] =
                code.IsUniform[i] ? new(Location.Uniform, Uniforms++)
                : direct.TryGetValue(i, out var array) ? new(Location.Array, array)
                : new(Location.Room, free.TryPop(out var room) ? room : Rooms++);
            var loop = fused[i] is { } several ? LoopOf(several, node, a, c) : loops.For(node.Operation, (int)node.Value);
            (code.IsUniform[i] ? once : each).Add(new(loop, places[i], a, b, c, d));
        }
        // What an array held before, and another becomes, is put aside before the first of them is written.
        foreach (var store in code.Stores)
            if (places[store.Node] is { Location: Location.Array } source && !direct.ContainsKey(store.Node) && IsWritten(source.Index))
            {
                places[store.Node] = new(Location.Room, Rooms++);
                each.Add(new(loops.Copy, places[store.Node], source, default, default, default));
            }
        foreach (var store in code.Stores)
            if (!(direct.TryGetValue(store.Node, out var array) && array == store.Array))
                each.Add(
                    new(
                        store.IsWords ? loops.StoreWords : loops.Copy,
                        new(Location.Array, store.IsWords ? ~store.Array : store.Array),
                        places[store.Node],
                        default,
                        default,
                        default
                    )
                );
        return ([.. once], [.. each], [.. constants]);
    }

    private BlockLoop LoopOf(Fused several, Node node, BlockOperand a, BlockOperand c)
    {
        if (several.Loop is { } known)
            return known;
        var fusion = several.Fusion;
        var isUniform = a.Location == Location.Uniform && (c.Location == Location.Uniform || !fusion.IsTree);
        var isAlone = fusion is { Length: 1, IsSquare: false } && !(isUniform && several.Operands.Length == 2);
        return isAlone ? loops.For(node.Operation, 0) : loops.For(fusion, isUniform);
    }

    private bool IsWritten(int array) => code.Stores.Any(store => !store.IsWords && store.Array == array);

    private BlockOperand Of(int node) => node < 0 ? default : places[node];

    /// <summary>An operand of a value, or of the operations that it comes out of.</summary>
    private int OperandOf(int node, int index) =>
        fused[node] is { } several
            ? index < several.Operands.Length
                ? several.Operands[index]
                : -1
            : index < 3
                ? code.Nodes[node].Operand(index)
                : -1;

    /// <summary>Makes one of operations of which each is needed by the next alone: what a block costs is what it loads and stores.</summary>
    private void Fuse()
    {
        for (var i = 0; i < code.Nodes.Length; i++)
        {
            var node = code.Nodes[i];
            if (code.IsUniform[i])
                continue;
            if (node.Operation is Operation.Fma or Operation.Select)
                fused[i] = Known(node);
            else if (node.Operation == Operation.Sqrt)
                fused[i] = new(new(Operation.Sqrt), [node.A]);
            else if (node.Operation is Operation.Add or Operation.Subtract or Operation.Multiply or Operation.Divide)
                fused[i] = Joined(node);
        }
    }

    /// <summary>Shapes that have loops of their own: moving towards a value or its square, and choosing by a comparison.</summary>
    private Fused? Known(Node node)
    {
        if (node.Operation == Operation.Select)
        {
            if (code.Uses[node.A] > 1 || code.IsUniform[node.A] || code.Nodes[node.A] is not { Operation: Operation.Greater } greater)
                return null;
            isInner[node.A] = true;
            return new(default, [greater.A, greater.B, node.B, node.C], loops.Choose);
        }
        if (InnerOf(node.B) is { Fusion: { Length: 1, First: Operation.Subtract } } difference && difference.Operands[1] == node.C)
        {
            isInner[node.B] = true;
            return new(default, [node.A, difference.Operands[0], node.C], loops.Move);
        }
        if (!(IsProduct(InnerOf(node.A), out var scaled) && scaled[1] == node.B && IsProduct(InnerOf(node.C), out var kept)))
            return null;
        isInner[node.A] = isInner[node.C] = true;
        return new(default, [.. scaled, .. kept], loops.MoveSquare);
    }

    private static bool IsProduct(Fused? several, out int[] operands)
    {
        operands = several?.Operands ?? [];
        return several is { Fusion: { Length: 1, First: Operation.Multiply, IsSquare: false } };
    }

    private Fused Joined(Node node)
    {
        if (node.Operation == Operation.Multiply && IsProduct(InnerOf(node.A), out var factors) && factors[1] == node.B)
        {
            isInner[node.A] = true;
            return new(new(Operation.Multiply, IsSquare: true), factors);
        }
        var (left, right) = (InnerOf(node.A), node.A == node.B ? null : InnerOf(node.B));
        if (IsPlain(left) && IsPlain(right))
        {
            isInner[node.A] = isInner[node.B] = true;
            return new(
                new(
                    left!.Fusion.First,
                    node.Operation,
                    true,
                    right!.Fusion.First,
                    IsTree: true,
                    IsSquare: left.Fusion.IsSquare,
                    IsThirdSquare: right.Fusion.IsSquare
                ),
                [.. left.Operands, .. right.Operands]
            );
        }
        var isLeft = left is not null && !(right?.Fusion.Length > left.Fusion.Length);
        if ((isLeft ? left : right) is not { } inner)
            return new(new(node.Operation), [node.A, node.B]);
        isInner[isLeft ? node.A : node.B] = true;
        return new(inner.Fusion.Then(node.Operation, isLeft), [.. inner.Operands, isLeft ? node.B : node.A]);
    }

    private static bool IsPlain(Fused? several) => several is { Fusion.Length: 1, Operands.Length: 2 };

    /// <summary>What a value is as operations that can be joined with the one that needs it; null where others need it, too.</summary>
    private Fused? InnerOf(int node) =>
        node >= 0 && code.Uses[node] == 1 && !code.IsUniform[node] && fused[node] is { Loop: null, Fusion.Length: < 3 } several
            ? several
            : null;

    private void FindLastUses()
    {
        for (var i = 0; i < code.Nodes.Length; i++)
        for (var k = 0; k < 4; k++)
            if (!isInner[i] && OperandOf(i, k) is >= 0 and var operand)
                lastUse[operand] = i;
        foreach (var store in code.Stores)
            lastUse[store.Node] = int.MaxValue;
    }

    private void Release(int node, int at)
    {
        if (node < 0 || lastUse[node] != at || places[node].Location != Location.Room)
            return;
        lastUse[node] = -1; // once, where it is both operands
        free.Push(places[node].Index);
    }

    /// <summary>
    /// Values that can be worked out in the array that they are stored to: what is there before is not read by anything that comes
    /// later, nor is it the value of another array.
    /// </summary>
    private Dictionary<int, int> ValuesInTheirArrays()
    {
        var found = new Dictionary<int, int>();
        foreach (var store in code.Stores)
        {
            var node = code.Nodes[store.Node];
            if (
                store.IsWords
                || code.IsUniform[store.Node]
                || node.Operation is Operation.Load or Operation.LoadWords
                || found.ContainsKey(store.Node)
            )
                continue;
            var isFree = true;
            for (var i = 0; i < code.Nodes.Length; i++)
                if (code.Nodes[i].Operation == Operation.Load && code.Nodes[i].Value == store.Array)
                    isFree = lastUse[i] <= store.Node;
            if (isFree)
                found.Add(store.Node, store.Array);
        }
        return found;
    }
}
