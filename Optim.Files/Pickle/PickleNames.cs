using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>
/// The names that a checkpoint may have: those that torch.load(weights_only=True) takes. Nothing is looked up anywhere else, nothing is
/// run. Every other name is foreign: it stands for a value that is kept under that name, or refused.
/// </summary>
internal static class PickleNames
{
    public const string OrderedDict = "collections.OrderedDict",
        Counter = "collections.Counter",
        Set = "builtins.set",
        Complex = "builtins.complex",
        ByteArray = "builtins.bytearray",
        Bytes = "builtins.bytes",
        Encode = "_codecs.encode",
        Size = "torch.Size",
        Device = "torch.device",
        Tensor = "torch.Tensor",
        Parameter = "torch.nn.parameter.Parameter",
        GetLayout = "torch.serialization._get_layout",
        RebuildTensorV1 = "torch._utils._rebuild_tensor",
        RebuildTensor = "torch._utils._rebuild_tensor_v2",
        RebuildTensorV3 = "torch._utils._rebuild_tensor_v3",
        RebuildParameter = "torch._utils._rebuild_parameter",
        RebuildParameterWithState = "torch._utils._rebuild_parameter_with_state",
        RebuildFromType = "torch._tensor._rebuild_from_type_v2",
        RebuildQuantized = "torch._utils._rebuild_qtensor",
        RebuildSparse = "torch._utils._rebuild_sparse_tensor",
        RebuildMeta = "torch._utils._rebuild_meta_tensor_no_storage",
        RebuildWrapper = "torch._utils._rebuild_wrapper_subclass",
        RebuildFromNumpy = "torch._utils._rebuild_device_tensor_from_numpy",
        RebuildFromCpu = "torch._utils._rebuild_device_tensor_from_cpu_tensor",
        UntypedStorage = "torch.storage.UntypedStorage";

    /// <summary>Stands where a foreign value contains itself.</summary>
    public const string Itself = "...";

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

    /// <summary>The storages of quantized tensors: the dtype as PyTorch calls it, and as what its elements are stored.</summary>
    private static readonly Dictionary<string, (string Name, DType Stored)> quantized = new(StringComparer.Ordinal)
    {
        ["torch.QInt8Storage"] = ("torch.qint8", DType.Int8),
        ["torch.QUInt8Storage"] = ("torch.quint8", DType.UInt8),
        ["torch.QInt32Storage"] = ("torch.qint32", DType.Int32),
        ["torch.QUInt4x2Storage"] = ("torch.quint4x2", DType.UInt8),
        ["torch.QUInt2x4Storage"] = ("torch.quint2x4", DType.UInt8),
    };

    private static readonly Dictionary<string, DType> dtypes = Enum.GetValues<DType>().ToDictionary(dtype => $"torch.{dtype.Name()}");

    /// <summary>What _get_layout makes of a text, and no pickle names.</summary>
    private static readonly HashSet<string> layouts =
    [
        .. new[] { "strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "jagged", "_mkldnn" }.Select(name =>
            $"torch.{name}"
        ),
    ];

    /// <summary>Names that are values by themselves, beside dtypes: other dtypes, schemes of quantization, memory formats.</summary>
    private static readonly IEnumerable<string> values =
    [
        .. quantized.Values.Select(entry => entry.Name),
        .. new[] { "bits8", "bits16", "bits1x8", "bits2x4", "bits4x2" }.Select(name => $"torch.{name}"),
        .. Enumerable.Range(1, 7).SelectMany(bits => new[] { $"torch.int{bits}", $"torch.uint{bits}" }),
        .. new[] { "tensor_affine", "tensor_symmetric", "channel_affine", "channel_symmetric", "channel_affine_float_qparams" }.Select(
            name => $"torch.per_{name}"
        ),
        .. new[] { "contiguous_format", "channels_last", "channels_last_3d", "preserve_format" }.Select(name => $"torch.{name}"),
    ];

    private static readonly HashSet<string> tensorClasses =
    [
        Tensor,
        .. from element in new[] { "Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool" }
        from place in new[] { "torch.", "torch.cuda.", "torch.sparse.", "torch.cuda.sparse." }
        select $"{place}{element}Tensor",
    ];

    private static readonly Dictionary<string, PickleName> known = new[]
    {
        OrderedDict,
        Counter,
        Set,
        Complex,
        ByteArray,
        Bytes,
        Encode,
        Size,
        Device,
        Parameter,
        GetLayout,
        RebuildTensorV1,
        RebuildTensor,
        RebuildTensorV3,
        RebuildParameter,
        RebuildParameterWithState,
        RebuildFromType,
        RebuildQuantized,
        RebuildSparse,
        RebuildMeta,
        RebuildWrapper,
        RebuildFromNumpy,
        RebuildFromCpu,
        UntypedStorage,
    }
        .Concat(storages.Keys)
        .Concat(quantized.Keys)
        .Concat(dtypes.Keys)
        .Concat(values)
        .Concat(tensorClasses)
        .ToDictionary(name => name, name => new PickleName(name, true), StringComparer.Ordinal);

    /// <summary>Other spellings: of Python 2, of other versions of PyTorch, and of storages of other devices, which come to the processor.</summary>
    private static string Usual(string module, string name) =>
        (module, name) switch
        {
            ("__builtin__", _) => $"builtins.{name}",
            ("copy_reg", _) => $"copyreg.{name}",
            ("torch.tensor", _) => $"torch._tensor.{name}",
            ("torch", "UntypedStorage" or "_UntypedStorage") or ("torch.storage", "_UntypedStorage") => UntypedStorage,
            ("torch.cuda", _) when name.EndsWith("Storage", StringComparison.Ordinal) => $"torch.{name}",
            _ => $"{module}.{name}",
        };

    public static PickleName Find(string module, string name)
    {
        var usual = Usual(module, name);
        return known.TryGetValue(usual, out var found) ? found : new(usual, false);
    }

    /// <summary>Whether checkpoints may have a value of that name.</summary>
    public static bool IsKnown(string name) => known.ContainsKey(name) || layouts.Contains(name);

    public static bool IsLayout(string name) => layouts.Contains(name);

    public static bool IsTensorClass(string name) => tensorClasses.Contains(name);

    public static bool IsStorage(string name) => name == UntypedStorage || storages.ContainsKey(name) || quantized.ContainsKey(name);

    /// <summary>The dtype of a storage's elements as they are stored; null for one of bytes.</summary>
    public static DType? StorageDType(string name) =>
        name == UntypedStorage ? null
        : storages.TryGetValue(name, out var dtype) ? dtype
        : quantized.TryGetValue(name, out var stored) ? stored.Stored
        : throw new PickleException($"'{Shown(name)}' is no type of a storage");

    /// <summary>The dtype of quantized elements by their storage; null for other storages, and where several elements share a byte.</summary>
    public static string? QuantizedDType(string storage) =>
        quantized.TryGetValue(storage, out var found) && !found.Name.Contains('x', StringComparison.Ordinal) ? found.Name : null;

    /// <summary>The storage of quantized elements by their dtype.</summary>
    public static string? QuantizedStorage(string dtype) => quantized.FirstOrDefault(entry => entry.Value.Name == dtype).Key;

    /// <summary>The dtype of tensors of that name; null when there is none that is computed with.</summary>
    public static DType? TensorDType(string name) => dtypes.TryGetValue(name, out var dtype) ? dtype : null;

    /// <summary>The type of a storage of a dtype; null where PyTorch keeps bytes and the dtype with the tensor.</summary>
    public static string? StorageName(DType dtype) => storages.FirstOrDefault(entry => entry.Value == dtype).Key;

    /// <summary>What a file says is printed only as far as it is readable.</summary>
    public static string Shown(string text) => Readable.Text(text, 100);
}
