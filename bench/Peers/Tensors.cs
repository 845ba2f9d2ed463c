using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Optim.Bench.Peers;

/// <summary>libtorch's tensors for a list of parameters.</summary>
internal static class Tensors
{
    /// <summary>Where tensors are made.</summary>
    public static Device Place { get; set; } = CPU;

    public static Tensor[] Parameters(ParameterList list, ScalarType dtype) => Make(list, dtype, Values.Parameter, Values.Parameter);

    public static Tensor[] Gradients(ParameterList list, ScalarType dtype) => Make(list, dtype, Values.Gradient, Values.Gradient);

    public static Tensor[] Full(ParameterList list, ScalarType dtype, double value = 0) =>
        [.. list.Shapes.Select(shape => full(shape, value, dtype, Place))];

    /// <summary>The first numbers of the first and of the last tensor.</summary>
    public static double[] Sample(Tensor[] tensors) => [.. First(tensors[0]), .. First(tensors[^1])];

    /// <summary>The objective over a tensor's memory and its gradient's.</summary>
    public static unsafe Quadratic Quadratic(Tensor parameter, Tensor gradient)
    {
        fixed (
            byte* x = parameter.bytes,
                g = gradient.bytes
        )
            return new((nint)x, (nint)g, checked((int)parameter.numel()));
    }

    public static void Dispose(params ReadOnlySpan<Tensor[]> lists)
    {
        foreach (var list in lists)
        foreach (var tensor in list)
            tensor.Dispose();
    }

    private delegate void Fill<T>(Span<T> values, int index);

    private static Tensor[] Make(ParameterList list, ScalarType dtype, Fill<float> single, Fill<double> twice)
    {
        var tensors = new Tensor[list.Shapes.Count];
        for (var i = 0; i < tensors.Length; i++)
        {
            tensors[i] = empty(list.Shapes[i], dtype);
            if (dtype == ScalarType.Float32)
                single(MemoryMarshal.Cast<byte, float>(tensors[i].bytes), i);
            else
                twice(MemoryMarshal.Cast<byte, double>(tensors[i].bytes), i);
            if (Place.type != DeviceType.CPU)
                using (var here = tensors[i])
                    tensors[i] = here.to(Place);
        }
        return tensors;
    }

    private static double[] First(Tensor tensor)
    {
        using var detached = tensor.detach();
        using var flat = detached.reshape(-1);
        using var head = flat.narrow(0, 0, Math.Min(64, flat.shape[0]));
        using var numbers = head.to_type(ScalarType.Float64);
        return numbers.data<double>().ToArray();
    }
}
