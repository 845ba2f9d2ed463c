using Optim.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Optim;

/// <summary>Memory of libtorch's devices, for state: tensors of TorchSharp own it.</summary>
internal sealed class TorchMemory : DeviceMemory
{
    public override TensorView Zeros(Layout layout)
    {
        var tensor = Views.Fresh(layout);
        using (no_grad())
            tensor.zero_();
        return new(LibTorch.Data(tensor.Handle), layout, tensor);
    }

    public override void Copy(TensorView source, TensorView target)
    {
        using var scope = NewDisposeScope();
        using var mode = no_grad();
        Views.Tensor(target).copy_(Views.Tensor(source));
        GC.KeepAlive(source.Owner);
        GC.KeepAlive(target.Owner);
    }

    public override void Fill(TensorView target, double value)
    {
        using var scope = NewDisposeScope();
        using var mode = no_grad();
        var tensor = Views.Tensor(target);
        (tensor.is_complex() ? tensor.view_as_real() : tensor).fill_(value);
        GC.KeepAlive(target.Owner);
    }
}
