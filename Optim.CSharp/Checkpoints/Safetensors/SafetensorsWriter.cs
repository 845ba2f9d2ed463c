using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.Win32.SafeHandles;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>
/// Writes .safetensors files. The tensors begin at a multiple of 64, widest dtypes first, so that each is aligned to its elements;
/// names of dicts in dicts are joined by dots. Tensors that share memory are written once each: the format cannot share.
/// </summary>
internal static class SafetensorsWriter
{
    private const int Alignment = 64;

    public static void Write(SafeFileHandle file, Tree tree, IReadOnlyDictionary<string, string>? metadata)
    {
        var tensors = new OrderedDictionary<string, TensorView>();
        Collect(tree, "", tensors);
        var ordered = tensors
            .OrderByDescending(tensor => tensor.Value.DType.Size())
            .ThenBy(tensor => tensor.Key, StringComparer.Ordinal)
            .ToList();
        var header = Header(ordered, metadata);
        var at = (long)header.Length;
        RandomAccess.Write(file, header, 0);
        foreach (var (_, view) in ordered)
            Pieces.Of(
                view.Layout.IsContiguous ? view : view.Copy(),
                piece =>
                {
                    RandomAccess.Write(file, piece, at);
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
            if (metadata is { Count: > 0 })
            {
                json.WriteStartObject("__metadata__");
                foreach (var (key, value) in metadata)
                    json.WriteString(key, value);
                json.WriteEndObject();
            }
            var end = 0L;
            foreach (var (name, view) in tensors)
            {
                json.WriteStartObject(name);
                json.WriteString("dtype", SafetensorsDTypes.Name(view.DType));
                json.WriteStartArray("shape");
                foreach (var size in view.Shape)
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
        var bytes = stream.ToArray();
        BinaryPrimitives.WriteInt64LittleEndian(bytes, bytes.Length - 8);
        return bytes;
    }

    private static void Collect(Tree tree, string name, OrderedDictionary<string, TensorView> tensors)
    {
        switch (tree)
        {
            case Tree.Map map:
                foreach (var (key, value) in map.Item.Entries)
                {
                    var part = key.IsText ? key.text : key.ToString();
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
