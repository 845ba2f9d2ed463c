using Optim.Kernels;

namespace Optim.Cuda;

// Means of rows and columns, as Adafactor keeps them.
internal sealed unsafe partial class CudaDevice
{
    private readonly Dictionary<(DType, bool IsNear, bool IsGuarded), FactorLoaded> factorKernels = [];

    /// <summary>The kernels for parameters of a dtype, and the elements that they sum.</summary>
    private sealed record FactorLoaded(SumsLoaded Squares, Loaded Means, SumsLoaded Rows, Loaded Scales, Loaded Expected);

    /// <summary>Sums by the fixed tree, and those of one element after the other.</summary>
    private sealed record SumsLoaded(Loaded Warps, Loaded Threads);

    public override void PrepareFactors(AdafactorTables tables, DType dtype, bool isNear, bool isGuarded)
    {
        lock (alone)
        {
            _ = FactorsOf(dtype, isNear, isGuarded);
            foreach (var sums in (AdafactorSums[])[tables.Squares, tables.Rows])
            {
                _ = TableOf(sums.Warps, 0, sums.Warps.Count, SumsKernel.Warps);
                _ = TableOf(sums.Threads, 0, sums.Threads.Count, SpreadKernels.Threads);
            }
            foreach (var table in (SliceTable[])[tables.Means, tables.Scales, tables.Expected])
                _ = TableOf(table, 0, table.Count, SpreadKernels.Threads);
        }
    }

    public override void RunFactors(AdafactorTables tables, DType dtype, bool isNear, in AdafactorNumbers numbers, DeviceSurvey? survey)
    {
        lock (alone)
        {
            var kernels = FactorsOf(dtype, isNear, survey is not null);
            var (weight, rest, smallest) = (numbers.Weight, 1 - numbers.Weight, numbers.Eps1);
            var wide = stackalloc double[] { weight, rest };
            var single = stackalloc float[] { (float)weight, (float)rest };
            Launch(kernels.Squares, tables.Squares);
            LaunchUnits(kernels.Means, tables.Means, SpreadKernels.Threads, dtype == DType.Float64 ? wide : single, survey);
            Launch(kernels.Rows, tables.Rows);
            LaunchUnits(kernels.Scales, tables.Scales, SpreadKernels.Threads, &smallest);
            LaunchUnits(kernels.Expected, tables.Expected, SpreadKernels.Threads, null);
        }
    }

    private void Launch(SumsLoaded kernels, AdafactorSums sums)
    {
        LaunchUnits(kernels.Warps, sums.Warps, SumsKernel.Warps, null);
        LaunchUnits(kernels.Threads, sums.Threads, SpreadKernels.Threads, null);
    }

    /// <summary>Launches a kernel over the units of a table, of which a block takes so many.</summary>
    private void LaunchUnits(Loaded kernel, SliceTable table, int units, void* numbers, DeviceSurvey? survey = null)
    {
        var there = TableOf(table, 0, table.Count, units);
        var (address, slices, entry) = (there.Address, there.Slices, there.EntryBytes);
        var found = AddressOf(survey);
        var parameters = stackalloc void*[] { &address, &slices, &entry, numbers, &found };
        if (there.Blocks > 0)
            Launch(kernel, there.Blocks, parameters);
    }

    private FactorLoaded FactorsOf(DType dtype, bool isNear, bool isGuarded)
    {
        if (factorKernels.TryGetValue((dtype, isNear, isGuarded), out var known))
            return known;
        var isDouble = dtype == DType.Float64;
        known = new(
            SumsOf(AdafactorPrograms.SquaresOf(dtype)),
            Load(FactorKernels.Means(isDouble, isNear, isGuarded ? new Guard(-1) : null)),
            SumsOf(AdafactorPrograms.RowsOf(isDouble)),
            Load(FactorKernels.Scales(isDouble)),
            Load(FactorKernels.Expected(isDouble))
        );
        factorKernels.Add((dtype, isNear, isGuarded), known);
        return known;

        SumsLoaded SumsOf(KernelCode code) =>
            new(Load(FactorKernels.Sums(code, ofWarps: true)), Load(FactorKernels.Sums(code, ofWarps: false)));
    }
}
