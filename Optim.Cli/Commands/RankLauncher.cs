using System.Diagnostics;

namespace Optim.Cli.Commands;

/// <summary>Starts this command again as several processes of an MPI launcher.</summary>
internal static class RankLauncher
{
    /// <summary>Where there are several launchers, the first of these on the PATH; the environment variable OPTIM_MPIRUN names another.</summary>
    private static readonly string[] names = ["mpirun", "mpiexec", "mpirun.openmpi", "mpirun.mpich"];

    /// <summary>Runs the command on so many ranks; its lines go where this one's do.</summary>
    /// <exception cref="CommandException">There is no launcher; the message says what to install.</exception>
    public static int Run(
        int ranks,
        IEnumerable<string> arguments,
        int threads,
        TextWriter output,
        TextWriter error,
        CancellationToken cancel
    )
    {
        var launcher = Find() ?? throw new CommandException(Missing(ranks));
        var start = new ProcessStartInfo(launcher) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var option in Options(launcher))
            start.ArgumentList.Add(option);
        start.ArgumentList.Add("-n");
        start.ArgumentList.Add(ranks.ToString(System.Globalization.CultureInfo.InvariantCulture));
        var host = Environment.ProcessPath!;
        var program = typeof(RankLauncher).Assembly.Location;
        if (Path.GetFileNameWithoutExtension(host) == "dotnet")
            start.ArgumentList.Add(host);
        start.ArgumentList.Add(Path.GetFileNameWithoutExtension(host) == "dotnet" ? program : host);
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        start.Environment[Threads.Variable] = threads.ToString(System.Globalization.CultureInfo.InvariantCulture);
        // Some launchers give their processes a terminal of their own.
        start.Environment["TERM"] = "dumb";
        using var process = Process.Start(start)!;
        using var stop = cancel.Register(() => process.Kill(entireProcessTree: true));
        process.OutputDataReceived += (_, line) => Write(output, line.Data);
        process.ErrorDataReceived += (_, line) => Write(error, line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        process.WaitForExit();
        return cancel.IsCancellationRequested ? OptimCommand.Interrupted
            : process.ExitCode == 0 ? 0
            : OptimCommand.Failed;
    }

    private static string Missing(int ranks) =>
        FormattableString.Invariant($"--ranks {ranks}: there is no mpirun on the PATH. Install an MPI: Open MPI or MPICH ")
        + "(Debian and Ubuntu: apt-get install openmpi-bin, or mpich; macOS: brew install open-mpi; Windows: MS-MPI), or name its mpirun in OPTIM_MPIRUN.";

    private static void Write(TextWriter to, string? line)
    {
        if (line is null)
            return;
        lock (to)
            to.WriteLine(line);
    }

    private static string? Find()
    {
        if (Environment.GetEnvironmentVariable("OPTIM_MPIRUN") is { Length: > 0 } named)
            return File.Exists(named) ? named : throw new CommandException($"OPTIM_MPIRUN is '{named}'; there is no such file.");
        var folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries);
        var suffix = OperatingSystem.IsWindows() ? ".exe" : "";
        return names.SelectMany(name => folders.Select(folder => Path.Combine(folder, name + suffix))).FirstOrDefault(File.Exists);
    }

    /// <summary>All ranks are on this machine: more of them than processors are allowed, and they talk by its memory and the loopback interface.</summary>
    private static IEnumerable<string> Options(string launcher)
    {
        var version = Version(launcher);
        var loopback = OperatingSystem.IsMacOS() ? "lo0" : "lo";
        if (
            version.Contains("Open MPI", StringComparison.OrdinalIgnoreCase)
            || version.Contains("OpenRTE", StringComparison.OrdinalIgnoreCase)
        )
            return
            [
                "--oversubscribe",
                "--mca",
                "btl_tcp_if_include",
                loopback,
                "--mca",
                "oob_tcp_if_include",
                loopback,
                .. Environment.UserName == "root" ? ["--allow-run-as-root"] : Array.Empty<string>(),
            ];
        return version.Contains("HYDRA", StringComparison.OrdinalIgnoreCase) && OperatingSystem.IsLinux() ? ["-iface", loopback] : [];
    }

    private static string Version(string launcher)
    {
        var start = new ProcessStartInfo(launcher, "--version") { RedirectStandardOutput = true, RedirectStandardError = true };
        try
        {
            using var process = Process.Start(start)!;
            var errors = process.StandardError.ReadToEndAsync();
            var text = process.StandardOutput.ReadToEnd() + errors.Result;
            process.WaitForExit();
            return text;
        }
        catch (System.ComponentModel.Win32Exception wrong)
        {
            throw new CommandException($"{launcher} cannot be started: {wrong.Message}.");
        }
    }
}
