namespace Optim;

// Hooks around steps, state dicts and loads.
public abstract partial class Optimizer
{
    private static readonly HookList<Action<StepCall>> everyPre = new();
    private static readonly HookList<Action<Optimizer>> everyPost = new();
    private readonly HookList<Action<StepCall>> pre = new();
    private readonly HookList<Action<Optimizer>> post = new();
    private readonly HookList<Action<Optimizer>> statePre = new();
    private readonly HookList<Func<Optimizer, StateDict, StateDict?>> statePost = new();
    private readonly HookList<Func<Optimizer, StateDict, StateDict?>> loadPre = new();
    private readonly HookList<Action<Optimizer>> loadPost = new();

    /// <summary>
    /// A hook before each step of this optimizer, and each call that only adds gradients up; it may replace the closure. When it throws,
    /// nothing has moved.
    /// </summary>
    /// <returns>Dispose it to remove the hook.</returns>
    public IDisposable RegisterStepPreHook(Action<StepCall> hook) => pre.Add(hook);

    /// <summary>A hook after each step of this optimizer, which several calls may make together. When it throws the step stands, and later hooks do not run.</summary>
    /// <returns>Dispose it to remove the hook.</returns>
    public IDisposable RegisterStepPostHook(Action<Optimizer> hook) => post.Add(hook);

    /// <summary>A hook before <see cref="StateDict"/>.</summary>
    /// <returns>Dispose it to remove the hook.</returns>
    public IDisposable RegisterStateDictPreHook(Action<Optimizer> hook, bool prepend = false) => statePre.Add(hook, prepend);

    /// <summary>A hook after <see cref="StateDict"/>; what it returns, unless null, takes the dict's place.</summary>
    /// <returns>Dispose it to remove the hook.</returns>
    public IDisposable RegisterStateDictPostHook(Func<Optimizer, StateDict, StateDict?> hook, bool prepend = false) =>
        statePost.Add(hook, prepend);

    /// <summary>A hook before <see cref="LoadStateDict"/>, given a shallow copy; what it returns, unless null, is loaded.</summary>
    /// <returns>Dispose it to remove the hook.</returns>
    public IDisposable RegisterLoadStateDictPreHook(Func<Optimizer, StateDict, StateDict?> hook, bool prepend = false) =>
        loadPre.Add(hook, prepend);

    /// <summary>A hook after <see cref="LoadStateDict"/>.</summary>
    /// <returns>Dispose it to remove the hook.</returns>
    public IDisposable RegisterLoadStateDictPostHook(Action<Optimizer> hook, bool prepend = false) => loadPost.Add(hook, prepend);

    /// <summary>A hook before each step of every optimizer, ahead of the optimizer's own.</summary>
    /// <returns>Dispose it to remove the hook.</returns>
    public static IDisposable RegisterOptimizerStepPreHook(Action<StepCall> hook) => everyPre.Add(hook);

    /// <summary>A hook after each step of every optimizer, behind the optimizer's own.</summary>
    /// <returns>Dispose it to remove the hook.</returns>
    public static IDisposable RegisterOptimizerStepPostHook(Action<Optimizer> hook) => everyPost.Add(hook);

    private Delegate? PreHooks(Delegate? closure)
    {
        var call = new StepCall(this, closure);
        everyPre.Run(hook => hook(call));
        pre.Run(hook => hook(call));
        return call.Function;
    }

    private void PostHooks()
    {
        if (everyPost.IsEmpty && post.IsEmpty)
            return;
        post.Run(hook => hook(this));
        everyPost.Run(hook => hook(this));
    }
}
