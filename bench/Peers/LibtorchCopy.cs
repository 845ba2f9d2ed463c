using static TorchSharp.torch;

namespace Optim.Bench.Peers;

/// <summary>A copy of all tensors, by libtorch's threads: how fast memory can be read and written.</summary>
internal sealed class LibtorchCopy(ParameterList list, ScalarType dtype) : Side
{
    private readonly Tensor[] sources = Tensors.Parameters(list, dtype),
        targets = Tensors.Full(list, dtype);

    public override void Step()
    {
        for (var i = 0; i < sources.Length; i++)
            targets[i].copy_(sources[i]);
    }

    public override double[] Sample() => [.. Tensors.Sample(targets).Take(64)];

    public override void Dispose() => Tensors.Dispose(sources, targets);
}
