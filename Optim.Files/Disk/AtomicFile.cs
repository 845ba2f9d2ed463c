using System.Security.Cryptography;
using System.Text;

namespace Optim.Checkpoints;

/// <summary>
/// Files that are there as a whole or not at all: written beside their place, flushed to the disk, renamed, and the folder flushed.
/// Any number of threads, processes and machines may write one path at the same time: the last one wins.
/// </summary>
internal static class AtomicFile
{
    /// <summary>Fails now if the file could not be written later.</summary>
    /// <exception cref="IOException">There is no such folder, a folder of that name is there, or the disk refuses.</exception>
    /// <exception cref="UnauthorizedAccessException">Writing there is not allowed.</exception>
    public static void Check(string path, FileOperations? operations = null)
    {
        if (SpecialFile.Is(path))
            return;
        operations ??= FileOperations.Real;
        var target = Target(path);
        using var temporary = Create(target, null, operations);
        temporary.Dispose();
        operations.Delete(temporary.Path);
    }

    /// <summary>Writes it, replacing what was there; into devices and pipes it is written.</summary>
    public static void Write(string path, byte[] content, FileOperations? operations = null)
    {
        if (SpecialFile.Is(path))
        {
            using var stream = (operations ?? FileOperations.Real).OpenSpecial(path);
            stream.Write(content);
        }
        else
            Write(path, file => file.Write(content, 0), operations);
    }

    /// <summary>Writes it, replacing what was there; when writing throws, what was there stays. Devices and pipes get all of it or nothing.</summary>
    public static void Write(string path, Action<NewFile> write, FileOperations? operations = null)
    {
        operations ??= FileOperations.Real;
        if (SpecialFile.Is(path))
        {
            WriteInto(path, write, operations);
            return;
        }
        var target = Target(path);
        var mode = Mode(target);
        // Its own user must be able to open what a killed save leaves.
        using var temporary = Create(target, mode | UnixFileMode.UserRead | UnixFileMode.UserWrite, operations);
        try
        {
            Sweep(target, temporary.Path, operations);
            write(temporary);
            temporary.Finish(mode);
            // It stays open, and so recognizable as one that is in use, until it has its name. Windows would keep others from reading it.
            if (OperatingSystem.IsWindows())
                temporary.Dispose();
            operations.Rename(temporary.Path, target);
        }
        catch
        {
            temporary.Dispose();
            Try(() => operations.Delete(temporary.Path));
            throw;
        }
        try
        {
            operations.FlushFolder(Path.GetDirectoryName(target)!);
        }
        catch (IOException error)
        {
            throw new IOException($"the new file is there, but a power failure may still bring back the old one: {error.Message}", error);
        }
    }

    /// <summary>Formats go back to places that they have passed, which pipes cannot: through a file that is nowhere to be seen.</summary>
    private static void WriteInto(string path, Action<NewFile> write, FileOperations operations)
    {
        var place = Path.Join(Path.GetTempPath(), $"optim-{Random()}.tmp");
        using var spool = new FileStream(
            place,
            FileMode.CreateNew,
            FileAccess.ReadWrite,
            FileShare.None,
            bufferSize: 0,
            FileOptions.DeleteOnClose
        );
        write(new(operations, spool));
        spool.Position = 0;
        using var stream = operations.OpenSpecial(path);
        spool.CopyTo(stream, 1 << 20);
    }

    /// <summary>A new file beside the target.</summary>
    private static NewFile Create(string target, UnixFileMode? mode, FileOperations operations)
    {
        if (Directory.Exists(target))
            throw new IOException($"{target} is a folder");
        var folder = Path.GetDirectoryName(target)!;
        if (!Directory.Exists(folder))
            throw new IOException($"there is no folder {folder}");
        for (var tries = 1; ; tries++)
        {
            var path = Path.Join(folder, $"{Prefix(target)}{Random()}{Extension}");
            try
            {
                return new(operations, operations.Create(path, mode));
            }
            catch (IOException) when (tries < 5 && File.Exists(path))
            {
                // Another one's.
            }
        }
    }

    /// <summary>
    /// Deletes what saves of the same file that were killed have left beside it. Young ones and those that someone has open are of saves that
    /// are under way. Ages are differences of the file system's own times: clocks of machines that share it do not matter.
    /// </summary>
    private static void Sweep(string target, string own, FileOperations operations) =>
        Try(() =>
        {
            var now = operations.LastWrite(own);
            foreach (var path in operations.Temporaries(Path.GetDirectoryName(target)!))
                if (IsTemporary(target, path) && now - operations.LastWrite(path) > Young)
                    Try(() => operations.DeleteUnused(path));
        });

    private static readonly TimeSpan Young = TimeSpan.FromHours(1);

    /// <summary>What may fail: the next save will try again.</summary>
    private static void Try(Action action)
    {
        try
        {
            action();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { }
    }

    private const int RandomDigits = 16,
        MostOfName = 64;

    private const string Extension = ".tmp";

    private static string Random() => RandomNumberGenerator.GetHexString(RandomDigits, lowercase: true);

    /// <summary>
    /// How the names of a file's temporaries begin: as its own does, as far as there is room, and then a digest of its whole name.
    /// </summary>
    private static string Prefix(string target)
    {
        var name = Path.GetFileName(target);
        var digest = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name)).AsSpan(0, 8));
        var (begins, bytes) = (new StringBuilder(), 0);
        foreach (var rune in name.EnumerateRunes())
        {
            bytes += rune.Utf8SequenceLength;
            if (bytes > MostOfName)
                break;
            begins.Append(rune);
        }
        return $"{begins}.{digest}.";
    }

    private static bool IsTemporary(string target, string path)
    {
        var (name, prefix) = (Path.GetFileName(path), Prefix(target));
        return name.Length == prefix.Length + RandomDigits + Extension.Length
            && name.StartsWith(prefix, StringComparison.Ordinal)
            && name.EndsWith(Extension, StringComparison.Ordinal)
            && name.AsSpan(prefix.Length, RandomDigits).IndexOfAnyExcept("0123456789abcdef") < 0;
    }

    /// <summary>A link stays a link: what it points to is replaced.</summary>
    private static string Target(string path) =>
        new FileInfo(path) is { LinkTarget: not null } link
            ? link.ResolveLinkTarget(returnFinalTarget: true)!.FullName
            : Path.GetFullPath(path);

    /// <summary>The rights of the file that is there.</summary>
    private static UnixFileMode? Mode(string target)
    {
        if (OperatingSystem.IsWindows())
            return null;
        try
        {
            return File.GetUnixFileMode(target);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
