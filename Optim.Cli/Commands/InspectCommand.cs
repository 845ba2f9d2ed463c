using System.CommandLine;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
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
        var command = new Command(Name, Description) { file, json, diff };
        command.SetAction(parsed =>
        {
            using var first = CheckpointFile.Open(parsed.GetRequiredValue(file));
            if (parsed.GetValue(diff) is not { } other)
                Show(first, parsed.GetValue(json), screen);
            else if (parsed.GetValue(json))
                throw new CommandException("--json and --diff cannot be given together.");
            else
                using (var second = CheckpointFile.Open(other))
                {
                    var lines = TreeDifference.Lines(first.Tree, second.Tree).ToList();
                    foreach (var line in lines)
                        screen.Say(line);
                    if (lines.Count == 0)
                        screen.Say("Both hold the same.");
                }
            return 0;
        });
        return command;
    }

    private static void Show(CheckpointFile file, bool json, Screen screen)
    {
        if (!json)
        {
            foreach (var (key, value) in file.Metadata)
                screen.Say($"metadata {key}: {value}");
            foreach (var line in TreeText.Lines(file.Tree))
                screen.Say(line);
            return;
        }
        using var stream = new MemoryStream();
        using (var writer = new Utf8JsonWriter(stream, new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            writer.WriteStartObject("metadata");
            foreach (var (key, value) in file.Metadata)
                writer.WriteString(key, value);
            writer.WriteEndObject();
            writer.WritePropertyName("tree");
            TreeJson.Write(writer, file.Tree);
            writer.WriteEndObject();
        }
        screen.Say(Encoding.UTF8.GetString(stream.ToArray()));
    }
}
