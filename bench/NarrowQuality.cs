using System.Globalization;
using Optim.Cli.Data;
using Optim.Cli.Training;
using Optim.Core;

namespace Optim.Bench;

/// <summary>What narrow state does to training: the same runs of <c>optim train</c> with each storage, over some seeds.</summary>
internal static class NarrowQuality
{
    private const int Seeds = 5,
        Epochs = 10;

    private static readonly (string Rule, (string Name, OptionValue Value)[] Options)[] rules =
    [
        ("AdamW", [("lr", 1e-3)]),
        ("Lion", [("lr", 3e-4)]),
        ("SGD", [("lr", 0.05), ("momentum", 0.9)]),
    ];

    /// <summary>Trains and prints.</summary>
    /// <param name="isQuick">Whether the digits are enough.</param>
    public static void Run(bool isQuick)
    {
        Console.WriteLine();
        Console.WriteLine($"Means over {Seeds} seeds after {Epochs} epochs; the loss is that of the last epoch.");
        Console.WriteLine();
        Console.WriteLine("| data | rule | storage | loss | against float32 | accuracy in % | against float32 in points |");
        Console.WriteLine("|---|---|---|---|---|---|---|");
        var hasFashion = Directory.Exists(DataSets.FashionMnistFolder);
        foreach (var data in (string[])(isQuick || !hasFashion ? [Digits.Name] : [Digits.Name, DataSets.FashionMnist]))
            Run(DataSets.Load(data));
        if (!isQuick && !hasFashion)
            Console.WriteLine($"{DataSets.FashionMnist}: there is no folder {DataSets.FashionMnistFolder}");
    }

    private static void Run(DataSet data)
    {
        foreach (var (rule, options) in rules)
        {
            var (exactLoss, exactAccuracy) = (0.0, 0.0);
            foreach (var storage in (StateStorage[])[StateStorage.Float32, StateStorage.BFloat16, StateStorage.Blockwise8])
            {
                var (loss, accuracy) = (0.0, 0.0);
                for (var seed = 0; seed < Seeds; seed++)
                {
                    var result = Trainer.Run(
                        new()
                        {
                            Data = data,
                            Rule = Algorithms.Find(rule),
                            Options = [.. options, ("state_storage", storage.Name)],
                            Epochs = Epochs,
                            BatchSize = data.TrainingRows > 10_000 ? 128 : 32,
                            Seed = seed,
                        }
                    );
                    loss += result.Losses.Skip(result.Losses.Count * (Epochs - 1) / Epochs).Average() / Seeds;
                    accuracy += 100 * result.TestAccuracy / Seeds;
                }
                if (storage == StateStorage.Float32)
                    (exactLoss, exactAccuracy) = (loss, accuracy);
                Console.WriteLine(
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"| {data.Name} | {rule} | {storage.Name} | {loss:G4} | {100 * (loss / exactLoss - 1):+0.00;-0.00} % | {accuracy:F2} | {accuracy - exactAccuracy:+0.00;-0.00} |"
                    )
                );
            }
        }
    }
}
