using System.Numerics;

namespace Optim.Bench;

/// <summary>What LBFGS minimizes: f(x) = sum a x^2 / 2 with curvatures a between 0.5 and 1.5, worked out in place and the same way for both sides.</summary>
/// <param name="x">The parameters, float32.</param>
/// <param name="gradient">Where the gradient goes.</param>
/// <param name="count">How many there are; a multiple of every vector's length.</param>
internal sealed unsafe class Quadratic(nint x, nint gradient, int count)
{
    private const int Period = 64;
    private static readonly float[] curvatures = [.. Enumerable.Range(0, Period).Select(i => 0.5f + (float)i / Period)];

    /// <summary>How often it was asked.</summary>
    public long Evaluations { get; private set; }

    /// <summary>The loss; the gradient is written.</summary>
    public double Evaluate()
    {
        Evaluations++;
        var parameters = new ReadOnlySpan<float>((void*)x, count);
        var gradients = new Span<float>((void*)gradient, count);
        var loss = 0.0;
        for (var start = 0; start < count; start += Period)
        {
            var sum = Vector<float>.Zero;
            for (var i = 0; i < Period; i += Vector<float>.Count)
            {
                var value = new Vector<float>(parameters[(start + i)..]);
                var slope = new Vector<float>(curvatures, i) * value;
                slope.CopyTo(gradients[(start + i)..]);
                sum += slope * value;
            }
            loss += Vector.Sum(sum);
        }
        return loss / 2;
    }
}
