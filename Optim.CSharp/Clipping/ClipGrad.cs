using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// Clipping of gradients, as torch.nn.utils: by the norm of all of them together, or by value, in place. Parameters without a
/// gradient are passed over. A sparse gradient is the sum of its rows: what is written in place has the sum of a repeated row in the first
/// of its places, and zeros in the others. A norm has the same bits whatever the number of threads.
/// <code>
/// loss.backward();
/// ClipGrad.Norm(model.Parameters(), maxNorm: 1.0);
/// optimizer.Step();
/// </code>
/// </summary>
public static class ClipGrad
{
    /// <summary>Multiplies gradients so that their norm is at most this, as clip_grad_norm_: by max_norm / (total + 1e-6), at most 1.</summary>
    /// <param name="parameters">Whose gradients.</param>
    /// <param name="maxNorm">The largest norm, at least 0.</param>
    /// <param name="normType">The order of the norm, such as 1 or 2; infinity for the largest magnitude. Negative ones take no sparse gradients.</param>
    /// <param name="errorIfNonfinite">Whether a norm that is not finite is an error, which names the parameters; otherwise gradients become NaN or 0.</param>
    /// <returns>The norm that they had; 0 when there are none.</returns>
    /// <exception cref="InvalidOperationException">The norm is not finite, and that is an error. Nothing has changed.</exception>
    public static double Norm(IEnumerable<IParameter> parameters, double maxNorm, double normType = 2, bool errorIfNonfinite = false)
    {
        ClippingModule.checkNorm(maxNorm);
        var set = new GradientSet(parameters);
        var total = Total(set, normType, errorIfNonfinite);
        ClippingModule.scale(ClippingModule.coefficient(maxNorm, total), set.List, set.Executor);
        return total;
    }

    /// <summary>The norm of all gradients together, as get_total_norm; nothing is clipped.</summary>
    /// <inheritdoc cref="Norm" path="/param"/>
    /// <inheritdoc cref="Norm" path="/exception"/>
    public static double TotalNorm(IEnumerable<IParameter> parameters, double normType = 2, bool errorIfNonfinite = false) =>
        Total(new(parameters), normType, errorIfNonfinite);

    /// <summary>Clips by a norm that is known, as clip_grads_with_norm_.</summary>
    /// <param name="parameters">Whose gradients.</param>
    /// <param name="maxNorm">The largest norm, at least 0.</param>
    /// <param name="totalNorm">The norm that they have.</param>
    public static void WithNorm(IEnumerable<IParameter> parameters, double maxNorm, double totalNorm)
    {
        ClippingModule.checkNorm(maxNorm);
        var set = new GradientSet(parameters);
        ClippingModule.scale(ClippingModule.coefficient(maxNorm, totalNorm), set.List, set.Executor);
    }

    /// <summary>Clamps every element of the gradients to [-clipValue, clipValue], as clip_grad_value_. NaN stays.</summary>
    /// <exception cref="OptionException">The value is below 0.</exception>
    public static void Value(IEnumerable<IParameter> parameters, double clipValue) =>
        ClippingModule.byValue(clipValue, new GradientSet(parameters).List);

    private static double Total(GradientSet set, double normType, bool errorIfNonfinite)
    {
        var survey = new GradientSurvey();
        survey.Add(set.List);
        survey.RefuseOrder(normType, (_, row) => $"the gradient of {set.Label(row)}");
        survey.Run(normType, 1, set.Executor);
        if (errorIfNonfinite && !double.IsFinite(survey.Total))
            throw Nonfinite(normType, survey.Nonfinite.Select(place => set.Label(place.Item2)));
        return survey.Total;
    }

    internal static InvalidOperationException Nonfinite(double normType, IEnumerable<string> labels) =>
        new(
            $"The total norm of order {OptionValue.NewFloat(normType)} for gradients from `parameters` is non-finite, so it cannot be clipped; "
                + $"not finite are the gradients of: {string.Join(", ", labels)}. To disable this error, set errorIfNonfinite: false"
        );
}
