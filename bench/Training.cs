using System.Diagnostics;
using Optim.Bench.Peers;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Optim.Bench;

/// <summary>A training step of a multilayer perceptron 784-64-10, batch 128, by TorchSharp's autograd: the whole of it, and the optimizer's step in it.</summary>
internal static class Training
{
    public static readonly ParameterList Step = new("mlp training step", []);

    public const string Whole = "mlp training step",
        Optimizer = "mlp training step: optimizer";

    public static readonly string[] Names = [Whole, Optimizer];

    public static Row[] Run(Measurement m, Effort effort)
    {
        using var oursModel = new Model();
        using var theirsModel = new Model();
        var ours = m.Rule.Ours(oursModel.Network.NamedParameters());
        using var theirs = TorchSharpPeer.Make(m.Rule, theirsModel.Network.parameters());
        var (oursUs, theirsUs) = Timing.Compare(
            steps => oursModel.Train(steps, () => ours.ZeroGrad(), () => ours.Step()),
            steps => theirsModel.Train(steps, theirs.zero_grad, () => theirs.step()),
            effort
        );
        var whole = Allocation.PerStep(() => oursModel.Train(1, () => ours.ZeroGrad(), () => ours.Step()), oursUs[0]);
        oursModel.Train(1, () => { }, () => { }); // so that there are gradients
        var step = Allocation.PerStep(() => ours.Step(), oursUs[1]);
        return
        [
            Comparison.Make(m, Whole, oursUs[0], theirsUs[0], whole, ours.LastExecutor),
            Comparison.Make(m, Optimizer, oursUs[1], theirsUs[1], step, ours.LastExecutor),
        ];
    }

    private sealed class Model : IDisposable
    {
        private readonly Tensor images,
            labels;

        public Model()
        {
            random.manual_seed(1);
            Network = nn.Sequential(("hidden", nn.Linear(784, 64)), ("relu", nn.ReLU()), ("output", nn.Linear(64, 10)));
            images = rand(128, 784);
            labels = randint(0, 10, 128);
        }

        public Sequential Network { get; }

        public double[] Train(int steps, Action zeroGrad, Action step)
        {
            var stepTicks = 0L;
            var start = Stopwatch.GetTimestamp();
            for (var i = 0; i < steps; i++)
            {
                using var scope = NewDisposeScope();
                zeroGrad();
                nn.functional.cross_entropy(Network.forward(images), labels).backward();
                var before = Stopwatch.GetTimestamp();
                step();
                stepTicks += Stopwatch.GetTimestamp() - before;
            }
            var whole = Stopwatch.GetElapsedTime(start).TotalMicroseconds / steps;
            return [whole, 1e6 * stepTicks / Stopwatch.Frequency / steps];
        }

        public void Dispose()
        {
            Network.Dispose();
            images.Dispose();
            labels.Dispose();
        }
    }
}
