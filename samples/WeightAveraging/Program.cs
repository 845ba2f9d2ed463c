using System.Globalization;
using Optim;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

// The two examples of PyTorch's manual on averaging weights, on handwritten digits and with batch normalization.
foreach (var (name, run) in new (string, Func<WeightAveraging.Outcome>)[] { ("SWA", WeightAveraging.Swa), ("EMA", WeightAveraging.Ema) })
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}: {run()}"));

/// <summary>The trainings, as methods that the tests call.</summary>
public static class WeightAveraging
{
    /// <summary>The shares of test digits that the trained and the averaged model recognise.</summary>
    public sealed record Outcome(double Raw, double Averaged)
    {
        /// <inheritdoc/>
        public override string ToString() =>
            string.Create(CultureInfo.InvariantCulture, $"accuracy {Raw:P1}, of the averages {Averaged:P1}");
    }

    /// <summary>Putting it all together: SWA. A cosine schedule, then a constant rate and the mean of the epochs' weights.</summary>
    public static Outcome Swa()
    {
        const int Epochs = 30,
            SwaStart = 20;
        random.manual_seed(1);
        using var digits = new Digits();
        using var model = Net();
        var optimizer = new Optim.SGD(model.NamedParameters(), lr: 0.1, momentum: 0.9);
        var swaModel = new AveragedModel(model, copy: Net);
        var scheduler = new CosineAnnealingLR(optimizer, tMax: Epochs);
        var swaScheduler = new SWALR(optimizer, swaLr: 0.05, annealEpochs: 5);
        for (var epoch = 0; epoch < Epochs; epoch++)
        {
            foreach (var (input, target) in digits.Batches(64))
            {
                using var scope = NewDisposeScope();
                optimizer.ZeroGrad();
                functional.cross_entropy(model.forward(input), target).backward();
                optimizer.Step();
            }
            if (epoch > SwaStart)
            {
                swaModel.UpdateParameters(model);
                swaScheduler.Step();
            }
            else
                scheduler.Step();
        }
        // Statistics of batch normalization for the averaged weights, at the end.
        swaModel.UpdateBn(digits.Batches(64));
        using var copy = swaModel.Module;
        return new(digits.Accuracy(model, model.forward), digits.Accuracy(swaModel.Module, swaModel.forward));
    }

    /// <summary>Putting it all together: EMA. The average goes along with every step, in the step's own pass over memory.</summary>
    public static Outcome Ema()
    {
        random.manual_seed(1);
        using var digits = new Digits();
        using var model = Net();
        var optimizer = new Optim.AdamW(model.NamedParameters(), lr: 5e-3);
        var emaModel = new AveragedModel(model, multiAvgFn: AveragedModel.GetEmaMultiAvgFn(0.99, warmup: true));
        optimizer.Attach(new ClipGradNorm(1.0), average: emaModel);
        for (var epoch = 0; epoch < 20; epoch++)
            foreach (var (input, target) in digits.Batches(64))
            {
                using var scope = NewDisposeScope();
                optimizer.ZeroGrad();
                functional.cross_entropy(model.forward(input), target).backward();
                optimizer.Step();
            }
        emaModel.UpdateBn(digits.Batches(64));
        var raw = digits.Accuracy(model, model.forward);
        using (emaModel.Applied())
            return new(raw, digits.Accuracy(model, model.forward));
    }

    private static TorchSharp.Modules.Sequential Net() =>
        Sequential(("hidden", Linear(64, 48)), ("norm", BatchNorm1d(48)), ("relu", ReLU()), ("out", Linear(48, 10)));
}
