using System.Numerics;
using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>The shares of a pass over whole tensors, block by block.</summary>
/// <typeparam name="T">float or double.</typeparam>
internal static unsafe class HostKernel<T>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private const int VectorBytes = 64;

    /// <summary>Running sums: element i of what is summed goes to sum i modulo so many.</summary>
    private const int Running = 16;

    /// <summary>Works elements out and leaves them in memory.</summary>
    [SkipLocalsInit]
    public static void Run(nint begin, nint end, void* context)
    {
        var pass = (HostPass*)context;
        var room = stackalloc byte[Bytes(pass)];
        var table = stackalloc byte*[Operands(pass)];
        Lay(pass, room, table);
        for (var at = begin; at < end; at += pass->Block)
            Block(pass, table, at, (int)Math.Min(pass->Block, end - at), null);
    }

    /// <summary>Works elements out and sums them up, too.</summary>
    [SkipLocalsInit]
    public static void Sum(nint begin, nint end, void* context)
    {
        var pass = (HostPass*)context;
        var room = stackalloc byte[Bytes(pass)];
        var table = stackalloc byte*[Operands(pass)];
        Lay(pass, room, table);
        for (var task = pass->TaskAt(begin); task < pass->TaskAt(end); task++)
        {
            var (outer, piece) = (task / pass->Pieces, task % pass->Pieces);
            var first = piece * pass->Piece;
            var rows = Math.Min(pass->Piece, pass->Along - first);
            var from = (outer * pass->Along + first) * pass->Inner;
            if (pass->Inner == 1)
                Row(pass, table, from, rows, pass->Sums + task);
            else
                Columns(pass, table, from, rows, pass->Sums + task * pass->Inner);
        }
    }

    private static void Row(HostPass* pass, byte** table, nint from, nint length, double* result)
    {
        var start = pass->Reduction == WholeReduction.Max ? double.NegativeInfinity : 0;
        var running = stackalloc double[Running];
        for (var i = 0; i < Running; i++)
            running[i] = start;
        for (nint at = 0; at < length; at += pass->Block)
            Block(pass, table, from + at, (int)Math.Min(pass->Block, length - at), running);
        for (var half = Running / 2; half > 0; half /= 2)
        for (var i = 0; i < half; i++)
            running[i] = pass->Reduction == WholeReduction.Max ? Math.Max(running[i], running[i + half]) : running[i] + running[i + half];
        *result = running[0];
    }

    private static void Columns(HostPass* pass, byte** table, nint from, nint rows, double* result)
    {
        var start = pass->Reduction == WholeReduction.Max ? double.NegativeInfinity : 0;
        for (nint i = 0; i < pass->Inner; i++)
            result[i] = start;
        var (inner, block) = (pass->Inner, pass->Block);
        if (inner <= block)
        {
            // Some rows at once.
            var together = block / inner;
            for (nint row = 0; row < rows; row += together)
            {
                var some = Math.Min(together, rows - row);
                Block(pass, table, from + row * inner, (int)(some * inner), result, inner);
            }
            return;
        }
        for (nint column = 0; column < inner; column += block)
        {
            var length = (int)Math.Min(block, inner - column);
            for (nint row = 0; row < rows; row++)
                Block(pass, table, from + row * inner + column, length, result + column, length);
        }
    }

    private static int Operands(HostPass* pass) => pass->UniformCount + pass->LeafCount + pass->RoomCount;

    private static int RoomBytes(HostPass* pass) => pass->Block * sizeof(T) + VectorBytes;

    private static int Bytes(HostPass* pass) => (pass->LeafCount + pass->RoomCount + 1) * (RoomBytes(pass) + VectorBytes) + VectorBytes;

    /// <summary>Where operands lie that do not move, and rooms for the others.</summary>
    private static void Lay(HostPass* pass, byte* room, byte** table)
    {
        for (var i = 0; i < pass->UniformCount; i++)
            table[i] = pass->Uniforms + i * VectorBytes;
        room = (byte*)(((nint)room + VectorBytes - 1) & -VectorBytes);
        for (var i = pass->UniformCount; i < Operands(pass); i++)
            table[i] = room + (i - pass->UniformCount) * RoomOf(pass);
    }

    // Rooms do not begin at the same offset in a page.
    private static int RoomOf(HostPass* pass) => (RoomBytes(pass) + VectorBytes - 1) / VectorBytes * VectorBytes;

    private static void Block(HostPass* pass, byte** table, nint at, int length, double* sums, nint inner = 0)
    {
        // Whole vectors where they lie, and what is left over in rooms.
        var whole = length - length % pass->Lanes;
        if (inner > 0 && whole < length)
        {
            // Columns are told by their place in the block: all of it in rooms.
            Part(pass, table, at, length, false, sums, inner);
            return;
        }
        if (whole > 0)
            Part(pass, table, at, whole, true, sums, inner);
        // Blocks are whole numbers of running sums, so these few do not go beyond the last one.
        if (whole < length)
            Part(pass, table, at + whole, length - whole, false, sums == null || inner > 0 ? sums : sums + whole % Running, inner);
    }

    /// <summary>Whole vectors, of which all elements are there; or any number of elements, in rooms.</summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Part(HostPass* pass, byte** table, nint at, int length, bool isWhole, double* sums, nint inner)
    {
        var uniforms = pass->UniformCount;
        var leaves = table + uniforms;
        var count = (length + pass->Lanes - 1) / pass->Lanes * pass->Lanes;
        // Where rooms of leaves are: after the pass they are there again.
        var rooms = stackalloc byte*[Operands(pass) + 1];
        for (var i = uniforms; i < Operands(pass); i++)
            rooms[i] = table[i];
        for (var i = 0; i < pass->LeafCount; i++)
        {
            var leaf = pass->Leaves + i;
            if (leaf->IsDirect && isWhole)
                leaves[i] = (byte*)leaf->Address + at * sizeof(T);
            else
                Gather(leaf, at, length, (T*)leaves[i], count);
        }
        BlockArguments arguments = default;
        arguments.Count = count;
        for (var i = 0; i < pass->StepCount; i++)
        {
            var step = pass->Steps + i;
            arguments.A = table[step->A];
            arguments.OfA = step->A < uniforms ? 0 : 1;
            arguments.B = table[step->B];
            arguments.OfB = step->B < uniforms ? 0 : 1;
            arguments.C = table[step->C];
            arguments.OfC = step->C < uniforms ? 0 : 1;
            arguments.D = table[step->D];
            arguments.OfD = step->D < uniforms ? 0 : 1;
            // After the operands: one of them may have been where the result is for those that do not write to memory.
            if (step->Result >= 0 && isWhole)
                table[step->Target] = (byte*)pass->Results[step->Result].Address + at * sizeof(T);
            arguments.Target = table[step->Target];
            ((delegate* <BlockArguments*, void>)step->Body)(&arguments);
        }
        for (var i = 0; i < pass->ResultCount; i++)
        {
            var result = pass->Results + i;
            if (!result->IsDirect || !isWhole)
                new ReadOnlySpan<T>(table[result->From], length).CopyTo(new((T*)result->Address + at, length));
        }
        if (sums != null)
        {
            var summed = (T*)table[pass->Summed];
            if (inner == 0)
                HostSums<T>.Along(pass->Reduction, summed, length, sums);
            else
                for (nint from = 0; from < length; from += inner)
                    HostSums<T>.Across(pass->Reduction, summed + from, (int)inner, sums);
        }
        for (var i = uniforms; i < Operands(pass); i++)
            table[i] = rooms[i];
    }

    /// <summary>Copies elements of a leaf, in the order of the pass; what is beyond them is zero.</summary>
    private static void Gather(HostLeaf* leaf, nint at, int length, T* target, int room)
    {
        new Span<T>(target + length, room - length).Clear();
        if (leaf->IsDirect)
        {
            new ReadOnlySpan<T>((T*)leaf->Address + at, length).CopyTo(new(target, length));
            return;
        }
        for (var end = target + length; target < end; )
        {
            var (run, within) = (at / leaf->Run, at % leaf->Run);
            var take = Math.Min(leaf->Run - within, (nint)(end - target));
            var offset = within * leaf->Between;
            for (var i = 0; i < leaf->Outer; i++)
            {
                offset += run % (nint)leaf->Lengths[i] * (nint)leaf->Strides[i];
                run /= (nint)leaf->Lengths[i];
            }
            if (leaf->IsDouble)
                Copy((double*)leaf->Address + offset, leaf->Between, target, take);
            else
                Copy((float*)leaf->Address + offset, leaf->Between, target, take);
            target += take;
            at += take;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Copy<S>(S* source, nint between, T* target, nint count)
        where S : unmanaged, IBinaryFloatingPointIeee754<S>
    {
        if (between == 0)
            new Span<T>(target, (int)count).Fill(T.CreateTruncating(*source));
        else if (between == 1 && typeof(S) == typeof(T))
            new ReadOnlySpan<T>((T*)source, (int)count).CopyTo(new(target, (int)count));
        else
            for (nint i = 0; i < count; i++)
                target[i] = T.CreateTruncating(source[i * between]);
    }
}
