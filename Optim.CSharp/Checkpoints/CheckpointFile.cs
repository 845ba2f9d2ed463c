using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>A checkpoint that is open: its tree is read and checked, checksums and all, and its tensors still lie in the file.</summary>
internal sealed class CheckpointFile : IDisposable
{
    private readonly FileBytes file;

    private CheckpointFile(FileBytes file, Tree tree, Dictionary<string, string> metadata) =>
        (this.file, Tree, Metadata) = (file, tree, metadata);

    public Tree Tree { get; }

    /// <summary>Texts beside the tensors of a .safetensors file.</summary>
    public Dictionary<string, string> Metadata { get; }

    /// <summary>Opens it, by its extension .safetensors as that, and as what torch.save writes otherwise.</summary>
    /// <exception cref="CheckpointException">There is no such file, or it is refused.</exception>
    public static CheckpointFile Open(string path)
    {
        FileBytes? file = null;
        try
        {
            file = new FileBytes(path);
            var (tree, metadata) = IsSafetensors(path) ? SafetensorsReader.Read(file) : (PtReader.Read(file), []);
            return new(file, tree, metadata);
        }
        catch (Exception error)
        {
            file?.Dispose();
            if (error is CheckpointException)
                throw;
            if (error is IOException or UnauthorizedAccessException or OutOfMemoryException or ArgumentException)
                throw new CheckpointException($"{path} cannot be read: {error.Message}", error);
            throw;
        }
    }

    public static bool IsSafetensors(string path) => path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase);

    /// <summary>The tree with its tensors in memory; those that share a storage share memory.</summary>
    public static Tree InMemory(Tree tree)
    {
        var blocks = new Dictionary<FileSlice, TensorView>(ReferenceEqualityComparer.Instance);
        return Fill(tree);

        Tree Fill(Tree tree) =>
            tree switch
            {
                Tree.Tensor { Item: { Owner: FileSlice slice } view } => Tree.NewTensor(View(view, slice)),
                Tree.List list => Tree.ListOf(list.Item.Select(Fill)),
                Tree.Tuple tuple => Tree.TupleOf(tuple.Item.Select(Fill)),
                Tree.Map map => Tree.MapOf(
                    map.Item.Kind,
                    map.Item.Entries.Select(entry => KeyValuePair.Create(entry.Key, Fill(entry.Value)))
                ),
                _ => tree,
            };

        TensorView View(TensorView view, FileSlice slice)
        {
            if (!blocks.TryGetValue(slice, out var block))
                blocks[slice] = block = new TensorView(0, Layout.Contiguous(DType.UInt8, slice.Length), slice).Copy();
            return new(block.Address + view.Address, view.Layout, block.Owner);
        }
    }

    public void Dispose() => file.Dispose();
}
