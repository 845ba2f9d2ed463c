using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Optim.Kernels;

// Column by column and block by block for the emitted loop: where bytes of registers of 512 bits can be chosen.
internal static unsafe partial class NarrowCodec
{
    /// <summary>Codes are asked for so many bytes before they are needed.</summary>
    private const int Ahead = 1024;

    /// <summary>Whether widening, stepping and narrowing go into one loop.</summary>
    public static bool IsFused => Lanes.Width == Width.Bits512 && Lanes.IsCompiled(Width.Bits512) && ByBytes<Lane512<float>>();

    /// <summary>Whether a block is not for that loop: there are codes in it that are no numbers above 0.</summary>
    public static bool IsClamped(uint scale) => (scale & (HasZero | HasNaN)) != 0 || (scale & Magnitude) == 0;

    /// <summary>64 elements of the block that comes, at the place of an element.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void WidenNextSigned(NarrowRow* row, nint at)
    {
        var i = NarrowRow.Place(at);
        Fetch(row->Source + i + Ahead);
        WidenSigned64(row->Source + i, row->Next + i, Vector512.Create(row->Tops));
    }

    /// <inheritdoc cref="WidenNextSigned"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void WidenNextNonNegative(NarrowRow* row, nint at)
    {
        var i = NarrowRow.Place(at);
        Fetch(row->Source + i + Ahead);
        WidenNonNegative64(row->Source + i, row->Next + i, Vector512.Create(row->Tops), Vector512.Create(row->Firsts));
    }

    /// <inheritdoc cref="WidenNextSigned"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void WidenNextWords(NarrowRow* row, nint at)
    {
        var i = NarrowRow.Place(at);
        Fetch(row->Source + 2 * i + Ahead);
        Fetch(row->Source + 2 * i + Ahead + 64);
        WidenWords64((ushort*)row->Source + i, row->Next + i);
    }

    /// <summary>The extremes of 64 elements of the block that was stepped last, and as many codes of the one that is narrowed.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void NarrowLastSigned(NarrowRow* row, nint at)
    {
        var i = NarrowRow.Place(at);
        var wide = (uint*)row->Held + i;
        var magnitudes = Vector512.Create(Magnitude);
        var most = Vector512.Max(Vector512.Load(wide) & magnitudes, Vector512.Load(wide + 16) & magnitudes);
        var most2 = Vector512.Max(Vector512.Load(wide + 32) & magnitudes, Vector512.Load(wide + 48) & magnitudes);
        row->Most = Vector512.Max(row->Most, Vector512.Max(most, most2));
        row->LeastCode = CodesOfSigned64(
                row->Before + i,
                row->Target + i,
                row->Coding.Noise + i,
                Vector512.Create(row->Coding.Base),
                row->LeastCode.AsByte()
            )
            .AsUInt16();
    }

    /// <inheritdoc cref="NarrowLastSigned"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void NarrowLastNonNegative(NarrowRow* row, nint at)
    {
        var i = NarrowRow.Place(at);
        var wide = (uint*)row->Held + i;
        var (a, b, c, d) = (Vector512.Load(wide), Vector512.Load(wide + 16), Vector512.Load(wide + 32), Vector512.Load(wide + 48));
        row->Most = Vector512.Max(row->Most, Vector512.Max(Vector512.Max(a, b), Vector512.Max(c, d)));
        row->Least = Vector512.Min(row->Least, Vector512.Min(Vector512.Min(a, b), Vector512.Min(c, d)));
        CodesOfNonNegative64(
            row->Before + i,
            row->Target + i,
            row->Coding.Noise + i,
            Vector512.Create(row->Coding.Base),
            Vector512.Create((ushort)row->Coding.First)
        );
    }

    /// <inheritdoc cref="NarrowLastSigned"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void NarrowLastWords(NarrowRow* row, nint at)
    {
        var i = NarrowRow.Place(at);
        var words = CodesOfWords32(row->Before + i, (ushort*)row->Target + i, row->Coding.Noise + i);
        var words2 = CodesOfWords32(row->Before + i + 32, (ushort*)row->Target + i + 32, row->Coding.Noise + i + 32);
        row->LeastCode = Vector512.Min(row->LeastCode, Vector512.Min(words, words2));
        row->MostCode = Vector512.Max(row->MostCode, Vector512.Max(words, words2));
    }

    /// <summary>Before the first block of a run of whole blocks.</summary>
    public static void BeginRun(NarrowRow* row, nint at, nint end)
    {
        row->HeldAt = row->BeforeAt = -1;
        row->Coding = new() { Noise = row->Noise };
        row->Target = row->Nowhere;
        WidenBlocks<Lane512<float>>(row->BlockAt(at), row->Wide, Block, row->Nowhere);
        BeginBlock(row, at + Block, end);
        if (row->Kind != NarrowKind.BFloat16)
            BeginScale(row, at + Block, end);
    }

    /// <summary>Before a block is stepped after which another one comes, or none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void BeginBlock(NarrowRow* row, nint next, nint end)
    {
        row->Source = next < end ? row->Codes + next * NarrowKinds.SizeOf(row->Kind) : row->Nowhere;
        row->Most = Vector512<uint>.Zero;
        row->Least = Vector512<uint>.AllBitsSet;
        row->MostCode = Vector512<ushort>.Zero;
        row->LeastCode = Vector512<ushort>.AllBitsSet;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void BeginScale(NarrowRow* row, nint next, nint end)
    {
        var scale = row->Scales[(next < end ? next : 0) / Block];
        row->Tops = row->Kind == NarrowKind.Signed8 ? TopsOfSigned(scale) : TopsOfNonNegative(scale);
        row->Firsts = FirstsOfNonNegative(scale);
    }

    /// <summary>After a block was stepped, the next one widened, and the one before the last one narrowed.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void EndBlockSigned(NarrowRow* row, nint at, nint end)
    {
        if (row->BeforeAt >= 0)
            if (row->Coding.Path == Path.Plain)
                row->Scales[row->BeforeAt / Block] |= HasZeroOf(row->LeastCode.AsByte());
            else
                NarrowRest(row->BlockAt(row->BeforeAt), row->Before, row->Coding.Path);
        if (row->HeldAt >= 0)
        {
            row->Coding.Largest = (uint)Lane512<float>.Largest(new(row->Most.AsSingle()));
            PrepareSigned(ref row->Coding, out row->Scales[row->HeldAt / Block]);
        }
        Advance(row, at, end);
        BeginScale(row, at + 2 * Block, end);
    }

    /// <inheritdoc cref="EndBlockSigned"/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void EndBlockNonNegative(NarrowRow* row, nint at, nint end)
    {
        if (row->BeforeAt >= 0 && row->Coding.Path != Path.Plain)
            EndClamped(row);
        if (row->HeldAt >= 0)
        {
            row->Coding.Largest = ~Lane512<float>.Smallest(new((~row->Most).AsSingle()));
            row->Coding.Smallest = Lane512<float>.Smallest(new(row->Least.AsSingle()));
            PrepareNonNegative<Lane512<float>>(ref row->Coding, row->Held, out row->Scales[row->HeldAt / Block]);
        }
        Advance(row, at, end);
        BeginScale(row, at + 2 * Block, end);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void EndClamped(NarrowRow* row)
    {
        if (row->Coding.Path == Path.Clamped)
            CodesOfNonNegative<Lane512<float>>(row->Before, row->Target, Block, &row->Coding, row->Target);
        else
            NarrowRest(row->BlockAt(row->BeforeAt), row->Before, row->Coding.Path);
    }

    /// <inheritdoc cref="EndBlockSigned"/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void EndBlockWords(NarrowRow* row, nint at, nint end)
    {
        // Something became 0, or is not finite.
        if (
            row->BeforeAt >= 0
            && (
                Vector512.EqualsAny(row->LeastCode, Vector512<ushort>.Zero)
                || Vector512.GreaterThanAny(row->MostCode, Vector512.Create((ushort)0x7F7F))
            )
        )
        {
            CodesOfWords<Lane512<float>>(row->Before, (ushort*)row->Target, Block, &row->Coding, row->Target);
            NarrowRest(row->BlockAt(row->BeforeAt), row->Before, row->Coding.Path);
        }
        Advance(row, at, end);
    }

    /// <summary>Each block takes the room and the place of the one before it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Advance(NarrowRow* row, nint at, nint end)
    {
        if (row->HeldAt >= 0)
        {
            row->Coding.Noise = row->Noise + TurnOf(row->FirstBlock + row->HeldAt / Block);
            row->Target = row->Codes + row->HeldAt * NarrowKinds.SizeOf(row->Kind);
        }
        row->BeforeAt = row->HeldAt;
        row->HeldAt = at;
        var free = row->Before;
        row->Before = row->Held;
        row->Held = row->Wide;
        row->Wide = row->Next;
        row->Next = free;
        BeginBlock(row, at + 2 * Block, end);
    }

    /// <summary>After the last block of a run was stepped: the codes of the last two.</summary>
    public static void EndRun(NarrowRow* row)
    {
        if (row->BeforeAt >= 0)
            NarrowSome<Lane512<float>>(row->BlockAt(row->BeforeAt), row->Before, Block, row->Nowhere);
        NarrowSome<Lane512<float>>(row->BlockAt(row->HeldAt), row->Held, Block, row->Nowhere);
    }
}
