namespace Optim;

/// <summary>Optimizers for code of TorchSharp.</summary>
public static class AsTorchSharpOptimizer
{
    /// <summary>
    /// The optimizer as a <see cref="TorchSharp.torch.optim.Optimizer"/>, for code that is typed so and for TorchSharp's schedulers:
    /// <c>torch.optim.lr_scheduler.StepLR(optimizer.AsTorchSharp(), 30)</c>.
    /// </summary>
    /// <exception cref="ArgumentException">A parameter is no TorchSharp tensor.</exception>
    public static TorchSharpOptimizer AsTorchSharp(this Optimizer optimizer)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        return TorchSharpOptimizer.Of(optimizer);
    }
}
