using static TorchSharp.torch;

namespace Optim;

/// <summary>Loss scaling of tensors.</summary>
public static class ScaledLoss
{
    /// <summary>A loss times the scale, with its graph: <c>scaler.Scale(loss).backward()</c>.</summary>
    public static Tensor Scale(this GradScaler scaler, Tensor loss)
    {
        ArgumentNullException.ThrowIfNull(scaler);
        ArgumentNullException.ThrowIfNull(loss);
        return scaler.IsEnabled ? loss * scaler.GetScale() : loss;
    }
}
