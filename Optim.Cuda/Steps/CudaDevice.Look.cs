using System.Runtime.CompilerServices;
using Optim.Kernels;

namespace Optim.Cuda;

// Looks at gradients before a step: what they come to stays on the device, where the step's kernels read it.
internal sealed unsafe partial class CudaDevice
{
    private readonly ConditionalWeakTable<object, LookPlan> looks = [];
    private readonly Dictionary<(bool IsLargest, bool Clips), Loaded> lookKernels = [];

    public override DeviceSurvey? Look(object owner, ReadOnlySpan<TensorView> gradients, bool isLargest, double factor, double? most)
    {
        var kind = isLargest ? Operation.LargestMagnitude : Operation.SumOfSquares;
        // So no element that is finite becomes another by its factor, or by its square in double.
        if (gradients.IsEmpty || !(Math.Abs(factor) <= 1))
            return null;
        foreach (var gradient in gradients)
            if (
                !DeviceReduction.Takes(kind, gradient, factor)
                || !isLargest && gradient.DType is DType.Float64 or DType.Complex128
                || ProgramDevice.Find(gradient.Device) != this
            )
                return null;
        lock (alone)
        {
            if (!looks.TryGetValue(owner, out var plan))
                looks.Add(owner, plan = new(gpu));
            plan.Lay(gradients);
            var (wide, narrow) = (factor, (float)factor);
            foreach (var dtype in plan.DTypes)
            {
                var (code, table) = (DeviceReduction.VisitOf(kind, factor != 1, dtype).Code, plan.TableOf(dtype));
                var launch = new VisitLaunch(code, TableOf(table, 0, table.Count), false, null)
                {
                    Numbers = code.IsDouble ? (byte*)&wide : (byte*)&narrow,
                };
                var target = plan.NumbersOf(dtype);
                Launch(in launch, &target);
            }
            if (!lookKernels.TryGetValue((isLargest, most is not null), out var kernel))
                lookKernels.Add((isLargest, most is not null), kernel = Load(TotalsKernel.OfGradients(isLargest, most is not null)));
            LaunchTotal(kernel, plan.List, gradients.Length, plan.Found, most);
            return new GradientsFound(this, plan, gpu.IsCapturing);
        }
    }

    /// <summary>Zeros in the first array of a table.</summary>
    private static KernelCode ZeroCode(DType dtype) =>
        new(
            [new(Operation.Constant)],
            [new(0, 0, dtype is DType.BFloat16 or DType.Float16)],
            [],
            2,
            0,
            dtype is DType.Float64 or DType.Complex128
        );

    /// <summary>What was found, where it lies until the next look of the same owner. While a graph is captured nothing is found, and nobody is told.</summary>
    private sealed class GradientsFound(CudaDevice device, LookPlan plan, bool isCaptured) : DeviceSurvey
    {
        private bool isFetched;

        public nint Address => plan.Found;

        public override ProgramDevice Device => device;

        public override void PrepareZero()
        {
            lock (device.alone)
                foreach (var dtype in plan.DTypes)
                    _ = device.KernelOf(ZeroCode(dtype), false);
        }

        public override void Zero()
        {
            lock (device.alone)
                foreach (var dtype in plan.DTypes)
                {
                    var table = plan.TableOf(dtype);
                    var there = device.TableOf(table, 0, table.Count);
                    device.Launch(new VisitLaunch(ZeroCode(dtype), there, false, null), null);
                }
        }

        public override void Fetch()
        {
            if (isCaptured)
                return;
            lock (device.alone)
                plan.Fetch();
            isFetched = true;
        }

        public override (bool IsFinite, double Norm, double Factor) Read()
        {
            if (isCaptured)
                return (true, double.NaN, double.NaN);
            if (!isFetched)
                Fetch();
            lock (device.alone)
            {
                var found = (double*)plan.Copy!.Wait();
                return (found[0] == 0, found[Guard.Norm / sizeof(double)], found[Guard.Factor / sizeof(double)]);
            }
        }
    }
}
