namespace Optim.Cli.Training;

/// <summary>Files that are there as a whole or not at all: written beside their place, then renamed.</summary>
public static class AtomicFile
{
    /// <summary>Fails now if the file could not be written later.</summary>
    /// <exception cref="IOException">There is no such folder, a folder of that name is there, or the disk refuses.</exception>
    /// <exception cref="UnauthorizedAccessException">Writing there is not allowed.</exception>
    public static void Check(string path)
    {
        if (Directory.Exists(path))
            throw new IOException($"{path} is a folder");
        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (!Directory.Exists(folder))
            throw new IOException($"there is no folder {folder}");
        if (IsDevice(path))
            return;
        var temporary = Beside(path);
        using (new FileStream(temporary, FileMode.CreateNew)) { }
        File.Delete(temporary);
    }

    /// <summary>Writes it, replacing what was there.</summary>
    public static void Write(string path, byte[] content)
    {
        if (IsDevice(path))
        {
            File.WriteAllBytes(path, content);
            return;
        }
        var temporary = Beside(path);
        try
        {
            using (var file = new FileStream(temporary, FileMode.CreateNew))
            {
                file.Write(content);
                file.Flush(flushToDisk: true);
            }
            File.Move(temporary, Target(path), overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    /// <summary>A link stays a link: what it points to is replaced.</summary>
    private static string Target(string path) =>
        new FileInfo(path) is { LinkTarget: not null } link
            ? link.ResolveLinkTarget(returnFinalTarget: true)!.FullName
            : Path.GetFullPath(path);

    private static string Beside(string path) => $"{Target(path)}.{Environment.ProcessId}.tmp";

    /// <summary>/dev/stdout, /dev/null and the like are written to, not replaced.</summary>
    private static bool IsDevice(string path) => Path.GetFullPath(path).StartsWith("/dev/", StringComparison.Ordinal);
}
