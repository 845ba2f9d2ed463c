namespace Optim.Cli.Data;

/// <summary>
/// A folder of IDX files as MNIST and its kin come: images and labels to train on and to test, such as train-images-idx3-ubyte.gz and
/// t10k-labels-idx1-ubyte. Their numbers are standardized by mean and deviation of the rows to train on.
/// </summary>
internal static class IdxFolder
{
    private const int MostClasses = 10_000;

    private static readonly string[] train = ["train"];
    private static readonly string[] test = ["t10k", "test"];

    /// <summary>Reads the folder.</summary>
    /// <exception cref="InvalidDataException">A file is missing, damaged, or does not fit the others; the message says which.</exception>
    public static DataSet Load(string name, string folder)
    {
        var (trainPath, testPath) = (Find(folder, train, "image"), Find(folder, test, "image"));
        var (trainLabels, testLabels) = (Find(folder, train, "label"), Find(folder, test, "label"));
        var (toTrain, toTest) = (Images(trainPath), Images(testPath));
        if (!toTrain.Sizes.Skip(1).SequenceEqual(toTest.Sizes.Skip(1)) || toTrain.IsOfBytes != toTest.IsOfBytes)
            throw new InvalidDataException($"{testPath}: its rows are of another shape or type than those of {trainPath}.");
        if ((long)toTrain.Bytes.Length + toTest.Bytes.Length > Array.MaxLength)
            throw new InvalidDataException($"{folder}: there is more in it than this program can keep in one array.");
        var rows = toTrain.Sizes[0];
        int[] labels = [.. Labels(trainLabels, rows), .. Labels(testLabels, toTest.Sizes[0])];
        if (toTrain.IsOfBytes)
        {
            var (mean, deviation) = Moments(toTrain.Bytes);
            return new DataSet(name, [.. toTrain.Bytes, .. toTest.Bytes], each => (each / 255.0 - mean) / deviation, labels, rows, true);
        }
        return new DataSet(name, Standardized(Finite(trainPath, toTrain), Finite(testPath, toTest)), labels, rows, true);
    }

    /// <summary>The one file whose name has one of the words and that other one; where it is there packed and unpacked, the unpacked.</summary>
    private static string Find(string folder, string[] words, string what)
    {
        var found = Directory
            .EnumerateFiles(folder)
            .Where(path => Has(path, what) && words.Any(word => Has(path, word)))
            .Order(StringComparer.Ordinal)
            .GroupBy(path => path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? path[..^3] : path, path => path)
            .Select(group => group.First())
            .ToList();
        return found switch
        {
            [var one] => one,
            [] => throw new InvalidDataException(
                $"{folder}: there is no file with '{string.Join("' or '", words)}' and '{what}' in its name, such as "
                    + $"{words[0]}-{what}s-idx{(what == "image" ? 3 : 1)}-ubyte or the same with .gz."
            ),
            _ => throw new InvalidDataException(
                $"{folder}: several files have '{string.Join("' or '", words)}' and '{what}' in their names: "
                    + $"{string.Join(", ", found.Select(Path.GetFileName))}."
            ),
        };
    }

    private static bool Has(string path, string word) => Path.GetFileName(path).Contains(word, StringComparison.OrdinalIgnoreCase);

    private static IdxFile Images(string path) =>
        IdxFile.Read(path) is { Sizes.Count: > 1, Bytes.Length: > 0 } images
            ? images
            : throw new InvalidDataException($"{path}: images must have two dimensions or more, and none of size 0.");

    private static int[] Labels(string path, int rows)
    {
        var file = IdxFile.Read(path);
        if (file.Sizes.Count != 1 || file.Sizes[0] != rows)
            throw new InvalidDataException(
                FormattableString.Invariant($"{path}: it holds {string.Join(" x ", file.Sizes)} numbers; there must be {rows} labels.")
            );
        var numbers = file.Numbers();
        foreach (var number in numbers)
            if (!(number >= 0 && number < MostClasses && number == Math.Floor(number)))
                throw new InvalidDataException(
                    FormattableString.Invariant($"{path}: {number} is no label; labels are whole numbers from 0 to {MostClasses - 1}.")
                );
        return Array.ConvertAll(numbers, number => (int)number);
    }

    /// <summary>
    /// Mean and deviation of the bytes over 255, to four decimals as they are published of such sets (0.2860 and 0.3530 for Fashion-MNIST).
    /// From how often each byte occurs, as this sum is exact.
    /// </summary>
    private static (double Mean, double Deviation) Moments(byte[] bytes)
    {
        var counts = new long[byte.MaxValue + 1];
        foreach (var each in bytes)
            counts[each]++;
        var mean = counts.Select((count, each) => count * each).Sum() / 255.0 / bytes.Length;
        var variance = counts.Select((count, each) => count * Math.Pow(each / 255.0 - mean, 2)).Sum() / bytes.Length;
        return (Math.Round(mean, 4), OrOne(Math.Round(Math.Sqrt(variance), 4)));
    }

    private static double[] Standardized(double[] toTrain, double[] toTest)
    {
        var mean = toTrain.Average();
        var deviation = OrOne(Math.Sqrt(toTrain.Average(number => (number - mean) * (number - mean))));
        return Array.ConvertAll<double, double>([.. toTrain, .. toTest], number => (number - mean) / deviation);
    }

    private static double OrOne(double deviation) => deviation > 0 ? deviation : 1; // where all numbers are the same

    private static double[] Finite(string path, IdxFile file) =>
        file.Numbers() is var numbers && Array.TrueForAll(numbers, double.IsFinite)
            ? numbers
            : throw new InvalidDataException($"{path}: there are numbers in it that are NaN or infinite.");
}
