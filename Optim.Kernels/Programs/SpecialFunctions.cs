namespace Optim.Kernels;

/// <summary>Functions of numbers that the runtime does not have.</summary>
internal static class SpecialFunctions
{
    /// <summary>
    /// The imaginary error function, 2 / sqrt(pi) times the integral of exp(t^2) from 0 to x: by its series at 0, of which all terms have one
    /// sign, or for large arguments by the asymptotic one. Infinite beyond about 26.6.
    /// </summary>
    public static double Erfi(double x)
    {
        var (magnitude, square) = (Math.Abs(x), x * x);
        if (double.IsNaN(x) || magnitude > 27)
            return double.IsNaN(x) ? double.NaN : Math.CopySign(double.PositiveInfinity, x);
        var (term, sum) = (1.0, 1.0);
        if (magnitude > 7)
        {
            // Terms shrink until about n = x^2; there they are below the last bit.
            for (var n = 0; n < 40 && Math.Abs(term) > 1e-17 * sum; n++)
                sum += term *= (2 * n + 1) / (2 * square);
            return Math.Exp(square) / (x * Math.Sqrt(Math.PI)) * sum;
        }
        for (var n = 1; term > 1e-17 * sum; n++)
        {
            term *= square / n;
            sum += term / (2 * n + 1);
        }
        return 2 / Math.Sqrt(Math.PI) * x * sum;
    }
}
