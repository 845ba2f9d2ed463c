using Optim.Core;

namespace Optim;

/// <summary>How an optimizer clips gradients by itself: <see cref="ClipGradNorm"/> or <see cref="ClipGradValue"/>, given to <see cref="Optimizer.Attach"/>.</summary>
public abstract record GradientClip
{
    private protected GradientClip() { }
}

/// <summary>Clipping by the norm of all gradients of the optimizer together; see <see cref="ClipGrad.Norm"/>.</summary>
public sealed record ClipGradNorm : GradientClip
{
    /// <summary>The largest norm, its order, and whether a gradient that is not finite is an error.</summary>
    /// <inheritdoc cref="ClipGrad.Norm" path="/param"/>
    /// <exception cref="OptionException">The norm is below 0, or a number is NaN.</exception>
    public ClipGradNorm(double maxNorm, double normType = 2, bool errorIfNonfinite = false)
    {
        ClippingModule.checkNorm(maxNorm);
        ClippingModule.checkOrder(normType);
        (MaxNorm, NormType, ErrorIfNonfinite) = (maxNorm, normType, errorIfNonfinite);
    }

    /// <summary>The largest norm.</summary>
    public double MaxNorm { get; }

    /// <summary>The order of the norm.</summary>
    public double NormType { get; }

    /// <summary>Whether a gradient that is not finite is an error; otherwise the step is skipped.</summary>
    public bool ErrorIfNonfinite { get; }
}

/// <summary>Clipping of each element; see <see cref="ClipGrad.Value"/>.</summary>
public sealed record ClipGradValue : GradientClip
{
    /// <summary>The largest magnitude of an element.</summary>
    /// <exception cref="OptionException">It is below 0, or NaN.</exception>
    public ClipGradValue(double clipValue)
    {
        ClippingModule.checkValue(clipValue);
        Value = clipValue;
    }

    /// <summary>The largest magnitude of an element.</summary>
    public double Value { get; }
}
