using System.CommandLine;
using Optim.Checkpoints;
using Optim.Cli.Inspection;

namespace Optim.Cli.Commands;

/// <summary><c>optim inspect</c>: what is in a checkpoint file.</summary>
internal static class InspectCommand
{
    public const string Name = "inspect";

    public const string Description = "Show what a checkpoint holds: names, shapes, dtypes and statistics of tensors, and options";

    /// <summary>What its arguments are called.</summary>
    public const string File = "FILE";

    public static Command Create(Screen screen)
    {
        var file = new Argument<string>("file") { HelpName = File, Description = "A .pt or .safetensors file" };
        var json = new Option<bool>("--json") { Description = "Print it as JSON" };
        var diff = new Option<string?>("--diff") { HelpName = "OTHER", Description = "Print how another file differs from it" };
        var foreign = new Option<bool>("--foreign")
        {
            Description = "Show values that no checkpoint needs, such as objects of other libraries, too; nothing of them is run",
        };
        var nodes = Part(nameof(ReadBudget.Nodes), "Values that a file may have, those referred to again counted each time");
        var bytes = Part(nameof(ReadBudget.Bytes), "Bytes of memory that its values may take, beside those of tensors");
        var hashed = Part(nameof(ReadBudget.HashedCharacters), "Characters of keys that may be hashed or compared");
        var repeated = Part(nameof(ReadBudget.RepeatedBytes), "Bytes that tensors may have beyond those that are stored");
        var command = new Command(Name, Description) { file, json, diff, foreign, nodes, bytes, hashed, repeated };
        command.SetAction(parsed =>
        {
            var usual = ReadBudget.Default;
            var budget = usual with
            {
                Nodes = parsed.GetValue(nodes) ?? usual.Nodes,
                Bytes = parsed.GetValue(bytes) ?? usual.Bytes,
                HashedCharacters = parsed.GetValue(hashed) ?? usual.HashedCharacters,
                RepeatedBytes = parsed.GetValue(repeated) ?? usual.RepeatedBytes,
            };
            CheckpointFile Open(string path) => CheckpointFile.Open(path, parsed.GetValue(foreign), budget, forCommand: true);
            using var first = Open(parsed.GetRequiredValue(file));
            if (parsed.GetValue(diff) is not { } other)
                Show(first, parsed.GetValue(json), screen);
            else if (parsed.GetValue(json))
                throw new CommandException("--json and --diff cannot be given together.");
            else
                using (var second = Open(other))
                    if (!TreeDifference.Write((first.Tree, first.Length), (second.Tree, second.Length), screen.Say))
                        screen.Say("Both hold the same.");
            return 0;
        });
        return command;
    }

    private static Option<long?> Part(string part, string description) =>
        new(Budget.Option(part)) { HelpName = "N", Description = description };

    private static void Show(CheckpointFile file, bool json, Screen screen)
    {
        if (json)
        {
            TreeJson.Write(file.Tree, file.Metadata, file.Length, screen.Output);
            return;
        }
        foreach (var (key, value) in file.Metadata)
            screen.Say($"metadata {Readable.Text(key)}: {Readable.Text(value)}");
        TreeText.Write(file.Tree, file.Length, screen.Say);
    }
}
