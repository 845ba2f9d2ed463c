using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>Standard normal numbers, of which each depends on a key and its place alone: the same whoever draws them, in which order.</summary>
internal static unsafe class Noise
{
    /// <summary>Numbers that are worked out together.</summary>
    private const int Chunk = 64;

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
        Fill(
            context->Key,
            begin,
            context->Elements + begin * (context->IsDouble ? sizeof(double) : sizeof(float)),
            end - begin,
            context->IsDouble
        );
    }

    /// <summary>The numbers of neighbouring places.</summary>
    [SkipLocalsInit]
    public static void Fill(ulong key, nint first, byte* target, nint count, bool isDouble)
    {
        var uniform = stackalloc double[2 * Chunk];
        for (nint begun = 0; begun < count; begun += Chunk)
        {
            var length = (int)Math.Min(Chunk, count - begun);
            // Vectors are whole ones: what is behind the last place is worked out, and left there.
            for (var i = 0; i < Chunk; i++)
            {
                var place = (ulong)(first + begun + i);
                (uniform[i], uniform[Chunk + i]) = (Uniform(Mixed(key + 2 * place)), Uniform(Mixed(key + 2 * place + 1)));
            }
            Normals(uniform);
            if (isDouble)
                new ReadOnlySpan<double>(uniform, length).CopyTo(new((double*)target + begun, length));
            else
                for (var i = 0; i < length; i++)
                    ((float*)target)[begun + i] = (float)uniform[i];
        }
    }

    private static void Normals(double* uniform)
    {
        switch (Lanes.Width)
        {
            case Width.Bits512 when Lanes.IsCompiled(Width.Bits512):
                Normals<Lane512<double>>(uniform);
                break;
            case Width.Bits256 when Lanes.IsCompiled(Width.Bits256):
                Normals<Lane256<double>>(uniform);
                break;
            case Width.Bits128 when Lanes.IsCompiled(Width.Bits128):
                Normals<Lane128<double>>(uniform);
                break;
            case Width.Single when Lanes.IsCompiled(Width.Single):
                Normals<Lane1<double>>(uniform);
                break;
        }
    }

    private static void Normals<V>(double* uniform)
        where V : struct, IVector<V>
    {
        for (var i = 0; i < Chunk; i += V.Count)
            V.Store(Normal(V.Load(uniform + i), V.Load(uniform + Chunk + i)), uniform + i);
    }

    /// <summary>Standard normal numbers, by Box and Muller (1958), of two uniform ones each, in (0, 1].</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Normal<V>(V a, V b)
        where V : struct, ILane<V> => V.Sqrt(V.Of(-2) * V.Log(a)) * CosineOfTurns(b);

    /// <summary>The cosine of so many whole turns, at least 0 and at most 1: within a unit of the last place, the same bits in lanes of any width.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V CosineOfTurns<V>(V turns)
        where V : struct, ILane<V>
    {
        var quarters = V.Of(4) * turns;
        // The sum has no places for fractions: it is rounded to the nearest quarter, and what is left is exact.
        var whole = quarters + V.Of(6755399441055744.0) - V.Of(6755399441055744.0);
        var x = (quarters - whole) * V.Of(Math.PI / 2);
        var square = x * x;
        // 1 / k!, from the highest that counts.
        var sine = V.Fma(V.Of(-1.0 / 1307674368000), square, V.Of(1.0 / 6227020800));
        sine = V.Fma(sine, square, V.Of(-1.0 / 39916800));
        sine = V.Fma(sine, square, V.Of(1.0 / 362880));
        sine = V.Fma(sine, square, V.Of(-1.0 / 5040));
        sine = V.Fma(sine, square, V.Of(1.0 / 120));
        sine = V.Fma(sine, square, V.Of(-1.0 / 6));
        sine = V.Fma(sine * square, x, x);
        var cosine = V.Fma(V.Of(1.0 / 20922789888000), square, V.Of(-1.0 / 87178291200));
        cosine = V.Fma(cosine, square, V.Of(1.0 / 479001600));
        cosine = V.Fma(cosine, square, V.Of(-1.0 / 3628800));
        cosine = V.Fma(cosine, square, V.Of(1.0 / 40320));
        cosine = V.Fma(cosine, square, V.Of(-1.0 / 720));
        cosine = V.Fma(cosine, square, V.Of(1.0 / 24));
        cosine = V.Fma(cosine, square, V.Of(-0.5));
        cosine = V.Fma(cosine, square, V.Of(1));
        // After an odd number of quarters it is a sine, and after one or two it has the other sign.
        var fromHalf = V.Abs(whole - V.Of(2));
        var isOdd = V.Greater(V.Of(1), V.Abs(fromHalf - V.Of(1)));
        var value = V.Select(isOdd, sine, cosine);
        return V.Select(V.Greater(V.Of(1), V.Abs(whole - V.Of(1.5))), -value, value);
    }

    /// <summary>In (0, 1].</summary>
    private static double Uniform(ulong bits) => ((bits >> 11) + 1) * UnitOfUniform;

    /// <summary>2^-53: how far uniform numbers lie apart.</summary>
    public const double UnitOfUniform = 1.0 / (1UL << 53);

    /// <summary>SplitMix64 (Steele, Lea and Flood 2014): bits that look unrelated for neighbouring numbers.</summary>
    private static ulong Mixed(ulong z)
    {
        z += Gamma;
        z = (z ^ (z >> 30)) * FirstFactor;
        z = (z ^ (z >> 27)) * SecondFactor;
        return z ^ (z >> 31);
    }

    public const ulong Gamma = 0x9E3779B97F4A7C15,
        FirstFactor = 0xBF58476D1CE4E5B9,
        SecondFactor = 0x94D049BB133111EB;
}
