namespace Optim.Cli.Data;

/// <summary>Data sets by what one writes on the command line.</summary>
public static class DataSets
{
    /// <summary>The name of Fashion-MNIST (Zalando Research, MIT licence): 70000 pictures of clothes, 28 x 28 pixels, 10 classes.</summary>
    public const string FashionMnist = "fashion-mnist";

    /// <summary>Where Debian's package puts it.</summary>
    public const string FashionMnistFolder = "/usr/share/datasets/fashion-mnist";

    /// <summary>The data of that name, or of the IDX files in a folder.</summary>
    /// <param name="text">digits, fashion-mnist or a folder.</param>
    /// <param name="fashionMnist">Where Fashion-MNIST is.</param>
    /// <exception cref="InvalidDataException">There are no such data, or they are damaged; the message says what is wrong.</exception>
    public static DataSet Load(string text, string fashionMnist = FashionMnistFolder) =>
        text switch
        {
            Digits.Name => Digits.Load(),
            FashionMnist when Directory.Exists(fashionMnist) => IdxFolder.Load(text, fashionMnist),
            FashionMnist => throw new InvalidDataException(
                $"fashion-mnist: there is no folder {fashionMnist}. Install the data (Debian and Ubuntu: apt-get install "
                    + "dataset-fashion-mnist), or download their four IDX files and give their folder instead of the name."
            ),
            _ when Directory.Exists(text) => IdxFolder.Load(text, text),
            _ => throw new InvalidDataException($"'{text}' is neither {Digits.Name} nor {FashionMnist} nor a folder of IDX files."),
        };
}
