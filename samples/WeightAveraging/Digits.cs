using System.Globalization;
using System.IO.Compression;
using static TorchSharp.torch;

/// <summary>Handwritten digits of 8x8 pixels (UCI Optical Recognition of Handwritten Digits, CC BY 4.0) as tensors: three rows in four to train on.</summary>
public sealed class Digits : IDisposable
{
    /// <summary>Reads the embedded file.</summary>
    public Digits()
    {
        using var file = typeof(Digits).Assembly.GetManifestResourceStream("digits.csv.gz")!;
        using var text = new StreamReader(new GZipStream(file, CompressionMode.Decompress));
        var rows = text.ReadToEnd()
            .Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line.Split(',').Select(number => float.Parse(number, CultureInfo.InvariantCulture)).ToArray())
            .ToArray();
        var training = rows.Where((_, i) => i % 4 != 0).ToArray();
        var test = rows.Where((_, i) => i % 4 == 0).ToArray();
        ((Train, TrainLabels), (Test, TestLabels)) = (Tensors(training), Tensors(test));
    }

    /// <summary>Pixels from 0 to 1, a row for each digit.</summary>
    public Tensor Train { get; }

    /// <summary>What they are.</summary>
    public Tensor TrainLabels { get; }

    /// <summary>Pixels to test on.</summary>
    public Tensor Test { get; }

    /// <summary>What these are.</summary>
    public Tensor TestLabels { get; }

    /// <summary>All training digits in batches, always in the same order; whoever takes them disposes them.</summary>
    public IEnumerable<(Tensor Input, Tensor Target)> Batches(int size)
    {
        for (var first = 0; first < Train.shape[0]; first += size)
        {
            var last = Math.Min(first + size, Train.shape[0]);
            yield return (Train[TensorIndex.Slice(first, last)], TrainLabels[TensorIndex.Slice(first, last)]);
        }
    }

    /// <summary>The share of the test digits that a model recognises, in evaluation mode.</summary>
    public double Accuracy(nn.Module model, Func<Tensor, Tensor> forward)
    {
        model.eval();
        using var withoutGraph = no_grad();
        using var scope = NewDisposeScope();
        var right = forward(Test).argmax(1).eq(TestLabels).sum().item<long>();
        model.train();
        return (double)right / Test.shape[0];
    }

    /// <summary>Frees the tensors.</summary>
    public void Dispose()
    {
        foreach (var tensor in (Tensor[])[Train, TrainLabels, Test, TestLabels])
            tensor.Dispose();
    }

    private static (Tensor, Tensor) Tensors(float[][] rows) =>
        (
            tensor(rows.SelectMany(row => row[..64].Select(pixel => pixel / 16)).ToArray()).reshape(rows.Length, 64),
            tensor(rows.Select(row => (long)row[64]).ToArray())
        );
}
