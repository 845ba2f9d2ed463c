using Optim;
using Optim.Core;
using TorchSharp;
using static TorchSharp.torch;

/// <summary>What the code blocks of the pages take as given: a model, data, and functions of the user's own. Each name is made when a block asks for it.</summary>
public static class Given
{
    /// <summary>A batch as a host loop has it, and as a pair of tensors.</summary>
    public sealed record Batch
    {
        public void Deconstruct(out Tensor input, out Tensor target) => (input, target) = (Given.x, Given.y);
    }

    private static readonly Lazy<nn.Module<Tensor, Tensor>> lazyModel = new(NewModel);

    /// <summary>A classifier of 784 pixels.</summary>
    public static nn.Module<Tensor, Tensor> model => lazyModel.Value;

    public static nn.Module<Tensor, Tensor> NewModel() =>
        nn.Sequential(("hidden", nn.Linear(784, 64)), ("norm", nn.BatchNorm1d(64)), ("relu", nn.ReLU()), ("out", nn.Linear(64, 10)));

    public static Tensor x => rand(8, 784);
    public static Tensor y => randint(0, 10, new long[] { 8 }, dtype: ScalarType.Int64);

    public static Batch[] batches => [new(), new(), new()];
    public static Batch[] validation => [new()];

    private static readonly Lazy<Optimizer> lazyOptimizer = new(() => new AdamW(model.NamedParameters(), lr: 1e-3));

    public static Optimizer optimizer => lazyOptimizer.Value;
    public static IReadOnlyList<IParameter> parameters => model.NamedParameters();
    public static IEnumerable<IParameter> head => parameters.Where(p => p.Name!.StartsWith("out."));
    public static IEnumerable<IParameter> backbone => parameters.Where(p => !p.Name!.StartsWith("out."));
    public static IReadOnlyList<IParameter> adapter => nn.Linear(2, 2).NamedParameters("adapter");

    /// <summary>What an optimizer of the backbone and of another head has saved.</summary>
    public static StateDict saved =>
        new AdamW([
            new ParameterGroup(backbone) { ["lr"] = 1e-4 },
            new ParameterGroup(nn.Linear(64, 5).NamedParameters("old")),
        ]).StateDict();

    public static AveragedParameters average => new(parameters);
    public static double maxNorm => 1.0;

    /// <summary>A user's own backward pass: the gradient of the sum of squares.</summary>
    public static void ComputeGradients(float[] weights, Batch batch, Span<float> gradient)
    {
        for (var i = 0; i < gradient.Length; i++)
            gradient[i] = 2 * weights[i];
    }

    public static Tensor Loss(Tensor x) => (x * x).sum();

    public static Tensor Gradient(Tensor x) => 2 * x;

    public static void Train(Optimizer optimizer)
    {
        foreach (var (input, target) in batches)
        {
            optimizer.ZeroGrad();
            nn.functional.cross_entropy(model.forward(input), target).backward();
            optimizer.Step();
        }
    }

    public static double Evaluate()
    {
        using var scope = no_grad();
        return nn.functional.cross_entropy(model.forward(x), y).item<float>();
    }

    /// <summary>Files that blocks read.</summary>
    public static void Files()
    {
        NewModel().SaveWeights("resnet.pt");
        Checkpoint.Save("run.pt", ("model", model), ("optimizer", optimizer), ("epoch", 3));
    }
}
