namespace Optim.Kernels;

/// <summary>Where a tensor lies.</summary>
/// <param name="Kind">PyTorch's name of the kind: <c>cpu</c>, <c>cuda</c>, ...</param>
/// <param name="Index">Which one of that kind; 0 for the CPU.</param>
public readonly record struct Device(string Kind, int Index)
{
    /// <summary>The memory of the processor.</summary>
    public static Device Cpu { get; } = new("cpu", 0);

    /// <summary>As PyTorch prints it: <c>cpu</c>, <c>cuda:1</c>.</summary>
    public override string ToString() => Kind == "cpu" ? Kind : FormattableString.Invariant($"{Kind}:{Index}");
}
