using Optim.Core;

namespace Optim;

/// <summary>Schedulers of functions of the epoch: one for all parameter groups, or one for each.</summary>
public abstract class FunctionLR : LRScheduler
{
    private readonly Func<int, double>? forAll;
    private readonly Func<int, double>[] forEach;

    private protected FunctionLR(Optimizer optimizer, Func<int, double>? lrLambda, IEnumerable<Func<int, double>>? lrLambdas, int lastEpoch)
        : base(optimizer, settings: null)
    {
        if (lrLambda is null)
            ArgumentNullException.ThrowIfNull(lrLambdas, nameof(lrLambda));
        (forAll, forEach) = (lrLambda, [.. lrLambdas ?? []]);
        if (forEach.Contains(null))
            throw new ArgumentException($"{GetType().Name}: a function of lr_lambda is null", nameof(lrLambda));
        if (forAll is null && forEach.Length != optimizer.ParamGroups.Count)
            throw new OptionException(
                FormattableString.Invariant(
                    $"{GetType().Name}: lr_lambda has {forEach.Length} functions; it must be one, or one for each of the {optimizer.ParamGroups.Count} parameter groups"
                ),
                "lr_lambda"
            );
        Initialize(lastEpoch);
    }

    private protected override IEnumerable<(string, Tree)> Save() =>
        [.. SaveCommon(), ("lr_lambdas", Tree.ListOf(Enumerable.Repeat(Tree.None, BaseLrs.Count)))];

    private protected override Action Load(StateReader state)
    {
        state.Find("lr_lambdas");
        state.Missing.Add("lr_lambdas: functions are not saved; the scheduler goes on with its own");
        return LoadCommon(state);
    }

    /// <summary>The factor of a group at the epoch.</summary>
    private protected double Factor(int group)
    {
        if (Math.Floor(LastEpoch) != LastEpoch || LastEpoch > int.MaxValue)
            throw new OptionException(
                FormattableString.Invariant($"{GetType().Name}: epoch is {LastEpoch}; it must be a whole number, as its functions take"),
                "epoch"
            );
        return forAll?.Invoke((int)LastEpoch) ?? (group < forEach.Length ? forEach[group]((int)LastEpoch) : 1);
    }
}
