using System.Buffers.Binary;
using System.Text.Json;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>.safetensors files: the length of a JSON header, the header, and the tensors, one after the other without gaps.</summary>
internal static class SafetensorsReader
{
    /// <summary>What the format allows.</summary>
    public const long MostHeader = 100_000_000;
    private const int MostDimensions = 64;
    private static readonly JsonDocumentOptions options = new() { MaxDepth = 8, AllowDuplicateProperties = false };

    /// <summary>A dict of tensors, which lie in the file, and the metadata.</summary>
    public static (Tree Tree, Dictionary<string, string> Metadata) Read(FileBytes file)
    {
        if (file.Length < 8)
            throw ZipReader.Broken(file, $"it has {file.Length} bytes, and begins with a length of 8");
        var length = BinaryPrimitives.ReadUInt64LittleEndian(file.Read(0, 8));
        if (length > MostHeader || length > (ulong)(file.Length - 8))
            throw ZipReader.Broken(
                file,
                $"its header is said to have {length} bytes; the file has {file.Length}, and headers at most {MostHeader}"
            );
        try
        {
            using var header = JsonDocument.Parse(file.Read(8, (int)length), options);
            return Read(file, header.RootElement, 8 + (long)length);
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            throw ZipReader.Broken(file, $"its header is no JSON that can be read: {PickleNames.Shown(error.Message)}");
        }
    }

    private static (Tree, Dictionary<string, string>) Read(FileBytes file, JsonElement header, long start)
    {
        if (header.ValueKind != JsonValueKind.Object)
            throw ZipReader.Broken(file, "its header is no object");
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
        var tensors = new List<(string Name, Layout Layout, long Begin, long End)>();
        foreach (var entry in header.EnumerateObject())
            if (entry.Name == "__metadata__")
                Metadata(file, entry.Value, metadata);
            else
                tensors.Add(Entry(file, entry.Name, entry.Value));
        var end = 0L;
        foreach (var tensor in tensors.OrderBy(tensor => tensor.Begin).ThenBy(tensor => tensor.End))
        {
            if (tensor.Begin != end)
                throw Wrong(file, tensor.Name, $"begins at byte {tensor.Begin}, and the tensors before it end at {end}");
            end = tensor.End;
        }
        if (end != file.Length - start)
            throw ZipReader.Broken(file, $"its tensors have {end} bytes, and {file.Length - start} follow the header");
        var dict = tensors.Select(tensor =>
            (tensor.Name, Tree.NewTensor(new(0, tensor.Layout, new FileSlice(file, start + tensor.Begin, tensor.End - tensor.Begin))))
        );
        return (Tree.Dict([.. dict]), metadata);
    }

    private static void Metadata(FileBytes file, JsonElement element, Dictionary<string, string> metadata)
    {
        if (element.ValueKind != JsonValueKind.Object)
            throw ZipReader.Broken(file, "its metadata are no object");
        foreach (var entry in element.EnumerateObject())
            metadata[entry.Name] =
                entry.Value.ValueKind == JsonValueKind.String
                    ? entry.Value.GetString()!
                    : throw ZipReader.Broken(file, $"its metadata '{PickleNames.Shown(entry.Name)}' is no text");
    }

    private static (string, Layout, long, long) Entry(FileBytes file, string name, JsonElement element)
    {
        if (
            element.ValueKind != JsonValueKind.Object
            || !element.TryGetProperty("dtype", out var type)
            || !element.TryGetProperty("shape", out var sizes)
            || !element.TryGetProperty("data_offsets", out var offsets)
            || element.EnumerateObject().Count() != 3
        )
            throw Wrong(file, name, "must have a dtype, a shape and data_offsets, and nothing else");
        if (type.ValueKind != JsonValueKind.String || !SafetensorsDTypes.TryParse(type.GetString()!, out var dtype))
            throw Wrong(
                file,
                name,
                $"has the dtype {PickleNames.Shown(type.ToString())}; known are {string.Join(", ", SafetensorsDTypes.Names)}"
            );
        var (shape, places) = (Longs(file, name, sizes), Longs(file, name, offsets));
        if (shape.Length > MostDimensions || places.Length != 2 || places[0] > places[1])
            throw Wrong(file, name, "has a wrong shape or wrong offsets");
        try
        {
            var bytes = (long)dtype.Size();
            foreach (var size in shape)
                bytes = checked(bytes * size);
            return bytes == places[1] - places[0]
                ? (name, Layout.Contiguous(dtype, shape), places[0], places[1])
                : throw Wrong(file, name, $"has {places[1] - places[0]} bytes, and needs {bytes}");
        }
        catch (OverflowException)
        {
            throw Wrong(file, name, "has a size that does not fit into 64 bits");
        }
    }

    private static long[] Longs(FileBytes file, string name, JsonElement element)
    {
        if (element.ValueKind != JsonValueKind.Array)
            throw Wrong(file, name, "has a shape or offsets that are no list");
        return
        [
            .. element
                .EnumerateArray()
                .Select(item =>
                    item.ValueKind == JsonValueKind.Number && item.TryGetInt64(out var number) && number >= 0
                        ? number
                        : throw Wrong(file, name, "has a size or an offset that is no whole number of at least 0")
                ),
        ];
    }

    private static CheckpointException Wrong(FileBytes file, string name, string why) =>
        ZipReader.Broken(file, $"the tensor '{PickleNames.Shown(name)}' {why}");
}
