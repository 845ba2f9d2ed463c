using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>PyTorch's avg_fn: the new average of one parameter, from the old one, the parameter and the number of updates so far.</summary>
/// <typeparam name="T">What parameters are: a TensorView, or TorchSharp's Tensor.</typeparam>
public delegate T AvgFn<T>(T average, T current, long averaged);

/// <summary>PyTorch's multi_avg_fn: changes all averages in place, from the parameters and the number of updates so far.</summary>
/// <typeparam name="T">What parameters are: a TensorView, or TorchSharp's Tensor.</typeparam>
public delegate void MultiAvgFn<T>(IReadOnlyList<T> averages, IReadOnlyList<T> current, long averaged);

/// <summary>
/// The functions of an average that are known by their settings. An average that was given one runs it as a kernel, and in the
/// same pass as a step; who calls it gets the same numbers.
/// </summary>
internal sealed class KnownAverage<T>(Averaging averaging, Func<T, TensorView> view, Func<T, T> copy) : IKnownAverage
{
    public Averaging Averaging => averaging;

    public T One(T average, T current, long averaged)
    {
        var moved = copy(average);
        Many([moved], [current], averaged);
        return moved;
    }

    public void Many(IReadOnlyList<T> averages, IReadOnlyList<T> current, long averaged) =>
        AverageModule.move(
            AveragingModule.weight(averaging, averaged),
            [.. averages.Select(view)],
            [.. current.Select(view)],
            Executor.Team
        );
}

/// <summary>The target of a function that is known by its settings.</summary>
internal interface IKnownAverage
{
    Averaging Averaging { get; }

    /// <summary>The settings that two functions stand for, of which at most one is given: null for a function of one's own.</summary>
    /// <exception cref="ArgumentException">Both are given.</exception>
    static Averaging? Of(Delegate? avgFn, Delegate? multiAvgFn) =>
        (avgFn, multiAvgFn) switch
        {
            (null, null) => AveragingModule.equal,
            (not null, not null) => throw new ArgumentException(
                "Only one of avg_fn and multi_avg_fn should be provided",
                nameof(multiAvgFn)
            ),
            _ => ((avgFn ?? multiAvgFn)!.Target as IKnownAverage)?.Averaging,
        };
}
