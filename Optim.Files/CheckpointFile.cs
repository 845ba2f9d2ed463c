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

    /// <summary>The bytes of the file.</summary>
    public long Length => file.Length;

    /// <summary>Opens it, by its extension .safetensors as that, and as what torch.save writes otherwise.</summary>
    /// <param name="path">The file.</param>
    /// <param name="keepForeign">Whether values of names that no checkpoint needs are kept; otherwise the file is refused for them.</param>
    /// <param name="budget">What reading may take.</param>
    /// <param name="forCommand">Whether messages name options of the command, and not arguments of the library.</param>
    /// <param name="verifies">Whether checksums are looked at, for which all of it is read.</param>
    /// <exception cref="CheckpointException">There is no such file, or it is refused.</exception>
    public static CheckpointFile Open(
        string path,
        bool keepForeign = false,
        ReadBudget? budget = null,
        bool forCommand = false,
        bool verifies = true
    )
    {
        FileBytes? file = null;
        try
        {
            file = new FileBytes(path);
            var isSafetensors = IsSafetensors(path);
            if (FileKinds.Refusal(file, isSafetensors) is { } kind)
                throw ZipReader.Broken(file, kind);
            var spent = new Budget(budget ?? ReadBudget.Default, forCommand);
            if (isSafetensors)
            {
                var (tree, metadata) = SafetensorsReader.Read(file, spent);
                return new(file, tree, metadata);
            }
            var head = file.Read(0, (int)Math.Min(64, file.Length));
            var read = LegacyReader.Begins(head) ? LegacyReader.Read(file, spent) : PtReader.Read(file, spent, verifies);
            if (!keepForeign && read.Foreign is { } foreign)
                throw ZipReader.Broken(file, Foreign(foreign, read.Tree, forCommand));
            return new(file, read.Tree, []);
        }
        catch (Exception error)
        {
            file?.Dispose();
            if (error is PickleException or BudgetException)
                throw new CheckpointException($"{path} cannot be read: {error.Message}");
            if (
                error is not CheckpointException
                && error is IOException or UnauthorizedAccessException or OutOfMemoryException or ArgumentException
            )
                throw new CheckpointException($"{path} cannot be read: {error.Message}", error);
            throw;
        }
    }

    public static bool IsSafetensors(string path) => path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase);

    private static string Foreign(string name, Tree tree, bool forCommand)
    {
        var (found, place) = ForeignValues.Find(tree) ?? (name, "in what it makes and drops");
        place =
            place.Length == 0 ? "as a whole"
            : place[0] == '[' ? $"at {place}"
            : place;
        var kept = forCommand ? "--foreign keeps" : "Checkpoint.Read(path, keepForeign: true) keeps";
        return $"it holds '{PickleNames.Shown(found)}' {place}, which no checkpoint needs; {kept} such values as they are written, and runs nothing";
    }

    /// <summary>The tree with its tensors in memory; those that share a storage share memory, and what is one value stays one.</summary>
    public static Tree InMemory(Tree tree)
    {
        var blocks = new Dictionary<StoredBytes, TensorView>(ReferenceEqualityComparer.Instance);
        var done = new Dictionary<object, Tree>(ReferenceEqualityComparer.Instance);
        return Fill(tree);

        Tree Fill(Tree tree)
        {
            if (tree is Tree.Tensor { Item: { Owner: StoredBytes slice } view })
                return done.TryGetValue(tree, out var read) ? read : done[tree] = Tree.NewTensor(View(view, slice));
            if (tree is not (Tree.List or Tree.Tuple or Tree.Map or Tree.Tagged))
                return tree;
            if (done.TryGetValue(tree, out var known))
                return known;
            return done[tree] = tree switch
            {
                Tree.Map { Item: var map } when map.Entries.Any(entry => !ReferenceEquals(Fill(entry.Value), entry.Value)) => Tree.NewMap(
                    TreeMap.OfDistinct(map.Kind, [.. map.Entries.Select(entry => KeyValuePair.Create(entry.Key, Fill(entry.Value)))])
                ),
                Tree.List { Item: var items } when items.Any(Moves) => Tree.ListOf(items.Select(Fill)),
                Tree.Tuple { Item: var items } when items.Any(Moves) => Tree.TupleOf(items.Select(Fill)),
                Tree.Tagged { Name: var name, Arguments: var items } when items.Any(Moves) => Tree.TaggedOf(name, items.Select(Fill)),
                _ => tree,
            };
        }

        bool Moves(Tree tree) => !ReferenceEquals(Fill(tree), tree);

        TensorView View(TensorView view, StoredBytes slice)
        {
            if (!blocks.TryGetValue(slice, out var block))
                blocks[slice] = block = new TensorView(0, Layout.Contiguous(DType.UInt8, slice.Length), slice).Copy();
            return new(block.Address + view.Address, view.Layout, block.Owner);
        }
    }

    public void Dispose() => file.Dispose();
}
