using System.Numerics;

namespace Optim.Cli.Data;

/// <summary>
/// Rows of numbers, each with a label, to train a classifier on and to test it. The numbers are kept as the bytes that they come in, and
/// become numbers of the model's type when they are copied out.
/// </summary>
public sealed class DataSet
{
    private readonly byte[] bytes;
    private readonly int[] labels;
    private readonly double[] values; // that each byte stands for

    /// <summary>A data set of bytes.</summary>
    /// <param name="name">What it is called.</param>
    /// <param name="bytes">The numbers of all rows, row after row.</param>
    /// <param name="labels">The label of each row: 0, 1, ...</param>
    /// <param name="classes">How many labels there are.</param>
    /// <param name="trainingRows">How many rows are to train on; the others are to test.</param>
    /// <param name="isSplit">Whether the first rows are those to train on; otherwise a run draws which.</param>
    /// <param name="value">What a byte stands for.</param>
    public DataSet(string name, byte[] bytes, int[] labels, int classes, int trainingRows, bool isSplit, Func<byte, double> value)
    {
        (Name, Classes, TrainingRows, IsSplit) = (name, classes, trainingRows, isSplit);
        (this.bytes, this.labels) = (bytes, labels);
        values = [.. Enumerable.Range(0, byte.MaxValue + 1).Select(each => value((byte)each))];
        Features = bytes.Length / labels.Length;
    }

    /// <summary>What it is called.</summary>
    public string Name { get; }

    /// <summary>Numbers of a row.</summary>
    public int Features { get; }

    /// <summary>How many labels there are; they are 0, 1, ...</summary>
    public int Classes { get; }

    /// <summary>Number of rows.</summary>
    public int Count => labels.Length;

    /// <summary>How many rows are to train on; the others are to test.</summary>
    public int TrainingRows { get; }

    /// <summary>Whether the first rows are those to train on, and the others those to test; otherwise a run draws which.</summary>
    public bool IsSplit { get; }

    /// <summary>Times that a run sees every row when it is not told: small sets take many to be learnt.</summary>
    public int DefaultEpochs => TrainingRows < 10_000 ? 100 : 5;

    /// <summary>The label of a row.</summary>
    public int Label(int row) => labels[row];

    /// <summary>The numbers that the bytes 0 to 255 stand for: what <see cref="Copy"/> looks up.</summary>
    public T[] Values<T>()
        where T : IFloatingPointIeee754<T> => Array.ConvertAll(values, T.CreateTruncating);

    /// <summary>Writes the numbers of a row.</summary>
    /// <param name="row">The row.</param>
    /// <param name="values">What <see cref="Values"/> gave.</param>
    /// <param name="target">As long as a row.</param>
    public void Copy<T>(int row, ReadOnlySpan<T> values, Span<T> target)
    {
        var source = bytes.AsSpan(row * Features, Features);
        for (var i = 0; i < source.Length; i++)
            target[i] = values[source[i]];
    }

    /// <summary>The numbers of all rows.</summary>
    public T[] All<T>()
        where T : IFloatingPointIeee754<T>
    {
        var values = Values<T>();
        return Array.ConvertAll(bytes, each => values[each]);
    }
}
