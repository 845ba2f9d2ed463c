namespace Optim.Kernels;

/// <summary>Sums and largest magnitudes of tensors where they lie, on a device that runs programs: one number of each comes back.</summary>
internal static unsafe class DeviceReduction
{
    private const string Factor = "factor",
        Result = "result";

    [ThreadStatic]
    private static SliceTable? table;

    private static readonly Dictionary<(Operation, bool), StepProgram> programs = [];

    private static readonly KernelCode ofSingles = ProductsOf(isDouble: false);
    private static readonly KernelCode ofDoubles = ProductsOf(isDouble: true);

    /// <summary>The numbers of tensors; false where not all of them lie on such a device, in order, and nothing was done.</summary>
    /// <param name="kind">The reduction.</param>
    /// <param name="tensors">The tensors.</param>
    /// <param name="factor">By which each element is multiplied first, rounded to its own type.</param>
    /// <param name="results">The numbers.</param>
    public static bool TryRun(Operation kind, ReadOnlySpan<TensorView> tensors, double factor, Span<double> results)
    {
        foreach (var tensor in tensors)
            if (!Takes(kind, tensor, factor))
                return false;
        var program = ProgramOf(kind, factor != 1);
        var (done, own) = (new bool[tensors.Length], table ??= new());
        var members = new List<int>();
        for (var i = 0; i < tensors.Length; i++)
        {
            if (done[i])
                continue;
            // All of one dtype on one device at a time.
            members.Clear();
            own.Reset(tensors.Length, 0);
            for (var k = i; k < tensors.Length; k++)
                if (!done[k] && tensors[k].DType == tensors[i].DType && tensors[k].Device == tensors[i].Device)
                {
                    own.Add(tensors[k].Count * tensors[k].DType.Parts(), tensors[k].Address, tensors[k].Address);
                    members.Add(k);
                    done[k] = true;
                }
            var visit = program.VisitsFor(tensors[i].DType)[0];
            var (wide, narrow) = (factor, (float)factor);
            var numbers = visit.Code.IsDouble ? (byte*)&wide : (byte*)&narrow;
            var made = new double[members.Count];
            ProgramDevice.Find(tensors[i].Device)!.Run(visit.Code, own, 0, own.Count, numbers, 0, made);
            for (var k = 0; k < made.Length; k++)
                results[members[k]] = made[k];
        }
        foreach (var tensor in tensors)
            GC.KeepAlive(tensor.Owner);
        return true;
    }

    private static KernelCode ProductsOf(bool isDouble) => new([], [], [new(Operation.SumOfProducts, 0) { Other = 1 }], 2, 0, isDouble);

    /// <summary>The dot products of pairs of tensors, one after the other; false where not all of them lie on such a device, in order, and nothing was done.</summary>
    public static bool TryDot(ReadOnlySpan<TensorView> xs, ReadOnlySpan<TensorView> ys, Span<double> results)
    {
        for (var i = 0; i < xs.Length; i++)
            if (
                !Takes(Operation.SumOfProducts, xs[i], 1)
                || xs[i].DType is not (DType.Float32 or DType.Float64)
                || !Takes(Operation.SumOfProducts, ys[i], 1)
                || ys[i].DType != xs[i].DType
                || ys[i].Device != xs[i].Device
                || !ys[i].Layout.SameShape(xs[i].Layout)
            )
                return false;
        var own = table ??= new();
        for (var i = 0; i < xs.Length; i++)
        {
            own.Reset(1, 0);
            own.Add(xs[i].Count, xs[i].Address, ys[i].Address);
            var code = xs[i].DType == DType.Float64 ? ofDoubles : ofSingles;
            ProgramDevice.Find(xs[i].Device)!.Run(code, own, 0, 1, null, 0, results.Slice(i, 1));
            GC.KeepAlive(xs[i].Owner);
            GC.KeepAlive(ys[i].Owner);
        }
        return true;
    }

    /// <summary>The visit of a reduction, with or without a factor.</summary>
    public static Visit VisitOf(Operation kind, bool hasFactor, DType dtype) => ProgramOf(kind, hasFactor).VisitsFor(dtype)[0];

    /// <summary>Whether a tensor lies in order on such a device.</summary>
    public static bool Takes(Operation kind, TensorView tensor, double factor) =>
        !tensor.IsAbsent
        && !tensor.Layout.IsOnCpu
        && (tensor.DType.IsFloatingPoint() || tensor.DType.IsComplex() && kind is Operation.Sum or Operation.SumOfSquares)
        // The processor rounds products of half types from double, which is the same where the factor is a float32.
        && (
            factor == 1
            || tensor.DType is DType.Float32 or DType.Float64
            || tensor.DType is DType.Float16 or DType.BFloat16 && (float)factor == factor
        )
        && tensor.Layout.IsContiguous
        && ProgramDevice.Find(tensor.Device) is not null;

    private static StepProgram ProgramOf(Operation kind, bool hasFactor)
    {
        lock (programs)
        {
            if (programs.TryGetValue((kind, hasFactor), out var known))
                return known;
            var elements = Expression.Input(StepProgram.Parameter);
            if (hasFactor)
                elements *= Expression.Named(Operation.Given, Factor);
            Expression reduction = new(kind, Scope.Tensor, [elements]);
            known = new([StepProgram.Parameter, Result], [new Assignment(Result, reduction, IsTensorNumber: true)]);
            programs.Add((kind, hasFactor), known);
            return known;
        }
    }
}
