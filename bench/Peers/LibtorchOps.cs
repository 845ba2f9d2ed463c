using TorchSharp;
using static Optim.Bench.RuleCase;
using static TorchSharp.torch;

namespace Optim.Bench.Peers;

/// <summary>libtorch operator by operator: PyTorch's for-loop (foreach=False) in TorchSharp's operators, in place where PyTorch is.</summary>
/// <remarks>Scalars are made once, temporaries freed at once, and steps counted in a number, where PyTorch has a tensor for each parameter.</remarks>
internal sealed class LibtorchOps : Side
{
    private readonly Tensor[] parameters,
        gradients,
        first,
        second;
    private readonly Tensor oneMinusBeta1;
    private readonly Scalar minusLr = -Lr,
        momentum = Momentum,
        one = 1.0,
        beta2 = Beta2,
        oneMinusBeta2 = 1 - Beta2,
        eps = Eps,
        keep = 1 - Lr * WeightDecay,
        alpha = Alpha,
        oneMinusAlpha = 1 - Alpha,
        etaMinus = EtaMinus,
        etaPlus = EtaPlus,
        minStep = MinStep,
        maxStep = MaxStep,
        zero = 0.0,
        minusOne = -1.0;
    private readonly Action step;
    private long count;

    public LibtorchOps(RuleCase rule, ParameterList list, ScalarType dtype)
    {
        parameters = Tensors.Parameters(list, dtype);
        gradients = Tensors.Gradients(list, dtype);
        var none = new ParameterList("", []);
        first = Tensors.Full(rule == RuleCase.SGD ? none : list, dtype);
        second =
            rule == RuleCase.Rprop ? Tensors.Full(list, dtype, Lr)
            : rule == RuleCase.SGD
            || rule == RuleCase.SGDMomentum
            || rule == RuleCase.RMSprop
            || rule == RuleCase.Adagrad
            || rule == RuleCase.ASGD
                ? []
            : Tensors.Full(list, dtype);
        oneMinusBeta1 = tensor(1 - Beta1, dtype, Tensors.Place);
        step =
            rule == RuleCase.SGD ? StepSgd
            : rule == RuleCase.SGDMomentum ? StepMomentum
            : rule == RuleCase.Adam ? () => StepAdam(decoupled: false)
            : rule == RuleCase.AdamW ? () => StepAdam(decoupled: true)
            : rule == RuleCase.RMSprop ? StepRmsprop
            : rule == RuleCase.Adadelta ? StepAdadelta
            : rule == RuleCase.Adagrad ? StepAdagrad
            : rule == RuleCase.Adamax ? StepAdamax
            : rule == RuleCase.ASGD ? StepAsgd
            : rule == RuleCase.NAdam ? StepNadam
            : rule == RuleCase.RAdam ? StepRadam
            : StepRprop;
    }

    public override void Step()
    {
        using var withoutGradients = no_grad();
        count++;
        step();
    }

    private void StepSgd()
    {
        for (var i = 0; i < parameters.Length; i++)
            parameters[i].add_(gradients[i], minusLr);
    }

    private void StepMomentum()
    {
        for (var i = 0; i < parameters.Length; i++)
        {
            first[i].mul_(momentum).add_(gradients[i], one);
            parameters[i].add_(first[i], minusLr);
        }
    }

    private void StepAdam(bool decoupled)
    {
        using Scalar minusStepSize = -Lr / (1 - Math.Pow(Beta1, count));
        using Scalar correction = Math.Sqrt(1 - Math.Pow(Beta2, count));
        for (var i = 0; i < parameters.Length; i++)
        {
            if (decoupled)
                parameters[i].mul_(keep);
            first[i].lerp_(gradients[i], oneMinusBeta1);
            second[i].mul_(beta2).addcmul_(gradients[i], gradients[i], oneMinusBeta2);
            using var root = second[i].sqrt();
            using var denominator = root.div(correction);
            parameters[i].addcdiv_(first[i], denominator.add_(eps), minusStepSize);
        }
    }

    private void StepRmsprop()
    {
        for (var i = 0; i < parameters.Length; i++)
        {
            first[i].mul_(alpha).addcmul_(gradients[i], gradients[i], oneMinusAlpha);
            using var denominator = first[i].sqrt();
            parameters[i].addcdiv_(gradients[i], denominator.add_(eps), minusLr);
        }
    }

    private void StepAdadelta()
    {
        using Scalar rho = Rho;
        using Scalar rest = 1 - Rho;
        using Scalar small = AdadeltaEps;
        for (var i = 0; i < parameters.Length; i++)
        {
            first[i].mul_(rho).addcmul_(gradients[i], gradients[i], rest);
            using var deviation = first[i].add(small);
            using var delta = second[i].add(small);
            delta.sqrt_().div_(deviation.sqrt_()).mul_(gradients[i]);
            second[i].mul_(rho).addcmul_(delta, delta, rest);
            parameters[i].add_(delta, minusLr);
        }
    }

    private void StepAdagrad()
    {
        using Scalar small = AdagradEps;
        for (var i = 0; i < parameters.Length; i++)
        {
            first[i].addcmul_(gradients[i], gradients[i], one);
            using var denominator = first[i].sqrt();
            parameters[i].addcdiv_(gradients[i], denominator.add_(small), minusLr);
        }
    }

    private void StepAdamax()
    {
        using Scalar minusStepSize = -Lr / (1 - Math.Pow(Beta1, count));
        for (var i = 0; i < parameters.Length; i++)
        {
            first[i].lerp_(gradients[i], oneMinusBeta1);
            using var magnitude = gradients[i].abs();
            using var norm = second[i].mul_(beta2).maximum(magnitude.add_(eps));
            second[i].copy_(norm);
            parameters[i].addcdiv_(first[i], second[i], minusStepSize);
        }
    }

    private double eta = Lr;

    private void StepAsgd()
    {
        using Scalar minusEta = -eta;
        using Scalar shrink = 1 - Lambd * eta;
        for (var i = 0; i < parameters.Length; i++)
        {
            parameters[i].mul_(shrink).add_(gradients[i], minusEta);
            first[i].copy_(parameters[i]); // averaging begins after a million steps
        }
        eta = Lr / Math.Pow(1 + Lambd * Lr * count, AsgdAlpha);
    }

    private double product = 1;

    private void StepNadam()
    {
        double Mu(long step) => Beta1 * (1 - 0.5 * Math.Pow(0.96, step * MomentumDecay));
        product *= Mu(count);
        using Scalar correction = 1 - Math.Pow(Beta2, count);
        using Scalar ofGradient = -Lr * (1 - Mu(count)) / (1 - product);
        using Scalar ofMean = -Lr * Mu(count + 1) / (1 - product * Mu(count + 1));
        for (var i = 0; i < parameters.Length; i++)
        {
            first[i].lerp_(gradients[i], oneMinusBeta1);
            second[i].mul_(beta2).addcmul_(gradients[i], gradients[i], oneMinusBeta2);
            using var denominator = second[i].div(correction);
            denominator.sqrt_().add_(eps);
            parameters[i].addcdiv_(gradients[i], denominator, ofGradient);
            parameters[i].addcdiv_(first[i], denominator, ofMean);
        }
    }

    private void StepRadam()
    {
        var power = Math.Pow(Beta2, count);
        var longest = 2 / (1 - Beta2) - 1;
        var length = longest - 2 * count * power / (1 - power);
        var rate = -Lr / (1 - Math.Pow(Beta1, count));
        if (length > 5)
            rate *= Math.Sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length) * (1 - power));
        using Scalar scaled = rate;
        for (var i = 0; i < parameters.Length; i++)
        {
            first[i].lerp_(gradients[i], oneMinusBeta1);
            second[i].mul_(beta2).addcmul_(gradients[i], gradients[i], oneMinusBeta2);
            if (length > 5)
            {
                using var denominator = second[i].sqrt();
                parameters[i].addcdiv_(first[i], denominator.add_(eps), scaled);
            }
            else
                parameters[i].add_(first[i], scaled);
        }
    }

    private void StepRprop()
    {
        for (var i = 0; i < parameters.Length; i++)
        {
            using var product = gradients[i].mul(first[i]);
            using var sign = product.sign();
            using (var grew = sign.gt(zero))
                sign.masked_fill_(grew, etaPlus);
            using (var shrank = sign.lt(zero))
                sign.masked_fill_(shrank, etaMinus);
            using (var neither = sign.eq(zero))
                sign.masked_fill_(neither, one);
            second[i].mul_(sign).clamp_(minStep, maxStep);
            using var gradient = gradients[i].clone();
            using (var turned = sign.eq(etaMinus))
                gradient.masked_fill_(turned, zero);
            using (var direction = gradient.sign())
                parameters[i].addcmul_(direction, second[i], minusOne);
            first[i].copy_(gradient);
        }
    }

    public override double[] Sample() => Tensors.Sample(parameters);

    public override void Dispose()
    {
        Tensors.Dispose(parameters, gradients, first, second, [oneMinusBeta1]);
        foreach (
            var scalar in (ReadOnlySpan<Scalar>)
                [
                    minusLr,
                    momentum,
                    one,
                    beta2,
                    oneMinusBeta2,
                    eps,
                    keep,
                    alpha,
                    oneMinusAlpha,
                    etaMinus,
                    etaPlus,
                    minStep,
                    maxStep,
                    zero,
                    minusOne,
                ]
        )
            scalar.Dispose();
    }
}
