using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>What the passes of all engines begin with.</summary>
internal unsafe struct PassHead
{
    public nint* Entries;
    public int Stride;
    public int Slices;
}

/// <summary>
/// A pass of any engine over slices with narrow columns: some blocks at a time these are widened into room that stays in the first cache, the engine's own
/// loop goes over the blocks, and they are narrowed again. Shares begin at whole blocks of a slice, so the result does not depend on threads.
/// </summary>
internal unsafe struct NarrowPass
{
    private const int Block = StateStorage.BlockLength;

    /// <summary>Floats of all narrow columns that are wide at a time.</summary>
    private const int MostFloats = 8 * Block;

    private const int MostBlocks = 4;

    /// <summary>Floats between the rooms of two columns: they do not begin at the same offset in a page.</summary>
    private const int Apart = 16;

    /// <summary>Bytes of the largest pass.</summary>
    private const int MostBytes = 256;

    private nint* entries;
    private int stride;
    private int slices;
    private nint* kinds;
    private int columns;
    private int narrow;
    private long step;
    private Width width;
    private delegate* <nint, nint, void*, void> body;
    private PassHead* pass;
    private int bytes;
    private int elementSize;
    private bool streams;

    /// <summary>Runs a pass over neighbouring slices of which all have narrow columns; says how many threads took part.</summary>
    /// <param name="table">The kinds of the columns.</param>
    /// <param name="firstSlice">The first slice.</param>
    /// <param name="step">The step, counted from 1.</param>
    /// <param name="length">Elements of the slices.</param>
    /// <param name="body">The engine's loop.</param>
    /// <param name="pass">What it takes, beginning with a <see cref="PassHead"/>.</param>
    /// <param name="bytes">Bytes of that.</param>
    /// <param name="elementSize">Bytes of an element of parameters and gradients.</param>
    /// <param name="executor">Who runs it.</param>
    public static int Run(
        NarrowTable table,
        int firstSlice,
        long step,
        nint length,
        delegate* <nint, nint, void*, void> body,
        void* pass,
        int bytes,
        int elementSize,
        Executor executor
    )
    {
        var head = (PassHead*)pass;
        var kinds = table.Of(firstSlice);
        var narrow = 0;
        for (var slice = 0; slice < head->Slices; slice++)
        {
            var here = 0;
            for (var column = 0; column < table.Columns; column++)
                here += kinds[(slice * (nint)table.Columns + column) * 2] != (nint)NarrowKind.Wide ? 1 : 0;
            narrow = Math.Max(narrow, here);
        }
        var own = new NarrowPass
        {
            entries = head->Entries,
            stride = head->Stride,
            slices = head->Slices,
            kinds = kinds,
            columns = table.Columns,
            narrow = narrow,
            step = step,
            width = Lanes.Width,
            body = body,
            pass = head,
            elementSize = elementSize,
            streams = length * (2L * elementSize + narrow) > Driver.Cache,
            bytes = bytes <= MostBytes ? bytes : throw new InvalidOperationException($"a pass of {bytes} bytes"),
        };
        var took = executor.Run(length, &RunShare, &own);
        GC.KeepAlive(table);
        return took;
    }

    /// <summary>The blocks of slices that begin in elements [begin, end).</summary>
    [SkipLocalsInit]
    private static void RunShare(nint begin, nint end, void* context)
    {
        var own = (NarrowPass*)context;
        nint stride = own->stride;
        var blocks = Math.Clamp(MostFloats / Block / Math.Max(1, own->narrow), 1, MostBlocks);
        var roomFloats = blocks * Block + Apart;
        var space = stackalloc byte[own->narrow * roomFloats * sizeof(float) + BlockKernel.VectorBytes];
        var room = (float*)BlockKernel.Aligned(space);
        var entry = stackalloc nint[(int)stride + 1];
        // The engine's pass, of one slice.
        var copy = stackalloc byte[MostBytes];
        new ReadOnlySpan<byte>(own->pass, own->bytes).CopyTo(new(copy, own->bytes));
        var head = (PassHead*)copy;
        head->Entries = entry;
        head->Slices = 1;
        var (at, last) = (begin + own->entries[0], end + own->entries[0]);
        for (var slice = SliceTable.FirstAt(own->entries, own->stride, own->slices, at); slice < own->slices; slice++)
        {
            var given = own->entries + slice * stride;
            if (given[0] >= last)
                break;
            var length = given[stride] - given[0];
            new ReadOnlySpan<nint>(given, (int)stride).CopyTo(new(entry, (int)stride));
            entry[0] = 0;
            // One past the last block that begins in the share.
            var mine = Math.Min(length, (last - given[0] + Block - 1) / Block * Block);
            for (var first = (Math.Max(0, at - given[0]) + Block - 1) / Block * Block; first < mine; first += blocks * Block)
            {
                var to = Math.Min(mine, first + blocks * Block);
                entry[stride] = to;
                own->Step(slice, given, entry, room, roomFloats, first, to, copy);
            }
        }
    }

    /// <summary>Elements [first, to) of a slice, which begin with a block.</summary>
    private void Step(int slice, nint* given, nint* entry, float* room, int roomFloats, nint first, nint to, void* copy)
    {
        var from = SliceTable.AddressesOf(given) + 2;
        var target = SliceTable.AddressesOf(entry) + 2;
        var here = kinds + slice * (nint)columns * 2;
        var next = room;
        // The gradient and the parameter of the next blocks are fetched while the first column is widened and narrowed.
        var isFirst = streams;
        for (var column = 0; column < columns; column++)
        {
            var kind = (NarrowKind)here[column * 2];
            if (kind == NarrowKind.Wide)
                continue;
            target[column] = (nint)(next - first);
            var size = kind == NarrowKind.BFloat16 ? sizeof(ushort) : 1;
            NarrowCodec.Widen(
                kind,
                width,
                (byte*)from[column] + first * size,
                (float*)here[column * 2 + 1] + first / Block,
                next,
                (int)(to - first),
                isFirst ? (byte*)from[-1] + to * elementSize : (byte*)next
            );
            isFirst = false;
            next += roomFloats;
        }
        body(first, to, copy);
        next = room;
        isFirst = streams;
        for (var column = 0; column < columns; column++)
        {
            var kind = (NarrowKind)here[column * 2];
            if (kind == NarrowKind.Wide)
                continue;
            var size = kind == NarrowKind.BFloat16 ? sizeof(ushort) : 1;
            NarrowCodec.Narrow(
                kind,
                width,
                next,
                (byte*)from[column] + first * size,
                (float*)here[column * 2 + 1] + first / Block,
                (int)(to - first),
                step,
                column,
                NarrowTable.FirstBlock(here[column * 2]) + first / Block,
                isFirst ? (byte*)from[-2] + to * elementSize : (byte*)next
            );
            isFirst = false;
            next += roomFloats;
        }
    }
}
