using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Bench.Peers;

/// <summary>
/// Moves what the visits of a step move, and computes nothing: the same arrays, each read or read and written as often as by the step, in the same order.
/// Bytes alone do not say how long that takes: where nothing is written, a core moves fewer in a second.
/// </summary>
internal sealed unsafe class VisitTraffic
{
    /// <summary>Elements of an array that are gone over at a time where all are only read: a kilobyte.</summary>
    private const int Chunk = 256;

    /// <summary>So many elements ahead memory is asked for.</summary>
    private const int Ahead = 512;

    private readonly int count;
    private readonly List<Param> memory = [];
    private readonly (nint[] Read, nint[] Written)[] visits;
    private readonly Action<int>[] shares;

    /// <param name="visits">What is moved.</param>
    /// <param name="count">Elements of each array, in float32; a multiple of 256 for each thread.</param>
    public VisitTraffic(IEnumerable<ExplainedVisit> visits, int count)
    {
        this.count = count;
        var arrays = new Dictionary<string, nint>();
        nint[] AddressesOf(IEnumerable<string> names) =>
            [.. names.Select(name => arrays.TryGetValue(name, out var known) ? known : arrays[name] = Allocate())];
        this.visits =
        [
            .. from visit in visits
            select (AddressesOf(visit.Reads.Except(visit.Writes)), AddressesOf(visit.Writes)),
        ];
        shares = [.. this.visits.Select(visit => (Action<int>)(share => Run(visit.Read, visit.Written, share)))];
    }

    private nint Allocate()
    {
        // Memory as ours is: it begins where caches do not collide, in large pages.
        var array = Param.Zeros($"{memory.Count}", DType.Float32, count);
        memory.Add(array);
        return array.View.Address;
    }

    public void Step()
    {
        foreach (var share in shares)
            Parallel.For(0, Threads.Count, share);
    }

    private void Run(nint[] read, nint[] written, int share)
    {
        var chunks = count / Chunk;
        var (begin, end) = (chunks * (long)share / Threads.Count * Chunk, chunks * (long)(share + 1) / Threads.Count * Chunk);
        fixed (nint* from = read, to = written)
            if (written.Length > 0)
                Move((float**)from, read.Length, (float**)to, written.Length, (nint)begin, (nint)end);
            else if (Sum((float**)from, read.Length, (nint)begin, (nint)end) == 7)
                throw new InvalidOperationException("sums are looked at, so that they are worked out");
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Move(float** from, int read, float** to, int written, nint begin, nint end)
    {
        for (var i = begin; i < end; i += Vector512<float>.Count)
        {
            var sum = Vector512<float>.Zero;
            for (var k = 0; k < read; k++)
                sum += Next(from[k] + i);
            for (var k = 0; k < written; k++)
                (Next(to[k] + i) + sum).Store(to[k] + i);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Sum(float** from, int read, nint begin, nint end)
    {
        var sum = Vector512<float>.Zero;
        for (var chunk = begin; chunk < end; chunk += Chunk)
        for (var k = 0; k < read; k++)
        for (var i = chunk; i < chunk + Chunk; i += Vector512<float>.Count)
            sum += Next(from[k] + i);
        return Vector512.Sum(sum);
    }

    /// <summary>What lies at an address; what comes later is asked for meanwhile.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Next(float* address)
    {
        if (Sse.IsSupported)
            Sse.Prefetch0(address + Ahead);
        return Vector512.Load(address);
    }
}
