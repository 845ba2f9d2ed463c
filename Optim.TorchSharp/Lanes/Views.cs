using Optim.Kernels;
using Tensor = TorchSharp.torch.Tensor;

namespace Optim;

/// <summary>From windows of memory to TorchSharp's tensors over the same memory, and back.</summary>
internal static class Views
{
    /// <summary>A tensor over the memory of a view; it belongs to the dispose scope in force, and the view's owner must outlive it.</summary>
    public static Tensor Tensor(TensorView view) =>
        TorchSharp.torch.Tensor.UnsafeCreateTensor(LibTorch.FromMemory(view.Address, view.Layout));

    /// <summary>A tensor of uninitialized memory of its own, in no scope.</summary>
    public static Tensor Fresh(Layout layout) =>
        TorchSharp.torch.Tensor.UnsafeCreateTensor(LibTorch.Empty(layout)).DetachFromDisposeScope();
}
