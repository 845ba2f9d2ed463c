using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;
using Optim.Checkpoints;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Cli.Inspection;

/// <summary>
/// A tree as JSON, written while it is looked at: dicts are objects, lists and tuples arrays, numbers that are not finite the texts
/// "nan", "inf" and "-inf"; a tensor is {"tensor": {dtype, shape, min, max, mean, nan}}, bytes {"bytes": hex}, a complex number
/// {"complex": [re, im]}, a tagged value {"tagged": {name, arguments}}, a dict with two keys of one spelling {"entries": [[key, value]]}.
/// A value that is in several places is written in the first, and {"reference": place} in the others.
/// </summary>
internal sealed class TreeJson
{
    private const int Piece = 1 << 16;

    /// <summary>Deeper than any tree that is read.</summary>
    private const int MostDepth = 8000;

    private static readonly JavaScriptEncoder encoder = Encoder();

    private readonly ArrayBufferWriter<byte> buffer = new(Piece);
    private readonly TextWriter output;
    private readonly Utf8JsonWriter json;
    private readonly TreeShape shape;
    private readonly FileStatistics statistics;

    private TreeJson(Tree tree, long fileLength, TextWriter output)
    {
        this.output = output;
        json = new(
            buffer,
            new JsonWriterOptions
            {
                Indented = true,
                Encoder = encoder,
                MaxDepth = MostDepth,
            }
        );
        (shape, statistics) = (new(tree), new(fileLength));
    }

    public static void Write(Tree tree, IReadOnlyDictionary<string, string> metadata, long fileLength, TextWriter output)
    {
        var writer = new TreeJson(tree, fileLength, output);
        using (writer.json)
        {
            writer.json.WriteStartObject();
            writer.json.WriteStartObject("metadata");
            foreach (var (key, value) in metadata)
                writer.json.WriteString(key, value);
            writer.json.WriteEndObject();
            writer.json.WritePropertyName("tree");
            writer.Write(tree, null);
            writer.json.WriteEndObject();
            writer.Hand(0);
        }
        output.WriteLine();
    }

    private void Write(Tree tree, TreePath? path)
    {
        Hand(Piece / 2);
        if (shape.WasShown(tree, path, out var first))
        {
            json.WriteStartObject();
            json.WriteString("reference", first?.ToString() ?? "");
            json.WriteEndObject();
            return;
        }
        switch (tree)
        {
            case Tree.Bool flag:
                json.WriteBooleanValue(flag.Item);
                break;
            case Tree.Int number:
                json.WriteNumberValue(number.Item);
                break;
            case Tree.BigInt number:
                json.WriteRawValue(number.Item.ToString(CultureInfo.InvariantCulture));
                break;
            case Tree.Float number:
                Number(number.Item);
                break;
            case Tree.Complex { Item: var number }:
                json.WriteStartObject();
                json.WriteStartArray("complex");
                Number(number.Real);
                Number(number.Imaginary);
                json.WriteEndArray();
                json.WriteEndObject();
                break;
            case Tree.Text text:
                json.WriteStringValue(Readable.WithoutHalves(text.Item));
                break;
            case Tree.Bytes { Item: var bytes }:
                json.WriteStartObject();
                json.WriteString("bytes", Convert.ToHexStringLower(bytes.AsSpan()));
                json.WriteEndObject();
                break;
            case Tree.Tensor tensor:
                Tensor(tensor.Item);
                break;
            case Tree.List or Tree.Tuple:
                Items(tree.AsItems(), path);
                break;
            case Tree.Tagged { Name: var name, Arguments: var arguments }:
                json.WriteStartObject();
                json.WriteStartObject("tagged");
                json.WriteString("name", Readable.WithoutHalves(name));
                json.WritePropertyName("arguments");
                Items(arguments, path);
                json.WriteEndObject();
                json.WriteEndObject();
                break;
            case Tree.Map map:
                Map(map.Item, path);
                break;
            default:
                json.WriteNullValue();
                break;
        }
    }

    private void Items(IReadOnlyList<Tree> items, TreePath? path)
    {
        json.WriteStartArray();
        for (var i = 0; i < items.Count; i++)
            Write(items[i], new(path, null, i));
        json.WriteEndArray();
    }

    private void Map(TreeMap map, TreePath? path)
    {
        json.WriteStartObject();
        if (map.Keys.All(key => key.IsText) || map.Keys.Select(Spelled).Distinct(StringComparer.Ordinal).Count() == map.Count)
            foreach (var (key, value) in map.Entries)
            {
                json.WritePropertyName(Spelled(key));
                if (key.IsText && NarrowTrees.described(map, key.text) is { IsSome: true, Value: var narrow })
                    Narrow(narrow);
                else
                    Write(value, new(path, key, 0));
            }
        else
        {
            json.WriteStartArray("entries");
            foreach (var (key, value) in map.Entries)
            {
                json.WriteStartArray();
                Write(key.Tree, null);
                Write(value, new(path, key, 0));
                json.WriteEndArray();
            }
            json.WriteEndArray();
        }
        json.WriteEndObject();
    }

    private static string Spelled(TreeKey key) =>
        key.IsText ? Readable.WithoutHalves(key.text) : Readable.WithoutHalves(new InlineText(1000).Of(key.Tree));

    private void Narrow(NarrowDescription narrow)
    {
        json.WriteStartObject();
        json.WriteStartObject("narrow");
        DTypeAndShape(narrow.Layout);
        json.WriteString("map", narrow.Map);
        json.WriteNumber("blocks", (long)narrow.Blocks);
        foreach (var (name, value) in new[] { ("min", narrow.Min), ("max", narrow.Max), ("largest_error", narrow.LargestError) })
        {
            json.WritePropertyName(name);
            Number(value);
        }
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private void DTypeAndShape(Layout layout)
    {
        json.WriteString("dtype", layout.DType.Name());
        json.WriteStartArray("shape");
        foreach (var length in layout.Shape)
            json.WriteNumberValue(length);
        json.WriteEndArray();
    }

    private void Tensor(TensorView view)
    {
        json.WriteStartObject();
        json.WriteStartObject("tensor");
        DTypeAndShape(view.Layout);
        if (statistics.Of(view) is { } found)
        {
            foreach (var (name, value) in new[] { ("min", found.Min), ("max", found.Max), ("mean", found.Mean) })
            {
                json.WritePropertyName(name);
                Number(value);
            }
            json.WriteNumber("nan", found.NaN);
        }
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private void Number(double number)
    {
        if (double.IsFinite(number))
            json.WriteNumberValue(number);
        else
            json.WriteStringValue(OptionValue.NewFloat(number).ToString());
    }

    /// <summary>Characters that cannot be seen are escaped.</summary>
    private static JavaScriptEncoder Encoder()
    {
        var settings = new TextEncoderSettings(UnicodeRanges.All);
        settings.ForbidCharacters([
            .. Enumerable
                .Range(0, char.MaxValue + 1)
                .Select(c => (char)c)
                .Where(c => Rune.TryCreate(c, out var rune) && !Readable.IsVisible(rune)),
        ]);
        return JavaScriptEncoder.Create(settings);
    }

    /// <summary>Hands on what is written, when it is more than some bytes.</summary>
    private void Hand(int beyond)
    {
        if (json.BytesPending + buffer.WrittenCount <= beyond)
            return;
        json.Flush();
        output.Write(Encoding.UTF8.GetString(buffer.WrittenSpan));
        buffer.ResetWrittenCount();
    }
}
