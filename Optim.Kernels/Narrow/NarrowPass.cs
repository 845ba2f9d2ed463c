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

    private const int MostBlocks = NarrowRow.Rooms;

    /// <summary>Floats between the rooms of two columns: they do not begin at the same offset in a page.</summary>
    private const int Apart = 16;

    /// <summary>Bytes of the largest pass.</summary>
    private const int MostBytes = 256;

    private nint* entries;
    private int stride;
    private int slices;
    private nint* kinds;
    private uint* places;
    private int columns;
    private int narrow;
    private long step;
    private Width width;
    private delegate* <nint, nint, void*, void> body;
    private PassHead* pass;
    private int bytes;
    private int elementSize;
    private bool streams;
    private nint kernel;
    private byte* numbers;
    private nint numbersStride;

    /// <summary>Runs a pass over neighbouring slices of which all have narrow columns; says how many threads took part.</summary>
    /// <param name="table">The kinds of the columns, and the seed by which they are rounded.</param>
    /// <param name="firstSlice">The first slice.</param>
    /// <param name="step">The step, counted from 1.</param>
    /// <param name="length">Elements of the slices.</param>
    /// <param name="body">The engine's loop.</param>
    /// <param name="pass">What it takes, beginning with a <see cref="PassHead"/>.</param>
    /// <param name="bytes">Bytes of that.</param>
    /// <param name="elementSize">Bytes of an element of parameters and gradients.</param>
    /// <param name="executor">Who runs it.</param>
    /// <param name="program">The pass, where it is one of a program.</param>
    public static int Run(
        NarrowTable table,
        int firstSlice,
        long step,
        nint length,
        delegate* <nint, nint, void*, void> body,
        void* pass,
        int bytes,
        int elementSize,
        Executor executor,
        ProgramPass* program = null
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
            places = table.Places,
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
        if (program != null)
        {
            (own.kernel, own.numbersStride) = (program->Kernel, program->NumbersStride);
            own.numbers = program->Numbers;
        }
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
        var apart = NarrowRow.Rooms * (Block + Apart);
        var space = stackalloc byte[own->narrow * apart * sizeof(float) + BlockKernel.VectorBytes];
        var noises = stackalloc byte[own->columns * NarrowCodec.NoiseLength * sizeof(uint) + BlockKernel.VectorBytes];
        var known = stackalloc NarrowKind[own->columns];
        new Span<NarrowKind>(known, own->columns).Clear();
        var entry = stackalloc nint[(int)stride + 1];
        var ofSlice = stackalloc NarrowKind[own->columns];
        var room = new Room
        {
            Wide = (float*)BlockKernel.Aligned(space),
            Apart = apart,
            Noises = (uint*)BlockKernel.Aligned(noises),
            Known = known,
            Entry = entry,
            Kinds = ofSlice,
        };
        // The engine's pass, of one slice.
        var copy = stackalloc byte[MostBytes];
        new ReadOnlySpan<byte>(own->pass, own->bytes).CopyTo(new(copy, own->bytes));
        var head = (PassHead*)copy;
        head->Entries = entry;
        head->Slices = 1;
        var rows = stackalloc NarrowRow[own->columns];
        var kernel = own->kernel == 0 ? null : VisitKernel.Of(own->kernel);
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
            var loop = kernel?.Narrow(own->KindsOf(slice, room.Kinds));
            for (var first = (Math.Max(0, at - given[0]) + Block - 1) / Block * Block; first < mine; )
            {
                var to = loop is null ? first : own->PlainFrom(slice, first, mine);
                if (to > first)
                    own->StepFused(loop!, slice, given, room, rows, first, to);
                else
                {
                    to = Math.Min(mine, first + (loop is null ? blocks : 1) * Block);
                    entry[stride] = to;
                    own->Step(slice, given, room, first, to, copy);
                }
                first = to;
            }
        }
    }

    /// <summary>What a share works with: where columns are wide, with what they are rounded, and the entry of the slice that the engine sees.</summary>
    private struct Room
    {
        public float* Wide;

        /// <summary>Floats from one column to the next.</summary>
        public int Apart;

        /// <summary>A table for each column, and of which kind it is.</summary>
        public uint* Noises;
        public NarrowKind* Known;
        public nint* Entry;

        /// <summary>Room for the kinds of a slice's columns.</summary>
        public NarrowKind* Kinds;
    }

    private readonly nint* WordsOf(int slice) => kinds + slice * (nint)columns * 2;

    private readonly ReadOnlySpan<NarrowKind> KindsOf(int slice, NarrowKind* room)
    {
        for (var column = 0; column < columns; column++)
            room[column] = (NarrowKind)WordsOf(slice)[column * 2];
        return new(room, columns);
    }

    /// <summary>Up to where there are whole blocks in which every code stands for a number above 0.</summary>
    private readonly nint PlainFrom(int slice, nint first, nint last)
    {
        var here = WordsOf(slice);
        for (; first + Block <= last; first += Block)
        for (var column = 0; column < columns; column++)
            if (
                (NarrowKind)here[column * 2] is var kind
                && NarrowKinds.HasScales(kind)
                && NarrowCodec.IsClamped(((uint*)here[column * 2 + 1])[first / Block])
            )
                return first;
        return first;
    }

    /// <summary>Elements [first, to) of a slice, all of them whole blocks, in one loop.</summary>
    [SkipLocalsInit]
    private readonly void StepFused(KernelBody loop, int slice, nint* given, in Room room, NarrowRow* rows, nint first, nint to)
    {
        var nowhere = stackalloc byte[Block * sizeof(float)];
        var here = WordsOf(slice);
        var count = 0;
        var next = room.Wide;
        for (var column = 0; column < columns; column++)
        {
            var kind = (NarrowKind)here[column * 2];
            if (kind == NarrowKind.Wide)
                continue;
            var row = rows + count++;
            row->Kind = kind;
            row->FirstBlock = NarrowTable.FirstBlock(here[column * 2]);
            row->Codes = (byte*)SliceTable.AddressesOf(given)[2 + column];
            row->Scales = (uint*)here[column * 2 + 1];
            row->Noise = NoiseOf(room, column, kind);
            row->Nowhere = nowhere;
            row->Next = next;
            row->Wide = row->Next + Block + Apart;
            row->Held = row->Wide + Block + Apart;
            row->Before = row->Held + Block + Apart;
            NarrowCodec.BeginRun(row, first, to);
            next += room.Apart;
        }
        var span = new NarrowSpan
        {
            Span = new()
            {
                Entry = given,
                At = first,
                End = to,
                Numbers = numbers + slice * numbersStride,
            },
            Rows = rows,
        };
        loop(&span.Span);
        for (var i = 0; i < count; i++)
            NarrowCodec.EndRun(rows + i);
    }

    /// <summary>With what a column is rounded.</summary>
    private readonly uint* NoiseOf(in Room room, int column, NarrowKind kind)
    {
        var noise = room.Noises + (nint)column * NarrowCodec.NoiseLength;
        if (room.Known[column] != kind)
            NarrowCodec.FillNoise(noise, places, room.Known[column] = kind, step, column);
        return noise;
    }

    /// <summary>Elements [first, to) of a slice, which begin with a block.</summary>
    private void Step(int slice, nint* given, in Room room, nint first, nint to, void* copy)
    {
        var from = SliceTable.AddressesOf(given) + 2;
        var target = SliceTable.AddressesOf(room.Entry) + 2;
        var here = WordsOf(slice);
        var next = room.Wide;
        // The gradient and the parameter of the next blocks are fetched while the first column is widened and narrowed.
        var isFirst = streams;
        for (var column = 0; column < columns; column++)
        {
            var kind = (NarrowKind)here[column * 2];
            if (kind == NarrowKind.Wide)
                continue;
            target[column] = (nint)(next - first);
            NarrowCodec.Widen(
                BlocksOf(kind, column, given, here, null, first),
                width,
                next,
                (int)(to - first),
                isFirst ? (byte*)from[-1] + to * elementSize : (byte*)next
            );
            isFirst = false;
            next += room.Apart;
        }
        body(first, to, copy);
        next = room.Wide;
        isFirst = streams;
        for (var column = 0; column < columns; column++)
        {
            var kind = (NarrowKind)here[column * 2];
            if (kind == NarrowKind.Wide)
                continue;
            NarrowCodec.Narrow(
                BlocksOf(kind, column, given, here, NoiseOf(room, column, kind), first),
                width,
                next,
                (int)(to - first),
                isFirst ? (byte*)from[-2] + to * elementSize : (byte*)next
            );
            isFirst = false;
            next += room.Apart;
        }
    }

    /// <summary>The blocks of a column from an element on.</summary>
    private static NarrowBlocks BlocksOf(NarrowKind kind, int column, nint* given, nint* here, uint* noise, nint first) =>
        new(
            kind,
            (byte*)SliceTable.AddressesOf(given)[2 + column] + first * NarrowKinds.SizeOf(kind),
            (float*)here[column * 2 + 1] + first / Block,
            noise,
            NarrowTable.FirstBlock(here[column * 2]) + first / Block
        );
}
