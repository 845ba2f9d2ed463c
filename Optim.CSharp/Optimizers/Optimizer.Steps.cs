using Optim.Core;
using Optim.Kernels;

namespace Optim;

// Steps, and what surrounds them.
public abstract partial class Optimizer
{
    private readonly AccumulationWindow window = new();
    private readonly MemoryWatch watch = new();
    private Attachments? attachments;
    private Attachments? open;
    private Executor executor = Executor.Caller;
    private int threads = 1;

    /// <summary>Who ran the last step, and how many threads took part, such as <c>team, 2 threads</c>.</summary>
    public string LastExecutor =>
        executor is TensorExecutor or { IsOfDevice: true } ? executor.Name
        : threads == 1 ? Executor.Caller.Name
        : FormattableString.Invariant($"{executor.Name}, {threads} threads");

    /// <summary>Whether a step was made, left out on purpose or added up: schedulers warn when they come first.</summary>
    internal bool HasStepped { get; private set; }

    /// <summary>Whether the last step was left out, because a gradient was not finite: nothing has moved, and nothing was counted.</summary>
    public bool LastStepSkipped
    {
        get
        {
            Settle();
            return field;
        }
        private set;
    }

    /// <summary>How many steps were left out so far.</summary>
    public long SkippedSteps
    {
        get
        {
            Settle();
            return field;
        }
        private set;
    }

    /// <summary>Whether the last call of <see cref="Step()"/> only added its gradients up, for a step to come.</summary>
    public bool IsAccumulating => window.Calls > 0;

    /// <summary>How many calls of <see cref="Step()"/> have added their gradients up that no step has taken yet.</summary>
    public int AccumulatedCalls => window.Calls;

    /// <summary>
    /// Has every <see cref="Step()"/> do what surrounds a step in a training run: unscale, look for gradients that are not finite, clip,
    /// step, average, set gradients to zero. The numbers are those of separate passes, but memory is visited once, or twice where
    /// clipping by norm or scaling looks at the gradients first. A gradient that is not finite then leaves everything as it was. Calling
    /// it again replaces what was attached; gradients that were added up meanwhile stay, and belong to the step to come.
    /// <code>
    /// optimizer.Attach(new ClipGradNorm(1.0), scaler, average);
    /// foreach (var (x, y) in batches)
    /// {
    ///     optimizer.ZeroGrad();
    ///     scaler.Scale(Loss(x, y)).backward();
    ///     optimizer.Step();
    /// }
    /// </code>
    /// </summary>
    /// <param name="clip">How gradients are clipped; null for not at all.</param>
    /// <param name="scaler">Unscales the gradients and adapts after the step, without a call of its Update; null for none.</param>
    /// <param name="average">Takes the parameters in after the step; null for none.</param>
    /// <param name="zeroGrad">Whether gradients are zero after the step: <c>ZeroGrad(setToNone: false)</c>.</param>
    /// <param name="accumulate">
    /// How many calls make a step, by the mean of their gradients. Each call still has the gradients of its batch alone; a parameter without
    /// one in some calls, or in a group that is added meanwhile, counts as zero there. A call that throws adds nothing, and what was added
    /// before stays. <see cref="StepAccumulated"/> steps on fewer, such as at the end of an epoch; state dicts save and restore what was
    /// added up. Pre hooks run at each call, as they may replace its closure; post hooks after the step.
    /// </param>
    /// <exception cref="ArgumentException">A number of calls below 1; a scaler or an average that another optimizer has; an average of other parameters.</exception>
    public void Attach(
        GradientClip? clip = null,
        GradScaler? scaler = null,
        AveragedParameters? average = null,
        bool zeroGrad = false,
        int accumulate = 1
    )
    {
        if (Algorithm is not Rule)
            throw new NotSupportedException(
                $"{Algorithm.Name} evaluates its closure several times in a step, so nothing can be attached to it: clip and average in the closure and after the step"
            );
        if (accumulate < 1)
            throw new OptionException(
                FormattableString.Invariant($"Attach: accumulate is {accumulate}; it must be at least 1"),
                "accumulate"
            );
        if (scaler?.Owner is { } other && other != this)
            throw new ArgumentException(
                "the scaler is attached to another optimizer; step both by scaler.Step(optimizer), and then call scaler.Update()",
                nameof(scaler)
            );
        if (average?.Owner is { } first && first != this)
            throw new ArgumentException(
                "the average is attached to another optimizer; call average.UpdateParameters() after the steps of both",
                nameof(average)
            );
        if (average is not null && !groups.SelectMany(group => group.Parameters).Any(parameter => average.RowOf(parameter) >= 0))
            throw new ArgumentException("the average is of other parameters than the optimizer's", nameof(average));
        Settle();
        if (attachments?.Scaler is { } scalerBefore)
            scalerBefore.Owner = null;
        if (attachments?.Average is { } averageBefore)
            averageBefore.Owner = null;
        if (scaler is { IsEnabled: true })
            scaler.Owner = this;
        if (average is not null)
            average.Owner = this;
        attachments =
            clip is null && scaler is not { IsEnabled: true } && average is null && !zeroGrad && accumulate == 1
                ? null
                : new(this, clip, scaler is { IsEnabled: true } ? scaler : null, average, zeroGrad, accumulate);
    }

    /// <summary>Updates every parameter that has a gradient. From the second step on it allocates no memory that grows with their number.</summary>
    /// <exception cref="NotSupportedException">A gradient is sparse or of another dtype, or a flag is not possible here.</exception>
    /// <exception cref="ArgumentException">A gradient has another shape than its parameter.</exception>
    public void Step() => Step(attachments?.Scaler);

    /// <summary>A step whose gradients a scaler has scaled.</summary>
    internal void Step(GradScaler? scaler)
    {
        RefuseApplied();
        Advance(everyPre.IsEmpty && pre.IsEmpty ? null : StepCall.Typed<double>(PreHooks(null)), scaler, out var stepped);
        HasStepped = true;
        if (stepped)
            PostHooks();
    }

    /// <summary>
    /// Steps on the gradients that calls have added up so far, by their mean over these calls, although fewer than <c>accumulate</c> were made:
    /// at the end of an epoch. The parameters' own gradients are not looked at.
    /// </summary>
    /// <param name="scaler">The scaler whose <see cref="GradScaler.Step(Optimizer)"/> made the calls; null where it is attached, or none was there.</param>
    /// <returns>Whether it stepped: false when there were no calls, or a gradient is not finite.</returns>
    /// <exception cref="InvalidOperationException">A pre hook gave a closure, or the loss scale is another than in the calls. Nothing is lost.</exception>
    public bool StepAccumulated(GradScaler? scaler = null)
    {
        if (window.Calls == 0)
            return false;
        if (!(everyPre.IsEmpty && pre.IsEmpty) && PreHooks(null) is not null)
            throw new InvalidOperationException("a step pre hook gave a closure, and a step on accumulated gradients calls none");
        var stepped = Update(scaler is { IsEnabled: true } ? scaler : attachments?.Scaler, isCall: false);
        HasStepped = true;
        if (stepped)
            PostHooks();
        return stepped;
    }

    /// <summary>Drops the gradients that calls have added up and no step has taken.</summary>
    public void DropAccumulated() => window.Clear();

    /// <summary>Unscales the gradients in place; says whether all of them are finite.</summary>
    internal bool Unscale(double factor)
    {
        if (window.Calls > 0 || attachments?.Accumulate > 1)
            throw new InvalidOperationException(
                "unscale_() is being called while gradients of several calls are added up: their mean is unscaled in the step; clip by what is attached"
            );
        Settle();
        Ranks?.Collect();
        return (attachments ?? Attachments.None(this)).Unscale(groups, factor);
    }

    /// <summary>Calls the closure, which clears the gradients, works out the loss and the gradients and returns the loss, and then steps.</summary>
    /// <returns>What the closure returned.</returns>
    public T Step<T>(Func<T> closure)
    {
        ArgumentNullException.ThrowIfNull(closure);
        RefuseApplied();
        if (!(everyPre.IsEmpty && pre.IsEmpty))
            closure = StepCall.Typed<T>(PreHooks(closure)) ?? throw new InvalidOperationException("a step pre hook took the closure away");
        var loss = Advance(closure, attachments?.Scaler, out var stepped);
        HasStepped = true;
        if (stepped)
            PostHooks();
        return loss!;
    }

    /// <summary>
    /// What a step does between the hooks: it calls the closure, if there is one, and moves. <paramref name="stepped"/> is false when there
    /// was no step, but a skipped or an accumulated one.
    /// </summary>
    private protected virtual T? Advance<T>(Func<T>? closure, GradScaler? scaler, out bool stepped)
    {
        var loss = closure is null ? default : Evaluate(closure);
        stepped = Update(scaler);
        return loss;
    }

    internal T Evaluate<T>(Func<T> closure)
    {
        using (
            groups
                .SelectMany(group => group.Parameters)
                .Select(parameter => parameter.EnterClosure())
                .FirstOrDefault(scope => scope is not null)
        )
        {
            var loss = closure();
            RefuseApplied();
            return loss;
        }
    }

    /// <summary>
    /// Learns whether the last step was made, where a device has it and nobody has asked: what goes by that (state, counts, the next step) calls this
    /// first.
    /// </summary>
    internal void Settle()
    {
        if (open is not { } attached)
            return;
        open = null;
        foreach (var group in groups)
            group.Settle = null;
        LastStepSkipped = !attached.Settle(groups);
        if (LastStepSkipped)
            SkippedSteps++;
    }

    /// <summary>Refuses a step that would write into averages.</summary>
    private void RefuseApplied()
    {
        if (!AppliedAverages.None)
            AppliedAverages.Refuse("Step", groups.SelectMany(group => group.Parameters));
    }

    /// <summary>Refuses groups that share memory with each other; what the parameters of one share, its step refuses.</summary>
    private void RefuseShared()
    {
        if (groups.Count == 1)
            return;
        watch.Begin();
        for (var i = 0; i < groups.Count; i++)
            watch.Add(new(groups[i].List, gradients[i], [], []));
        watch.Check(Algorithm.Name);
        watch.Begin();
    }

    /// <summary>Remembers who ran the last step.</summary>
    private protected void Ran(Executor by, int count) => (executor, threads) = (by, count);

    /// <summary>Steps all groups; false when there was no step, but a skipped or an accumulated one.</summary>
    /// <param name="scaler">By which the gradients were scaled; null for none.</param>
    /// <param name="isCall">Whether the gradients of now take part, and not only those that were added up.</param>
    private bool Update(GradScaler? scaler, bool isCall = true)
    {
        RefuseApplied();
        Settle();
        if (isCall)
            Ranks?.Collect();
        var stepped = UpdateHere(scaler, isCall);
        Ranks?.End();
        return stepped;
    }

    private bool UpdateHere(GradScaler? scaler, bool isCall)
    {
        if (attachments is not null || scaler is not null || window.Calls > 0)
            return UpdateWith(attachments ?? Attachments.None(this), scaler, isCall);
        for (var i = 0; i < prepared.Length; i++)
            (gradients[i], prepared[i]) = (groups[i].Gradients, groups[i].Prepare());
        RefuseShared();
        for (var i = 0; i < prepared.Length; i++)
        {
            groups[i].State = prepared[i].Run();
            groups[i].AfterStep();
        }
        Ranks?.Publish();
        LastStepSkipped = false;
        NoteExecutor();
        return true;
    }

    /// <summary>Everything is checked before the gradients of a call are added to others, and those are dropped when the step was made.</summary>
    private bool UpdateWith(Attachments attached, GradScaler? scaler, bool isCall)
    {
        var lossScale = attached.Begin(scaler);
        if (isCall)
        {
            for (var i = 0; i < groups.Count; i++)
                Prepare(i, groups[i].Refresh());
            RefuseShared();
        }
        var areMeans = window.Calls > 0;
        if (areMeans || attached.Accumulate > 1)
        {
            if (scaler is not null && isCall)
                Attachments.RefuseFloat16(groups, gradients);
            window.Check(groups, isCall ? gradients : null, lossScale);
            if (isCall && window.Calls + 1 < attached.Accumulate)
            {
                window.Add(gradients, lossScale);
                attached.Zero(groups);
                LastStepSkipped = false;
                return false;
            }
            if (areMeans)
            {
                var i = 0;
                foreach (var mean in window.Means(groups, isCall ? gradients : null))
                    Prepare(i++, mean);
                RefuseShared();
            }
        }
        var mustKnow = areMeans || !(everyPost.IsEmpty && post.IsEmpty);
        var stepped = attached.Run(groups, prepared, gradients, scaler, areMeans, mustKnow);
        window.Clear();
        if (attached.IsOpen)
        {
            open = attached;
            foreach (var group in groups)
                group.Settle = Settle;
            NoteExecutor();
            return true;
        }
        LastStepSkipped = !stepped;
        if (stepped)
            NoteExecutor();
        else
            SkippedSteps++;
        return stepped;
    }

    private void Prepare(int group, Gradients given) => (gradients[group], prepared[group]) = (given, groups[group].Prepare(given));

    private void NoteExecutor()
    {
        (executor, threads) = (Executor.Caller, 1);
        foreach (var step in prepared)
            if (step.Threads > threads || step.Executor is TensorExecutor or { IsOfDevice: true })
                (executor, threads) = (step.Executor, step.Threads);
    }
}
