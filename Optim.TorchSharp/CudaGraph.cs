using Optim.Cuda;
using TorchSharp;
using static TorchSharp.torch;

namespace Optim;

/// <summary>
/// Steps of optimizers as a CUDA graph, which the device repeats by one launch and without the processor: its counts, its numbers, and the rates that are
/// tensors (<see cref="ParameterGroup.BindRate"/>) are the device's own. As torch.cuda.CUDAGraph over steps with <c>capturable=True</c>.
/// <code>
/// var optimizer = new AdamW(model.NamedParameters(), capturable: true);
/// using var rate = torch.tensor(1e-3, device: torch.CUDA);
/// optimizer.ParamGroups[0].BindRate("lr", rate);
/// loss.backward();                                        // gradients from now on lie where they are
/// using var graph = CudaGraph.Capture(torch.CUDA, () => optimizer.Step());
/// // and in the loop, after optimizer.ZeroGrad(setToNone: false) and backward():
/// graph.Launch();
/// </code>
/// </summary>
/// <remarks>
/// A graph goes on with the memory of its capture: gradients must stay where they are (<c>ZeroGrad(setToNone: false)</c>), and so must parameters and state.
/// Options are those of its capture, but for rates that are tensors. Clipping by norm or value and setting gradients to zero, where attached, are
/// repeated with it, and gradients that are not finite leave a step out; a loss scale, averages and the mean of several calls are the processor's, and
/// refused. State tells what a graph has counted: asking it waits for the device.
/// </remarks>
public sealed class CudaGraph : IDisposable
{
    private readonly GpuGraph graph;

    private CudaGraph(GpuGraph graph) => this.graph = graph;

    /// <summary>
    /// Makes some steps once, which brings forth all that they need, and then notes them, without making them again. What libtorch's operators do in it
    /// is noted, too, but must not allocate: it is for steps, and not for forward and backward passes.
    /// </summary>
    /// <param name="device">The device on which they are made.</param>
    /// <param name="step">What is noted, such as a call of <see cref="Optimizer.Step()"/>; it is called twice, and as long as the graph lives what it refers to does.</param>
    /// <exception cref="NotSupportedException">The device is none of NVIDIA's, its driver is missing, or a step cannot be captured; the message says why.</exception>
    /// <exception cref="CudaException">A step does something that a graph cannot repeat. It was made once, and nothing is captured.</exception>
    public static CudaGraph Capture(torch.Device device, Action step)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(step);
        if (device.type != DeviceType.CUDA)
            throw new NotSupportedException($"device is {device}; graphs are captured on CUDA devices alone");
        return CudaKernels.GpuOf("cuda", Math.Max(device.index, 0)) is { } gpu
            ? new(GpuGraph.Capture(gpu, step))
            : throw new NotSupportedException($"device is {device}, which has no kernels here: NVIDIA's driver was not found");
    }

    /// <summary>Adds the steps to libtorch's current stream. It returns at once.</summary>
    /// <exception cref="ObjectDisposedException">The graph was given back.</exception>
    /// <exception cref="CudaException">The device is lost.</exception>
    public void Launch() => graph.Launch();

    /// <summary>Gives the graph back; what it did stays.</summary>
    public void Dispose() => graph.Dispose();
}

/// <summary>Rates that are tensors of TorchSharp.</summary>
public static class RateTensorExtensions
{
    /// <inheritdoc cref="ParameterGroup.BindRate"/>
    public static void BindRate(this ParameterGroup group, string number, Tensor tensor)
    {
        ArgumentNullException.ThrowIfNull(group);
        ArgumentNullException.ThrowIfNull(number);
        ArgumentNullException.ThrowIfNull(tensor);
        group.BindRate(number, TorchParameter.View(tensor, number));
    }
}
