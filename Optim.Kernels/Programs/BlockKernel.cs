using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Optim.Kernels;

/// <summary>
/// Runs the code of a visit operation by operation over blocks of elements that stay in the cache. Values are read and written where
/// arrays lie, as far as that is possible, and else in room beside them.
/// </summary>
internal sealed unsafe class BlockKernel : VisitKernel
{
    /// <summary>Bytes of the room beside arrays: within the first cache, and a thread's stack.</summary>
    private const int Room = 24 << 10;

    private const int MostElements = 2048;
    private const int VectorBytes = 64;

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

    private readonly struct Instruction(BlockLoop loop, Operand target, Operand a, Operand b, Operand c)
    {
        public readonly delegate* <byte*, byte*, nint, byte*, nint, byte*, nint, int, void> Loop = loop.Body;
        public readonly Operand Target = target,
            A = a,
            B = b,
            C = c;
    }

    private readonly Instruction[] uniform,
        instructions;

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
        block = Math.Max(1, Math.Min(MostElements, Room / code.Size / rooms) / Count) * Count;
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
        var same = stackalloc byte[uniforms * VectorBytes];
        for (var i = 0; i < Code.Numbers; i++)
            loops.Number((byte*)numbers + i * Code.Size, same + i * VectorBytes);
        foreach (var (place, value, bits, isBits) in constants)
            loops.Constant(value, bits, isBits, same + place * VectorBytes);
        foreach (ref readonly var instruction in uniform.AsSpan())
            Run(in instruction, SliceTable.AddressesOf(entry), same, same, 0, 0, Count);
        var roomBytes = (int)Math.Min(block, end - at) * Code.Size + Apart;
        var room = stackalloc byte[rooms * roomBytes];
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

    /// <summary>Elements [begin, end) of a slice, which are whole vectors.</summary>
    private void Slice(nint* arrays, nint begin, nint end, byte* same, byte* room, int roomBytes, bool streams)
    {
        for (var at = begin; at < end; at += block)
        {
            // The next block is fetched meanwhile: a block is too short for the processor to see where it goes on.
            var next = new Prefetch(Code, arrays, at + block, streams ? (int)Math.Min(block, end - at - block) : 0, instructions.Length);
            foreach (ref readonly var instruction in instructions.AsSpan())
            {
                next.Some();
                Run(in instruction, arrays, same, room, at, roomBytes, (int)Math.Min(block, end - at));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Run(in Instruction instruction, nint* arrays, byte* same, byte* room, nint at, nint roomBytes, int count)
    {
        // Arrays of words are told by their loops, which take the address of the first element and its number.
        var target = At(instruction.Target, arrays, same, room, at, roomBytes);
        instruction.Loop(
            target,
            At(instruction.A, arrays, same, room, at, roomBytes),
            instruction.A.Place == Place.Uniform ? 0 : 1,
            At(instruction.B, arrays, same, room, at, roomBytes),
            instruction.B.Place == Place.Uniform ? 0 : 1,
            At(instruction.C, arrays, same, room, at, roomBytes),
            instruction.C.Place == Place.Uniform ? 0 : 1,
            count
        );
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

    /// <summary>The cache lines of a block, some of them at a time.</summary>
    private ref struct Prefetch
    {
        private const int Line = 64;
        private readonly ReadOnlySpan<ArrayUse> uses;
        private readonly nint* arrays;
        private readonly nint first;
        private readonly int count;
        private readonly int each;
        private int use;
        private int offset;

        public Prefetch(KernelCode code, nint* arrays, nint first, int count, int times)
        {
            uses = count > 0 && Sse.IsSupported ? code.ArrayUses : [];
            this.arrays = arrays;
            (this.first, this.count) = (first, count);
            each = count > 0 ? count * code.Footprint / Line / Math.Max(times, 1) + 1 : 0;
        }

        public void Some()
        {
            for (var i = 0; i < each && use < uses.Length; i++)
            {
                Sse.Prefetch1((byte*)arrays[uses[use].Array] + first * uses[use].Size + offset);
                offset += Line;
                if (offset >= count * uses[use].Size)
                    (use, offset) = (use + 1, 0);
            }
        }
    }

    /// <summary>Decides where each value is, and in which order they are worked out.</summary>
    private sealed class Planner(KernelCode code, BlockLoops loops)
    {
        private readonly Operand[] places = new Operand[code.Nodes.Length];
        private readonly int[] lastUse = new int[code.Nodes.Length];
        private readonly Stack<int> free = new();

        /// <summary>Values that are worked out with the one that alone needs them, and the two of them as one operation.</summary>
        private readonly bool[] isInner = new bool[code.Nodes.Length];
        private readonly (BlockLoop Loop, int A, int B, int C)?[] pairs = new (BlockLoop, int, int, int)?[code.Nodes.Length];

        public int Rooms { get; private set; }
        public int Uniforms { get; private set; } = code.Numbers;

        public (Instruction[], Instruction[], (int, double, uint, bool)[]) Plan()
        {
            var (once, each) = (new List<Instruction>(), new List<Instruction>());
            var constants = new List<(int, double, uint, bool)>();
            FindPairs();
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
                var (a, b, c) =
                    node.Operation == Operation.LoadWords
                        ? (new(Place.Array, ~(int)node.Value), default, default)
                        : (Of(OperandOf(i, 0)), Of(OperandOf(i, 1)), Of(OperandOf(i, 2)));
                // Operands that are not needed any more leave their room to the result.
                if (!code.IsUniform[i])
                    for (var k = 0; k < 3; k++)
                        Release(OperandOf(i, k), i);
                places[i] =
                    code.IsUniform[i] ? new(Place.Uniform, Uniforms++)
                    : direct.TryGetValue(i, out var array) ? new(Place.Array, array)
                    : new(Place.Room, free.TryPop(out var room) ? room : Rooms++);
                var loop = pairs[i]?.Loop ?? loops.For(node.Operation, (int)node.Value);
                (code.IsUniform[i] ? once : each).Add(new(loop, places[i], a, b, c));
            }
            // What an array held before, and another becomes, is put aside before the first of them is written.
            foreach (var store in code.Stores)
                if (places[store.Node] is { Place: Place.Array } source && !direct.ContainsKey(store.Node) && IsWritten(source.Index))
                {
                    places[store.Node] = new(Place.Room, Rooms++);
                    each.Add(new(loops.Copy, places[store.Node], source, default, default));
                }
            foreach (var store in code.Stores)
                if (!(direct.TryGetValue(store.Node, out var array) && array == store.Array))
                    each.Add(
                        new(
                            store.IsWords ? loops.StoreWords : loops.Copy,
                            new(Place.Array, store.IsWords ? ~store.Array : store.Array),
                            places[store.Node],
                            default,
                            default
                        )
                    );
            return ([.. once], [.. each], [.. constants]);
        }

        private bool IsWritten(int array) => code.Stores.Any(store => !store.IsWords && store.Array == array);

        private Operand Of(int node) => node < 0 ? default : places[node];

        /// <summary>An operand of a value, or of the two operations that it comes out of.</summary>
        private int OperandOf(int node, int index) =>
            pairs[node] is not { } pair ? code.Nodes[node].Operand(index)
            : index == 0 ? pair.A
            : index == 1 ? pair.B
            : pair.C;

        /// <summary>Two operations of which the second alone needs the first become one: what a block costs is what it loads and stores.</summary>
        private void FindPairs()
        {
            for (var i = 0; i < code.Nodes.Length; i++)
            {
                var node = code.Nodes[i];
                for (var k = 0; k < 2 && pairs[i] is null && !code.IsUniform[i]; k++)
                {
                    if (
                        !(node.Operand(k) is >= 0 and var inner)
                        || code.Uses[inner] > 1
                        || code.IsUniform[inner]
                        || pairs[inner] is not null
                    )
                        continue;
                    var first = code.Nodes[inner];
                    if (node.Operation == Operation.Fma && k == 1 && first.Operation == Operation.Subtract && first.B == node.C)
                        pairs[i] = (loops.Move, node.A, first.A, node.C);
                    else if (loops.Pair(first.Operation, node.Operation, k == 0) is { } loop)
                        pairs[i] = (loop, first.A, first.B, node.Operand(1 - k));
                    isInner[inner] = pairs[i] is not null;
                }
            }
        }

        private void FindLastUses()
        {
            for (var i = 0; i < code.Nodes.Length; i++)
            for (var k = 0; k < 3; k++)
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
