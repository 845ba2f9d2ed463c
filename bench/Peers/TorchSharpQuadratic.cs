using TorchSharp.Modules;
using static Optim.Bench.RuleCase;
using static TorchSharp.torch;

namespace Optim.Bench.Peers;

/// <summary>TorchSharp's LBFGS, which is libtorch's. It has no line search, and never frees the losses that closures return.</summary>
internal sealed class TorchSharpQuadratic : Side
{
    private readonly Parameter[] parameters;
    private readonly Tensor[] gradients;
    private readonly TorchSharp.Modules.LBFGS optimizer;
    private readonly Quadratic objective;
    private readonly Func<Tensor> closure;

    public TorchSharpQuadratic(ParameterList list)
    {
        (parameters, gradients) = TorchSharpPeer.Parameters(list, ScalarType.Float32);
        objective = Tensors.Quadratic(parameters[0], gradients[0]);
        closure = () => tensor((float)objective.Evaluate());
        optimizer = optim.LBFGS(
            parameters,
            CurvatureLr,
            max_iter: Iterations,
            max_eval: 2 * Iterations,
            tolerange_grad: 0,
            tolerance_change: 0,
            history_size: History
        );
    }

    public override long Evaluations => objective.Evaluations;

    public override void Step() => optimizer.step(closure).Dispose();

    public override double[] Sample() => Tensors.Sample(parameters);

    public override void Dispose()
    {
        optimizer.Dispose();
        Tensors.Dispose(parameters, gradients);
    }
}
