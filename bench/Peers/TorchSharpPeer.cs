using TorchSharp;
using TorchSharp.Modules;
using static Optim.Bench.RuleCase;
using static TorchSharp.torch;

namespace Optim.Bench.Peers;

/// <summary>TorchSharp's own optimizers.</summary>
internal sealed class TorchSharpPeer : Side
{
    private readonly Parameter[] parameters;
    private readonly Tensor[] gradients;
    private readonly optim.Optimizer optimizer;

    public TorchSharpPeer(RuleCase rule, ParameterList list, ScalarType dtype)
    {
        (parameters, gradients) = Parameters(list, dtype);
        optimizer = Make(rule, parameters);
    }

    public static optim.Optimizer Make(RuleCase rule, IEnumerable<Parameter> parameters) =>
        rule == RuleCase.SGD ? optim.SGD(parameters, Lr)
        : rule == RuleCase.SGDMomentum ? optim.SGD(parameters, Lr, momentum: Momentum)
        : rule == RuleCase.Adam ? optim.Adam(parameters, Lr)
        : rule == RuleCase.AdamW ? optim.AdamW(parameters, Lr, weight_decay: WeightDecay)
        : rule == RuleCase.Adadelta ? optim.Adadelta(parameters, Lr)
        : rule == RuleCase.Adagrad ? optim.Adagrad(parameters, Lr)
        : rule == RuleCase.Adamax ? optim.Adamax(parameters, Lr)
        : rule == RuleCase.ASGD ? optim.ASGD(parameters, Lr)
        : rule == RuleCase.NAdam ? optim.NAdam(parameters, Lr)
        : rule == RuleCase.RMSprop ? optim.RMSProp(parameters, Lr)
        : optim.Rprop(parameters, Lr, min_step: MinStep, max_step: MaxStep);

    /// <summary>Parameters that want gradients, with gradients.</summary>
    public static (Parameter[] Parameters, Tensor[] Gradients) Parameters(ParameterList list, ScalarType dtype)
    {
        var gradients = Tensors.Gradients(list, dtype);
        var parameters = Tensors.Parameters(list, dtype).Select(data => new Parameter(data)).ToArray();
        foreach (var (parameter, gradient) in parameters.Zip(gradients))
            parameter.grad = gradient;
        return (parameters, gradients);
    }

    public override void Step() => optimizer.step();

    public override double[] Sample() => Tensors.Sample(parameters);

    public override void Dispose()
    {
        optimizer.Dispose();
        Tensors.Dispose(parameters, gradients);
    }
}
