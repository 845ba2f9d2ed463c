using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// Scaling of losses for narrow types, as torch.amp.GradScaler: the loss is multiplied, so that small gradients do not vanish,
/// gradients are divided again before the step, a step whose gradients are not finite is skipped, and the scale adapts.
/// <code>
/// optimizer.ZeroGrad();
/// scaler.Scale(loss).backward();
/// scaler.Step(optimizer);
/// scaler.Update();
/// </code>
/// Attached to an optimizer (<see cref="Optimizer.Attach"/>), <c>optimizer.Step()</c> does the last two lines.
/// </summary>
public sealed partial class GradScaler
{
    private readonly Dictionary<Optimizer, (Stage Stage, bool Overflow)> optimizers = [];
    private LossScaling scaling;

    private enum Stage
    {
        Unscaled,
        Stepped,
    }

    /// <summary>A scaler with PyTorch's defaults.</summary>
    /// <param name="initScale">The first scale, at least 2^-100: there overflows stop to shrink it. PyTorch's shrinks to 0.</param>
    /// <param name="growthFactor">By what the scale grows after enough steps without overflow; above 1.</param>
    /// <param name="backoffFactor">By what it shrinks after an overflow; in (0, 1).</param>
    /// <param name="growthInterval">How many steps without overflow are enough; at least 1.</param>
    /// <param name="enabled">False: it does nothing, and <see cref="Step"/> is the optimizer's.</param>
    /// <exception cref="OptionException">An option is outside of its range.</exception>
    public GradScaler(
        double initScale = 65536,
        double growthFactor = 2,
        double backoffFactor = 0.5,
        long growthInterval = 2000,
        bool enabled = true
    ) => (scaling, IsEnabled) = (LossScalingModule.make(new(initScale, growthFactor, backoffFactor, growthInterval, 0)), enabled);

    /// <summary>Whether it scales at all.</summary>
    public bool IsEnabled { get; }

    /// <summary>By what the scale grows.</summary>
    public double GrowthFactor
    {
        get => scaling.GrowthFactor;
        set =>
            scaling = LossScalingModule.make(
                new(scaling.Scale, value, scaling.BackoffFactor, scaling.GrowthInterval, scaling.GrowthTracker)
            );
    }

    /// <summary>By what it shrinks.</summary>
    public double BackoffFactor
    {
        get => scaling.BackoffFactor;
        set =>
            scaling = LossScalingModule.make(
                new(scaling.Scale, scaling.GrowthFactor, value, scaling.GrowthInterval, scaling.GrowthTracker)
            );
    }

    /// <summary>How many steps without overflow make it grow.</summary>
    public long GrowthInterval
    {
        get => scaling.GrowthInterval;
        set =>
            scaling = LossScalingModule.make(new(scaling.Scale, scaling.GrowthFactor, scaling.BackoffFactor, value, scaling.GrowthTracker));
    }

    /// <summary>The optimizer whose steps update the scale by themselves; null when it is attached to none.</summary>
    internal Optimizer? Owner { get; set; }

    /// <summary>The scale; 1 when it is not enabled.</summary>
    public double GetScale() => IsEnabled ? scaling.Scale : 1;

    /// <summary>A loss, or the gradient of one, times the scale.</summary>
    public double Scale(double loss) => loss * GetScale();

    /// <inheritdoc cref="Scale(double)"/>
    public float Scale(float loss) => (float)(loss * GetScale());

    /// <summary>Divides an optimizer's gradients by the scale, in place: to look at them or clip them before <see cref="Step"/>.</summary>
    /// <exception cref="InvalidOperationException">They are unscaled already, the optimizer has stepped, or it adds the gradients of several calls up.</exception>
    /// <exception cref="ArgumentException">A gradient is of float16.</exception>
    public void Unscale(Optimizer optimizer)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        if (!IsEnabled)
            return;
        if (optimizers.TryGetValue(optimizer, out var state))
            throw new InvalidOperationException(
                state.Stage == Stage.Unscaled
                    ? "unscale_() has already been called on this optimizer since the last update()."
                    : "unscale_() is being called after step()."
            );
        optimizers[optimizer] = (Stage.Unscaled, !optimizer.Unscale(LossScalingModule.inverse(scaling)));
    }

    /// <summary>
    /// Steps an optimizer by its gradients divided by the scale, unless one of them is not finite: then nothing changes. What is
    /// attached to the optimizer takes part, and gradients are only read where the pass can do it all.
    /// </summary>
    /// <returns>Whether it stepped.</returns>
    /// <exception cref="InvalidOperationException">The optimizer has stepped since the last update, or has no gradients.</exception>
    public bool Step(Optimizer optimizer)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        optimizer.Step(IsEnabled ? this : null);
        return !optimizer.LastStepSkipped;
    }

    /// <summary>Closures are refused, as in PyTorch: the loss would have to be scaled inside of them.</summary>
    /// <exception cref="InvalidOperationException">Always, when the scaler is enabled.</exception>
    public T Step<T>(Optimizer optimizer, Func<T> closure)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        return IsEnabled
            ? throw new InvalidOperationException("Closure use is not currently supported if GradScaler is enabled.")
            : optimizer.Step(closure);
    }

    /// <summary>Adapts the scale after the steps of an iteration, or sets it.</summary>
    /// <param name="newScale">A scale to go on with; null to adapt.</param>
    /// <exception cref="InvalidOperationException">No optimizer has stepped or was unscaled; or the scaler is attached, so that steps do it.</exception>
    public void Update(double? newScale = null)
    {
        if (!IsEnabled)
            return;
        if (newScale is { } scale)
            scaling = LossScalingModule.make(
                new(scale, scaling.GrowthFactor, scaling.BackoffFactor, scaling.GrowthInterval, scaling.GrowthTracker)
            );
        else if (optimizers.Count > 0)
            scaling = LossScalingModule.update(optimizers.Values.Any(state => state.Overflow), scaling);
        else
            throw new InvalidOperationException(
                Owner is null
                    ? "No inf checks were recorded prior to update."
                    : "the scaler is attached to an optimizer, whose Step() updates it; leave Update() out"
            );
        optimizers.Clear();
    }

    /// <summary>What a step must do: the factor of its gradients, and whether it is known that one of them is not finite.</summary>
    internal (double Factor, bool? Overflow) Begin(Optimizer optimizer)
    {
        if (!optimizers.TryGetValue(optimizer, out var state))
            return (LossScalingModule.inverse(scaling), null);
        return state.Stage == Stage.Unscaled
            ? (1, state.Overflow)
            : throw new InvalidOperationException("step() has already been called since the last update().");
    }

    /// <summary>Takes note of a step, or of one that was skipped.</summary>
    internal void End(Optimizer optimizer, bool overflow)
    {
        optimizers[optimizer] = (Stage.Stepped, overflow);
        if (ReferenceEquals(Owner, optimizer))
            Update();
    }
}
