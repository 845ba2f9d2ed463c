using System.Text;
using Optim.Core;

namespace Optim.Checkpoints;

/// <summary>What torch.save has written since PyTorch 1.6: an archive with a pickle, and an entry for each storage.</summary>
internal static class PtReader
{
    private const int MostPickle = 64 << 20;

    /// <summary>The pickled number with which files of before 1.6 begin.</summary>
    private static ReadOnlySpan<byte> LegacyMagic => [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

    /// <summary>The tree; its tensors lie in the file.</summary>
    public static Tree Read(FileBytes file)
    {
        if (file.Length >= LegacyMagic.Length && file.Read(0, LegacyMagic.Length).AsSpan().SequenceEqual(LegacyMagic))
            throw ZipReader.Broken(
                file,
                "it is in PyTorch's format of before 1.6; load it there and save it again, without _use_new_zipfile_serialization=False"
            );
        var entries = ZipReader.Read(file);
        var pickles = entries.Values.Where(entry => entry.Name.EndsWith("/data.pkl", StringComparison.Ordinal)).ToList();
        if (pickles.Count != 1)
            throw ZipReader.Broken(file, pickles.Count == 0 ? "there is no data.pkl in it" : $"there are {pickles.Count} pickles in it");
        var root = pickles[0].Name[..^"data.pkl".Length];
        if (root.TrimEnd('/').Contains('/'))
            throw ZipReader.Broken(file, $"its data.pkl lies in '{PickleNames.Shown(root)}', and not in a folder of the archive");
        if (pickles[0].Size > MostPickle)
            throw ZipReader.Broken(file, $"its data.pkl has {pickles[0].Size} bytes; at most {MostPickle} are read");
        ZipReader.Verify(file, entries.Values);
        CheckOrder(file, entries, root);
        var calls = new PickleCalls(key =>
            key.Length > 0
            && key.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-')
            && entries.TryGetValue($"{root}data/{key}", out var entry)
                ? new FileSlice(file, entry.Place, entry.Size)
                : null
        );
        try
        {
            return new PickleTrees().Convert(new PickleReader(file.Read(pickles[0].Place, (int)pickles[0].Size), calls).Run());
        }
        catch (PickleException error)
        {
            throw ZipReader.Broken(file, error.Message);
        }
    }

    private static void CheckOrder(FileBytes file, Dictionary<string, ZipEntry> entries, string root)
    {
        if (!entries.TryGetValue(root + "byteorder", out var entry))
            return;
        var order = Encoding.ASCII.GetString(file.Read(entry.Place, (int)Math.Min(entry.Size, 16)));
        if (order != "little")
            throw ZipReader.Broken(file, $"its numbers are {PickleNames.Shown(order)}-endian; only little-endian files are read");
    }
}
