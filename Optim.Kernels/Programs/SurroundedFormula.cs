using System.Collections.Immutable;
using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>
/// A rule's formula with what surrounds its step, kept from step to step: recorded and run by the engine, or, where no code is made,
/// block by block by what there is: the prologue, the formula's own loop, the epilogue. For one thread at a time.
/// </summary>
internal sealed class SurroundedFormula(Driver driver)
{
    private readonly List<Known> known = [];
    private Known? last;

    /// <summary>A program, its leaves' values, and where these come from: the coefficients, and then the numbers of the surroundings.</summary>
    private sealed class Known(int switches, Surroundings around, ProgramRun run)
    {
        public readonly ProgramRun Run = run;
        public readonly double[] Leaves = new double[run.Leaves.Length];
        public readonly int[] Sources = Array.ConvertAll(run.Leaves, SourceOf);
        public FormulaBlocks? Blocks;

        public bool Is(int otherSwitches, in Surroundings other) => switches == otherSwitches && around == other;

        private static int SourceOf(Node leaf) =>
            Surroundings.PlaceOf(leaf.Name) is >= 0 and var place ? Driver.MostCoefficients + place : Driver.CoefficientOf(leaf.Name);
    }

    /// <summary>Makes what a step needs, so that running it cannot fail.</summary>
    public void Prepare(int switches, in Surroundings around, DType dtype, bool isNarrow = false)
    {
        // Narrow columns are wide for some blocks only, which is as much as a block of any engine.
        var (now, isByBlocks) = (Of(switches, in around), ProgramEngine.IsBlocks && !isNarrow);
        if (isByBlocks)
            now.Blocks ??= new(driver, switches, around);
        if (isByBlocks)
            now.Blocks!.Prepare(dtype);
        else
            now.Run.Prepare(dtype);
    }

    /// <summary>Makes what a device needs for a step of some slices, so that running it cannot fail.</summary>
    public void Prepare(
        int switches,
        in Surroundings around,
        ProgramDevice device,
        SliceTable table,
        int firstSlice,
        int slices,
        DType dtype,
        NarrowTable? narrow,
        DeviceSurvey? survey
    ) =>
        Of(switches, in around)
            .Run.Prepare(new ProgramSegment(table, firstSlice, slices, dtype, [], On: device, Narrow: narrow, Survey: survey));

    /// <summary>Steps every element of some neighbouring slices once, and says how many threads took part.</summary>
    /// <param name="table">Parameter, gradient, the formula's columns, the averages.</param>
    /// <param name="firstSlice">The first slice.</param>
    /// <param name="slices">How many.</param>
    /// <param name="dtype">The dtype of parameters and gradients.</param>
    /// <param name="switches">The formula's switches.</param>
    /// <param name="coefficients">Its coefficients.</param>
    /// <param name="around">What surrounds it.</param>
    /// <param name="numbers">Its numbers, in the places that <see cref="Surroundings"/> says.</param>
    /// <param name="executor">Who runs it.</param>
    /// <param name="on">The device where the slices lie; null for the memory of the processor.</param>
    /// <param name="narrow">How the columns are kept, where some are narrow.</param>
    /// <param name="step">The step, by which they are rounded.</param>
    /// <param name="survey">What was found in the gradients on the device; null where nobody looked there.</param>
    public int Run(
        SliceTable table,
        int firstSlice,
        int slices,
        DType dtype,
        int switches,
        in Coefficients<Real> coefficients,
        in Surroundings around,
        double[] numbers,
        Executor executor,
        ProgramDevice? on = null,
        NarrowTable? narrow = null,
        long step = 0,
        DeviceSurvey? survey = null
    )
    {
        var now = Of(switches, in around);
        if (on is null && narrow is null && ProgramEngine.IsBlocks)
            return (now.Blocks ??= new(driver, switches, around)).Run(table, firstSlice, slices, dtype, in coefficients, numbers, executor);
        var own = MemoryMarshal.Cast<Coefficients<Real>, double>(new ReadOnlySpan<Coefficients<Real>>(in coefficients));
        for (var i = 0; i < now.Sources.Length; i++)
            now.Leaves[i] = now.Sources[i] is var source && source < own.Length ? own[source] : numbers[source - own.Length];
        return now.Run.Run([new(table, firstSlice, slices, dtype, now.Leaves, null, on, narrow, step, survey)], executor);
    }

    /// <summary>The leaves of a recorded formula and what surrounds it, on lanes.</summary>
    public static LaneLeaves<Real> LeavesOf(Coefficients<Real> coefficients, double[] numbers) =>
        new(
            RealReader.Instance,
            ImmutableDictionary<string, double>.Empty,
            new(1),
            [],
            default,
            name =>
                Surroundings.PlaceOf(name) is >= 0 and var place
                    ? numbers[place]
                    : MemoryMarshal.Cast<Coefficients<Real>, double>(new ReadOnlySpan<Coefficients<Real>>(in coefficients))[
                        Driver.CoefficientOf(name)
                    ]
        );

    private Known Of(int switches, in Surroundings around)
    {
        if (last?.Is(switches, in around) == true)
            return last;
        foreach (var one in known)
            if (one.Is(switches, in around))
                return last = one;
        known.Add(last = new(switches, around, new(driver.Surrounded(switches, around))));
        return last;
    }
}
