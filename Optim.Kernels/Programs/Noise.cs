namespace Optim.Kernels;

/// <summary>Standard normal numbers, of which each depends on a key and its place alone: the same whoever draws them, in which order.</summary>
internal static unsafe class Noise
{
    private struct Context
    {
        public ulong Key;
        public byte* Elements;
        public bool IsDouble;
    }

    /// <summary>The key of a tensor's noise in a step.</summary>
    /// <param name="stream">What tells it from that of other tensors.</param>
    /// <param name="seed">The seed.</param>
    /// <param name="step">The step.</param>
    public static ulong Key(ulong stream, double seed, double step) =>
        Mixed(Mixed(Mixed(stream) ^ BitConverter.DoubleToUInt64Bits(seed)) ^ BitConverter.DoubleToUInt64Bits(step));

    /// <summary>The numbers of all places.</summary>
    public static void Fill(ulong key, nint elements, nint length, bool isDouble, Executor executor)
    {
        var context = new Context
        {
            Key = key,
            Elements = (byte*)elements,
            IsDouble = isDouble,
        };
        if (length > 0)
            executor.Run(length, &Fill, &context);
    }

    private static void Fill(nint begin, nint end, void* at)
    {
        var context = (Context*)at;
        Fill(context->Key, begin, context->Elements + begin * (context->IsDouble ? sizeof(double) : sizeof(float)), end - begin, context->IsDouble);
    }

    /// <summary>The numbers of neighbouring places.</summary>
    public static void Fill(ulong key, nint first, byte* target, nint count, bool isDouble)
    {
        for (nint i = 0; i < count; i++)
            if (isDouble)
                ((double*)target)[i] = Normal(key, (ulong)(first + i));
            else
                ((float*)target)[i] = (float)Normal(key, (ulong)(first + i));
    }

    /// <summary>A standard normal number, by Box and Muller (1958), of two uniform ones in (0, 1].</summary>
    private static double Normal(ulong key, ulong place)
    {
        var (a, b) = (Uniform(Mixed(key + 2 * place)), Uniform(Mixed(key + 2 * place + 1)));
        return Math.Sqrt(-2 * Math.Log(a)) * Math.Cos(2 * Math.PI * b);
    }

    private static double Uniform(ulong bits) => ((bits >> 11) + 1) / (double)(1UL << 53);

    /// <summary>SplitMix64 (Steele, Lea and Flood 2014): bits that look unrelated for neighbouring numbers.</summary>
    private static ulong Mixed(ulong z)
    {
        z += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
