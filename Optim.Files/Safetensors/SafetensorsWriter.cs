using System.Buffers.Binary;
using System.Collections.ObjectModel;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>
/// Writes .safetensors files. The tensors begin at a multiple of 64, widest dtypes first, so that each is aligned to its elements;
/// names of dicts in dicts are joined by dots. Tensors that share memory are written once each: the format cannot share. Metadata that do
/// not name a format are given <c>format: pt</c>: Hugging Face's loaders refuse files without.
/// </summary>
internal static class SafetensorsWriter
{
    private const int Alignment = 64;
    private const string Format = "format";

    public static void Write(NewFile file, Tree tree, IReadOnlyDictionary<string, string>? metadata)
    {
        var tensors = new OrderedDictionary<string, TensorView>();
        Collect(tree, "", tensors);
        var ordered = tensors
            .OrderByDescending(tensor => tensor.Value.DType.Size())
            .ThenBy(tensor => tensor.Key, StringComparer.Ordinal)
            .ToList();
        var header = Header(ordered, metadata);
        var at = (long)header.Length;
        file.Write(header, 0);
        foreach (var (_, view) in ordered)
            TensorBytes.Of(
                view.Layout.IsContiguous ? view : view.Copy(),
                piece =>
                {
                    file.Write(piece, at);
                    at += piece.Length;
                }
            );
    }

    private static byte[] Header(List<KeyValuePair<string, TensorView>> tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        using var stream = new MemoryStream();
        stream.Write(new byte[8]);
        using (var json = new Utf8JsonWriter(stream, new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteStartObject("__metadata__");
            if (metadata?.ContainsKey(Format) != true)
                json.WriteString(Format, "pt");
            foreach (var (key, value) in metadata ?? ReadOnlyDictionary<string, string>.Empty)
                json.WriteString(
                    Whole(key),
                    Whole(value ?? throw new ArgumentException($"the metadata '{key}' are null; they must be a text"))
                );
            json.WriteEndObject();
            var end = 0L;
            foreach (var (name, view) in tensors)
            {
                json.WriteStartObject(Whole(name));
                json.WriteString("dtype", SafetensorsDTypes.Name(view.DType));
                json.WriteStartArray("shape");
                foreach (var size in SafetensorsDTypes.Unpack(view.DType, view.Shape))
                    json.WriteNumberValue(size);
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(end);
                json.WriteNumberValue(end += view.Count * view.DType.Size());
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        while (stream.Length % Alignment != 0)
            stream.WriteByte((byte)' ');
        if (stream.Length - 8 > SafetensorsReader.MostHeader)
            throw new ArgumentException(
                $"the names and metadata take {stream.Length - 8} bytes; a .safetensors file has room for {SafetensorsReader.MostHeader}; save it as .pt"
            );
        var bytes = stream.ToArray();
        BinaryPrimitives.WriteInt64LittleEndian(bytes, bytes.Length - 8);
        return bytes;
    }

    /// <summary>JSON would put another character in the place of half a one.</summary>
    private static string Whole(string text)
    {
        try
        {
            new UTF8Encoding(false, throwOnInvalidBytes: true).GetByteCount(text);
            return text;
        }
        catch (EncoderFallbackException error)
        {
            throw new ArgumentException($"a name holds half a character, which no .safetensors file can: {PickleNames.Shown(text)}", error);
        }
    }

    private static void Collect(Tree tree, string name, OrderedDictionary<string, TensorView> tensors)
    {
        switch (tree)
        {
            case Tree.Map map:
                foreach (var (key, value) in map.Item.Entries)
                {
                    var part = key.IsText ? key.text : key.ToString()!;
                    Collect(value, name.Length == 0 ? part : $"{name}.{part}", tensors);
                }
                break;
            case Tree.Tensor { Item: var view } when name.Length > 0:
                if (!view.Layout.IsOnCpu)
                    throw new NotSupportedException($"'{name}' lies on {view.Device}; copy it to the cpu to save it");
                if (SafetensorsDTypes.Name(view.DType) is null || name == "__metadata__" || !tensors.TryAdd(name, view))
                    throw new ArgumentException(
                        $"'{name}', {view.Layout}, cannot be in a .safetensors file: its dtype, or its name, which must be there once"
                    );
                break;
            default:
                throw new ArgumentException(
                    $"a .safetensors file holds named tensors and nothing else, and {(name.Length == 0 ? "this" : $"'{name}'")} is {tree.Described}; save it as .pt"
                );
        }
    }
}
