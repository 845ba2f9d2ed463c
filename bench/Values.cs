using System.Numerics;

namespace Optim.Bench;

/// <summary>The same values for both sides: random numbers that repeat, between -1 and 1, and for gradients none nearer to zero than 0.01.</summary>
internal static class Values
{
    private const int Period = 1 << 16;
    private static readonly double[] numbers = Draw();

    public static void Parameter<T>(Span<T> values, int index)
        where T : INumber<T> => Fill(values, 31 * index, x => x);

    public static void Gradient<T>(Span<T> values, int index)
        where T : INumber<T> => Fill(values, 17 + 37 * index, x => x + Math.CopySign(0.01, x));

    private static void Fill<T>(Span<T> values, int offset, Func<double, double> map)
        where T : INumber<T>
    {
        var first = values[..Math.Min(values.Length, Period)];
        for (var i = 0; i < first.Length; i++)
            first[i] = T.CreateTruncating(map(numbers[(offset + i) % Period]));
        for (var start = Period; start < values.Length; start += Period)
            first[..Math.Min(Period, values.Length - start)].CopyTo(values[start..]);
    }

    private static double[] Draw()
    {
        var random = new Random(1);
        var drawn = new double[Period];
        foreach (ref var number in drawn.AsSpan())
            number = 2 * random.NextDouble() - 1;
        return drawn;
    }
}
