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
    public const int Apart = 5 * VectorBytes;

    private readonly BlockInstruction[] uniform,
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
        var planner = new BlockPlan(code, loops);
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
        in BlockInstruction instruction,
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
            OfA = instruction.A.Location == Location.Uniform ? 0 : 1,
            OfB = instruction.B.Location == Location.Uniform ? 0 : 1,
            OfC = instruction.C.Location == Location.Uniform ? 0 : 1,
            OfD = instruction.D.Location == Location.Uniform ? 0 : 1,
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
    private byte* At(BlockOperand operand, nint* arrays, byte* same, byte* room, nint at, nint roomBytes) =>
        operand.Location switch
        {
            Location.Room => room + operand.Index * roomBytes,
            Location.Uniform => same + operand.Index * VectorBytes,
            // A negative place: an array of words.
            _ => operand.Index >= 0 ? (byte*)arrays[operand.Index] + at * Code.Size : (byte*)arrays[~operand.Index] + at * sizeof(ushort),
        };
}
