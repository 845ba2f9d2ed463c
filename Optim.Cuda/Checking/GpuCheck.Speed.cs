using System.Diagnostics;
using System.Runtime.InteropServices;
using Optim.Kernels;

namespace Optim.Cuda;

// How fast kernels are, against a copy on the device.
internal sealed unsafe partial class GpuCheck
{
    private static readonly StepProgram adam = Driver<AdamFormula>.Instance.Surrounded(0, default);

    /// <summary>Bytes a second of a step of each rule, over one large tensor of float32 and a list of small ones.</summary>
    private void Measure(IReadOnlyList<(string Name, StepProgram Program)> programs, long elements)
    {
        var arrays = programs.Select(each => each.Program.Arrays.Length).Append(4).Max();
        using var memory = gpu.Allocate((nint)(arrays * elements * sizeof(float)));
        Fill(memory);
        nint At(int array) => memory.Address + array * (nint)elements * sizeof(float);

        SliceTable Table(StepProgram program, int count, nint length)
        {
            var table = new SliceTable();
            table.Reset(count, program.Arrays.Length - 2);
            for (nint i = 0; i < count; i++)
            {
                var offset = i * length * sizeof(float);
                table.Add(length, At(0) + offset, At(1) + offset);
                for (var column = 2; column < program.Arrays.Length; column++)
                    table.SetColumn(column - 2, At(column) + offset);
            }
            return table;
        }

        var code = new KernelCode([new(Operation.Load, Value: 1)], [new(0, 0, false)], [], 4, 0, false);
        var large = Table(adam, 1, (nint)elements);
        var copied = elements * 2 * sizeof(float) / Seconds(() => kernels.Run(code, large, 0, 1, null, 0, []));
        say(FormattableString.Invariant($"{elements} elements of float32; a copy on the device: {copied / 1e9:F1} GB/s"));
        var count = (int)Math.Min(10_000, elements / 64);
        say(FormattableString.Invariant($"{"rule", -32} {"bytes", 6} {"GB/s", 8} {"of a copy", 10} {$"{count} x 64, us", 14}"));
        foreach (var (name, program) in programs)
        {
            var bytes = program.VisitsFor(DType.Float32).Sum(visit => visit.Code.Bytes);
            double Of(int count, long length)
            {
                var run = new ProgramRun(program);
                // Matrices of rows of 64.
                var spread = Enumerable.Range(0, count).Select(row => new SpreadSlice([length / 64, 64], (ulong)row, row)).ToArray();
                ProgramSegment[] segments =
                [
                    new(Table(program, count, (nint)length), 0, count, DType.Float32, LeavesOf(run), spread, kernels),
                ];
                return Seconds(() => run.Run(segments, Executor.Caller));
            }

            var (rate, small) = (bytes * elements / Of(1, elements), Of(count, 64));
            say(FormattableString.Invariant($"{name, -32} {bytes, 6} {rate / 1e9, 8:F1} {rate / copied, 10:F2} {1e6 * small, 14:F1}"));
        }
    }

    // Numbers that are not zeros, with which some devices are faster.
    private void Fill(GpuMemory memory)
    {
        var numbers = GC.AllocateUninitializedArray<float>(1 << 20, pinned: true);
        var random = new Random(1);
        for (var i = 0; i < numbers.Length; i++)
            numbers[i] = random.NextSingle();
        var bytes = (nint)numbers.Length * sizeof(float);
        for (nint i = 0; i < memory.Bytes; i += bytes)
            gpu.Upload(memory.Address + i, (void*)Marshal.UnsafeAddrOfPinnedArrayElement(numbers, 0), Math.Min(bytes, memory.Bytes - i));
    }

    /// <summary>Seconds of a run, in the best of three rounds of ten.</summary>
    private double Seconds(Action run)
    {
        run();
        gpu.Synchronize();
        var best = double.MaxValue;
        for (var round = 0; round < 3; round++)
        {
            var clock = Stopwatch.StartNew();
            for (var i = 0; i < 10; i++)
                run();
            gpu.Synchronize();
            best = Math.Min(best, clock.Elapsed.TotalSeconds / 10);
        }
        return best;
    }
}
