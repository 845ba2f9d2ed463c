namespace Optim.Cli.Models;

/// <summary>
/// The numbers that the layers start from: uniform between -1/sqrt(inputs) and 1/sqrt(inputs), as PyTorch's Linear draws weights and biases.
/// One array for each parameter, in the order of <see cref="IModel.Parameters"/>; double, so that every model starts from the same.
/// </summary>
public static class InitialWeights
{
    /// <summary>Of layers between these sizes; <paramref name="draw"/> gives numbers from -1 to 1.</summary>
    public static double[][] Draw(ReadOnlySpan<int> sizes, Func<double> draw)
    {
        var weights = new List<double[]>();
        for (var layer = 1; layer < sizes.Length; layer++)
        {
            var scale = Math.Sqrt(sizes[layer - 1]);
            weights.Add(Values(sizes[layer] * sizes[layer - 1], scale));
            weights.Add(Values(sizes[layer], scale));
        }
        return [.. weights];

        double[] Values(int count, double scale)
        {
            var values = new double[count];
            foreach (ref var value in values.AsSpan())
                value = draw() / scale;
            return values;
        }
    }

    /// <summary>The linear congruential generator of the recorded runs: x becomes (1664525 x + 1013904223) mod 2^32 before each draw.</summary>
    public static Func<double> Recorded(uint start)
    {
        var x = start;
        return () => 2.0 * (x = 1664525 * x + 1013904223) / (1L << 32) - 1;
    }
}
