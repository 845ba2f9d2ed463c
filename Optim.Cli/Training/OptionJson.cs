using System.Text.Json;
using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>Values of options, and other numbers, in JSON: None is null, several values are a list, and numbers that are not finite are strings.</summary>
internal static class OptionJson
{
    public static OptionValue Read(string name, JsonElement value) =>
        value.ValueKind switch
        {
            JsonValueKind.Null => OptionValue.None,
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            JsonValueKind.Number => value.TryGetInt64(out var whole) ? whole : value.GetDouble(),
            JsonValueKind.String => value.GetString()!,
            JsonValueKind.Array => OptionValue.NewTuple([.. value.EnumerateArray().Select(item => Read(name, item))]),
            _ => throw new InvalidDataException(
                $"The value of option {name} is no number, truth value, text or list of these: {value.GetRawText()}."
            ),
        };

    /// <summary>All of an object.</summary>
    public static IReadOnlyList<(string Name, OptionValue Value)> ReadAll(JsonElement options) =>
        [.. options.EnumerateObject().Select(option => (option.Name, Read(option.Name, option.Value)))];

    public static void Write(Utf8JsonWriter json, OptionValue value)
    {
        switch (value)
        {
            case OptionValue.Bool flag:
                json.WriteBooleanValue(flag.Item);
                break;
            case OptionValue.Int whole:
                json.WriteNumberValue(whole.Item);
                break;
            case OptionValue.Float number:
                WriteNumber(json, number.Item);
                break;
            case OptionValue.Tuple several:
                json.WriteStartArray();
                foreach (var item in several.Item)
                    Write(json, item);
                json.WriteEndArray();
                break;
            case OptionValue.Text text:
                json.WriteStringValue(text.Item);
                break;
            default:
                json.WriteNullValue();
                break;
        }
    }

    public static void WriteNumber(Utf8JsonWriter json, double number)
    {
        if (double.IsFinite(number))
            json.WriteNumberValue(number);
        else
            json.WriteStringValue(
                double.IsNaN(number) ? "nan"
                : number > 0 ? "inf"
                : "-inf"
            );
    }
}
