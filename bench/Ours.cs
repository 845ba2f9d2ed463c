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

    public override void Step() => Optimizer.Step();

    public static Ours Of(Measurement m) =>
        m.Rule == RuleCase.Average ? new OurAverage(m.List)
        : m.Parameters == Row.Host ? new OverHost(m.Rule, m.List, m.DType)
        : new OverTorchSharp(m.Rule, m.List, (ScalarType)(int)m.DType);

    private sealed class OverHost : Ours
    {
        private readonly Param[] parameters;
        private readonly bool isSingle;

        public OverHost(RuleCase rule, ParameterList list, DType dtype)
        {
            isSingle = dtype == DType.Float32;
            parameters = [.. list.Shapes.Select((shape, i) => Param.Zeros($"p{i}", dtype, shape))];
            for (var i = 0; i < parameters.Length; i++)
                if (isSingle)
                {
                    Values.Parameter(parameters[i].Data<float>(), i);
                    Values.Gradient(parameters[i].Gradient<float>(), i);
                }
                else
                {
                    Values.Parameter(parameters[i].Data<double>(), i);
                    Values.Gradient(parameters[i].Gradient<double>(), i);
                }
            Optimizer = rule.Ours(parameters);
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

        private double[] First(Param parameter) => isSingle ? First(parameter.Data<float>()) : First(parameter.Data<double>());

        private static double[] First<T>(Span<T> values)
            where T : System.Numerics.INumber<T>
        {
            var first = new double[Math.Min(64, values.Length)];
            for (var i = 0; i < first.Length; i++)
                first[i] = double.CreateTruncating(values[i]);
            return first;
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
        }

        protected override Optimizer Optimizer { get; }

        public override double[] Sample() => Tensors.Sample(parameters);

        public override void Dispose() => Tensors.Dispose(parameters, gradients);
    }
}
