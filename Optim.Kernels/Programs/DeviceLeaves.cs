namespace Optim.Kernels;

/// <summary>
/// Leaves of programs (options, kept numbers, the step) where parameters lie: steps read them there, and count there. So they can be captured in a graph of
/// the device, which repeats them without the processor.
/// </summary>
/// <param name="nodes">The leaves. Programs find theirs among them, whatever surrounds a step.</param>
/// <param name="rates">For each leaf the tensor from which it is read; null for its place here.</param>
internal abstract class DeviceLeaves(Node[] nodes, RateTensor?[] rates)
{
    /// <summary>Numbers that a visit may take.</summary>
    public const int MostNumbers = 256;

    /// <summary>The leaves; behind them stands how many steps were made.</summary>
    public Node[] Nodes { get; } = nodes;

    /// <summary>For each leaf the tensor from which it is read; null for its place here.</summary>
    public RateTensor?[] Rates { get; } = rates;

    /// <summary>The dtypes of these tensors.</summary>
    public DType?[] RateTypes { get; } = Array.ConvertAll(rates, rate => rate?.DType);

    /// <summary>Has neighbouring leaves be other numbers from the next step on; those that are read from tensors stay so.</summary>
    /// <param name="first">The first leaf; behind all of them stands how many steps were made.</param>
    /// <param name="values">What they become.</param>
    public abstract void Write(int first, ReadOnlySpan<double> values);

    /// <summary>
    /// Waits for all steps so far, and reads what all leaves are now (nothing that is of use for those that are read from tensors), and behind them how
    /// many steps were made since they were written first.
    /// </summary>
    public abstract double[] Read();
}

/// <summary>A tensor of one element on a device, as which a leaf is read.</summary>
/// <param name="Address">Where it lies.</param>
/// <param name="DType">float32 or float64.</param>
internal readonly record struct RateTensor(nint Address, DType DType);
