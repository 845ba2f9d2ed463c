using System.Runtime.InteropServices;
using static Optim.Bench.RuleCase;
using static TorchSharp.torch;

namespace Optim.Bench.Peers;

/// <summary>libtorch's fused operators, called as its own C++ calls them: the lists are built once, a step is the bare operator.</summary>
/// <remarks>The operator reads the step counters and does not advance them, as in PyTorch, where that is a further operator.</remarks>
internal unsafe class LibtorchFused : Side
{
    protected readonly Tensor[] parameters,
        gradients;
    protected readonly ArrayRef self,
        grads;
    private readonly Tensor[] first,
        second,
        steps;
    private readonly ArrayRef firsts,
        seconds,
        counters;
    private readonly void* nothing = NativeMemory.AllocZeroed(16); // an empty std::optional
    private readonly Action step;

    public LibtorchFused(RuleCase rule, ParameterList list, ScalarType dtype)
    {
        parameters = Tensors.Parameters(list, dtype);
        gradients = Tensors.Gradients(list, dtype);
        var rows = rule == RuleCase.SGD ? new ParameterList("", []) : list;
        var twice = rule == RuleCase.SGD || rule == RuleCase.SGDMomentum ? new ParameterList("", []) : list;
        first = Tensors.Full(rows, dtype);
        second = Tensors.Full(twice, dtype);
        steps = [.. twice.Shapes.Select(_ => tensor(1f, device: Tensors.Place))];
        (self, grads, firsts, seconds, counters) = (new(parameters), new(gradients), new(first), new(second), new(steps));
        if (rule == RuleCase.SGD || rule == RuleCase.SGDMomentum)
        {
            var momentum = rule == RuleCase.SGD ? 0 : Momentum; // buffers of zeros make the first step what it should be
            step = () => FusedSgd(self, grads, firsts, 0, momentum, Lr, 0, 0, 0, 0, nothing, nothing);
        }
        else if (rule == RuleCase.Adam)
            step = () => FusedAdam(self, grads, firsts, seconds, default, counters, Lr, Beta1, Beta2, 0, Eps, 0, 0, nothing, nothing);
        else if (rule == RuleCase.AdamW)
            step = () =>
                FusedAdamW(self, grads, firsts, seconds, default, counters, Lr, Beta1, Beta2, WeightDecay, Eps, 0, 0, nothing, nothing);
        else
            throw new ArgumentException($"libtorch has no fused operator for {rule.Name}.");
    }

    public override void Step() => step();

    public override void Rest()
    {
        foreach (var tensor in (ReadOnlySpan<Tensor>)[.. gradients, .. first, .. second])
            tensor.zero_();
    }

    public override double[] Sample() => Tensors.Sample(parameters);

    public override void Dispose()
    {
        Tensors.Dispose(parameters, gradients, first, second, steps);
        foreach (var array in (ReadOnlySpan<ArrayRef>)[self, grads, firsts, seconds, counters])
            NativeMemory.Free(array.Items);
        NativeMemory.Free(nothing);
    }

    /// <summary>c10::ArrayRef of at::Tensor, each of which is one pointer.</summary>
    protected readonly struct ArrayRef
    {
        public readonly nint* Items;
        public readonly nint Count;

        public ArrayRef(Tensor[] tensors)
        {
            Items = (nint*)NativeMemory.Alloc((nuint)Math.Max(1, tensors.Length), (nuint)sizeof(nint));
            Count = tensors.Length;
            for (var i = 0; i < tensors.Length; i++)
                Items[i] = *(nint*)tensors[i].Handle;
        }
    }

    [DllImport(
        "torch_cpu",
        EntryPoint = "_ZN2at4_ops12_fused_adam_4callEN3c108ArrayRefINS_6TensorEEES5_S5_S5_S5_S5_dddddbbRKSt8optionalIS4_ES9_"
    )]
    private static extern void FusedAdam(
        ArrayRef self,
        ArrayRef grads,
        ArrayRef expAvgs,
        ArrayRef expAvgSqs,
        ArrayRef maxExpAvgSqs,
        ArrayRef stateSteps,
        double lr,
        double beta1,
        double beta2,
        double weightDecay,
        double eps,
        byte amsgrad,
        byte maximize,
        void* gradScale,
        void* foundInf
    );

    [DllImport(
        "torch_cpu",
        EntryPoint = "_ZN2at4_ops13_fused_adamw_4callEN3c108ArrayRefINS_6TensorEEES5_S5_S5_S5_S5_dddddbbRKSt8optionalIS4_ES9_"
    )]
    private static extern void FusedAdamW(
        ArrayRef self,
        ArrayRef grads,
        ArrayRef expAvgs,
        ArrayRef expAvgSqs,
        ArrayRef maxExpAvgSqs,
        ArrayRef stateSteps,
        double lr,
        double beta1,
        double beta2,
        double weightDecay,
        double eps,
        byte amsgrad,
        byte maximize,
        void* gradScale,
        void* foundInf
    );

    [DllImport("torch_cpu", EntryPoint = "_ZN2at4_ops11_fused_sgd_4callEN3c108ArrayRefINS_6TensorEEES5_S5_ddddbbbRKSt8optionalIS4_ES9_")]
    private static extern void FusedSgd(
        ArrayRef self,
        ArrayRef grads,
        ArrayRef momentumBuffers,
        double weightDecay,
        double momentum,
        double lr,
        double dampening,
        byte nesterov,
        byte maximize,
        byte isFirstStep,
        void* gradScale,
        void* foundInf
    );
}
