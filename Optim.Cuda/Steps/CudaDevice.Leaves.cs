using Optim.Kernels;

namespace Optim.Cuda;

// Steps whose options, kept numbers and counts lie on the device, so that a graph can repeat them.
internal sealed unsafe partial class CudaDevice
{
    public override DeviceLeaves NewLeaves(Node[] nodes, RateTensor?[] rates) => new Leaves(gpu, nodes, rates);

    public override void PrepareOnLeaves(ProgramRun run, in ProgramSegment segment)
    {
        lock (alone)
        {
            var (visit, guard) = (run.VisitFor(0, segment.DType), GuardOf(run, in segment));
            _ = KernelOf(visit.Code, visit.Code.Numbers > 0, guard, TableOf(in segment).Narrow, countsThere: true);
            _ = KernelOf(run.NumbersOnLeaves(segment.DType, segment.There!), guard is not null);
        }
    }

    public override void RunOnLeaves(ProgramRun run, in ProgramSegment segment)
    {
        lock (alone)
        {
            var (visit, leaves) = (run.VisitFor(0, segment.DType), (Leaves)segment.There!);
            var (numbers, guard) = (run.NumbersOnLeaves(segment.DType, leaves), GuardOf(run, in segment));
            var there = TableOf(in segment);
            nint table = there.Address,
                target = leaves.NumbersAt,
                none = 0,
                address = leaves.Address,
                found = AddressOf(segment.Survey);
            int one = 1,
                entry = there.EntryBytes;
            gpu.Keep(leaves.Memory);
            var parameters = stackalloc void*[] { &table, &one, &entry, &none, &none, &target, &address, &found };
            Launch(KernelOf(numbers, guard is not null), 1, parameters);
            var launch = new VisitLaunch(visit.Code, there, visit.Code.Numbers > 0, guard)
            {
                NumbersAt = target,
                NextStepAt = leaves.StepAt,
            };
            Launch(in launch, null);
        }
    }

    private static StepGuard? GuardOf(ProgramRun run, in ProgramSegment segment) =>
        StepGuard.Of(segment.Survey, run.Program, run.VisitFor(0, segment.DType));

    /// <summary>Leaves, how many steps were made, and behind them room for the numbers of a visit. Nothing else lies there, as graphs go on using it.</summary>
    private sealed class Leaves(Gpu gpu, Node[] nodes, RateTensor?[] rates) : DeviceLeaves(nodes, rates)
    {
        public GpuMemory Memory { get; } = gpu.Allocate(sizeof(double) * (nodes.Length + 1 + MostNumbers));

        public nint Address => Memory.Address;

        /// <summary>Where the step is, which is that of the next one as soon as the numbers of one have been worked out.</summary>
        public nint StepAt => Address + sizeof(double) * Array.FindIndex(Nodes, node => node.Operation == Operation.StepCount);

        public nint NumbersAt => Address + sizeof(double) * (Nodes.Length + 1);

        public override void Write(int first, ReadOnlySpan<double> values)
        {
            Span<double> copy = stackalloc double[values.Length];
            for (var i = 0; i < copy.Length; i++)
                copy[i] =
                    first + i < Nodes.Length && Rates[first + i] is { } rate ? BitConverter.Int64BitsToDouble(rate.Address) : values[i];
            fixed (double* source = copy)
                gpu.Upload(Address + first * sizeof(double), source, copy.Length * (nint)sizeof(double));
        }

        public override double[] Read()
        {
            var values = new double[Nodes.Length + 1];
            fixed (double* target = values)
                gpu.Download(target, Address, values.Length * (nint)sizeof(double));
            return values;
        }
    }
}
