using Optim.Kernels;

namespace Optim.Cuda;

// Steps in several streams, repeated as graphs, and on several devices.
internal sealed unsafe partial class GpuCheck
{
    /// <summary>Two lists of tensors, each in a stream of its own, by turns and without waiting: what a step keeps is not another stream's.</summary>
    private long CompareStreams(StepProgram program, int steps)
    {
        const DType dtype = DType.Float32;
        nint[] streams = [gpu.CreateStream(), gpu.CreateStream()];
        CheckedArrays[] here = [new(program, dtype, 0, 1), new(program, dtype, 1, 2)];
        CheckedArrays[] there = [new(program, dtype, 0, 1), new(program, dtype, 1, 2)];
        var moved = new GpuMemory[2];
        for (var i = 0; i < 2; i++)
        {
            using var stream = gpu.Use(streams[i]);
            moved[i] = there[i].Move(gpu);
        }
        for (var step = 0; step < steps; step++)
        for (var i = 0; i < 2; i++)
        {
            using var stream = gpu.Use(streams[i]);
            _ = StepOn(null, program, dtype, here[i].Table(null));
            StepOn(kernels, program, dtype, there[i].Table(moved[i]));
        }
        var differ = 0L;
        for (var i = 0; i < 2; i++)
        {
            using var stream = gpu.Use(streams[i]);
            there[i].Fetch(gpu, moved[i]);
            differ += here[i].Differing(there[i]);
            moved[i].Dispose();
            gpu.DestroyStream(streams[i]);
        }
        return differ;
    }

    // Whether all steps are alike, so that a graph repeats the processor's bits.
    private static bool IsSteady(StepProgram program) =>
        NumberCode.HasSteps(program)
        && !program
            .Nodes.ToArray()
            .Any(node =>
                node.Operation
                    is Operation.StepCount
                        or Operation.Kept
                        or Operation.Power
                        or Operation.Exp
                        or Operation.Log
                        or Operation.Cbrt
            );

    /// <summary>A step that is captured once, by numbers that lie on the device, and repeated as a graph.</summary>
    private long CompareGraph(StepProgram program, int repetitions)
    {
        const DType dtype = DType.Float32;
        var run = new ProgramRun(program);
        var (here, there) = (new CheckedArrays(program, dtype, 0, 1), new CheckedArrays(program, dtype, 0, 1));
        using var moved = there.Move(gpu);
        var leaves = kernels.NewLeaves(run.Leaves, new RateTensor?[run.Leaves.Length]);
        leaves.Write(0, [.. LeavesOf(run), 0]);
        var segment = new ProgramSegment(there.Table(moved), 0, Lengths.Length, dtype, [], On: kernels, There: leaves);
        using (
            var graph = GpuGraph.Capture(
                gpu,
                () =>
                {
                    kernels.PrepareOnLeaves(run, in segment);
                    kernels.RunOnLeaves(run, in segment);
                }
            )
        )
        {
            for (var i = 0; i < repetitions; i++)
                graph.Launch();
            gpu.Synchronize();
        }
        for (var i = 0; i <= repetitions; i++)
            _ = StepOn(null, program, dtype, here.Table(null));
        there.Fetch(gpu, moved);
        return here.Differing(there) + (leaves.Read()[^1] == repetitions + 1 ? 0 : 1);
    }

    /// <summary>Steps of parameters on several devices together, whose norms are over all of them; says how many elements differ from the processor's.</summary>
    /// <param name="driver">The driver.</param>
    /// <param name="host">Whose memory and streams are used.</param>
    /// <param name="program">The step.</param>
    public static long CompareDevices(CudaDriver driver, CudaHost host, StepProgram program)
    {
        const DType dtype = DType.Float32;
        var (gpus, run) = (new DriverGpu[driver.Devices], new ProgramRun(program));
        var (here, there) = (new CheckedArrays[gpus.Length], new CheckedArrays[gpus.Length]);
        var moved = new GpuMemory[gpus.Length];
        var (expected, found) = (new ProgramSegment[gpus.Length], new ProgramSegment[gpus.Length]);
        for (var i = 0; i < gpus.Length; i++)
        {
            gpus[i] = new(driver, host, i);
            (here[i], there[i]) = (new(program, dtype, 0, i), new(program, dtype, 0, i));
            moved[i] = there[i].Move(gpus[i]);
            var spread = Array.ConvertAll(shapes, shape => shape with { Row = shape.Row + i * shapes.Length });
            expected[i] = new(here[i].Table(null), 0, Lengths.Length, dtype, LeavesOf(run), spread);
            found[i] = new(there[i].Table(moved[i]), 0, Lengths.Length, dtype, LeavesOf(run), spread, new CudaDevice(gpus[i]));
        }
        run.Run(expected, Executor.Caller);
        new ProgramRun(program).Run(found, Executor.Caller);
        var differ = 0L;
        for (var i = 0; i < gpus.Length; i++)
        {
            there[i].Fetch(gpus[i], moved[i]);
            differ += here[i].Differing(there[i]);
            moved[i].Dispose();
        }
        return differ;
    }
}
