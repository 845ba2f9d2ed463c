using static TorchSharp.torch.optim;

namespace Optim;

/// <summary>A group of an optimizer as TorchSharp's schedulers see it: they read and set the option itself.</summary>
internal class TorchSharpGroup(ParameterGroup group) : ILearningRateController
{
    private readonly ParameterGroup group = group;
    private double? initial;

    public double LearningRate
    {
        get => (double)group["lr"];
        set => group["lr"] = value;
    }

    /// <summary>Where schedules begin: what a scheduler set, and the rate at hand before.</summary>
    public double InitialLearningRate
    {
        get => initial ??= LearningRate;
        set => initial = value;
    }

    internal sealed class WithBetas(ParameterGroup group) : TorchSharpGroup(group), IBetas
    {
        public (double, double) Betas
        {
            get => ((double, double))group["betas"];
            set => group["betas"] = value;
        }
    }

    internal sealed class WithMomentum(ParameterGroup group) : TorchSharpGroup(group), IMomentum
    {
        public double Momentum
        {
            get => (double)group["momentum"];
            set => group["momentum"] = value;
        }
    }
}
