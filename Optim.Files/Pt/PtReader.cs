using System.Text;
using Optim.Core;

namespace Optim.Checkpoints;

/// <summary>What torch.save has written since PyTorch 1.6: an archive with a pickle, and an entry for each storage.</summary>
internal static class PtReader
{
    /// <summary>The tree; its tensors lie in the file.</summary>
    public static PickledTree Read(FileBytes file, Budget budget, bool verifies = true)
    {
        var entries = ZipReader.Read(file, budget);
        var pickles = entries.Values.Where(entry => entry.Name.EndsWith("/data.pkl", StringComparison.Ordinal)).ToList();
        if (pickles.Count != 1)
            throw ZipReader.Broken(
                file,
                pickles.Count > 0 ? $"there are {pickles.Count} pickles in it"
                    : entries.Values.Any(entry => entry.Name.EndsWith(".npy", StringComparison.Ordinal))
                        ? "it is an archive of numpy arrays (.npz), and no checkpoint"
                    : "it is a zip archive without a data.pkl, and no checkpoint"
            );
        var root = pickles[0].Name[..^"data.pkl".Length];
        if (root.TrimEnd('/').Contains('/'))
            throw ZipReader.Broken(file, $"its data.pkl lies in '{PickleNames.Shown(root)}', and not in a folder of the archive");
        // Programs are compressed in archives of TorchScript; nothing else is, and programs are not read.
        if (
            entries.Values.FirstOrDefault(entry => !entry.IsStored && !entry.Name.StartsWith(root + "code/", StringComparison.Ordinal)) is
            { } packed
        )
            throw ZipReader.Broken(file, $"the entry '{PickleNames.Shown(packed.Name)}' is compressed; PyTorch stores entries as they are");
        if (verifies)
            ZipReader.Verify(file, entries.Values);
        var tensors = new PickleTensors(IsBigEndian(file, entries, root), budget);
        var calls = new PickleCalls(new ZipStorages(file, entries, root), tensors, budget);
        var input = new PickleInput(file, pickles[0].Place, pickles[0].Place + pickles[0].Size);
        var value = new PickleReader(input, calls, budget).Run();
        if (!input.IsAtEnd)
            throw new PickleException("its end is not where its value is complete");
        var tree = new PickleTrees(tensors, budget).Convert(value);
        return entries.ContainsKey(root + "constants.pkl") ? new(TorchScript.Weights(file, tree), null) : new(tree, calls.Foreign);
    }

    private static bool IsBigEndian(FileBytes file, Dictionary<string, ZipEntry> entries, string root)
    {
        if (!entries.TryGetValue(root + "byteorder", out var entry))
            return false;
        var order = Encoding.ASCII.GetString(file.Read(entry.Place, (int)Math.Min(entry.Size, 16)));
        return order switch
        {
            "little" => false,
            "big" => true,
            _ => throw ZipReader.Broken(file, $"its numbers are {PickleNames.Shown(order)}-endian; they can be little or big"),
        };
    }

    private sealed class ZipStorages(FileBytes file, Dictionary<string, ZipEntry> entries, string root) : IStorageSource
    {
        private readonly Dictionary<string, FileSlice> slices = new(StringComparer.Ordinal);

        public StoredBytes Find(string key, long count, int size)
        {
            if (key.Length > 1000)
                throw new PickleException("the key of a storage has more than 1000 characters");
            if (!slices.TryGetValue(key, out var slice))
                slices[key] = slice =
                    key.Length > 0
                    && key.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-')
                    && entries.TryGetValue($"{root}data/{key}", out var entry)
                        ? new FileSlice(file, entry.Place, entry.Size)
                        : throw new PickleException($"its storage '{PickleNames.Shown(key)}' is not in the archive");
            return count <= slice.Length / size && count * size == slice.Length
                ? slice
                : throw new PickleException(
                    $"storage '{key}' has {slice.Length} bytes, and {count} elements of {size} bytes are asked of it"
                );
        }
    }
}
