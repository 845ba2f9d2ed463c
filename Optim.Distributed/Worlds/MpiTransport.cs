using System.Runtime.InteropServices;

namespace Optim.Distributed;

/// <summary>A rank as a process that an MPI launcher has started.</summary>
internal sealed class MpiTransport : Transport
{
    /// <summary>Bytes of a message at most: counts are 32-bit numbers.</summary>
    private const nint Most = 1 << 30;

    private static readonly TimeSpan Spinning = TimeSpan.FromMicroseconds(20);
    private static readonly TimeSpan Yielding = TimeSpan.FromMilliseconds(20);

    /// <summary>The exit code of a process that ends in the middle of a world.</summary>
    private const int EndedEarly = 70;

    private static readonly Lock gate = new();
    private static MpiLibrary? started;
    private static bool hasFailed;
    private static bool hasLeft;
    private readonly MpiLibrary mpi;

    private MpiTransport(MpiLibrary mpi) => this.mpi = mpi;

    public override int Rank => mpi.Rank;

    public override int Size => mpi.Size;

    public override string Name => mpi.Version;

    /// <summary>The processes that the launcher of this one has started; null where it was started by none.</summary>
    public static MpiTransport? Find()
    {
        lock (gate)
        {
            if (started is null && Candidates() is { } candidates)
            {
                started = Load(candidates);
                // Not when it is left: only a process that ends well says so to the launcher, which ends the others where one does not.
                AppDomain.CurrentDomain.ProcessExit += (_, _) =>
                {
                    if (hasLeft && !hasFailed && Environment.ExitCode == 0)
                        started.Finish();
                    // Some launchers take an end without that for a good one, if the exit code is.
                    else if (Environment.ExitCode == 0)
                        Environment.ExitCode = EndedEarly;
                };
            }
            return started is null ? null : new(started);
        }
    }

    /// <summary>The libraries that would go with the launcher, by what it tells its processes; null for no launcher.</summary>
    private static string[]? Candidates()
    {
        if (Environment.GetEnvironmentVariable("OPTIM_MPI") is { Length: > 0 } given)
            return [given];
        string[] open = OperatingSystem.IsMacOS() ? ["libmpi.40.dylib", "libmpi.dylib"] : ["libmpi.so.40", "libmpi.so"];
        string[] mpich =
            OperatingSystem.IsWindows() ? ["msmpi.dll", "impi.dll"]
            : OperatingSystem.IsMacOS() ? ["libmpi.12.dylib", "libmpich.12.dylib", "libmpi.dylib"]
            : ["libmpich.so.12", "libmpi.so.12", "libmpich.so"];
        return Has("OMPI_COMM_WORLD_SIZE") ? open
            : Has("PMI_SIZE") || Has("PMI_RANK") ? mpich
            : Has("PMIX_RANK") ? [.. open, .. mpich]
            : null;
    }

    private static bool Has(string variable) => !string.IsNullOrEmpty(Environment.GetEnvironmentVariable(variable));

    private static MpiLibrary Load(string[] candidates)
    {
        var problems = new List<string>();
        foreach (var candidate in candidates)
            try
            {
                return new(candidate);
            }
            catch (Exception error) when (error is DllNotFoundException or EntryPointNotFoundException or BadImageFormatException)
            {
                problems.Add(error.Message.Split('\n')[0]);
            }
        throw new NotSupportedException(
            $"this process was started by an MPI launcher, and its library was not found: looked for {string.Join(", ", candidates)}. "
                + "Install it beside the launcher (Debian: openmpi-bin or mpich), or name it in OPTIM_MPI. "
                + string.Join(" ", problems)
        );
    }

    public override Request Send(int to, nint address, nint bytes, int tag) =>
        new Pieces(mpi, address, bytes, (at, count, slot) => mpi.Send(at, count, to, tag, slot));

    public override Request Receive(int from, nint address, nint bytes, int tag) =>
        new Pieces(mpi, address, bytes, (at, count, slot) => mpi.Receive(at, count, from, tag, slot));

    public override void Idle(long version, TimeSpan waited)
    {
        // A sleep takes a millisecond and more, in which a small model has taken its step; who has work to do gets the processor meanwhile.
        if (waited < Spinning)
            Thread.SpinWait(20);
        else if (waited < Yielding)
            Thread.Yield();
        else
            Thread.Sleep(1);
    }

    public override void Leave(string? failure) => (hasLeft, hasFailed) = (true, hasFailed || failure is not null);

    /// <summary>The messages of a request, each with room for the engine's own handle.</summary>
    private sealed unsafe class Pieces : Request
    {
        private readonly MpiLibrary mpi;
        private readonly nint[] slots;
        private readonly nint* handles;
        private int done;

        public Pieces(MpiLibrary mpi, nint address, nint bytes, Action<nint, int, nint> begin)
        {
            this.mpi = mpi;
            slots = new nint[(int)((bytes + Most - 1) / Most)];
            handles = (nint*)NativeMemory.AllocZeroed((nuint)slots.Length, (nuint)sizeof(nint));
            for (var i = 0; i < slots.Length; i++)
            {
                slots[i] = (nint)(handles + i);
                begin(address + i * Most, (int)Math.Min(Most, bytes - i * Most), slots[i]);
            }
        }

        public override bool Test()
        {
            while (done < slots.Length && mpi.Test(slots[done]))
                done++;
            if (done < slots.Length)
                return false;
            if (done == slots.Length)
            {
                // Given back once; those of works that were given up stay.
                NativeMemory.Free(handles);
                done++;
            }
            return true;
        }
    }
}
