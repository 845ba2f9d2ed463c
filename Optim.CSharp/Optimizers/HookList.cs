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
    internal StepCall(Optimizer optimizer, Delegate? closure) => (Optimizer, Function) = (optimizer, closure);

    /// <summary>Whose step it is.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>Whether the step calls a closure first, to work out loss and gradients.</summary>
    public bool HasClosure => Function is not null;

    internal Delegate? Function { get; private set; }

    /// <summary>The closure; null when there is none.</summary>
    /// <typeparam name="T">What it returns: the type of the loss.</typeparam>
    /// <exception cref="InvalidOperationException">The step's closure returns another type.</exception>
    public Func<T>? GetClosure<T>() => Typed<T>(Function);

    /// <summary>
    /// Replaces the closure by another one, which returns the same type, or gives one where there was none (a
    /// <c>Func&lt;double&gt;</c>).
    /// </summary>
    /// <exception cref="InvalidOperationException">The step's closure returns another type.</exception>
    public void SetClosure<T>(Func<T> closure)
    {
        ArgumentNullException.ThrowIfNull(closure);
        Typed<T>(Function);
        Function = closure;
    }

    /// <summary>Takes the closure away.</summary>
    public void RemoveClosure() => Function = null;

    internal static Func<T>? Typed<T>(Delegate? closure) =>
        closure is null or Func<T>
            ? (Func<T>?)closure
            : throw new InvalidOperationException(
                $"the closure of the step is a {Name(closure.GetType())}, and not a {Name(typeof(Func<T>))}"
            );

    private static string Name(Type type) => $"Func<{string.Join(", ", type.GetGenericArguments().Select(argument => argument.Name))}>";
}
