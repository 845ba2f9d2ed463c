using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>
/// Runs the code of a visit operation by operation over blocks of elements that stay in the cache. Values are read and written where
/// arrays lie, as far as that is possible, and else in room beside them.
/// </summary>
internal sealed unsafe class BlockKernel : VisitKernel
{
    /// <summary>Bytes of a block in all arrays and in the room beside them: half of the first cache, since the next block is fetched meanwhile.</summary>
    private const int Cache = 20 << 10;

    private const int MostElements = 2048;
    public const int VectorBytes = 64;

    /// <summary>Rooms do not begin at the same offset in a page: a load would be held up by a store to the other (4K aliasing).</summary>
    private const int Apart = 5 * VectorBytes;

    /// <summary>Where a value is: in an array, in room beside them, or the same vector for all elements.</summary>
    private enum Place : byte
    {
        Array,
        Room,
        Uniform,
    }

    private readonly record struct Operand(Place Place, int Index);

    private readonly struct Instruction(BlockLoop loop, Operand target, Operand a, Operand b, Operand c, Operand d)
    {
        public readonly delegate* <BlockArguments*, void> Loop = loop.Body;
        public readonly Operand Target = target,
            A = a,
            B = b,
            C = c,
            D = d;
    }

    private readonly Instruction[] uniform,
        instructions;

    /// <summary>Of which array each instruction fetches what the next block needs, and the size of its elements.</summary>
    private readonly (int Array, int Size)[] fetches;

    private readonly int uniforms,
        rooms,
        block;

    private readonly (int At, double Value, uint Bits, bool IsBits)[] constants;
    private readonly BlockLoops loops;

    private BlockKernel(KernelCode code, BlockLoops loops)
        : base(code)
    {
        this.loops = loops;
        var planner = new Planner(code, loops);
        (uniform, instructions, constants) = planner.Plan();
        (uniforms, rooms) = (planner.Uniforms, Math.Max(planner.Rooms, 1));
        fetches = new (int, int)[instructions.Length];
        // By the last ones first: divisions and roots wait least for memory.
        var last = instructions.Length;
        foreach (var use in code.ArrayUses)
            if (use.IsRead && last > 0)
                fetches[--last] = (use.Array, use.Size);
        block = Math.Max(1, Math.Min(MostElements, Cache / (code.Footprint + rooms * code.Size)) / Count) * Count;
    }

    public override int Count => loops.Count;

    /// <summary>The kernel of a code, on lanes of its arithmetic.</summary>
    /// <typeparam name="F">Lanes of float32.</typeparam>
    /// <typeparam name="D">Lanes of float64.</typeparam>
    public static BlockKernel Of<F, D>(KernelCode code)
        where F : struct, IVector<F>
        where D : struct, IVector<D> => new(code, code.IsDouble ? BlockLoops.Of<D>() : BlockLoops.Of<F>());

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    protected override nint Vectors(ref nint* entry, nint stride, nint at, nint end, void* numbers, bool streams)
    {
        var sameRoom = stackalloc byte[(uniforms + 1) * VectorBytes];
        var same = Aligned(sameRoom);
        for (var i = 0; i < Code.Numbers; i++)
            loops.Number((byte*)numbers + i * Code.Size, same + i * VectorBytes);
        foreach (var (place, value, bits, isBits) in constants)
            loops.Constant(value, bits, isBits, same + place * VectorBytes);
        foreach (ref readonly var instruction in uniform.AsSpan())
            Run(in instruction, SliceTable.AddressesOf(entry), same, same, 0, 0, Count, default);
        var roomBytes = (int)Math.Min(block, end - at) * Code.Size + Apart;
        var allRooms = stackalloc byte[rooms * roomBytes + VectorBytes];
        var room = Aligned(allRooms);
        while (at < end)
        {
            var first = at - entry[0];
            var last = Math.Min(end, entry[stride]) - entry[0];
            var whole = last - (last - first) % Count;
            Slice(SliceTable.AddressesOf(entry), first, whole, same, room, roomBytes, streams);
            at = entry[0] + whole;
            if (whole < last)
                break;
            entry += stride;
        }
        return at;
    }

    /// <summary>The first address from one on at which a vector lies in one line of the cache.</summary>
    public static byte* Aligned(byte* address) => (byte*)(((nint)address + VectorBytes - 1) & -VectorBytes);

    /// <summary>Elements [begin, end) of a slice, which are whole vectors.</summary>
    private void Slice(nint* arrays, nint begin, nint end, byte* same, byte* room, int roomBytes, bool streams)
    {
        for (var at = begin; at < end; at += block)
        {
            // Neighbouring blocks are worked on one after the other, so what lies after this one is needed next.
            for (var i = 0; i < instructions.Length; i++)
                Run(in instructions[i], arrays, same, room, at, roomBytes, (int)Math.Min(block, end - at), streams ? fetches[i] : default);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Run(
        in Instruction instruction,
        nint* arrays,
        byte* same,
        byte* room,
        nint at,
        nint roomBytes,
        int count,
        (int Array, int Size) fetched
    )
    {
        // Arrays of words are told by their loops, which take the address of the first element and its number.
        var arguments = new BlockArguments
        {
            Target = At(instruction.Target, arrays, same, room, at, roomBytes),
            A = At(instruction.A, arrays, same, room, at, roomBytes),
            B = At(instruction.B, arrays, same, room, at, roomBytes),
            C = At(instruction.C, arrays, same, room, at, roomBytes),
            D = At(instruction.D, arrays, same, room, at, roomBytes),
            OfA = instruction.A.Place == Place.Uniform ? 0 : 1,
            OfB = instruction.B.Place == Place.Uniform ? 0 : 1,
            OfC = instruction.C.Place == Place.Uniform ? 0 : 1,
            OfD = instruction.D.Place == Place.Uniform ? 0 : 1,
            Count = count,
        };
        if (fetched.Size > 0)
        {
            arguments.Ahead = (byte*)arrays[fetched.Array] + (at + count) * fetched.Size;
            arguments.Lead = 4 * Count * fetched.Size;
        }
        instruction.Loop(&arguments);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* At(Operand operand, nint* arrays, byte* same, byte* room, nint at, nint roomBytes) =>
        operand.Place switch
        {
            Place.Room => room + operand.Index * roomBytes,
            Place.Uniform => same + operand.Index * VectorBytes,
            // A negative place: an array of words.
            _ => operand.Index >= 0 ? (byte*)arrays[operand.Index] + at * Code.Size : (byte*)arrays[~operand.Index] + at * sizeof(ushort),
        };

    /// <summary>Decides where each value is, and in which order they are worked out.</summary>
    private sealed class Planner(KernelCode code, BlockLoops loops)
    {
        private readonly Operand[] places = new Operand[code.Nodes.Length];
        private readonly int[] lastUse = new int[code.Nodes.Length];
        private readonly Stack<int> free = new();

        /// <summary>Values that are worked out with the one that alone needs them, and what they are as one operation with it.</summary>
        private readonly bool[] isInner = new bool[code.Nodes.Length];
        private readonly Fused?[] fused = new Fused?[code.Nodes.Length];

        /// <summary>Some operations as one, and its operands.</summary>
        private sealed record Fused(Fusion Fusion, int[] Operands, bool IsMove = false);

        public int Rooms { get; private set; }
        public int Uniforms { get; private set; } = code.Numbers;

        public (Instruction[], Instruction[], (int, double, uint, bool)[]) Plan()
        {
            var (once, each) = (new List<Instruction>(), new List<Instruction>());
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
                        places[i] = new(Place.Uniform, (int)node.Value);
                        continue;
                    case Operation.Constant or Operation.Bits:
                        places[i] = new(Place.Uniform, Uniforms++);
                        var isBits = node.Operation == Operation.Bits;
                        constants.Add((places[i].Index, isBits ? 0 : node.Constant, isBits ? (uint)node.Value : 0, isBits));
                        continue;
                    case Operation.Load:
                        places[i] = new(Place.Array, (int)node.Value);
                        continue;
                }
                var (a, b, c, d) =
                    node.Operation == Operation.LoadWords
                        ? (new(Place.Array, ~(int)node.Value), default, default, default)
                        : (Of(OperandOf(i, 0)), Of(OperandOf(i, 1)), Of(OperandOf(i, 2)), Of(OperandOf(i, 3)));
                // Operands that are not needed any more leave their room to the result.
                if (!code.IsUniform[i])
                    for (var k = 0; k < 4; k++)
                        Release(OperandOf(i, k), i);
                places[i] =
                    code.IsUniform[i] ? new(Place.Uniform, Uniforms++)
                    : direct.TryGetValue(i, out var array) ? new(Place.Array, array)
                    : new(Place.Room, free.TryPop(out var room) ? room : Rooms++);
                var loop =
                    fused[i] is not { } several || several is { IsMove: false, Fusion.Length: 1 }
                        ? loops.For(node.Operation, (int)node.Value)
                    : several.IsMove ? loops.Move
                    : loops.For(several.Fusion, a.Place == Place.Uniform && (c.Place == Place.Uniform || !several.Fusion.IsTree));
                (code.IsUniform[i] ? once : each).Add(new(loop, places[i], a, b, c, d));
            }
            // What an array held before, and another becomes, is put aside before the first of them is written.
            foreach (var store in code.Stores)
                if (places[store.Node] is { Place: Place.Array } source && !direct.ContainsKey(store.Node) && IsWritten(source.Index))
                {
                    places[store.Node] = new(Place.Room, Rooms++);
                    each.Add(new(loops.Copy, places[store.Node], source, default, default, default));
                }
            foreach (var store in code.Stores)
                if (!(direct.TryGetValue(store.Node, out var array) && array == store.Array))
                    each.Add(
                        new(
                            store.IsWords ? loops.StoreWords : loops.Copy,
                            new(Place.Array, store.IsWords ? ~store.Array : store.Array),
                            places[store.Node],
                            default,
                            default,
                            default
                        )
                    );
            return ([.. once], [.. each], [.. constants]);
        }

        private bool IsWritten(int array) => code.Stores.Any(store => !store.IsWords && store.Array == array);

        private Operand Of(int node) => node < 0 ? default : places[node];

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
                if (node.Operation == Operation.Fma && InnerOf(node.B) is { } difference)
                {
                    // A Fused that is not more than a difference.
                    var (operands, which) = (difference.Operands, difference.Fusion);
                    if (which is { Length: 1, First: Operation.Subtract } && operands[1] == node.C)
                    {
                        fused[i] = new(which, [node.A, operands[0], node.C], IsMove: true);
                        isInner[node.B] = true;
                    }
                }
                else if (node.Operation == Operation.Sqrt)
                    fused[i] = new(new(Operation.Sqrt), [node.A]);
                else if (node.Operation is Operation.Add or Operation.Subtract or Operation.Multiply or Operation.Divide)
                    fused[i] = Joined(node);
            }
        }

        private Fused Joined(Node node)
        {
            var (left, right) = (InnerOf(node.A), node.A == node.B ? null : InnerOf(node.B));
            if (IsPlain(left) && IsPlain(right))
            {
                isInner[node.A] = isInner[node.B] = true;
                return new(
                    new(left!.Fusion.First, node.Operation, true, right!.Fusion.First, IsTree: true),
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
            node >= 0 && code.Uses[node] == 1 && !code.IsUniform[node] && fused[node] is { IsMove: false, Fusion.Length: < 3 } several
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
            if (node < 0 || lastUse[node] != at || places[node].Place != Place.Room)
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
}
