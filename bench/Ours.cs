using Optim.Bench.Peers;
using Optim.Kernels;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Optim.Bench;

/// <summary>Our optimizer, as users have it: the whole <c>Step()</c>, over host parameters or over TorchSharp's.</summary>
internal abstract class Ours : Side
{
    protected abstract Optimizer Optimizer { get; }

    public virtual string Executor => Optimizer.LastExecutor;

    /// <summary>What LBFGS minimizes; null for rules that take gradients as they are.</summary>
    protected Quadratic? Objective { get; init; }

    public override long Evaluations => Objective?.Evaluations ?? 0;

    public override void Step()
    {
        if (Objective is null)
            Optimizer.Step();
        else
            Optimizer.Step(Objective.Evaluate);
    }

    public static Ours Of(Measurement m) =>
        m.Rule == RuleCase.Average ? new OurAverage(m.List)
        : m.Parameters == Row.Host ? new OverHost(m.Rule.Ours, m.List, m.DType, m.Rule == RuleCase.LBFGS)
        : new OverTorchSharp(m.Rule, m.List, (ScalarType)(int)m.DType);

    /// <summary>An optimizer over host parameters in float32.</summary>
    public static Ours Over(Func<IEnumerable<IParameter>, Optimizer> rule, ParameterList list) => new OverHost(rule, list, DType.Float32);

    /// <summary>What moves the bytes of a step of ours, and does not compute.</summary>
    public static Ours Traffic(Measurement m) => new OverHost(parameters => Peers.Traffic.Of(m.Rule, parameters), m.List, m.DType);

    private sealed class OverHost : Ours
    {
        private readonly Param[] parameters;

        public OverHost(Func<IEnumerable<IParameter>, Optimizer> rule, ParameterList list, DType dtype, bool isQuadratic = false)
        {
            parameters = [.. list.Shapes.Select((shape, i) => Param.Zeros($"p{i}", dtype, shape))];
            for (var i = 0; i < parameters.Length; i++)
                if (dtype == DType.Float32)
                {
                    Values.Parameter(parameters[i].Data<float>(), i);
                    Values.Gradient(parameters[i].Gradient<float>(), i);
                }
                else if (dtype == DType.Float64)
                {
                    Values.Parameter(parameters[i].Data<double>(), i);
                    Values.Gradient(parameters[i].Gradient<double>(), i);
                }
                else
                {
                    var values = new double[parameters[i].View.Count];
                    Values.Parameter(values, i);
                    parameters[i].View.CopyFrom(TensorView.OfDoubles(dtype, values, list.Shapes[i]));
                    Values.Gradient(values, i);
                    parameters[i].SetGradient(TensorView.OfDoubles(dtype, values, list.Shapes[i]));
                }
            Optimizer = rule(parameters);
            if (isQuadratic)
                Objective = new(parameters[0].View.Address, parameters[0].GradientView.Address, (int)parameters[0].View.Count);
        }

        protected override Optimizer Optimizer { get; }

        public override double[] Sample() => [.. First(parameters[0]), .. First(parameters[^1])];

        public override void Rest()
        {
            foreach (var parameter in parameters)
            {
                parameter.GradientView.Clear();
                foreach (var column in (string[])["exp_avg", "exp_avg_sq"])
                    Optimizer.State(parameter)[column].AsTensor().Clear();
            }
        }

        public override void Dispose()
        {
            foreach (var parameter in parameters)
                parameter.Dispose();
        }

        private static double[] First(Param parameter)
        {
            var whole = parameter.View;
            var length = Math.Min(64, (long)whole.Count);
            return new TensorView(whole.Address, Layout.Contiguous(whole.DType, length), whole.Owner).ToDoubles();
        }
    }

    private sealed class OurAverage : Ours
    {
        private readonly Param[] parameters;
        private readonly AveragedParameters average;

        public OurAverage(ParameterList list)
        {
            parameters = [.. list.Shapes.Select((shape, i) => Param.Zeros($"p{i}", DType.Float32, shape))];
            for (var i = 0; i < parameters.Length; i++)
                Values.Parameter(parameters[i].Data<float>(), i);
            average = new(parameters, multiAvgFn: AveragedParameters.GetEmaMultiAvgFn(RuleCase.Decay));
            average.UpdateParameters();
        }

        protected override Optimizer Optimizer => throw new NotSupportedException();

        public override string Executor => Kernels.Executor.Team.Name;

        public override void Step() => average.UpdateParameters();

        public override double[] Sample() => [.. average["p0"].AsSpan<float>()[..64].ToArray().Select(x => (double)x)];

        public override void Dispose()
        {
            foreach (var parameter in parameters)
                parameter.Dispose();
        }
    }

    private sealed class OverTorchSharp : Ours
    {
        private readonly Parameter[] parameters;
        private readonly Tensor[] gradients;

        public OverTorchSharp(RuleCase rule, ParameterList list, ScalarType dtype)
        {
            (parameters, gradients) = TorchSharpPeer.Parameters(list, dtype);
            Optimizer = rule.Ours(Torch.Parameters([.. parameters.Select((parameter, i) => ($"p{i}", (Tensor)parameter))]));
            if (rule == RuleCase.LBFGS)
                Objective = Tensors.Quadratic(parameters[0], gradients[0]);
        }

        protected override Optimizer Optimizer { get; }

        public override double[] Sample() => Tensors.Sample(parameters);

        public override void Dispose() => Tensors.Dispose(parameters, gradients);
    }
}
