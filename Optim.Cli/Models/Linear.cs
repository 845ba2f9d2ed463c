using System.Numerics;

namespace Optim.Cli.Models;

/// <summary>
/// y = W x + b over host arrays, W row-major with a row for each output. Every loop is a row plus a multiple of another row, never a sum across
/// a vector: the order of the additions, and so every bit, does not depend on the width of the machine's vectors.
/// </summary>
internal sealed class Linear<T> : IDisposable
    where T : unmanaged, IFloatingPointIeee754<T>
{
    private readonly int inputs;
    private readonly int outputs;
    private readonly T[] transposed;

    public Linear(string name, int inputs, int outputs, double[] weight, double[] bias)
    {
        (this.inputs, this.outputs) = (inputs, outputs);
        transposed = new T[inputs * outputs];
        Weight = HostParam.Of($"{name}.weight", Array.ConvertAll(weight, T.CreateTruncating), outputs, inputs);
        Bias = HostParam.Of($"{name}.bias", Array.ConvertAll(bias, T.CreateTruncating), outputs);
    }

    public Param Weight { get; }

    public Param Bias { get; }

    public int Outputs => outputs;

    public void Forward(ReadOnlySpan<T> input, Span<T> output)
    {
        Transpose(Weight.Data<T>());
        var bias = Bias.Data<T>();
        for (int x = 0, y = 0; y < output.Length; x += inputs, y += outputs)
        {
            var sums = output.Slice(y, outputs);
            bias.CopyTo(sums);
            for (var i = 0; i < inputs; i++)
                Rows.AddScaled(sums, input[x + i], transposed.AsSpan(i * outputs, outputs));
        }
    }

    /// <summary>Adds to the gradients of weight and bias; writes the gradient of the input unless it is empty.</summary>
    public void Backward(ReadOnlySpan<T> input, ReadOnlySpan<T> outputGradient, Span<T> inputGradient)
    {
        var weight = Weight.Data<T>();
        var weightGradient = Weight.Gradient<T>();
        var biasGradient = Bias.Gradient<T>();
        inputGradient.Clear();
        for (int x = 0, y = 0; y < outputGradient.Length; x += inputs, y += outputs)
        {
            Rows.AddScaled(biasGradient, T.One, outputGradient.Slice(y, outputs));
            for (var o = 0; o < outputs; o++)
            {
                var slope = outputGradient[y + o];
                Rows.AddScaled(weightGradient.Slice(o * inputs, inputs), slope, input.Slice(x, inputs));
                if (!inputGradient.IsEmpty)
                    Rows.AddScaled(inputGradient.Slice(x, inputs), slope, weight.Slice(o * inputs, inputs));
            }
        }
    }

    private void Transpose(ReadOnlySpan<T> weight)
    {
        for (var o = 0; o < outputs; o++)
        for (var i = 0; i < inputs; i++)
            transposed[i * outputs + o] = weight[o * inputs + i];
    }

    public void Dispose()
    {
        Weight.Dispose();
        Bias.Dispose();
    }
}
