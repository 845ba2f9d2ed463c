using System.Globalization;

namespace Optim.Kernels;

/// <summary>Which state columns a step loads and stores.</summary>
/// <param name="columns">A bit for each.</param>
/// <param name="inRowMajorOrder">Whether elements must be gone over in row-major order, however they lie: where sums are formed.</param>
internal class ColumnUses(long columns, bool inRowMajorOrder = false)
{
    /// <summary>Whether elements must be gone over in row-major order.</summary>
    public bool InRowMajorOrder => inRowMajorOrder;

    /// <summary>Whether a state column is loaded and stored.</summary>
    public bool Uses(int column) => (columns >> column & 1) != 0;
}

/// <summary>What a formula is compiled to under certain switches: a loop for each dtype, and which columns it touches.</summary>
internal abstract unsafe class Loop(int columns) : ColumnUses(columns)
{
    /// <summary>The loop for parameters of a dtype; complex numbers are pairs of reals.</summary>
    public abstract delegate* <nint, nint, void*, void> For(DType dtype);
}

/// <summary>Steps a table of slices by a formula.</summary>
internal abstract unsafe class Driver
{
    /// <summary>Bytes above which a pass streams from main memory: there two vectors at a time are faster, in cache one.</summary>
    public const long Cache = 1 << 25;

    /// <summary>Numbers that a formula's coefficients may have.</summary>
    public const int MostCoefficients = 12;

    private readonly Loop?[] loops = new Loop?[64];
    private readonly List<Recorded> programs = [];

    private sealed record Recorded(int Switches, Surroundings Around, StepProgram Program);

    /// <summary>The state columns of the formula.</summary>
    public abstract int Columns { get; }

    /// <summary>The loop under these switches, a bit each.</summary>
    public Loop Loop(int switches) => loops[switches] ??= Compile(switches);

    /// <summary>Steps every element of some neighbouring slices once, and says how many threads took part.</summary>
    public int Run(
        SliceTable table,
        int firstSlice,
        int slices,
        DType dtype,
        int switches,
        in Coefficients<Real> coefficients,
        Executor executor,
        NarrowTable? narrow = null,
        long step = 0
    )
    {
        var entries = table.Entries + firstSlice * (nint)table.Stride;
        var length = entries[slices * (nint)table.Stride] - entries[0];
        var pass = new Pass
        {
            Entries = entries,
            Stride = table.Stride,
            Slices = slices,
            Unrolled = narrow is null && length * (long)table.Arrays * sizeof(float) > Cache,
            Width = Lanes.Width,
            Coefficients = coefficients,
        };
        return narrow is null
            ? executor.Run(length, Loop(switches).For(dtype), &pass)
            : NarrowPass.Run(narrow, firstSlice, step, length, Loop(switches).For(dtype), &pass, sizeof(Pass), dtype.Size(), executor);
    }

    /// <summary>
    /// One update of lanes that the caller holds, such as whole tensors: parameter, gradient and room for six state columns.
    /// Those after the step take their places.
    /// </summary>
    public abstract void Update<V>(int switches, in Coefficients<V> coefficients, Span<V> row)
        where V : struct, ILane<V>;

    /// <summary>
    /// The formula under these switches as a program: what becomes of the parameter and of the columns of these names. Its coefficients
    /// are numbers that are given, c1 to c12.
    /// </summary>
    public StepProgram Record(int switches, IReadOnlyList<string> columns)
    {
        string[] arrays = [StepProgram.Parameter, StepProgram.Gradient, .. columns];
        var row = new Recorder[8];
        for (var i = 0; i < arrays.Length; i++)
            row[i] = new(Expression.Input(arrays[i]));
        var before = (Recorder[])row.Clone();
        var numbers = new Recorder[MostCoefficients];
        for (var i = 0; i < numbers.Length; i++)
            numbers[i] = new(Expression.OfNumber(Expression.Named(Operation.Given, NameOfCoefficient(i))));
        var coefficients = new Coefficients<Recorder>(
            numbers[0],
            numbers[1],
            numbers[2],
            numbers[3],
            numbers[4],
            numbers[5],
            numbers[6],
            numbers[7],
            numbers[8],
            numbers[9],
            numbers[10],
            numbers[11]
        );
        Update<Recorder>(switches, in coefficients, row);
        var assignments = new List<Assignment>();
        for (var i = 0; i < arrays.Length; i++)
            if (i != 1 && !ReferenceEquals(row[i].Expression, before[i].Expression))
                assignments.Add(new(arrays[i], row[i].Expression));
        return new(arrays, assignments);
    }

    /// <summary>The place of a coefficient of a recorded formula, by its name.</summary>
    public static int CoefficientOf(string name) => int.Parse(name.AsSpan(1), CultureInfo.InvariantCulture) - 1;

    /// <summary>The formula under these switches with what surrounds it: recorded once.</summary>
    public StepProgram Surrounded(int switches, Surroundings around)
    {
        lock (programs)
        {
            foreach (var known in programs)
                if (known.Switches == switches && known.Around == around)
                    return known.Program;
            var columns = new string[Columns];
            for (var i = 0; i < columns.Length; i++)
                columns[i] = FormattableString.Invariant($"column{i}");
            var program = around.IsNothing ? Record(switches, columns) : around.Around(Surrounded(switches, default));
            programs.Add(new(switches, around, program));
            return program;
        }
    }

    private static string NameOfCoefficient(int place) => FormattableString.Invariant($"c{place + 1}");

    private protected abstract Loop Compile(int switches);
}

/// <summary>The driver of one formula.</summary>
internal sealed unsafe class Driver<F> : Driver
    where F : struct, IFormula
{
    public static Driver<F> Instance { get; } = new();

    public override int Columns => F.Columns;

    public override void Update<V>(int switches, in Coefficients<V> coefficients, Span<V> row)
    {
        LateSwitches.Bits = switches;
        F.UpdateAll<V, LateSwitches>(
            in coefficients,
            ref row[0],
            row[1],
            ref row[2],
            ref row[3],
            ref row[4],
            ref row[5],
            ref row[6],
            ref row[7]
        );
    }

    private protected override Loop Compile(int switches)
    {
        if (switches >> F.SwitchCount != 0)
            throw new InvalidOperationException(
                $"{typeof(F).Name} looks at {F.SwitchCount} switches, and another one is on (0b{switches:B}); its SwitchCount must count them all"
            );
        return F.SwitchCount > 0 && (switches & 1) != 0 ? Bind<One>(switches) : Bind<Zero>(switches);
    }

    private static Loop Bind<B0>(int s)
        where B0 : IBit => F.SwitchCount > 1 && (s & 2) != 0 ? Bind<B0, One>(s) : Bind<B0, Zero>(s);

    private static Loop Bind<B0, B1>(int s)
        where B0 : IBit
        where B1 : IBit => F.SwitchCount > 2 && (s & 4) != 0 ? Bind<B0, B1, One>(s) : Bind<B0, B1, Zero>(s);

    private static Loop Bind<B0, B1, B2>(int s)
        where B0 : IBit
        where B1 : IBit
        where B2 : IBit => F.SwitchCount > 3 && (s & 8) != 0 ? Bind<B0, B1, B2, One>(s) : Bind<B0, B1, B2, Zero>(s);

    private static Loop Bind<B0, B1, B2, B3>(int s)
        where B0 : IBit
        where B1 : IBit
        where B2 : IBit
        where B3 : IBit => F.SwitchCount > 4 && (s & 16) != 0 ? Bind<B0, B1, B2, B3, One>(s) : Bind<B0, B1, B2, B3, Zero>(s);

    private static Loop Bind<B0, B1, B2, B3, B4>(int s)
        where B0 : IBit
        where B1 : IBit
        where B2 : IBit
        where B3 : IBit
        where B4 : IBit =>
        F.SwitchCount > 5 && (s & 32) != 0 ? For<Switches<B0, B1, B2, B3, B4, One>>() : For<Switches<B0, B1, B2, B3, B4, Zero>>();

    private static Loop For<Is>()
        where Is : ISwitches
    {
        var columns = 0;
        for (var column = 0; column < F.Columns; column++)
            columns |= F.Uses<Is>(column) ? 1 << column : 0;
        return new Loop<Is>(columns);
    }

    private sealed class Loop<Is>(int columns) : Loop(columns)
        where Is : ISwitches
    {
        public override delegate* <nint, nint, void*, void> For(DType dtype) =>
            dtype switch
            {
                DType.Float32 or DType.Complex64 => &Kernel<F, Is, float, Wide<float>>.Run,
                DType.Float64 or DType.Complex128 => &Kernel<F, Is, double, Wide<double>>.Run,
                DType.BFloat16 => &Kernel<F, Is, float, BFloat16>.Run,
                DType.Float16 => &Kernel<F, Is, float, Float16>.Run,
                _ => throw new ArgumentOutOfRangeException(nameof(dtype), dtype, "no kernel"),
            };
    }
}
