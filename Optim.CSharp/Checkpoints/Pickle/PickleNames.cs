using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>The names that may appear in a checkpoint, and what they stand for. Nothing is looked up anywhere else, nothing is run.</summary>
internal static class PickleNames
{
    public const string OrderedDict = "collections.OrderedDict",
        Counter = "collections.Counter",
        Size = "torch.Size",
        RebuildTensor = "torch._utils._rebuild_tensor_v2",
        RebuildTensorV3 = "torch._utils._rebuild_tensor_v3",
        RebuildParameter = "torch._utils._rebuild_parameter",
        UntypedStorage = "torch.storage.UntypedStorage";

    private static readonly Dictionary<string, DType> storages = new(StringComparer.Ordinal)
    {
        ["torch.FloatStorage"] = DType.Float32,
        ["torch.DoubleStorage"] = DType.Float64,
        ["torch.HalfStorage"] = DType.Float16,
        ["torch.BFloat16Storage"] = DType.BFloat16,
        ["torch.LongStorage"] = DType.Int64,
        ["torch.IntStorage"] = DType.Int32,
        ["torch.ShortStorage"] = DType.Int16,
        ["torch.CharStorage"] = DType.Int8,
        ["torch.ByteStorage"] = DType.UInt8,
        ["torch.BoolStorage"] = DType.Bool,
        ["torch.ComplexFloatStorage"] = DType.Complex64,
        ["torch.ComplexDoubleStorage"] = DType.Complex128,
    };

    private static readonly Dictionary<string, DType> dtypes = Enum.GetValues<DType>().ToDictionary(dtype => $"torch.{dtype.Name()}");

    private static readonly Dictionary<string, PickleName> known = new[]
    {
        OrderedDict,
        Counter,
        Size,
        RebuildTensor,
        RebuildTensorV3,
        RebuildParameter,
        UntypedStorage,
    }
        .Concat(storages.Keys)
        .Concat(dtypes.Keys)
        .ToDictionary(name => name, name => new PickleName(name), StringComparer.Ordinal);

    public static PickleName Find(string module, string name) =>
        known.TryGetValue($"{module}.{name}", out var found) ? found
        : (module, name) is ("torch", "UntypedStorage") ? known[UntypedStorage]
        : throw new PickleException($"it holds '{Shown($"{module}.{name}")}', which no checkpoint needs");

    /// <summary>The dtype of a storage; null for one of bytes.</summary>
    public static DType? StorageDType(object? name) =>
        name is not PickleName { Name: var text } ? throw new PickleException("the type of a storage is not a name")
        : text == UntypedStorage ? null
        : storages.TryGetValue(text, out var dtype) ? dtype
        : throw new PickleException($"'{text}' is no type of a storage");

    public static DType TensorDType(object? name) =>
        name is PickleName { Name: var text } && dtypes.TryGetValue(text, out var dtype)
            ? dtype
            : throw new PickleException("the dtype of a tensor is not known");

    /// <summary>The type of a storage of a dtype; null where PyTorch keeps bytes and the dtype with the tensor.</summary>
    public static string? StorageName(DType dtype) => storages.FirstOrDefault(entry => entry.Value == dtype).Key;

    /// <summary>What a file says is printed only as far as it is readable.</summary>
    public static string Shown(string text) =>
        string.Concat(text.Take(100).Select(c => char.IsControl(c) || char.IsSurrogate(c) ? '?' : c)) + (text.Length > 100 ? "..." : "");
}
