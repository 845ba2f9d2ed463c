using System.Text.Json;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>A tensor of a header.</summary>
/// <param name="Layout">Its dtype and shape.</param>
/// <param name="Begin">Its first byte, after the header.</param>
/// <param name="End">The byte after its last.</param>
internal readonly record struct SafetensorsEntry(Layout Layout, long Begin, long End);

/// <summary>
/// The header of a .safetensors file, read a piece at a time; everything is checked and paid for while it is read. Fields of a tensor
/// beside dtype, shape and data_offsets are passed over, as the format's own reader does.
/// </summary>
internal sealed class SafetensorsHeader
{
    private const int Window = 1 << 16;
    private const int MostDimensions = 64;
    private const int MostDepth = 128;

    private readonly FileBytes file;
    private readonly Budget budget;
    private readonly long end;
    private byte[] buffer = new byte[Window];
    private int filled;
    private long place = 8;
    private JsonReaderState state = new(new JsonReaderOptions { MaxDepth = MostDepth });
    private int used;

    /// <param name="file">The file.</param>
    /// <param name="end">Where the header ends.</param>
    /// <param name="budget">Pays for it.</param>
    public SafetensorsHeader(FileBytes file, long end, Budget budget) => (this.file, this.end, this.budget) = (file, end, budget);

    /// <summary>The tensors by name.</summary>
    public OrderedDictionary<string, SafetensorsEntry> Tensors { get; } = new(StringComparer.Ordinal);

    /// <summary>Texts beside them.</summary>
    public Dictionary<string, string> Metadata { get; } = new(StringComparer.Ordinal);

    /// <exception cref="JsonException">It is no JSON.</exception>
    /// <exception cref="CheckpointException">It is no header.</exception>
    public void Read()
    {
        if (Next().Kind != JsonTokenType.StartObject)
            throw ZipReader.Broken(file, "its header is no object");
        var hasMetadata = false;
        for (var token = Next(); token.Kind != JsonTokenType.EndObject; token = Next())
        {
            var name = token.Text!;
            if (name != "__metadata__")
                Tensor(name);
            else if (hasMetadata)
                throw ZipReader.Broken(file, "it has metadata twice");
            else
            {
                hasMetadata = true;
                ReadMetadata();
            }
        }
        Next(ofEnd: true);
    }

    private void ReadMetadata()
    {
        if (Next().Kind != JsonTokenType.StartObject)
            throw ZipReader.Broken(file, "its metadata are no object");
        for (var token = Next(); token.Kind != JsonTokenType.EndObject; token = Next())
        {
            var value = Next();
            if (value.Kind != JsonTokenType.String)
                throw ZipReader.Broken(file, $"its metadata '{PickleNames.Shown(token.Text!)}' is no text");
            if (!Metadata.TryAdd(token.Text!, value.Text!))
                throw ZipReader.Broken(file, $"its metadata '{PickleNames.Shown(token.Text!)}' is there twice");
        }
    }

    private void Tensor(string name)
    {
        if (Next().Kind != JsonTokenType.StartObject)
            throw Wrong(name, "is no object");
        budget.Memory(400);
        var (type, shape, offsets) = ((string?)null, (long[]?)null, (long[]?)null);
        for (var token = Next(); token.Kind != JsonTokenType.EndObject; token = Next())
            switch (token.Text)
            {
                case "dtype" when type is null:
                    var value = Next();
                    type = value.Kind == JsonTokenType.String ? value.Text : throw Wrong(name, "has a dtype that is no text");
                    break;
                case "shape" when shape is null:
                    shape = Longs(name, MostDimensions, $"has more than {MostDimensions} dimensions");
                    break;
                case "data_offsets" when offsets is null:
                    offsets = Longs(name, 2, "has more than two offsets");
                    break;
                case "dtype" or "shape" or "data_offsets":
                    throw Wrong(name, $"has '{token.Text}' twice");
                default:
                    Skip();
                    break;
            }
        if (type is null || shape is null || offsets is null)
            throw Wrong(name, "must have a dtype, a shape and data_offsets");
        if (!Tensors.TryAdd(name, Entry(name, type, shape, offsets)))
            throw Wrong(name, "is there twice");
    }

    private SafetensorsEntry Entry(string name, string type, long[] shape, long[] offsets)
    {
        if (!SafetensorsDTypes.TryParse(type, out var dtype))
            throw Wrong(name, $"has the dtype {PickleNames.Shown(type)}; known are {string.Join(", ", SafetensorsDTypes.Names)}");
        if (offsets.Length != 2 || offsets[0] > offsets[1])
            throw Wrong(name, "has wrong offsets");
        if (SafetensorsDTypes.Pack(dtype, shape) is not { } packed)
            throw Wrong(name, "has elements of four bits, and the last of its sizes is odd");
        try
        {
            var bytes = (long)dtype.Size();
            foreach (var size in packed)
                bytes = checked(bytes * size);
            return bytes == offsets[1] - offsets[0]
                ? new(Layout.Contiguous(dtype, packed), offsets[0], offsets[1])
                : throw Wrong(name, $"has {offsets[1] - offsets[0]} bytes, and needs {bytes}");
        }
        catch (OverflowException)
        {
            throw Wrong(name, "has a size that does not fit into 64 bits");
        }
    }

    private long[] Longs(string name, int most, string tooMany)
    {
        if (Next().Kind != JsonTokenType.StartArray)
            throw Wrong(name, "has a shape or offsets that are no list");
        var numbers = new List<long>();
        for (var token = Next(); token.Kind != JsonTokenType.EndArray; token = Next())
        {
            if (numbers.Count == most)
                throw Wrong(name, tooMany);
            numbers.Add(
                token.Number is { } number and >= 0
                    ? number
                    : throw Wrong(name, "has a size or an offset that is no whole number of at least 0")
            );
        }
        budget.Memory(48 * numbers.Count);
        return [.. numbers];
    }

    /// <summary>Passes over a value.</summary>
    private void Skip()
    {
        var depth = 0;
        do
        {
            var kind = Next(texts: false).Kind;
            if (kind is JsonTokenType.StartObject or JsonTokenType.StartArray)
                depth++;
            else if (kind is JsonTokenType.EndObject or JsonTokenType.EndArray)
                depth--;
        } while (depth > 0);
    }

    private readonly record struct Token(JsonTokenType Kind, string? Text, long? Number);

    /// <summary>The next token; what a text of it needs is paid for before it is made.</summary>
    private Token Next(bool texts = true, bool ofEnd = false)
    {
        while (true)
        {
            var reader = new Utf8JsonReader(buffer.AsSpan(used, filled - used), place == end, state);
            if (reader.Read())
            {
                var token = new Token(reader.TokenType, null, null);
                if (reader.TokenType == JsonTokenType.Number)
                    token = token with { Number = reader.TryGetInt64(out var number) ? number : null };
                else if (texts && reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName)
                {
                    budget.Memory(40 + 2L * reader.ValueSpan.Length);
                    if (reader.TokenType == JsonTokenType.PropertyName)
                        budget.Hash(reader.ValueSpan.Length);
                    token = token with { Text = reader.GetString() };
                }
                (state, used) = (reader.CurrentState, used + (int)reader.BytesConsumed);
                return token;
            }
            (state, used) = (reader.CurrentState, used + (int)reader.BytesConsumed);
            if (place == end)
                return ofEnd ? default : throw new JsonException("it ends too early");
            Fill();
        }
    }

    /// <summary>Reads on; a token that does not fit gets more room.</summary>
    private void Fill()
    {
        buffer.AsSpan(used, filled - used).CopyTo(buffer);
        (filled, used) = (filled - used, 0);
        if (filled == buffer.Length)
        {
            budget.Memory(2L * buffer.Length);
            Array.Resize(ref buffer, 2 * buffer.Length);
        }
        var more = (int)Math.Min(buffer.Length - filled, end - place);
        file.Read(place, buffer.AsSpan(filled, more));
        (place, filled) = (place + more, filled + more);
    }

    private CheckpointException Wrong(string name, string why) => ZipReader.Broken(file, $"the tensor '{PickleNames.Shown(name)}' {why}");
}
