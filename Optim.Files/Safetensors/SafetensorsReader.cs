using System.Buffers.Binary;
using System.Globalization;
using System.Text.Json;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>.safetensors files: the length of a JSON header, the header, and the tensors, one after the other without gaps.</summary>
internal static class SafetensorsReader
{
    /// <summary>What the format allows.</summary>
    public const long MostHeader = 100_000_000;

    /// <summary>A dict of tensors, which lie in the file, and the metadata.</summary>
    public static (Tree Tree, Dictionary<string, string> Metadata) Read(FileBytes file, Budget budget)
    {
        if (file.Length < 8)
            throw ZipReader.Broken(file, $"it has {file.Length} bytes, and begins with a length of 8");
        var length = BinaryPrimitives.ReadUInt64LittleEndian(file.Read(0, 8));
        if (length > MostHeader || length > (ulong)(file.Length - 8))
            throw ZipReader.Broken(
                file,
                $"its header is said to have {length} bytes; the file has {file.Length}, and headers at most {MostHeader}"
            );
        var start = 8 + (long)length;
        try
        {
            var header = new SafetensorsHeader(file, start, budget);
            header.Read();
            return (Tensors(file, header, start), header.Metadata);
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            throw ZipReader.Broken(file, $"its header is no JSON that can be read: {PickleNames.Shown(error.Message)}");
        }
    }

    private static Tree Tensors(FileBytes file, SafetensorsHeader header, long start)
    {
        var end = 0L;
        foreach (var (name, tensor) in header.Tensors.OrderBy(entry => entry.Value.Begin).ThenBy(entry => entry.Value.End))
        {
            if (tensor.Begin != end)
                throw ZipReader.Broken(
                    file,
                    $"the tensor '{PickleNames.Shown(name)}' begins at byte {tensor.Begin}, and the tensors before it end at {end}"
                );
            end = tensor.End;
        }
        if (end != file.Length - start)
            throw ZipReader.Broken(file, $"its tensors have {end} bytes, and {file.Length - start} follow the header");
        return Tree.NewMap(
            TreeMap.OfDistinct(
                MapKind.Dict,
                [
                    .. header.Tensors.Select(entry =>
                        KeyValuePair.Create(
                            (TreeKey)entry.Key,
                            Tree.NewTensor(
                                new(
                                    0,
                                    entry.Value.Layout,
                                    new FileSlice(file, start + entry.Value.Begin, entry.Value.End - entry.Value.Begin)
                                )
                            )
                        )
                    ),
                ]
            )
        );
    }
}
