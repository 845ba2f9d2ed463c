using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>Tells files that are no checkpoints by what they begin with, so that the message can say what they are.</summary>
internal static class FileKinds
{
    private const int Head = 1024;

    /// <summary>What the file is, as the second half of a sentence; null when it may be a checkpoint of the format that is expected.</summary>
    public static string? Refusal(FileBytes file, bool isSafetensors)
    {
        var head = file.Read(0, (int)Math.Min(Head, file.Length)).AsSpan();
        if (head.IsEmpty)
            return isSafetensors ? null : "it has 0 bytes";
        if (head.StartsWith("version https://git-lfs"u8))
            return "it is a pointer of Git LFS to a file that was not downloaded: 'git lfs pull' brings it";
        if (head[0] == 0x93 && head[1..].StartsWith("NUMPY"u8))
            return "it is an array of numpy (.npy), and no checkpoint";
        if (IsTar(head))
            return "it is a tar archive, as the first versions of PyTorch wrote them, too: load it with an early PyTorch and save it anew";
        var isZip = head.StartsWith("PK\u0003\u0004"u8) || head.StartsWith("PK\u0005\u0006"u8);
        var isPickle = head is [0x80, >= 2 and <= 5, ..];
        if (isSafetensors)
            return isZip ? "it is a zip archive, as torch.save writes it, and no .safetensors file: give it a name that ends in .pt"
                : LegacyReader.Begins(head)
                    ? "it is a file of torch.save, in the format of before PyTorch 1.6, and no .safetensors file: give it a name that ends in .pt"
                : null;
        if (isZip || LegacyReader.Begins(head))
            return null;
        if (head.Length > 9 && head[8] == (byte)'{' && BitConverter.ToUInt64(head) is > 0 and <= 100_000_000 && BitConverter.IsLittleEndian)
            return "it looks like a .safetensors file: give it a name that ends so";
        if (isPickle)
            return "it is a pickle, and not a file of torch.save: load it in Python and save it by torch.save";
        if (IsTorchSharp(head, file.Length))
            return "it looks like a file of TorchSharp's own module.save: load it by the module's load, and save it by SaveWeights";
        return null;
    }

    private static bool IsTar(ReadOnlySpan<byte> head) => head.Length >= 262 && head.Slice(257, 5).SequenceEqual("ustar"u8);

    /// <summary>The number of tensors, and of the first its name, dtype, shape; numbers by seven bits in a byte.</summary>
    private static bool IsTorchSharp(ReadOnlySpan<byte> head, long length)
    {
        if (
            !Number(ref head, out var count)
            || count is < 1 or > 1_000_000
            || !Number(ref head, out var name)
            || name is < 1 or > 500
            || name > head.Length
        )
            return false;
        foreach (var c in head[..(int)name])
            if (c is < 0x21 or > 0x7e)
                return false;
        head = head[(int)name..];
        if (
            !Number(ref head, out var dtype)
            || dtype > sbyte.MaxValue
            || !Enum.IsDefined((DType)dtype)
            || !Number(ref head, out var dimensions)
            || dimensions > 64
        )
            return false;
        for (var (i, bytes) = (0, (double)((DType)dtype).Size()); i < dimensions; i++)
            if (!Number(ref head, out var size) || (bytes *= size) > length)
                return false;
        return true;
    }

    private static bool Number(ref ReadOnlySpan<byte> bytes, out long number)
    {
        number = 0;
        for (var i = 0; i < 9 && i < bytes.Length; i++)
        {
            number |= (long)(bytes[i] & 127) << (7 * i);
            if (bytes[i] >= 128)
                continue;
            bytes = bytes[(i + 1)..];
            return true;
        }
        return false;
    }
}
