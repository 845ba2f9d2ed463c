namespace Optim;

/// <summary>
/// The base rate times a function of the epoch, as torch.optim.lr_scheduler.LambdaLR: <c>new LambdaLR(optimizer, epoch => Math.Pow(0.95, epoch))</c>.
/// It does not look at the current rate. Functions are not saved: a scheduler that loads a state goes on with its own.
/// </summary>
public sealed class LambdaLR : FunctionLR
{
    /// <summary>One function for all groups.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="lrLambda">The factor at an epoch.</param>
    /// <param name="lastEpoch">The last epoch that is over, to go on with a run; -1: from the start.</param>
    public LambdaLR(Optimizer optimizer, Func<int, double> lrLambda, int lastEpoch = -1)
        : base(optimizer, lrLambda, null, lastEpoch) { }

    /// <summary>A function for each group; a group that is added later keeps its rate.</summary>
    /// <exception cref="Core.OptionException">There are more or fewer functions than groups.</exception>
    public LambdaLR(Optimizer optimizer, IEnumerable<Func<int, double>> lrLambda, int lastEpoch = -1)
        : base(optimizer, null, lrLambda, lastEpoch) { }

    /// <inheritdoc/>
    protected override IReadOnlyList<double> GetLr() => [.. BaseLrs.Select((start, group) => start * Factor(group))];
}
