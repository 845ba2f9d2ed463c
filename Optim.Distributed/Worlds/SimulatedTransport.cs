using System.Runtime.InteropServices;

namespace Optim.Distributed;

/// <summary>What the ranks of a simulated world share: messages that wait, and who has left.</summary>
internal sealed class SharedMail(int size)
{
    private readonly Dictionary<(int From, int To, int Tag), Queue<Mail>> waiting = [];
    private readonly string?[] left = new string?[size];
    private readonly List<string> calls = [];

    /// <summary>For each rank what it waits at, and how often something has changed for it: others need not wake up.</summary>
    private readonly object[] gates = [.. Enumerable.Range(0, size).Select(_ => new object())];
    private readonly long[] versions = new long[size];

    public int Size => size;

    public long Version(int rank) => Interlocked.Read(ref versions[rank]);

    public Mail Post(int from, int to, int tag, nint address, nint bytes)
    {
        var mail = new Mail(address, bytes);
        lock (waiting)
        {
            if (!waiting.TryGetValue((from, to, tag), out var queue))
                waiting[(from, to, tag)] = queue = new();
            queue.Enqueue(mail);
        }
        Changed(to);
        return mail;
    }

    public Mail? Take(int from, int to, int tag)
    {
        lock (waiting)
            return waiting.TryGetValue((from, to, tag), out var queue) && queue.TryDequeue(out var mail) ? mail : null;
    }

    /// <summary>Why a rank is there no longer; null while it is.</summary>
    public string? Left(int rank)
    {
        lock (waiting)
            return left[rank];
    }

    public void Leave(int rank, string why)
    {
        lock (waiting)
            left[rank] ??= why;
        for (var other = 0; other < size; other++)
            Changed(other);
    }

    /// <summary>The first rank that makes a call says what it is; the others must make the same one.</summary>
    public string? Differs(long number, string call)
    {
        lock (waiting)
        {
            if (number == calls.Count)
                calls.Add(call);
            return calls[(int)number] == call ? null : calls[(int)number];
        }
    }

    /// <summary>Something may have ended a wait of a rank.</summary>
    public void Changed(int rank)
    {
        lock (gates[rank])
        {
            versions[rank]++;
            Monitor.Pulse(gates[rank]);
        }
    }

    public void Wait(int rank, long since)
    {
        lock (gates[rank])
            if (versions[rank] == since)
                Monitor.Wait(gates[rank], 20);
    }

    /// <summary>Bytes of a sender, in its memory.</summary>
    public sealed class Mail(nint address, nint bytes)
    {
        private int taken;

        public nint Bytes => bytes;

        public bool IsTaken => Volatile.Read(ref taken) == 1;

        public unsafe void CopyTo(nint target)
        {
            NativeMemory.Copy((void*)address, (void*)target, (nuint)bytes);
            Volatile.Write(ref taken, 1);
        }
    }
}

/// <summary>A rank as a thread of this process.</summary>
internal sealed class SimulatedTransport(SharedMail mail, int rank) : Transport
{
    public override int Rank => rank;

    public override int Size => mail.Size;

    public override string Name => FormattableString.Invariant($"{mail.Size} threads of one process");

    public override long Version => mail.Version(rank);

    public override Request Send(int to, nint address, nint bytes, int tag) =>
        new Sending(mail, to, mail.Post(rank, to, tag, address, bytes));

    public override Request Receive(int from, nint address, nint bytes, int tag) => new Receiving(mail, from, rank, tag, address, bytes);

    public override void Announce(long number, string call)
    {
        if (mail.Differs(number, call) is { } other)
            throw new TransportException($"this rank calls '{call}', and another one '{other}': every rank must make the same calls");
    }

    public override void Idle(long version, TimeSpan waited) => mail.Wait(rank, version);

    public override void Leave(string? failure) => mail.Leave(rank, failure ?? "it has left the world");

    private static TransportException Gone(int rank, string why) =>
        new(FormattableString.Invariant($"rank {rank} gives no answer any more: {why}"));

    private sealed class Sending(SharedMail shared, int to, SharedMail.Mail sent) : Request
    {
        public override bool Test()
        {
            var why = shared.Left(to);
            return sent.IsTaken || (why is null ? false : throw Gone(to, why));
        }
    }

    private sealed class Receiving(SharedMail shared, int from, int to, int tag, nint address, nint bytes) : Request
    {
        private bool done;

        public override bool Test()
        {
            if (done)
                return true;
            var why = shared.Left(from);
            if (shared.Take(from, to, tag) is not { } found)
                return why is null ? false : throw Gone(from, why);
            if (found.Bytes != bytes)
                throw new TransportException(
                    FormattableString.Invariant($"rank {from} sends {found.Bytes} bytes, and {bytes} are expected of it")
                );
            found.CopyTo(address);
            shared.Changed(from);
            return done = true;
        }
    }
}
