namespace Optim.Cli.Data;

/// <summary>
/// SplitMix64 (Steele, Lea, Flood, 2014): a small generator of random numbers that gives the same ones from the same seed on every
/// machine and in every version of .NET, which System.Random does not promise.
/// </summary>
public sealed class SplitMix(long seed)
{
    private ulong state = (ulong)seed;

    private ulong Next()
    {
        var z = state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    /// <summary>A number from -1 up to, and without, 1.</summary>
    public double NextSigned() => (Next() >> 11) * (2.0 / (1L << 53)) - 1;

    /// <summary>Fisher and Yates: every order is equally likely (to one part in 2^50).</summary>
    public void Shuffle(Span<int> items)
    {
        for (var last = items.Length - 1; last > 0; last--)
        {
            var other = (int)(((UInt128)Next() * (ulong)(last + 1)) >> 64);
            (items[last], items[other]) = (items[other], items[last]);
        }
    }
}
