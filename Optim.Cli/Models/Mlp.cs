using System.Numerics;
using Optim.Cli.Data;

namespace Optim.Cli.Models;

/// <summary>
/// A multilayer perceptron over host arrays: Linear, ReLU, ..., Linear, softmax cross entropy (mean), with its gradients written out.
/// <typeparamref name="T"/> is float or double.
/// </summary>
public sealed class Mlp<T> : IModel
    where T : unmanaged, IFloatingPointIeee754<T>
{
    private const int RowsAtOnce = 256; // when testing, so that the activations stay in cache

    private readonly DataSet data;
    private readonly RowReader<T> read;
    private readonly Linear<T>[] layers;
    private readonly T[][] activations; // of each layer, and before them the input
    private readonly T[][] gradients; // of the loss with respect to these

    /// <summary>With these sizes of hidden layers, starting from <see cref="InitialWeights"/>.</summary>
    public Mlp(DataSet data, ReadOnlySpan<int> hidden, double[][] weights)
    {
        this.data = data;
        read = data.Reader<T>();
        int[] sizes = [data.Features, .. hidden, data.Classes];
        layers = new Linear<T>[sizes.Length - 1];
        for (var i = 0; i < layers.Length; i++)
            layers[i] = new Linear<T>($"layer{i + 1}", sizes[i], sizes[i + 1], weights[2 * i], weights[2 * i + 1]);
        activations = Array.ConvertAll(sizes, _ => Array.Empty<T>());
        gradients = Array.ConvertAll(sizes, _ => Array.Empty<T>());
        Parameters = [.. layers.SelectMany(layer => new[] { layer.Weight, layer.Bias })];
    }

    /// <inheritdoc/>
    public IReadOnlyList<IParameter> Parameters { get; }

    /// <inheritdoc/>
    public double Backward(ReadOnlySpan<int> rows, double weight = 1)
    {
        var logits = Forward(rows);
        var slopes = Sized(ref gradients[^1], logits.Length);
        var loss = CrossEntropy(rows, logits, slopes, rows.Length / weight);
        for (var i = layers.Length - 1; i >= 0; i--)
        {
            var input = activations[i].AsSpan(0, rows.Length * Width(i));
            var inputSlopes = i == 0 ? [] : Sized(ref gradients[i], input.Length);
            layers[i].Backward(input, slopes, inputSlopes);
            for (var k = 0; k < inputSlopes.Length; k++)
                if (input[k] <= T.Zero)
                    inputSlopes[k] = T.Zero;
            slopes = inputSlopes;
        }
        return loss;
    }

    /// <inheritdoc/>
    public int CountRight(ReadOnlySpan<int> rows)
    {
        var right = 0;
        for (; rows.Length > 0; rows = rows[Math.Min(rows.Length, RowsAtOnce)..])
        {
            var some = rows[..Math.Min(rows.Length, RowsAtOnce)];
            var logits = Forward(some);
            for (var row = 0; row < some.Length; row++)
                if (Largest(logits.Slice(row * data.Classes, data.Classes)) == data.Label(some[row]))
                    right++;
        }
        return right;
    }

    /// <inheritdoc/>
    public void Dispose() => Array.ForEach(layers, layer => layer.Dispose());

    private Span<T> Forward(ReadOnlySpan<int> rows)
    {
        var values = Sized(ref activations[0], rows.Length * data.Features);
        for (var row = 0; row < rows.Length; row++)
            read(rows[row], values.Slice(row * data.Features, data.Features));
        for (var i = 0; i < layers.Length; i++)
        {
            var input = values;
            values = Sized(ref activations[i + 1], rows.Length * Width(i + 1));
            layers[i].Forward(input, values);
            if (i < layers.Length - 1)
                foreach (ref var value in values)
                    if (value < T.Zero) // and not where it is NaN
                        value = T.Zero;
        }
        return values;
    }

    /// <summary>The sum of losses divided by a number of rows, and its derivatives with respect to the logits: (softmax - one hot) / rows.</summary>
    private double CrossEntropy(ReadOnlySpan<int> rows, ReadOnlySpan<T> logits, Span<T> slopes, double divisor)
    {
        var total = 0.0;
        var count = T.CreateChecked(divisor);
        for (var row = 0; row < rows.Length; row++)
        {
            var z = logits.Slice(row * data.Classes, data.Classes);
            var slope = slopes.Slice(row * data.Classes, data.Classes);
            var label = data.Label(rows[row]);
            var largest = z[Largest(z)]; // taken off, so that no power overflows
            var sum = T.Zero;
            for (var c = 0; c < z.Length; c++)
                sum += slope[c] = T.Exp(z[c] - largest);
            for (var c = 0; c < z.Length; c++)
                slope[c] = (slope[c] / sum - (c == label ? T.One : T.Zero)) / count;
            total += double.CreateTruncating(T.Log(sum) - (z[label] - largest));
        }
        return total / divisor;
    }

    private static int Largest(ReadOnlySpan<T> values)
    {
        var best = 0;
        for (var i = 1; i < values.Length; i++)
            if (values[i] > values[best])
                best = i;
        return best;
    }

    private int Width(int activation) => activation == 0 ? data.Features : layers[activation - 1].Outputs;

    private static Span<T> Sized(ref T[] buffer, int length)
    {
        if (buffer.Length < length)
            buffer = new T[length];
        return buffer.AsSpan(0, length);
    }
}
