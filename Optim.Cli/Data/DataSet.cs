using System.Numerics;

namespace Optim.Cli.Data;

/// <summary>Writes the numbers of a row.</summary>
public delegate void RowReader<T>(int row, Span<T> target);

/// <summary>Rows of numbers, each with a label, to train a classifier on and to test it.</summary>
public sealed class DataSet
{
    private readonly byte[]? bytes; // numbers of 256 kinds are kept as these
    private readonly double[] values; // what each byte stands for; without bytes, the numbers themselves
    private readonly int[] labels;

    /// <summary>Rows of bytes.</summary>
    /// <param name="name">What the data are called.</param>
    /// <param name="bytes">The numbers of all rows, row after row.</param>
    /// <param name="value">What a byte stands for.</param>
    /// <param name="labels">The label of each row: 0, 1, ...</param>
    /// <param name="trainingRows">How many rows are to train on; the others are to test.</param>
    /// <param name="isSplit">Whether the first rows are those to train on; otherwise a run draws which.</param>
    public DataSet(string name, byte[] bytes, Func<byte, double> value, int[] labels, int trainingRows, bool isSplit)
        : this(name, bytes.Length, labels, trainingRows, isSplit)
    {
        this.bytes = bytes;
        values = [.. Enumerable.Range(0, byte.MaxValue + 1).Select(each => value((byte)each))];
    }

    /// <summary>Rows of numbers; the rest as with bytes.</summary>
    public DataSet(string name, double[] numbers, int[] labels, int trainingRows, bool isSplit)
        : this(name, numbers.Length, labels, trainingRows, isSplit) => values = numbers;

    private DataSet(string name, int numbers, int[] labels, int trainingRows, bool isSplit)
    {
        (Name, this.labels, TrainingRows, IsSplit) = (name, labels, trainingRows, isSplit);
        (Features, Classes, values) = (numbers / labels.Length, labels.Max() + 1, []);
    }

    /// <summary>What the data are called.</summary>
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

    /// <summary>Times that a run sees every row when it is not told: a small set takes many to be learnt.</summary>
    public int DefaultEpochs => TrainingRows < 10_000 ? 100 : 5;

    /// <summary>The label of a row.</summary>
    public int Label(int row) => labels[row];

    /// <summary>How the numbers are had in a type.</summary>
    public RowReader<T> Reader<T>()
        where T : IFloatingPointIeee754<T>
    {
        if (bytes is null)
            return (row, target) =>
            {
                var source = values.AsSpan(row * Features, Features);
                for (var i = 0; i < source.Length; i++)
                    target[i] = T.CreateTruncating(source[i]);
            };
        var table = Array.ConvertAll(values, T.CreateTruncating);
        return (row, target) =>
        {
            var source = bytes.AsSpan(row * Features, Features);
            for (var i = 0; i < source.Length; i++)
                target[i] = table[source[i]];
        };
    }

    /// <summary>The numbers of all rows, row after row.</summary>
    public T[] All<T>()
        where T : IFloatingPointIeee754<T>
    {
        var all = new T[Count * Features];
        var read = Reader<T>();
        for (var row = 0; row < Count; row++)
            read(row, all.AsSpan(row * Features, Features));
        return all;
    }
}
