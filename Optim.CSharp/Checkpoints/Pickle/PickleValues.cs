using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

// What a pickle is made of while it is read, beside null, bool, long, double, string and object?[] for tuples.

/// <summary>A name that may appear, as <c>torch._utils._rebuild_tensor_v2</c>.</summary>
internal sealed record PickleName(string Name);

/// <summary>A list that is still being filled.</summary>
internal sealed class PickleList : List<object?>;

/// <summary>A dict that is still being filled.</summary>
internal sealed class PickleDict(MapKind kind) : OrderedDictionary<TreeKey, object?>
{
    public MapKind Kind => kind;
}

/// <summary>A storage in the archive: its bytes, and as what its type reads them (null: bytes).</summary>
internal sealed record PickleStorage(FileSlice Bytes, DType? DType, long Count);
