using System.Runtime.CompilerServices;
using Optim.Cli.Data;
using Optim.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Optim.Cli.Models;

/// <summary>
/// The model of <see cref="Mlp{T}"/> as a TorchSharp module, its gradients by autograd. Only this file uses TorchSharp, and libtorch is loaded
/// when the first of these models is made.
/// </summary>
public sealed class TorchMlp : IModel
{
    private readonly nn.Module<Tensor, Tensor> module;
    private readonly Tensor images;
    private readonly Tensor labels;
    private readonly int threadsBefore = get_num_threads();

    private TorchMlp(DataSet data, ReadOnlySpan<int> hidden, double[][] weights, ScalarType dtype)
    {
        set_num_threads(Threads.Count);
        int[] sizes = [data.Features, .. hidden, data.Classes];
        var layers = new List<(string, nn.Module<Tensor, Tensor>)>();
        for (var i = 1; i < sizes.Length; i++)
        {
            if (i > 1)
                layers.Add(($"relu{i - 1}", nn.ReLU()));
            layers.Add(($"layer{i}", nn.Linear(sizes[i - 1], sizes[i], dtype: dtype)));
        }
        module = nn.Sequential(layers);
        using (no_grad())
            foreach (var ((_, parameter), values) in module.named_parameters().Zip(weights))
            {
                using var initial = tensor(values, dtype: dtype);
                using var shaped = initial.view(parameter.shape);
                parameter.copy_(shaped);
            }
        images = Images(data, dtype);
        labels = tensor(Enumerable.Range(0, data.Count).Select(row => (long)data.Label(row)).ToArray());
        Parameters = [.. module.NamedParameters()];
    }

    /// <summary>With these sizes of hidden layers, starting from <see cref="InitialWeights"/>; libtorch takes as many threads as the optimizers.</summary>
    /// <exception cref="NotSupportedException">libtorch is not where the system looks for it.</exception>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static IModel Create(DataSet data, ReadOnlySpan<int> hidden, double[][] weights, DType dtype)
    {
        try
        {
            Torch.Load();
        }
        catch (NotSupportedException error)
        {
            throw new NotSupportedException($"--backend torchsharp: {error.Message}", error);
        }
        return new TorchMlp(data, hidden, weights, (ScalarType)(int)dtype);
    }

    /// <inheritdoc/>
    public IReadOnlyList<IParameter> Parameters { get; }

    /// <inheritdoc/>
    public double Backward(ReadOnlySpan<int> rows, double weight = 1)
    {
        using var scope = NewDisposeScope();
        var (logits, labels) = Forward(rows);
        var loss = nn.functional.cross_entropy(logits, labels);
        if (weight != 1)
            loss *= weight;
        loss.backward();
        return loss.ToDouble();
    }

    /// <inheritdoc/>
    public int CountRight(ReadOnlySpan<int> rows)
    {
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        var (logits, labels) = Forward(rows);
        return (int)logits.argmax(1).eq(labels).sum().ToInt64();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        module.Dispose();
        images.Dispose();
        labels.Dispose();
        set_num_threads(threadsBefore);
    }

    private static Tensor Images(DataSet data, ScalarType dtype)
    {
        long[] shape = [data.Count, data.Features];
        return dtype == ScalarType.Float64 ? tensor(data.All<double>(), shape) : tensor(data.All<float>(), shape);
    }

    private (Tensor Logits, Tensor Labels) Forward(ReadOnlySpan<int> rows)
    {
        var index = tensor(rows.ToArray(), dtype: ScalarType.Int64);
        return (module.forward(images.index_select(0, index)), labels.index_select(0, index));
    }
}
