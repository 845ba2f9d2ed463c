using TorchSharp;
using static Optim.Bench.RuleCase;
using static TorchSharp.torch;

namespace Optim.Bench.Peers;

/// <summary>Adafactor and Muon operator by operator: PyTorch's for-loop in TorchSharp's operators, in place where PyTorch is; Muon's iteration in float32.</summary>
internal sealed class LibtorchMatrices : Side
{
    private readonly Tensor[] parameters,
        gradients,
        rows,
        columns;
    private readonly double eps1;
    private readonly Action step;
    private long count;

    public LibtorchMatrices(RuleCase rule, ParameterList list, ScalarType dtype)
    {
        parameters = Tensors.Parameters(list, dtype);
        gradients = Tensors.Gradients(list, dtype);
        eps1 = dtype == ScalarType.Float32 ? Math.ScaleB(1, -23) : Math.ScaleB(1, -52);
        var isMuon = rule == RuleCase.Muon;
        rows = [.. list.Shapes.Select(shape => zeros(isMuon || shape.Length < 2 ? shape : [.. shape[..^1], 1], dtype))];
        columns = isMuon ? [] : [.. list.Shapes.Select(shape => zeros(shape.Length < 2 ? [0] : [.. shape[..^2], 1, shape[^1]], dtype))];
        step = isMuon ? StepMuon : StepAdafactor;
    }

    public override void Step()
    {
        using var withoutGradients = no_grad();
        count++;
        step();
    }

    private void StepAdafactor()
    {
        using var weight = tensor(Math.Pow(count, -0.8), parameters[0].dtype);
        using Scalar smallest = eps1 * eps1,
            smallestMean = eps1;
        var rho = Math.Min(Lr, 1 / Math.Sqrt(count));
        for (var i = 0; i < parameters.Length; i++)
        {
            using var scope = NewDisposeScope();
            var (parameter, gradient) = (parameters[i], gradients[i]);
            var root = Math.Sqrt(parameter.numel());
            var alpha = Math.Max(1e-3, parameter.norm().ToDouble() / root) * rho;
            Tensor variance;
            if (gradient.dim() > 1)
            {
                using Scalar two = 2,
                    width = 1.0 / gradient.size(-1),
                    height = 1.0 / gradient.size(-2);
                rows[i].lerp_(gradient.norm(-1, true).pow_(two).mul_(width), weight);
                columns[i].lerp_(gradient.norm(-2, true).pow_(two).mul_(height), weight);
                variance = rows[i].matmul(columns[i]).div_(rows[i].mean([-2], true).clamp_(smallestMean));
            }
            else
            {
                rows[i].lerp_(gradient.mul(gradient), weight);
                variance = rows[i].clone();
            }
            var update = variance.clamp_(smallest).rsqrt_().mul_(gradient);
            using Scalar rate = -alpha / Math.Max(1, update.norm().ToDouble() / root);
            parameter.add_(update, rate);
        }
    }

    private void StepMuon()
    {
        using var rest = tensor(0.05, parameters[0].dtype);
        using var momentum = tensor(0.95, parameters[0].dtype);
        using Scalar eps = 1e-7,
            keep = 1 - Lr * MuonDecay;
        var (a, b, c) = (3.4445f, -4.7750f, 2.0315f);
        for (var i = 0; i < parameters.Length; i++)
        {
            using var scope = NewDisposeScope();
            var parameter = parameters[i];
            rows[i].lerp_(gradients[i], rest);
            var x = gradients[i].lerp(rows[i], momentum);
            var (height, width) = (x.size(0), x.size(1));
            if (height > width)
                x = x.t();
            x = x.div(x.norm().clamp_(eps));
            for (var round = 0; round < 5; round++)
            {
                var square = x.mm(x.t());
                var polynomial = square.addmm(square, square, b, c);
                x = x.addmm(polynomial, x, a, 1f);
            }
            if (height > width)
                x = x.t();
            using Scalar rate = -Lr * Math.Sqrt(Math.Max(1, (double)height / width));
            parameter.mul_(keep).add_(x, rate);
        }
    }

    public override double[] Sample() => Tensors.Sample(parameters);

    public override void Dispose() => Tensors.Dispose(parameters, gradients, rows, columns);
}
