using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Optim.Checkpoints;

/// <summary>
/// What saving asks of the file system, one method for each operation: tests put another in its place, in which each fails once or
/// which records their order.
/// </summary>
internal class FileOperations
{
    /// <summary>The file system itself.</summary>
    public static FileOperations Real { get; } = new();

    /// <summary>Makes a new file. As long as it is open others may read, rename and delete it, and <see cref="DeleteUnused"/> refuses it.</summary>
    /// <param name="path">Where there is none.</param>
    /// <param name="mode">Its rights, of which the process's umask takes some; null for the usual ones.</param>
    /// <exception cref="IOException">There is one already, or none can be made.</exception>
    public virtual FileStream Create(string path, UnixFileMode? mode)
    {
        var options = new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.ReadWrite,
            Share = FileShare.Read | FileShare.Delete,
            BufferSize = 0,
        };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = mode;
        return new(path, options);
    }

    /// <summary>Opens a device, a pipe or a descriptor of this process for writing, one byte after the other.</summary>
    public virtual Stream OpenSpecial(string path) =>
        SpecialFile.Descriptor(path) switch
        {
            1 => Console.OpenStandardOutput(),
            2 => Console.OpenStandardError(),
            _ => new FileStream(path, FileMode.Truncate, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0),
        };

    /// <summary>Writes bytes at a place of a file.</summary>
    public virtual void Write(FileStream file, ReadOnlySpan<byte> bytes, long place) =>
        RandomAccess.Write(file.SafeFileHandle, bytes, place);

    /// <summary>
    /// Asks the system to begin to write some bytes to the disk, so that the flush at the end finds little to do. A hint, which Linux alone has.
    /// </summary>
    public virtual void BeginFlush(FileStream file, long place, long length)
    {
        if (OperatingSystem.IsLinux())
            _ = sync_file_range(file.SafeFileHandle, place, length, StartWriting);
    }

    /// <summary>Gives a file its rights.</summary>
    public virtual void SetMode(FileStream file, UnixFileMode mode)
    {
        // Some file systems have one mode for all files, and refuse to change it.
        if (!OperatingSystem.IsWindows() && File.GetUnixFileMode(file.SafeFileHandle) != mode)
            File.SetUnixFileMode(file.SafeFileHandle, mode);
    }

    /// <summary>Returns when the bytes of a file are on the disk.</summary>
    public virtual void Flush(FileStream file) => RandomAccess.FlushToDisk(file.SafeFileHandle);

    /// <summary>Gives a file another name in the same folder; a file that has that name is replaced.</summary>
    public virtual void Rename(string from, string to)
    {
        for (var tries = 1; ; tries++)
            try
            {
                File.Move(from, to, overwrite: true);
                return;
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException && tries < 50 && OperatingSystem.IsWindows())
            {
                Thread.Sleep(20); // Windows does not replace a file that someone has open: a reader, a virus scanner
            }
    }

    /// <summary>
    /// Returns when the names in a folder are on the disk: only then does a new name survive a power failure. Windows has no such call, and
    /// folders that cannot be read cannot be flushed.
    /// </summary>
    public virtual void FlushFolder(string folder)
    {
        if (OperatingSystem.IsWindows())
            return;
        var descriptor = open(folder, OperatingSystem.IsLinux() ? CloseOnExecLinux : CloseOnExecOthers);
        if (descriptor < 0)
        {
            var error = Marshal.GetLastPInvokeError();
            if (error == NotAllowed)
                return;
            throw new IOException(Marshal.GetPInvokeErrorMessage(error));
        }
        using var handle = new SafeFileHandle(descriptor, ownsHandle: true);
        RandomAccess.FlushToDisk(handle);
    }

    /// <summary>Deletes a file.</summary>
    public virtual void Delete(string path) => File.Delete(path);

    /// <summary>The files of a folder whose names end in .tmp.</summary>
    public virtual IEnumerable<string> Temporaries(string folder) => Directory.EnumerateFiles(folder, "*.tmp");

    /// <summary>When a file was written last, by the clock of its file system.</summary>
    public virtual DateTime LastWrite(string path) => File.GetLastWriteTimeUtc(path);

    /// <summary>Deletes a file that nobody has open.</summary>
    /// <exception cref="IOException">Someone has.</exception>
    public virtual void DeleteUnused(string path) =>
        File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None, FileOptions.DeleteOnClose).Dispose();

    /// <summary>SYNC_FILE_RANGE_WRITE.</summary>
    private const uint StartWriting = 2;

    /// <summary>EACCES.</summary>
    private const int NotAllowed = 13;

    /// <summary>O_RDONLY | O_CLOEXEC, on Linux and on BSD and macOS.</summary>
    private const int CloseOnExecLinux = 0x80000,
        CloseOnExecOthers = 0x1000000;

    [DllImport("libc", SetLastError = true)]
    private static extern int open([MarshalAs(UnmanagedType.LPUTF8Str)] string path, int flags);

    [DllImport("libc")]
    private static extern int sync_file_range(SafeFileHandle file, long place, long length, uint what);
}
