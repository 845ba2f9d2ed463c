using System.Globalization;
using Optim;
using Optim.Core;
using TorchSharp;
using static TorchSharp.torch;

// Learning a learning rate: five steps of momentum with a graph, and a step of Adam on log lr by the loss that they lead to.
var (first, last, rate) = LearnedRate.Learn();
Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"loss after five steps {first:F4}, then {last:F4} with lr {rate:F3}"));

/// <summary>The sample, as a method that the tests call.</summary>
public static class LearnedRate
{
    /// <summary>The loss after five steps with the first rate, that with the last one, and the last rate.</summary>
    public static (double First, double Last, double Rate) Learn()
    {
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        var a = tensor(new[] { 4.0, 1.0, 0.5 });
        // A rate must stay above 0: its logarithm is learnt.
        var logRate = tensor(Math.Log(1e-3), requires_grad: true);
        var outer = new Optim.Adam(Torch.Parameters(("log lr", logRate)), lr: 0.2);
        var losses = new List<double>();
        for (var round = 0; round < 60; round++)
        {
            using var scope = NewDisposeScope();
            var step = Differentiable.Step(Rules.SGD, [("momentum", 0.5)], ("lr", logRate.exp()));
            var x = ones(3, ScalarType.Float64);
            var state = step.Init(x);
            for (var i = 0; i < 5; i++)
                (x, state) = step.Run(x, a * x, state); // the gradient of a x^2 / 2
            var loss = (a * x * x).sum() / 2;
            losses.Add(loss.ToDouble());
            outer.ZeroGrad();
            loss.backward();
            outer.Step();
        }
        return (losses[0], losses[^1], Math.Exp(logRate.ToDouble()));
    }
}
