using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>Archives of torch.jit.save: programs, of which only the stored tensors are read.</summary>
internal static class TorchScript
{
    /// <summary>The tensors under the names that the module's state_dict gives them.</summary>
    /// <param name="file">The file.</param>
    /// <param name="module">The module as a foreign value: what it was called with, and its attributes.</param>
    /// <exception cref="CheckpointException">There are none.</exception>
    public static Tree Weights(FileBytes file, Tree module)
    {
        var weights = new OrderedDictionary<string, Tree>(StringComparer.Ordinal);
        Collect(module, "", weights, new(ReferenceEqualityComparer.Instance));
        return weights.Count > 0
            ? Tree.MapOf(MapKind.OrderedDict, [.. weights.Select(entry => KeyValuePair.Create((TreeKey)entry.Key, entry.Value))])
            : throw ZipReader.Broken(
                file,
                "it is a TorchScript archive, a program, and none of its attributes is a stored tensor: save the state_dict of the model instead"
            );
    }

    private static void Collect(Tree module, string path, OrderedDictionary<string, Tree> weights, HashSet<object> seen)
    {
        if (module is not Tree.Tagged { Arguments: [Tree.Tuple, Tree.Map { Item: var attributes }, ..] } || !seen.Add(module))
            return;
        foreach (var (key, value) in attributes.Entries)
        {
            var name = key.IsText ? path + key.text : "";
            if (name.Length > 0 && value.TryGetTensor(out TensorView _))
                weights[name] = value;
            else if (name.Length > 0)
                Collect(value, name + ".", weights, seen);
        }
    }
}
