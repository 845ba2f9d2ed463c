using System.Text.Json;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Cli.Inspection;

/// <summary>
/// A tree as JSON: dicts are objects, lists and tuples arrays, numbers that are not finite the texts "nan", "inf" and "-inf", and a
/// tensor is {"tensor": {dtype, shape, min, max, mean, nan}}.
/// </summary>
internal static class TreeJson
{
    public static void Write(Utf8JsonWriter json, Tree tree)
    {
        switch (tree)
        {
            case Tree.Bool flag:
                json.WriteBooleanValue(flag.Item);
                break;
            case Tree.Int number:
                json.WriteNumberValue(number.Item);
                break;
            case Tree.Float number:
                Number(json, number.Item);
                break;
            case Tree.Text text:
                json.WriteStringValue(text.Item);
                break;
            case Tree.Tensor tensor:
                Tensor(json, tensor.Item);
                break;
            case Tree.List or Tree.Tuple:
                json.WriteStartArray();
                foreach (var item in tree.AsItems())
                    Write(json, item);
                json.WriteEndArray();
                break;
            case Tree.Map map:
                json.WriteStartObject();
                foreach (var (key, value) in map.Item.Entries)
                {
                    json.WritePropertyName(key.IsText ? key.text : key.ToString());
                    Write(json, value);
                }
                json.WriteEndObject();
                break;
            default:
                json.WriteNullValue();
                break;
        }
    }

    private static void Tensor(Utf8JsonWriter json, TensorView view)
    {
        var statistics = TensorStatistics.Of(view);
        json.WriteStartObject();
        json.WriteStartObject("tensor");
        json.WriteString("dtype", view.DType.Name());
        json.WriteStartArray("shape");
        foreach (var length in view.Shape)
            json.WriteNumberValue(length);
        json.WriteEndArray();
        foreach (var (name, value) in new[] { ("min", statistics.Min), ("max", statistics.Max), ("mean", statistics.Mean) })
        {
            json.WritePropertyName(name);
            Number(json, value);
        }
        json.WriteNumber("nan", statistics.NaN);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void Number(Utf8JsonWriter json, double number)
    {
        if (double.IsFinite(number))
            json.WriteNumberValue(number);
        else
            json.WriteStringValue(OptionValue.NewFloat(number).ToString());
    }
}
