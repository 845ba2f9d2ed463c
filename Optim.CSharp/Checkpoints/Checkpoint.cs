using Optim.Checkpoints;
using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// Checkpoint files that PyTorch reads and writes, too: <c>.pt</c> (torch.save and torch.load, with weights_only), and
/// <c>.safetensors</c> for named tensors. Reading runs no code. Saving keeps the old file until the new one is whole and on the disk;
/// loading is all or nothing. All failures are a <see cref="CheckpointException"/>; arguments that no file could satisfy, such as an empty
/// path, are an <see cref="ArgumentException"/>. Into devices and pipes it is written, and they stay what they are.
/// </summary>
public static class Checkpoint
{
    /// <summary>Entries that were not asked for are kept up to this size; <see cref="Read"/> reads all.</summary>
    private const long MostUnasked = 64 << 20;

    /// <summary>Saves parts under their names: optimizers, schedulers, modules, whatever is <see cref="IStateful"/>, and plain values.</summary>
    /// <example><code>Checkpoint.Save("run.pt", ("model", model), ("optimizer", optimizer), ("scheduler", scheduler), ("epoch", 3));</code></example>
    /// <exception cref="CheckpointException">It cannot be written; the old file is there as a whole, or the new one is.</exception>
    /// <exception cref="ArgumentException">The path is no path, a part cannot be saved or has no name, or two have one name.</exception>
    public static void Save(string path, params (string Name, object? Value)[] parts)
    {
        TreeFile.CheckPath(path);
        ArgumentNullException.ThrowIfNull(parts);
        CheckNames(parts.Select(part => part.Name));
        Write(path, Tree.Dict([.. parts.Select(part => (part.Name, CheckpointParts.Save(part.Name, part.Value)))]));
    }

    /// <summary>
    /// Loads parts by their names, strictly: what is missing or left over in one is an error. Values that no checkpoint needs, such as
    /// objects of other libraries, are of no concern outside of these parts: they are never run.
    /// </summary>
    /// <returns>Reports, and the entries for which no part was given.</returns>
    /// <exception cref="CheckpointException">The file is refused, lacks a part, or one does not fit; nothing has changed.</exception>
    /// <exception cref="ArgumentException">The path is no path, a part cannot be loaded into or has no name, or two have one name.</exception>
    public static LoadedCheckpoint Load(string path, params (string Name, object Value)[] parts) => Load(path, true, parts);

    /// <summary>Loads parts by their names.</summary>
    /// <param name="path">The file.</param>
    /// <param name="strict">False: what is missing or left over inside of a part is reported.</param>
    /// <param name="parts">What is loaded.</param>
    public static LoadedCheckpoint Load(string path, bool strict, params (string Name, object Value)[] parts) =>
        Load(path, ReadBudget.Default, strict, parts);

    /// <summary>Loads parts by their names from a file that needs more than usual to be read.</summary>
    /// <param name="path">The file.</param>
    /// <param name="budget">What reading may take.</param>
    /// <param name="strict">False: what is missing or left over inside of a part is reported.</param>
    /// <param name="parts">What is loaded.</param>
    public static LoadedCheckpoint Load(string path, ReadBudget budget, bool strict, params (string Name, object Value)[] parts) =>
        Load(path, budget, strict, parts, verifies: true, (_, _) => { });

    /// <summary>The same by one of several processes that load together.</summary>
    /// <param name="path">The file.</param>
    /// <param name="budget">What reading may take.</param>
    /// <param name="strict">False: what is missing or left over inside of a part is reported.</param>
    /// <param name="parts">What is loaded.</param>
    /// <param name="verifies">Whether checksums are looked at, for which the whole file is read.</param>
    /// <param name="agree">Told the length of the file when all is ready to be loaded, or what is wrong; it throws where another process cannot load.</param>
    internal static LoadedCheckpoint Load(
        string path,
        ReadBudget budget,
        bool strict,
        (string Name, object Value)[] parts,
        bool verifies,
        Action<long, string?> agree
    )
    {
        TreeFile.CheckPath(path);
        ArgumentNullException.ThrowIfNull(budget);
        ArgumentNullException.ThrowIfNull(parts);
        CheckNames(parts.Select(part => part.Name));
        var targets = parts
            .Select(part =>
                (
                    part.Name,
                    Target: CheckpointParts.Stateful(part.Value)
                        ?? throw new ArgumentException(
                            $"'{part.Name}' is a {part.Value?.GetType().Name ?? "null"}, which cannot be loaded into; plain values are read from what Load returns"
                        )
                )
            )
            .ToList();
        CheckpointFile? file = null;
        var loads = new List<(string Name, PreparedLoad Load)>();
        var others = new Dictionary<string, Tree>(StringComparer.Ordinal);
        try
        {
            try
            {
                file = CheckpointFile.Open(path, keepForeign: true, budget, verifies: verifies);
                Prepare(file);
            }
            catch (CheckpointException error)
            {
                agree(0, error.Message);
                throw;
            }
            agree(file.Length, null);
            foreach (var (_, load) in loads)
                load.Commit();
        }
        finally
        {
            file?.Dispose();
        }
        foreach (var (_, load) in loads)
            load.Completed?.Invoke();
        return new(loads.ToDictionary(load => load.Name, load => load.Load.Report), others);

        void Prepare(CheckpointFile file)
        {
            if (file.Tree is not Tree.Map { Item: var entries })
                throw new CheckpointException($"{path} holds {file.Tree.Described}, and not parts by name");
            loads.AddRange(targets.Select(part => (part.Name, Checkpoint.Prepare(path, entries, part.Name, part.Target, strict))));
            var asked = targets.Select(part => part.Name).ToHashSet(StringComparer.Ordinal);
            foreach (var (key, value) in entries.Entries)
                if (key.IsText && !asked.Contains(key.text) && Bytes(value, new(ReferenceEqualityComparer.Instance)) <= MostUnasked)
                    others[key.text] = CheckpointFile.InMemory(value);
        }
    }

    /// <summary>Reads a whole file, with its tensors in memory; tensors that share a storage share it.</summary>
    /// <param name="path">A .safetensors file by that extension, else one of torch.save, of any version that has weights_only or is older.</param>
    /// <param name="keepForeign">Whether values that torch.load(weights_only=True) refuses, such as objects of other libraries, are kept as
    /// <see cref="Tree.Tagged"/>, which runs nothing; otherwise the file is refused for them.</param>
    /// <param name="budget">What reading may take; <see cref="ReadBudget.Default"/> if null.</param>
    /// <exception cref="CheckpointException">The file is refused.</exception>
    /// <exception cref="ArgumentException">The path is no path.</exception>
    public static Tree Read(string path, bool keepForeign = false, ReadBudget? budget = null) => TreeFile.Read(path, keepForeign, budget);

    /// <summary>The metadata of a .safetensors file.</summary>
    /// <exception cref="CheckpointException">The file is refused.</exception>
    /// <exception cref="ArgumentException">The path is no path.</exception>
    public static IReadOnlyDictionary<string, string> ReadMetadata(string path) => TreeFile.ReadMetadata(path);

    /// <summary>Writes a tree as a file of its own, .safetensors by that extension, and as torch.save does otherwise.</summary>
    /// <param name="path">The file; an old one is replaced when the new one is whole.</param>
    /// <param name="tree">The tree; for .safetensors dicts of tensors.</param>
    /// <param name="metadata">Texts beside the tensors, for .safetensors; <c>format: pt</c>, which Hugging Face's loaders ask for, is added where no format is given.</param>
    /// <exception cref="CheckpointException">It cannot be written; the old file is there as a whole, or the new one is.</exception>
    /// <exception cref="ArgumentException">The path is no path, or the format cannot hold the tree.</exception>
    public static void Write(string path, Tree tree, IReadOnlyDictionary<string, string>? metadata = null) =>
        TreeFile.Write(path, tree, metadata);

    /// <summary>Lets parts of a further library be saved and loaded: the adapter gives their state, or null for what it does not know.</summary>
    public static void Register(Func<object, IStateful?> adapter)
    {
        ArgumentNullException.ThrowIfNull(adapter);
        CheckpointParts.Register(adapter);
    }

    internal static void CheckNames(IEnumerable<string?> names)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (name, i) in names.Select((name, i) => (name, i)))
        {
            if (name is null)
                throw new ArgumentException($"the name of part {i} is null; each part needs one", "parts");
            if (!seen.Add(name))
                throw new ArgumentException(
                    $"the name '{PickleNames.Shown(name)}' is there twice; each part needs one of its own",
                    "parts"
                );
        }
    }

    private static PreparedLoad Prepare(string path, TreeMap entries, string name, IStateful target, bool strict)
    {
        if (!entries.TryGetValue(name, out var state))
            throw new CheckpointException($"{path} has no '{name}'; it has: {string.Join(", ", entries.Keys.Take(20))}");
        try
        {
            return target.PrepareLoad(state, strict);
        }
        catch (Exception error)
            when (error is ArgumentException or InvalidCastException or KeyNotFoundException or NotSupportedException or IOException)
        {
            throw new CheckpointException($"'{name}' of {path} cannot be loaded: {error.Message}", error);
        }
    }

    private static long Bytes(Tree tree, HashSet<object> seen) =>
        tree is Tree.Tensor { Item: var view } ? view.Count * view.DType.Size()
        : tree is Tree.List or Tree.Tuple or Tree.Map or Tree.Tagged && seen.Add(tree)
            ? SharedNodes.Children(tree).Sum(child => Bytes(child, seen))
        : 0;
}
