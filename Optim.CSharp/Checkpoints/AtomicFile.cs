using System.Globalization;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Optim.Checkpoints;

/// <summary>
/// Files that are there as a whole or not at all: written beside their place, flushed to the disk, renamed, and the folder flushed.
/// </summary>
internal static class AtomicFile
{
    /// <summary>Fails now if the file could not be written later.</summary>
    /// <exception cref="IOException">There is no such folder, a folder of that name is there, or the disk refuses.</exception>
    /// <exception cref="UnauthorizedAccessException">Writing there is not allowed.</exception>
    public static void Check(string path)
    {
        if (Directory.Exists(path))
            throw new IOException($"{path} is a folder");
        var folder = Path.GetDirectoryName(Target(path))!;
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
            File.WriteAllBytes(path, content);
        else
            Write(path, file => RandomAccess.Write(file, content, 0));
    }

    /// <summary>Writes it, replacing what was there; when writing throws, what was there stays.</summary>
    public static void Write(string path, Action<SafeFileHandle> write)
    {
        if (Directory.Exists(path))
            throw new IOException($"{path} is a folder");
        var target = Target(path);
        Sweep(target);
        var temporary = Beside(path);
        try
        {
            using (var file = File.OpenHandle(temporary, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None))
            {
                if (!OperatingSystem.IsWindows() && File.Exists(target))
                    File.SetUnixFileMode(file, File.GetUnixFileMode(target));
                write(file);
                RandomAccess.FlushToDisk(file);
            }
            File.Move(temporary, target, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
        FlushFolder(Path.GetDirectoryName(target)!);
    }

    /// <summary>
    /// Asks the system to begin to write some bytes to the disk, so that the flush at the end finds little to do. A hint, which Linux alone has.
    /// </summary>
    public static void BeginFlush(SafeFileHandle file, long place, long length)
    {
        if (OperatingSystem.IsLinux())
            _ = sync_file_range(file, place, length, StartWriting);
    }

    /// <summary>Deletes what saves that were killed have left beside the file: nobody holds a lock on it any more.</summary>
    private static void Sweep(string target)
    {
        foreach (var left in Directory.EnumerateFiles(Path.GetDirectoryName(target)!, $"{Path.GetFileName(target)}.*.tmp"))
            try
            {
                if (!IsTemporary(target, left))
                    continue;
                using (new FileStream(left, FileMode.Open, FileAccess.ReadWrite, FileShare.None))
                    File.Delete(left);
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // Someone is writing it.
            }
    }

    private static bool IsTemporary(string target, string path)
    {
        var middle = path[(target.Length + 1)..^4];
        return middle.Split('.') is [var process, var number] && process.All(char.IsAsciiDigit) && number.All(char.IsAsciiDigit);
    }

    private static int saves;

    /// <summary>SYNC_FILE_RANGE_WRITE.</summary>
    private const uint StartWriting = 2;

    private static string Beside(string path) =>
        string.Create(CultureInfo.InvariantCulture, $"{Target(path)}.{Environment.ProcessId}.{Interlocked.Increment(ref saves)}.tmp");

    /// <summary>A link stays a link: what it points to is replaced.</summary>
    private static string Target(string path) =>
        new FileInfo(path) is { LinkTarget: not null } link
            ? link.ResolveLinkTarget(returnFinalTarget: true)!.FullName
            : Path.GetFullPath(path);

    /// <summary>/dev/stdout, /dev/null and the like are written to, not replaced.</summary>
    private static bool IsDevice(string path) => Path.GetFullPath(path).StartsWith("/dev/", StringComparison.Ordinal) && !InMemory(path);

    /// <summary>A folder of ordinary files among the devices.</summary>
    private static bool InMemory(string path) => Path.GetFullPath(path).StartsWith("/dev/shm/", StringComparison.Ordinal);

    /// <summary>Only then does the new name survive a power failure. Windows has no such call, and renames durably enough.</summary>
    private static void FlushFolder(string folder)
    {
        if (OperatingSystem.IsWindows())
            return;
        var directory = open(folder, 0);
        if (directory < 0)
            return;
        _ = fsync(directory);
        _ = close(directory);
    }

    [DllImport("libc", CharSet = CharSet.Ansi, BestFitMapping = false, ThrowOnUnmappableChar = true)]
    private static extern int open([MarshalAs(UnmanagedType.LPUTF8Str)] string path, int flags);

    [DllImport("libc")]
    private static extern int fsync(int file);

    [DllImport("libc")]
    private static extern int sync_file_range(SafeFileHandle file, long place, long length, uint what);

    [DllImport("libc")]
    private static extern int close(int file);
}
