namespace Optim.Cli.Models;

/// <summary>A classifier of the rows of a data set that can be trained: the same layers over host arrays (<see cref="Mlp{T}"/>) and by autograd.</summary>
public interface IModel : IDisposable
{
    /// <summary>Named layer1.weight, layer1.bias, layer2.weight, ... as PyTorch's state dicts would.</summary>
    IReadOnlyList<IParameter> Parameters { get; }

    /// <summary>Adds the gradients of the mean loss over these rows to the gradients of the parameters, and returns that loss.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="weight">By what the loss and its gradients are multiplied.</param>
    double Backward(ReadOnlySpan<int> rows, double weight = 1);

    /// <summary>How many of these rows it classifies rightly.</summary>
    int CountRight(ReadOnlySpan<int> rows);
}
