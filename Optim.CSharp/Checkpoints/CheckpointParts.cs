using System.Reflection;
using System.Runtime.CompilerServices;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>What can be a part of a checkpoint.</summary>
internal static class CheckpointParts
{
    private static readonly List<Func<object, IStateful?>> adapters = [];

    public static void Register(Func<object, IStateful?> adapter)
    {
        lock (adapters)
            adapters.Add(adapter);
    }

    /// <summary>Its state, or null for a plain value.</summary>
    public static IStateful? Stateful(object? value)
    {
        if (value is IStateful stateful)
            return stateful;
        if (value is IEnumerable<IParameter> parameters)
            return new ParametersState(parameters);
        if (value is null)
            return null;
        return Adapted(value) ?? (LoadBridge(value) ? Adapted(value) : null);
    }

    /// <summary>The tree of a part; a value that is none is an ArgumentException.</summary>
    public static Tree Save(string name, object? value) =>
        Stateful(value)?.SaveState()
        ?? value switch
        {
            null => Tree.None,
            Tree tree => tree,
            StateDict dict => dict.ToTree(),
            OptionValue option => option,
            TensorView view => view,
            bool flag => flag,
            int number => number,
            long number => number,
            float number => (double)number,
            double number => number,
            string text => text,
            _ => throw new ArgumentException(
                $"'{name}' is a {value.GetType().Name}, which cannot be saved; a part can be an optimizer, a scheduler, a module, "
                    + "whatever implements IStateful, a tree, a tensor, a number, a flag or a text"
            ),
        };

    private static IStateful? Adapted(object value)
    {
        lock (adapters)
            return adapters.Select(adapter => adapter(value)).FirstOrDefault(found => found is not null);
    }

    /// <summary>Modules of TorchSharp are known to Optim.TorchSharp, which may not have been needed yet.</summary>
    private static bool LoadBridge(object value)
    {
        for (var type = value.GetType(); type is not null; type = type.BaseType)
            if (type.Assembly.GetName().Name == "TorchSharp")
                try
                {
                    RuntimeHelpers.RunModuleConstructor(Assembly.Load("Optim.TorchSharp").ManifestModule.ModuleHandle);
                    return true;
                }
                catch (FileNotFoundException)
                {
                    return false;
                }
        return false;
    }
}
