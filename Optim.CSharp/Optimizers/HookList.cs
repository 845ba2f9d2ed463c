namespace Optim;

/// <summary>Hooks in the order in which they run.</summary>
internal sealed class HookList<T>
    where T : Delegate
{
    // Replaced as a whole, so that a hook may remove itself while the list is gone through.
    private Registration[] hooks = [];

    public bool IsEmpty => hooks.Length == 0;

    public IDisposable Add(T hook, bool prepend = false)
    {
        ArgumentNullException.ThrowIfNull(hook);
        var registration = new Registration(this, hook);
        lock (this)
            hooks = prepend ? [registration, .. hooks] : [.. hooks, registration];
        return registration;
    }

    public void Run(Action<T> call)
    {
        foreach (var registration in hooks)
            call(registration.Hook);
    }

    private sealed class Registration(HookList<T> list, T hook) : IDisposable
    {
        public T Hook { get; } = hook;

        public void Dispose()
        {
            lock (list)
                list.hooks = Array.FindAll(list.hooks, other => other != this);
        }
    }
}

/// <summary>A call of <see cref="Optimizer.Step()"/> as pre hooks see it.</summary>
public sealed class StepCall
{
    internal StepCall(Optimizer optimizer, Delegate? closure) => (Optimizer, Closure) = (optimizer, closure);

    /// <summary>Whose step it is.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>
    /// What the step calls first to work out loss and gradients; null for none. A hook may replace it by another of the same
    /// type, or give one where there was none (a <c>Func&lt;double&gt;</c>).
    /// </summary>
    public Delegate? Closure { get; set; }
}
