using TorchSharp;
using static Optim.Bench.RuleCase;
using static TorchSharp.torch;

namespace Optim.Bench.Peers;

/// <summary>The chain in libtorch's operators, one after the other for each tensor, in place where that is possible: norms, clip, Adam, decay, cautious mask, average.</summary>
internal sealed class LibtorchChain : Side
{
    private readonly Tensor[] parameters,
        gradients,
        first,
        second,
        averages;
    private readonly Tensor oneMinusBeta1,
        oneMinusDecay;
    private readonly Scalar beta2 = Beta2,
        oneMinusBeta2 = 1 - Beta2,
        eps = Eps,
        decay = WeightDecay,
        minusLr = -Lr,
        zero = 0.0;
    private long count;

    public LibtorchChain(ParameterList list, ScalarType dtype)
    {
        parameters = Tensors.Parameters(list, dtype);
        gradients = Tensors.Gradients(list, dtype);
        (first, second) = (Tensors.Full(list, dtype), Tensors.Full(list, dtype));
        averages = [.. parameters.Select(parameter => parameter.clone())];
        (oneMinusBeta1, oneMinusDecay) = (tensor(1 - Beta1, dtype), tensor(1 - Decay, dtype));
    }

    public override void Step()
    {
        using var withoutGradients = no_grad();
        count++;
        using Scalar factor = Math.Min(1, MaxNorm / TotalNorm());
        using Scalar correction1 = 1 / (1 - Math.Pow(Beta1, count));
        using Scalar correction2 = Math.Sqrt(1 / (1 - Math.Pow(Beta2, count)));
        for (var i = 0; i < parameters.Length; i++)
        {
            using var clipped = gradients[i].mul(factor);
            first[i].lerp_(clipped, oneMinusBeta1);
            second[i].mul_(beta2).addcmul_(clipped, clipped, oneMinusBeta2);
            using var denominator = second[i].sqrt();
            denominator.mul_(correction2).add_(eps);
            using var update = first[i].mul(correction1);
            update.div_(denominator).add_(parameters[i], decay);
            using var product = update.mul(gradients[i]);
            using var against = product.le(zero);
            parameters[i].add_(update.masked_fill_(against, zero), minusLr);
            averages[i].lerp_(parameters[i], oneMinusDecay);
        }
    }

    private double TotalNorm()
    {
        var total = 0.0;
        foreach (var gradient in gradients)
        {
            using var norm = gradient.norm();
            var value = norm.ToDouble();
            total += value * value;
        }
        return Math.Sqrt(total);
    }

    public override double[] Sample() => Tensors.Sample(parameters);

    public override void Dispose()
    {
        Tensors.Dispose(parameters, gradients, first, second, averages, [oneMinusBeta1, oneMinusDecay]);
        foreach (var scalar in (Scalar[])[beta2, oneMinusBeta2, eps, decay, minusLr, zero])
            scalar.Dispose();
    }
}
