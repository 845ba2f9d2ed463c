using Optim.Core;

namespace Optim.Checkpoints;

/// <summary>A tree as a file of its own: what the faces of F# and C# do with files.</summary>
internal static class TreeFile
{
    /// <summary>Reads a whole file, with its tensors in memory; tensors that share a storage share it.</summary>
    public static Tree Read(string path, bool keepForeign, ReadBudget? budget)
    {
        CheckPath(path);
        using var file = CheckpointFile.Open(path, keepForeign, budget);
        return CheckpointFile.InMemory(file.Tree);
    }

    /// <summary>The metadata of a .safetensors file.</summary>
    public static IReadOnlyDictionary<string, string> ReadMetadata(string path)
    {
        CheckPath(path);
        using var file = CheckpointFile.Open(path);
        return file.Metadata;
    }

    /// <summary>Writes a tree, .safetensors by that extension, and as torch.save does otherwise.</summary>
    public static void Write(string path, Tree tree, IReadOnlyDictionary<string, string>? metadata) =>
        Write(path, tree, metadata, FileOperations.Real);

    /// <summary>The same, by other operations than the file system's own.</summary>
    public static void Write(string path, Tree tree, IReadOnlyDictionary<string, string>? metadata, FileOperations operations)
    {
        CheckPath(path);
        ArgumentNullException.ThrowIfNull(tree);
        var tensorsOnly = CheckpointFile.IsSafetensors(path);
        if (metadata is not null && !tensorsOnly)
            throw new ArgumentException("metadata are a part of .safetensors files; in others, put them into the tree", nameof(metadata));
        try
        {
            AtomicFile.Write(
                path,
                file =>
                {
                    if (tensorsOnly)
                        SafetensorsWriter.Write(file, tree, metadata);
                    else
                        PtWriter.Write(file, tree);
                },
                operations
            );
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException($"{path} cannot be written: {error.Message}", error);
        }
    }

    /// <summary>A path that no system has is a mistake of the caller, not of a file.</summary>
    public static void CheckPath(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (path.Contains('\0', StringComparison.Ordinal))
            throw new ArgumentException($"the path '{PickleNames.Shown(path)}' holds the character NUL, which no path can", nameof(path));
    }
}
