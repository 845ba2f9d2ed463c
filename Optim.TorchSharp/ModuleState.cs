using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using Optim.Core;
using Optim.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Optim;

/// <summary>
/// A module's parameters and buffers by name, as state_dict() has them: a part of checkpoints. They are loaded in place, with their
/// own dtype and device; what is converted, missed or left over is reported. Tied weights are saved once.
/// </summary>
/// <param name="module">The module.</param>
public sealed class ModuleState(nn.Module module) : IStateful
{
    private readonly nn.Module module = module ?? throw new ArgumentNullException(nameof(module));

    /// <summary>The tensors by name; those on the CPU are the live ones.</summary>
    public Tree SaveState() =>
        Tree.MapOf(
            MapKind.OrderedDict,
            [.. module.state_dict().Select(entry => KeyValuePair.Create((TreeKey)entry.Key, Tree.NewTensor(View(entry.Key, entry.Value))))]
        );

    /// <inheritdoc/>
    public PreparedLoad PrepareLoad(Tree state, bool strict = true)
    {
        ArgumentNullException.ThrowIfNull(state);
        if (state is not Tree.Map { Item: var given })
            throw new ArgumentException($"the state of a module must be a dict of tensors; it is {state.Described}");
        RefuseApplied();
        var own = module.state_dict();
        var missing = own.Keys.Where(name => !given.ContainsKey(name)).ToList();
        var unexpected = given.Keys.Select(key => key.IsText ? key.text : key.ToString()!).Where(name => !own.ContainsKey(name)).ToList();
        if (strict && missing.Count + unexpected.Count > 0)
            throw new ArgumentException(
                $"the module and the loaded state do not have the same names; missing: {List(missing)}; left over: {List(unexpected)}. "
                    + "strict: false loads what matches"
            );
        var (matched, converted) = (new List<string>(), new List<string>());
        var loads = new List<(Tensor Target, Tensor Source)>();
        foreach (var (name, target) in own)
        {
            if (!given.TryGetValue(name, out var value))
                continue;
            if (!value.TryGetTensor(out TensorView view))
                throw new ArgumentException($"'{name}' must be a tensor; it is {value.Described}");
            if (!view.Shape.AsSpan().SequenceEqual(target.shape))
                throw new ArgumentException(
                    $"'{name}' is {view.Layout}, and the module's has the shape [{string.Join(", ", target.shape)}]"
                );
            if ((int)target.dtype != (int)view.DType)
                converted.Add(name);
            matched.Add(name);
            loads.Add((target, InMemory(name, view)));
        }
        return new(new(matched, missing, unexpected, converted), () => Commit(loads));
    }

    /// <summary>Refuses to load over tensors that have the values of an average just now, which would take the loaded ones for its own.</summary>
    private void RefuseApplied()
    {
        if (!AppliedAverages.None)
            AppliedAverages.Refuse("loading a module", module.state_dict().Select(entry => new TorchParameter(entry.Key, entry.Value)));
    }

    private void Commit(List<(Tensor Target, Tensor Source)> loads)
    {
        RefuseApplied();
        using var _ = no_grad();
        foreach (var (target, source) in loads)
            using (source)
                target.copy_(source);
    }

    /// <summary>A tensor of libtorch with these elements: everything that can fail has then been done.</summary>
    private static Tensor InMemory(string name, TensorView view)
    {
        var dtype = (ScalarType)(sbyte)view.DType;
        if (!Enum.IsDefined(dtype))
            throw new NotSupportedException($"'{name}' is {view.Layout}, a dtype that TorchSharp does not have");
        using var _ = NewDisposeScope();
        var tensor = empty([.. view.Shape], dtype);
        TorchParameter.View(tensor, name).CopyFrom(view);
        return tensor.MoveToOuterDisposeScope();
    }

    /// <summary>The tensor where it lies, or a copy from another device.</summary>
    private static TensorView View(string name, Tensor tensor) =>
        TorchParameter.View(tensor.device_type == DeviceType.CPU ? tensor : tensor.detach().cpu(), name);

    private static string List(List<string> names) => names.Count == 0 ? "none" : string.Join(", ", names);

    /// <summary>Lets checkpoints take modules as they are.</summary>
    [ModuleInitializer]
    [SuppressMessage("Usage", "CA2255", Justification = "Checkpoint asks for it by name: it must not reference TorchSharp.")]
    internal static void Register() => Checkpoint.Register(value => value is nn.Module module ? new ModuleState(module) : null);
}
