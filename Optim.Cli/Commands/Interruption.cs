using System.Runtime.InteropServices;

namespace Optim.Cli.Commands;

/// <summary>
/// A wish to stop: Ctrl-C, or a polite kill. The first is answered by stopping cleanly, the second ends the program where it stands.
/// </summary>
public sealed class Interruption : IDisposable
{
    private readonly CancellationTokenSource source = new();
    private readonly PosixSignalRegistration interrupt;
    private readonly PosixSignalRegistration terminate;

    /// <summary>Listens for the process's signals.</summary>
    public Interruption()
    {
        interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
    }

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => source.Token;

    /// <summary>What a shell expects of a program that a signal ended: 130 after Ctrl-C, 143 after kill.</summary>
    public int ExitCode { get; private set; } = 130;

    private void Stop(PosixSignalContext signal)
    {
        if (source.IsCancellationRequested)
            return;
        signal.Cancel = true;
        ExitCode = signal.Signal == PosixSignal.SIGTERM ? 143 : 130;
        source.Cancel();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        interrupt.Dispose();
        terminate.Dispose();
    }
}
