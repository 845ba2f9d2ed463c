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
    /// <summary>How many parameters ahead a step asks for memory.</summary>
    private const int Lead = 6;

    /// <summary>
    /// A module's parameters under their names, in the module's order; one that it has under several names (tied weights) comes once, under the first.
    /// </summary>
    /// <param name="module">The module, in its final dtype: <c>to()</c> replaces parameters.</param>
    /// <param name="recurse">Whether its children's come, too.</param>
    /// <exception cref="NotSupportedException">A parameter has a dtype, device or layout without support.</exception>
    public static IReadOnlyList<IParameter> NamedParameters(this nn.Module module, bool recurse = true) =>
        OfModule(module, recurse, named: true);

    /// <summary>A module's parameters without names, as <see cref="NamedParameters"/> otherwise.</summary>
    /// <inheritdoc cref="NamedParameters" path="/param"/>
    /// <inheritdoc cref="NamedParameters" path="/exception"/>
    public static IReadOnlyList<IParameter> Parameters(this nn.Module module, bool recurse = true) =>
        OfModule(module, recurse, named: false);

    /// <summary>Tensors under names: <c>Torch.Parameters(("weight", w), ("bias", b))</c>.</summary>
    /// <inheritdoc cref="TorchParameter(string, Tensor)" path="/exception"/>
    public static IReadOnlyList<IParameter> Parameters(params (string Name, Tensor Tensor)[] tensors)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        return List(tensors.Select(t => new TorchParameter(t.Name, t.Tensor)));
    }

    /// <summary>Tensors without names.</summary>
    /// <inheritdoc cref="TorchParameter(string, Tensor)" path="/exception"/>
    public static IReadOnlyList<IParameter> Parameters(params Tensor[] tensors)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        return List(tensors.Select(t => new TorchParameter(null, t)));
    }

    // named_parameters drops a second wrapper only if it is the same object; native modules make new ones for a tensor.
    private static IReadOnlyList<IParameter> OfModule(nn.Module module, bool recurse, bool named)
    {
        ArgumentNullException.ThrowIfNull(module);
        return List(
            module.named_parameters(recurse).Select(p => new TorchParameter(named ? p.name : null, p.parameter)).DistinctBy(p => p.Identity)
        );
    }

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
