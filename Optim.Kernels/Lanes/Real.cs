namespace Optim.Kernels;

/// <summary>A double: what the coefficients of kernels are worked out in.</summary>
/// <param name="Value">The number.</param>
public readonly record struct Real(double Value) : IScalar<Real>
{
    /// <inheritdoc/>
    public static Real Of(double value) => new(value);

    /// <inheritdoc/>
    public static Real operator +(Real left, Real right) => new(left.Value + right.Value);

    /// <inheritdoc/>
    public static Real operator -(Real left, Real right) => new(left.Value - right.Value);

    /// <inheritdoc/>
    public static Real operator *(Real left, Real right) => new(left.Value * right.Value);

    /// <inheritdoc/>
    public static Real operator /(Real left, Real right) => new(left.Value / right.Value);

    /// <inheritdoc/>
    public static Real operator -(Real value) => new(-value.Value);

    /// <inheritdoc/>
    public static Real Sqrt(Real value) => new(Math.Sqrt(value.Value));

    /// <inheritdoc/>
    public static Real Exp(Real value) => new(Math.Exp(value.Value));

    /// <inheritdoc/>
    public static Real Log(Real value) => new(Math.Log(value.Value));

    /// <inheritdoc/>
    public static Real Cbrt(Real value) => new(Math.Cbrt(value.Value));

    /// <inheritdoc/>
    public static Real Pow(Real value, long exponent) => new(Math.Pow(value.Value, exponent));

    /// <inheritdoc/>
    public static Real Pow(Real value, Real exponent) => new(Math.Pow(value.Value, exponent.Value));
}
