using System.CommandLine;
using Optim.Core;
using Optim.Distributed;
using Optim.Kernels;

namespace Optim.Bench;

/// <summary>
/// `./optim bench scale`: memory, traffic and messages of each rank, counted on the plan and the messages that Optim.Distributed makes, for models and numbers
/// of ranks that no one machine has, beside what DistributedDataParallel and ZeroRedundancyOptimizer need.
/// </summary>
internal static class ShardScale
{
    private const double Giga = 1e9;

    /// <summary>Neighbouring ranks of a node.</summary>
    private const int RanksOfNode = 8;

    private static readonly (string Name, Func<IEnumerable<long[]>> Shapes)[] models =
    [
        (
            "MLP 784-128-10",
            () =>
                [
                    [128, 784],
                    [128],
                    [10, 128],
                    [10],
                ]
        ),
        ("ResNet-50", () => ParameterList.All.First(list => list.Name == "resnet50").Shapes),
        ("GPT-2 (124 M)", () => Transformer(12, 768, 50257, 1024)),
        ("GPT-3 (175 B)", () => Transformer(96, 12288, 50257, 2048)),
    ];

    public static Command Create()
    {
        var ranks = new Option<int[]>("--ranks")
        {
            Description = "Numbers of ranks, from 1 to 4096; may be repeated.",
            DefaultValueFactory = _ => [1, 2, 4, 8, 64, 512, 4096],
        };
        ranks.Validators.Add(result =>
        {
            foreach (var token in result.Tokens)
                if (int.TryParse(token.Value, out var count) && count is < 1 or > 4096)
                    result.AddError($"--ranks is '{token.Value}'; it must be a whole number from 1 to 4096.");
        });
        var command = new Command(
            "scale",
            "Prints what each rank keeps and sends in a step of AdamW in float32, counted on what the plan sends, beside the formulas of PyTorch's DistributedDataParallel and ZeroRedundancyOptimizer. Nothing is trained."
        )
        {
            ranks,
        };
        command.SetAction(result => Print(result.GetValue(ranks)!));
        return command;
    }

    private static void Print(int[] counts)
    {
        Console.WriteLine(
            "Each number is that of the rank that has most, of all ranks: state and gradients in GB (10^9 bytes), sent in a step in GB, messages in a step"
        );
        Console.WriteLine($"with buckets of 25 MB, and how many of them leave a node of {RanksOfNode}. AdamW, float32, Shard.Gradients.");
        Console.WriteLine();
        Console.WriteLine(
            $"{"model", -16}{"ranks", 6}{"state", 12}{"1/n", 10}{"DDP", 10}{"ZeRO-1 PT", 11}{"gradients", 11}{"sent", 10}{"DDP sent", 10}{"ZeRO-1 PT", 11}{"messages", 10}{"of nodes", 10}"
        );
        foreach (var (name, shapes) in models)
        {
            var items = shapes()
                .Select(
                    (shape, i) =>
                        new PlanItem(FormattableString.Invariant($"{i}"), Layout.Contiguous(DType.Float32, shape), Division.Sliced)
                )
                .ToList();
            foreach (var count in counts)
                Console.WriteLine(Row(name, items, count));
        }
    }

    private static string Row(string name, List<PlanItem> items, int ranks)
    {
        const int underWay = 4;
        var found = PlanCost.Of(ShardPlan.Of(ranks, Shard.Gradients, items, isVector: false), 25 << 20, RanksOfNode);
        var parameters = items.Sum(item => (double)item.Layout.Count);
        var largest = items.Max(item => (double)item.Layout.Count);
        // Buckets that are under way, and what comes for one of them.
        var buckets = underWay * found.LargestBucket * 3 / 2;
        return FormattableString.Invariant(
            $"{name, -16}{ranks, 6}{8 * found.Elements / Giga, 12:G5}{8 * parameters / ranks / Giga, 10:G4}{8 * parameters / Giga, 10:G4}{8 * Math.Max(parameters / ranks, largest) / Giga, 11:G4}{(4 * found.Elements + buckets) / Giga, 11:G4}{found.Sent / Giga, 10:G4}{8 * parameters * (ranks - 1) / ranks / Giga, 10:G4}{12 * parameters * (ranks - 1) / ranks / Giga, 11:G4}{found.Messages, 10}{found.Between, 10}"
        );
    }

    /// <summary>The tensors of a decoder as GPT-2 and GPT-3 have it.</summary>
    private static IEnumerable<long[]> Transformer(int layers, long width, long words, long positions)
    {
        yield return [words, width];
        yield return [positions, width];
        for (var layer = 0; layer < layers; layer++)
        {
            yield return [width];
            yield return [width];
            yield return [3 * width, width];
            yield return [3 * width];
            yield return [width, width];
            yield return [width];
            yield return [width];
            yield return [width];
            yield return [4 * width, width];
            yield return [4 * width];
            yield return [width, 4 * width];
            yield return [width];
        }
        yield return [width];
        yield return [width];
    }
}
