using System.Globalization;
using System.Text.Json;
using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>One run of a file of recorded runs.</summary>
/// <param name="Start">What the generator of the initial weights started from.</param>
/// <param name="Optimizer">The name of its rule, as PyTorch spells it.</param>
/// <param name="Options">Options of the optimizer, a JSON object.</param>
/// <param name="DType">float32 or float64 (or what this program has not).</param>
/// <param name="Scheduler">The class of the schedule of its learning rate, or null.</param>
/// <param name="SchedulerArguments">The arguments of that, a JSON object.</param>
/// <param name="Rates">The learning rate of each step; empty when they were not recorded.</param>
/// <param name="Losses">The loss of each step, taken before the update.</param>
/// <param name="TestAccuracy">At the end.</param>
/// <param name="FirstLayerChecksum">Sum of layer1.weight at the end.</param>
/// <param name="SecondLayerChecksum">Sum of layer2.weight at the end.</param>
public sealed record RecordedRun(
    uint Start,
    string Optimizer,
    JsonElement Options,
    string DType,
    string? Scheduler,
    JsonElement SchedulerArguments,
    IReadOnlyList<double> Rates,
    IReadOnlyList<double> Losses,
    double TestAccuracy,
    double FirstLayerChecksum,
    double SecondLayerChecksum
)
{
    /// <summary>The rules that took part: Muon and AdamW in Muon+AdamW.</summary>
    public IReadOnlyList<string> Rules { get; } = Optimizer.Split('+');

    /// <summary>The options; those of a rule beside the first as in adamw.lr.</summary>
    internal IReadOnlyList<(string Name, OptionValue Value)> AllOptions =>
        Rules.Count == 1
            ? OptionJson.ReadAll(Options)
            :
            [
                .. Rules.SelectMany(
                    (rule, i) =>
                        OptionJson
                            .ReadAll(Options.GetProperty(rule.ToLowerInvariant()))
                            .Select(option => (i == 0 ? option.Name : $"{rule.ToLowerInvariant()}.{option.Name}", option.Value))
                ),
            ];

    /// <summary>The options as one writes them, and the schedule: lr=0.001, betas=[0.9, 0.99], OneCycleLR.</summary>
    public IEnumerable<string> OptionTexts =>
        [
            .. Options.EnumerateObject().Select(option => $"{option.Name}={option.Value.GetRawText()}"),
            .. Scheduler is null ? Enumerable.Empty<string>() : [Scheduler],
        ];

    /// <summary>Reads a file of the form of golden/training_digits.json: an object whose "runs" are a list of such runs.</summary>
    /// <exception cref="InvalidDataException">It is not of that form; the message says where.</exception>
    public static IReadOnlyList<RecordedRun> ReadAll(string path)
    {
        using var file = File.OpenRead(path);
        JsonElement root;
        try
        {
            using var document = JsonDocument.Parse(file);
            root = document.RootElement.Clone();
        }
        catch (JsonException e)
        {
            var place = string.Create(CultureInfo.InvariantCulture, $"line {e.LineNumber + 1}");
            throw new InvalidDataException($"{path} is no recording of training runs: it is not JSON ({place}).", e);
        }
        try
        {
            var runs = Field.Root(root)["runs", JsonValueKind.Array].Items.Select(Read).ToList();
            return runs.Count > 0 ? runs : throw new InvalidDataException("runs is empty");
        }
        catch (InvalidDataException e)
        {
            throw new InvalidDataException($"{path} is no recording of training runs: {e.Message}.", e);
        }
    }

    private static JsonElement NoArguments { get; } = JsonDocument.Parse("{}").RootElement;

    private static RecordedRun Read(Field run)
    {
        var losses = run["losses", JsonValueKind.Array].Items.Select(loss => loss.Number).ToArray();
        var steps = run["steps"].Number;
        if (steps != losses.Length)
            throw new InvalidDataException(
                string.Create(CultureInfo.InvariantCulture, $"{run.Name} has {losses.Length} losses for {steps} steps")
            );
        var rates = run.Has("lrs") ? run["lrs", JsonValueKind.Array].Items.Select(rate => rate.Number).ToArray() : [];
        if (rates.Length > 0 && rates.Length != losses.Length)
            throw new InvalidDataException(
                string.Create(CultureInfo.InvariantCulture, $"{run.Name} has {rates.Length} lrs for {losses.Length} steps")
            );
        var optimizer = run["optimizer"].Text;
        var options = run["options", JsonValueKind.Object];
        if (optimizer.Contains('+', StringComparison.Ordinal))
            foreach (var rule in optimizer.Split('+'))
                _ = options[rule.ToLowerInvariant(), JsonValueKind.Object]; // is there
        return new RecordedRun(
            run.Has("start") ? run["start"].UInt32 : 1,
            optimizer,
            options.Value,
            run["dtype"].Text,
            run.Has("scheduler") ? run["scheduler"].Text : null,
            run.Has("scheduler_args") ? run["scheduler_args", JsonValueKind.Object].Value : NoArguments,
            rates,
            losses,
            run["test_accuracy"].Number,
            run["first_layer_checksum"].Number,
            run["second_layer_checksum"].Number
        );
    }

    /// <summary>A place in the file, which knows its name, so that every complaint says where.</summary>
    private readonly record struct Field(string Name, JsonElement Value)
    {
        public static Field Root(JsonElement value) =>
            value.ValueKind == JsonValueKind.Object ? new Field("", value) : throw new InvalidDataException("it is not a JSON object");

        public Field this[string name]
        {
            get
            {
                var full = Name.Length == 0 ? name : $"{Name}.{name}";
                if (Value.ValueKind != JsonValueKind.Object)
                    throw Wrong("an object");
                return Value.TryGetProperty(name, out var value)
                    ? new Field(full, value)
                    : throw new InvalidDataException($"{full} is missing");
            }
        }

        public Field this[string name, JsonValueKind kind] =>
            this[name] is var field && field.Value.ValueKind == kind
                ? field
                : throw field.Wrong(kind == JsonValueKind.Array ? "a list" : "an object");

        public bool Has(string name) =>
            Value.ValueKind == JsonValueKind.Object && Value.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null;

        public IEnumerable<Field> Items
        {
            get
            {
                var name = Name;
                return Value.EnumerateArray().Select((item, i) => new Field($"{name}[{i}]", item));
            }
        }

        public string Text => Value.ValueKind == JsonValueKind.String ? Value.GetString()! : throw Wrong("a string");

        public uint UInt32 =>
            Value.ValueKind == JsonValueKind.Number && Value.TryGetUInt32(out var number)
                ? number
                : throw Wrong("a whole number from 0 to 4294967295");

        /// <summary>Numbers that are not finite are strings.</summary>
        public double Number =>
            Value.ValueKind == JsonValueKind.Number
                ? Value.GetDouble()
                : (Value.ValueKind == JsonValueKind.String ? Value.GetString() : null) switch
                {
                    "nan" => double.NaN,
                    "inf" => double.PositiveInfinity,
                    "-inf" => double.NegativeInfinity,
                    _ => throw Wrong("a number"),
                };

        private InvalidDataException Wrong(string expected) => new($"{Name} is not {expected}");
    }
}
