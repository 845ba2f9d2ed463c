using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;

namespace Optim.Checkpoints;

/// <summary>Devices, pipes, sockets, and the open files of a process by their numbers: they are written into and never replaced.</summary>
internal static class SpecialFile
{
    private const int MostLinks = 40;

    /// <summary>Whether a path, or what it links to, is one. What is not there is none.</summary>
    public static bool Is(string path)
    {
        var links = Links(path).ToList();
        return links.Exists(IsDescriptor) || IsStream(links[^1]);
    }

    /// <summary>The number of the open file of this process that a path is, or links to; -1 for none.</summary>
    public static int Descriptor(string path)
    {
        string[] folders =
        [
            "/dev/fd/",
            "/proc/self/fd/",
            string.Create(CultureInfo.InvariantCulture, $"/proc/{Environment.ProcessId}/fd/"),
        ];
        foreach (var link in Links(path))
        foreach (var folder in folders)
            if (
                link.StartsWith(folder, StringComparison.Ordinal)
                && int.TryParse(link.AsSpan(folder.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            )
                return number;
        return -1;
    }

    /// <summary>The path, what it links to, what that links to ...</summary>
    private static IEnumerable<string> Links(string path)
    {
        var full = Path.GetFullPath(path);
        yield return full;
        for (var i = 0; i < MostLinks && !IsDescriptor(full) && new FileInfo(full).LinkTarget is { } next; i++)
            yield return full = Path.GetFullPath(next, Path.GetDirectoryName(full)!);
    }

    /// <summary>Such as what /dev/stdout links to: it may lead to an ordinary file, which must stay the one that is open.</summary>
    private static bool IsDescriptor(string path) =>
        path.StartsWith("/proc/", StringComparison.Ordinal) || path.StartsWith("/dev/fd/", StringComparison.Ordinal);

    /// <summary>Whether the path leads to something that is neither a file nor a folder.</summary>
    public static bool IsStream(string path)
    {
        if (OperatingSystem.IsWindows())
            return Path.GetFullPath(path).StartsWith(@"\\.\", StringComparison.Ordinal);
        return Mode(path) is { } mode && (mode & KindMask) is not (Regular or Folder or 0);
    }

    /// <summary>st_mode, of which .NET shows the rights only; null for what is not there.</summary>
    private static int? Mode(string path)
    {
        // Larger than any system's struct; where st_mode stands in it is the same on all processors.
        var status = new byte[512];
        try
        {
            if (OperatingSystem.IsLinux())
                return statx(CurrentFolder, path, 0, ModeAsked, status) == 0
                    ? BinaryPrimitives.ReadUInt16LittleEndian(status.AsSpan(28))
                    : null;
            if (OperatingSystem.IsMacOS())
            {
                var found = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? stat64(path, status) : stat(path, status);
                return found == 0 ? BinaryPrimitives.ReadUInt16LittleEndian(status.AsSpan(4)) : null;
            }
        }
        catch (EntryPointNotFoundException)
        {
            // A C library of before 2018.
        }
        return path.StartsWith("/dev/", StringComparison.Ordinal) && File.Exists(path) ? 0x2000 : null;
    }

    /// <summary>S_IFMT, S_IFREG and S_IFDIR.</summary>
    private const int KindMask = 0xf000,
        Regular = 0x8000,
        Folder = 0x4000;

    /// <summary>AT_FDCWD and STATX_TYPE | STATX_MODE.</summary>
    private const int CurrentFolder = -100,
        ModeAsked = 3;

    [DllImport("libc")]
    private static extern int statx(
        int folder,
        [MarshalAs(UnmanagedType.LPUTF8Str)] string path,
        int flags,
        uint asked,
        [Out] byte[] status
    );

    [DllImport("libc")]
    private static extern int stat([MarshalAs(UnmanagedType.LPUTF8Str)] string path, [Out] byte[] status);

    [DllImport("libc", EntryPoint = "stat$INODE64")]
    private static extern int stat64([MarshalAs(UnmanagedType.LPUTF8Str)] string path, [Out] byte[] status);
}
