using Optim.Checkpoints;

namespace Optim.Cli.Commands;

/// <summary>Files that a command writes at its end: it is found out at its start whether it can.</summary>
internal static class OutputFile
{
    /// <summary>That path, or null for none.</summary>
    /// <exception cref="CommandException">The file could not be written.</exception>
    public static string? Checked(string option, string? path)
    {
        try
        {
            if (path is not null)
                AtomicFile.Check(path);
            return path;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new CommandException($"{option} {path}: {e.Message.TrimEnd('.')}.");
        }
    }

    /// <summary>Writes it, unless the path is null, and says so.</summary>
    public static void Write(string? path, Func<byte[]> content, string what, Screen screen)
    {
        if (path is null)
            return;
        AtomicFile.Write(path, content());
        screen.Say($"{what} in {path}");
    }
}
