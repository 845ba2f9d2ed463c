using Optim.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Optim;

/// <summary>
/// Parameters of Optim from TorchSharp's modules and tensors:
/// <c>new AdamW(model.NamedParameters(), lr: 1e-3)</c>.
/// </summary>
public static class Torch
{
    /// <summary>
    /// libtorch's operators, one after the other on whole tensors, as who steps parameters: to be given where parameters are made. Tensors
    /// on devices that have no kernel of ours are stepped so by themselves. Slower than the kernels on the CPU, with the same formulas.
    /// </summary>
    public static Executor Operators => TorchOperators.Instance;

    /// <summary>
    /// Loads libtorch: what lies beside the program or where the system's loader looks, or else the package in NuGet's cache, without a copy.
    /// TorchSharp loads it at its first use, too; called before that, this method says what is missing, and what to do.
    /// </summary>
    /// <exception cref="NotSupportedException">It could not be loaded; the message says what to install.</exception>
    public static void Load() => TorchLibraries.Load();

    /// <summary>How many parameters ahead a step asks for memory.</summary>
    private const int Lead = 6;

    /// <summary>
    /// A module's parameters under their names, in the module's order; one that it has under several names (tied weights) comes once, under the first.
    /// </summary>
    /// <param name="module">The module, in its final dtype: <c>to()</c> replaces parameters.</param>
    /// <param name="prefix">What stands before each name, and a dot: names of several modules must differ in one optimizer, <c>base.0.weight</c> and <c>head.0.weight</c>.</param>
    /// <param name="recurse">Whether its children's come, too.</param>
    /// <param name="executor">Who steps them: <see cref="Operators"/>, or null for our kernels where they reach.</param>
    /// <exception cref="NotSupportedException">A parameter has a dtype, device or layout without support.</exception>
    public static IReadOnlyList<IParameter> NamedParameters(
        this nn.Module module,
        string prefix = "",
        bool recurse = true,
        Executor? executor = null
    )
    {
        ArgumentNullException.ThrowIfNull(prefix);
        return OfModule(module, recurse, executor, prefix == "" ? name => name : name => $"{prefix}.{name}");
    }

    /// <summary>A module's parameters without names, as <see cref="NamedParameters"/> otherwise.</summary>
    /// <param name="module">The module, in its final dtype: <c>to()</c> replaces parameters.</param>
    /// <param name="recurse">Whether its children's come, too.</param>
    /// <param name="executor">Who steps them: <see cref="Operators"/>, or null for our kernels where they reach.</param>
    /// <inheritdoc cref="NamedParameters" path="/exception"/>
    public static IReadOnlyList<IParameter> Parameters(this nn.Module module, bool recurse = true, Executor? executor = null) =>
        OfModule(module, recurse, executor, _ => null);

    /// <summary>Loads a file of a module's tensors, such as <c>torch.save(model.state_dict(), path)</c> or a .safetensors file, in place and by name.</summary>
    /// <param name="module">The module; on any error it is as it was.</param>
    /// <param name="path">The file.</param>
    /// <param name="strict">Whether names on one side only are an error; otherwise they are reported.</param>
    /// <exception cref="CheckpointException">The file is refused, or does not fit.</exception>
    public static LoadReport LoadWeights(this nn.Module module, string path, bool strict = true)
    {
        ArgumentNullException.ThrowIfNull(module);
        var tree = Checkpoint.Read(path, keepForeign: true);
        try
        {
            return new ModuleState(module).PrepareLoad(tree, strict).Run();
        }
        catch (Exception error) when (error is ArgumentException or NotSupportedException)
        {
            throw new CheckpointException($"{path} cannot be loaded into the module: {error.Message}", error);
        }
    }

    /// <summary>Saves a module's tensors by name, as <c>torch.save(model.state_dict(), path)</c>, or as .safetensors by that extension.</summary>
    /// <exception cref="CheckpointException">It cannot be written; the old file is as it was.</exception>
    public static void SaveWeights(this nn.Module module, string path)
    {
        ArgumentNullException.ThrowIfNull(module);
        Checkpoint.Write(path, new ModuleState(module).SaveState());
    }

    /// <summary>Tensors under names: <c>Torch.Parameters(("weight", w), ("bias", b))</c>.</summary>
    /// <inheritdoc cref="TorchParameter(string, Tensor)" path="/exception"/>
    public static IReadOnlyList<IParameter> Parameters(params (string Name, Tensor Tensor)[] tensors)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        return List(tensors.Select(t => new TorchParameter(t.Name, t.Tensor)));
    }

    /// <summary>Tensors under names, stepped by an executor such as <see cref="Operators"/>.</summary>
    /// <inheritdoc cref="TorchParameter(string, Tensor)" path="/exception"/>
    public static IReadOnlyList<IParameter> Parameters(Executor executor, params (string Name, Tensor Tensor)[] tensors)
    {
        ArgumentNullException.ThrowIfNull(executor);
        ArgumentNullException.ThrowIfNull(tensors);
        return List(tensors.Select(t => Of(t.Name, t.Tensor, executor)));
    }

    /// <summary>Tensors without names.</summary>
    /// <inheritdoc cref="TorchParameter(string, Tensor)" path="/exception"/>
    public static IReadOnlyList<IParameter> Parameters(params Tensor[] tensors)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        return List(tensors.Select(t => new TorchParameter(null, t)));
    }

    // named_parameters drops a second wrapper only if it is the same object; native modules make new ones for a tensor.
    private static IReadOnlyList<IParameter> OfModule(nn.Module module, bool recurse, Executor? executor, Func<string, string?> nameOf)
    {
        ArgumentNullException.ThrowIfNull(module);
        var owners = Owners(module);
        return List(
            module
                .named_parameters(recurse)
                .Select(p => Of(nameOf(p.name), p.parameter, executor, owners[LibTorch.Implementation(p.parameter.Handle)]))
                .DistinctBy(p => p.Identity)
        );
    }

    /// <summary>The types of the modules that have a tensor as their own, in the order of the modules.</summary>
    private static ILookup<nint, Type> Owners(nn.Module module) =>
        module
            .modules()
            .Prepend(module)
            .Distinct()
            .SelectMany(one =>
                one.named_parameters(recurse: false).Select(p => (Tensor: LibTorch.Implementation(p.parameter.Handle), Type: one.GetType()))
            )
            .Distinct()
            .ToLookup(each => each.Tensor, each => each.Type);

    private static TorchParameter Of(string? name, Tensor tensor, Executor? executor, IEnumerable<Type>? owners = null) =>
        executor is null
            ? new(name, tensor) { ModuleTypes = [.. owners ?? []] }
            : new(name, tensor) { Executor = executor, ModuleTypes = [.. owners ?? []] };

    private static IReadOnlyList<IParameter> List(IEnumerable<TorchParameter> parameters)
    {
        TorchParameter[] list = [.. parameters];
        var layouts = new Dictionary<Layout, Layout>();
        for (var i = 0; i < list.Length; i++)
        {
            list[i].Share(layouts);
            if (i >= Lead)
                list[i - Lead].Ahead = list[i];
        }
        return list;
    }
}
