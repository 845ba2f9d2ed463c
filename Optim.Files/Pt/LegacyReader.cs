using System.Buffers.Binary;
using Optim.Core;

namespace Optim.Checkpoints;

/// <summary>
/// What torch.save wrote before PyTorch 1.6: pickles one after the other (a magic number, the version, the machine, the value, the keys
/// of its storages), and then the storages, each after its length.
/// </summary>
internal static class LegacyReader
{
    private const long Version = 1001;

    /// <summary>The pickled number with which such a file begins.</summary>
    private static ReadOnlySpan<byte> Magic => [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];

    public static bool Begins(ReadOnlySpan<byte> bytes) => bytes is [0x80, >= 2 and <= 5, ..] && bytes[2..].StartsWith(Magic);

    /// <summary>The tree; its tensors lie in the file.</summary>
    public static PickledTree Read(FileBytes file, Budget budget)
    {
        var input = new PickleInput(file, Magic.Length + 2, file.Length);
        if (Plain(input, budget) is not Tree.Int { Item: Version })
            throw new PickleException($"it is in a version of PyTorch's format of before 1.6 that is not known; known is {Version}");
        var storages = new LegacyStorages(file, budget);
        var tensors = new PickleTensors(IsBigEndian(Plain(input, budget)), budget);
        var calls = new PickleCalls(storages, tensors, budget);
        var value = new PickleReader(input, calls, budget).Run();
        storages.Place(Plain(input, budget), input.Place);
        return new(new PickleTrees(tensors, budget).Convert(value), calls.Foreign);
    }

    /// <summary>A pickle without tensors.</summary>
    private static object? Plain(PickleInput input, Budget budget)
    {
        var tensors = new PickleTensors(false, budget);
        var value = new PickleReader(input, new(NoStorages.Instance, tensors, budget), budget).Run();
        return value;
    }

    private static bool IsBigEndian(object? machine)
    {
        if (machine is PickleDict { Entries: var entries })
            foreach (var (key, value) in entries)
                if (key is PickleText { Value: "little_endian" } && value is Tree.Bool { Item: var little })
                    return !little;
        throw new PickleException("it does not say which machine has written it");
    }

    private sealed class NoStorages : IStorageSource
    {
        public static NoStorages Instance { get; } = new();

        public StoredBytes Find(string key, long count, int size) => throw new PickleException("a storage is where none can be");
    }

    /// <summary>Storages of which the pickle tells key and length, and only the end of the file the order.</summary>
    private sealed class LegacyStorages(FileBytes file, Budget budget) : IStorageSource
    {
        private readonly Dictionary<string, (FileSlice Bytes, long Count, int Size)> found = new(StringComparer.Ordinal);

        public StoredBytes Find(string key, long count, int size)
        {
            budget.Hash(key.Length);
            if (!found.TryGetValue(key, out var storage))
            {
                if (count > file.Length / size)
                    throw new PickleException(
                        $"storage '{PickleNames.Shown(key)}' is said to have {count} elements of {size} bytes; the file has {file.Length} bytes"
                    );
                budget.Memory(200 + 2 * key.Length);
                found[key] = storage = (new FileSlice(file, count * size), count, size);
            }
            else if (storage.Count != count || storage.Size != size)
                throw new PickleException($"storage '{PickleNames.Shown(key)}' is said to have two lengths");
            return storage.Bytes;
        }

        /// <summary>Gives every storage its place: they lie one after the other in the order of the keys, each after its length.</summary>
        public void Place(object? keys, long place)
        {
            if (keys is not PickleList list)
                throw new PickleException("the keys of its storages are no list");
            var length = new byte[8];
            foreach (var item in list)
            {
                if (item is not PickleText { Value: var key } || !found.Remove(key, out var storage))
                    throw new PickleException("it has a storage twice, or one that no tensor is in");
                if (place > file.Length - 8)
                    throw new PickleException($"it ends before its storage '{PickleNames.Shown(key)}'");
                file.Read(place, length);
                var count = BinaryPrimitives.ReadInt64LittleEndian(length);
                if (count != storage.Count && BinaryPrimitives.ReverseEndianness(count) != storage.Count)
                    throw new PickleException(
                        $"storage '{PickleNames.Shown(key)}' has {count} elements, and {storage.Count} are asked of it"
                    );
                storage.Bytes.Place = place + 8;
                if (storage.Bytes.Length > file.Length - place - 8)
                    throw new PickleException($"it ends within its storage '{PickleNames.Shown(key)}'");
                place += 8 + storage.Bytes.Length;
            }
            if (found.Count > 0)
                throw new PickleException($"its storage '{PickleNames.Shown(found.First().Key)}' is missing");
        }
    }
}
