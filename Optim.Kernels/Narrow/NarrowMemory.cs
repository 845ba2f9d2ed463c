namespace Optim.Kernels;

/// <summary>Whole rows of narrow state: made, widened and narrowed outside of steps.</summary>
internal static unsafe class NarrowMemory
{
    private const int Block = StateStorage.BlockLength;

    /// <summary>Float32 in row-major order, as a row of a kind: its codes and scales (absent where there are none). Rounding goes by the place of blocks in the whole parameter, of which this may be a slice.</summary>
    public static void Narrow(
        TensorView wide,
        NarrowKind kind,
        TensorView codes,
        TensorView scales,
        long seed,
        long step,
        int column,
        nint firstBlock
    )
    {
        var room = stackalloc float[Block];
        var noise = stackalloc uint[NarrowCodec.NoiseLength];
        FillNoise(noise, kind, seed, step, column);
        for (nint at = 0; at < wide.Count; at += Block)
        {
            var count = (int)Math.Min(Block, wide.Count - at);
            new ReadOnlySpan<float>((float*)wide.Address + at, count).CopyTo(new(room, count));
            NarrowCodec.Narrow(BlocksOf(kind, codes, scales, noise, at, firstBlock), Lanes.Width, room, count, room);
        }
        GC.KeepAlive(wide.Owner);
        GC.KeepAlive(codes.Owner);
        GC.KeepAlive(scales.Owner);
    }

    /// <summary>The numbers of a row, wherever it lies, as float32 in row-major order in the memory of the processor.</summary>
    public static TensorView Widen(NarrowKind kind, TensorView codes, TensorView scales)
    {
        (codes, scales) = (codes.InOrder(), scales.IsAbsent ? scales : scales.InOrder());
        var wide = TensorView.Zeros(DType.Float32, codes.Shape.AsSpan());
        var room = stackalloc float[Block];
        for (nint at = 0; at < wide.Count; at += Block)
        {
            var count = (int)Math.Min(Block, wide.Count - at);
            NarrowCodec.Widen(BlocksOf(kind, codes, scales, null, at, 0), Lanes.Width, room, count, room);
            new ReadOnlySpan<float>(room, count).CopyTo(new((float*)wide.Address + at, count));
        }
        GC.KeepAlive(codes.Owner);
        GC.KeepAlive(scales.Owner);
        return wide;
    }

    /// <summary>Sets every element of a row to a number.</summary>
    public static void Fill(NarrowKind kind, TensorView codes, TensorView scales, double value, long seed, nint firstBlock)
    {
        var room = stackalloc float[Block];
        var noise = stackalloc uint[NarrowCodec.NoiseLength];
        FillNoise(noise, kind, seed, 0, 0);
        for (nint at = 0; at < codes.Count; at += Block)
        {
            var count = (int)Math.Min(Block, codes.Count - at);
            new Span<float>(room, count).Fill((float)value);
            NarrowCodec.Narrow(BlocksOf(kind, codes, scales, noise, at, firstBlock), Lanes.Width, room, count, room);
        }
        GC.KeepAlive(codes.Owner);
        GC.KeepAlive(scales.Owner);
    }

    /// <summary>The largest distance between the number of a code in a row and that of the next code: rounding moves no number farther.</summary>
    public static double LargestStep(NarrowKind kind, TensorView codes, TensorView scales)
    {
        var next = codes.Copy();
        for (nint i = 0; i < codes.Count; i++)
            if (kind == NarrowKind.BFloat16)
                ((ushort*)next.Address)[i] += (ushort)((((ushort*)codes.Address)[i] & 0x7FFF) == 0 ? 0 : 1);
            else
                // From the largest code to the one below it.
                ((byte*)next.Address)[i] += ((byte*)codes.Address)[i] switch
                {
                    0 or 0x80 when kind == NarrowKind.Signed8 => 0,
                    0 => 0,
                    0x7E or 0xFE => 0xFF,
                    _ => 1,
                };
        var (here, there) = (Widen(kind, codes, scales), Widen(kind, next, scales));
        var step = 0.0;
        for (nint i = 0; i < here.Count; i++)
            if (Math.Abs((double)((float*)here.Address)[i] - ((float*)there.Address)[i]) is var way && double.IsFinite(way))
                step = Math.Max(step, way);
        GC.KeepAlive(codes.Owner);
        GC.KeepAlive(here.Owner);
        GC.KeepAlive(there.Owner);
        return step;
    }

    private static void FillNoise(uint* noise, NarrowKind kind, long seed, long step, int column)
    {
        NarrowCodec.FillPlaces(noise, seed);
        NarrowCodec.FillNoise(noise, noise, kind, step, column);
    }

    /// <summary>The blocks of a row from an element on.</summary>
    private static NarrowBlocks BlocksOf(NarrowKind kind, TensorView codes, TensorView scales, uint* noise, nint at, nint firstBlock) =>
        new(
            kind,
            (byte*)codes.Address + at * codes.DType.Size(),
            scales.IsAbsent ? null : (float*)scales.Address + at / Block,
            noise,
            firstBlock + at / Block
        );
}
