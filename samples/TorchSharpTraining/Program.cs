using System.Globalization;
using Optim;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

// A TorchSharp model trained by Optim: the parameters stay where they are, and the step updates them in place.
Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"loss {TorchSharpTraining.Train():F4}"));

/// <summary>The training, as a method that the tests call.</summary>
public static class TorchSharpTraining
{
    /// <summary>Trains a small regression and returns the last loss.</summary>
    public static float Train()
    {
        random.manual_seed(1);
        using var model = Sequential(("hidden", Linear(4, 16)), ("relu", ReLU()), ("out", Linear(16, 1)));
        var optimizer = new Optim.AdamW(model.NamedParameters(), lr: 1e-2, weightDecay: 0.01);
        using var x = randn(64, 4);
        using var y = x.sum(1, keepdim: true);
        var last = 0f;
        for (var step = 0; step < 200; step++)
        {
            using var scope = NewDisposeScope();
            optimizer.ZeroGrad();
            var loss = functional.mse_loss(model.forward(x), y);
            loss.backward();
            optimizer.Step();
            last = loss.item<float>();
        }
        return last;
    }
}
