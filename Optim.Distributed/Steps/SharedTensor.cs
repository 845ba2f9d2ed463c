using Optim.Core;
using Optim.Kernels;

namespace Optim.Distributed;

/// <summary>
/// A parameter that all ranks train together, as the optimizer of one rank sees it: the part that this rank steps, with the mean of its gradient over all
/// ranks. Until it is divided it is the parameter that was given.
/// </summary>
internal sealed class SharedTensor(IParameter given) : IParameter, ISlice
{
    private readonly Stack<(int Level, Gradient Sum)> leaves = [];
    private TensorView whole = given.Data;
    private Gradient local;
    private Layout? layout;
    private Layout? known;
    private TensorView memory;

    public IParameter Given => given;

    /// <summary>Its place in the plan; null until it is divided.</summary>
    public PlannedTensor? Plan { get; private set; }

    /// <summary>The part of this rank.</summary>
    public PlannedSlice Slice { get; private set; }

    /// <summary>Where the slices of this rank begin among all of a vector over all parameters, and how long all of these are.</summary>
    public (nint First, nint Length, nint All) Vector { get; set; }

    /// <summary>Whether the optimizer reads the parameter's own gradient, as there is nobody to share it with.</summary>
    public bool IsDirect { get; set; }

    /// <summary>Whether the gradient was there on any rank when it was last collected.</summary>
    public bool IsPresent { get; set; }

    /// <summary>The mean over all ranks, of the part of this rank; absent where there was none, or only a sparse one.</summary>
    public TensorView Mean { get; set; }

    /// <summary>The mean of sparse gradients over all ranks, of the part of this rank; absent where there was none.</summary>
    public Gradient Rows { get; private set; }

    /// <summary>Whether its gradients were sparse on all ranks when they were last there, or are so for certain.</summary>
    public bool IsSparse { get; set; }

    /// <summary>Told when the gradient is dropped or becomes zero.</summary>
    public Action? Zeroed { get; set; }

    /// <summary>Whether the gradient of the leaf that is under way was taken.</summary>
    public bool IsTaken { get; set; }

    /// <summary>The parameter's elements, where they lie now.</summary>
    public TensorView Whole => whole;

    public string? Name => given.Name;

    public TensorView Data => Plan is null ? given.Data : PartOf(Find());

    public bool RequiresGradient => given.RequiresGradient;

    public IReadOnlyList<Type> ModuleTypes => given.ModuleTypes;

    public object Identity => given.Identity;

    public Executor? Executor => given.Executor;

    /// <summary>Whether this rank steps all of it.</summary>
    public bool IsWhole => Plan is null || Slice.Length == Plan.Layout.Count;

    public string Label => given.Name is { } name ? $"parameter '{name}'" : "a parameter without a name";

    public void Divide(PlannedTensor plan, int rank) => (Plan, Slice) = (plan, plan.SliceOf(rank));

    public void Refresh(ref TensorView data, ref Gradient gradient)
    {
        if (Plan is null || IsDirect)
        {
            given.Refresh(ref data, ref gradient);
            whole = data;
            return;
        }
        var part = PartOf(Find());
        if (part.Address != data.Address || !ReferenceEquals(part.Layout, data.Layout))
            data = part;
        // Of a tensor that another rank steps as a whole nothing is here.
        var isHere = IsPresent && (Plan.Division != Division.Whole || IsWhole);
        if (!isHere)
            gradient = Gradient.Absent;
        else if (Rows.Kind == GradientKind.Sparse)
            gradient = Rows;
        else if (
            gradient.Kind != GradientKind.Dense
            || gradient.Values.Address != Mean.Address
            || !ReferenceEquals(gradient.Values.Layout, Mean.Layout)
        )
            gradient = Gradient.OfDense(Mean);
    }

    /// <summary>The gradient of this rank's own backward pass, which must fit.</summary>
    public Gradient Local()
    {
        given.Refresh(ref whole, ref local);
        if (local.Kind == GradientKind.Absent)
            return local;
        var values = local.Values;
        var fits =
            local.Kind == GradientKind.Dense
                ? values.Layout.SameShape(whole.Layout)
                : local.Rows.DType == DType.Int64
                    && SparseRows.IndexDimensions(local.Rows) is var dimensions
                    && dimensions <= whole.Shape.Length
                    && values.Shape.AsSpan()[1..].SequenceEqual(whole.Shape.AsSpan()[dimensions..]);
        return values.DType == whole.DType && fits
            ? local
            : throw new ArgumentException($"the gradient of {Label} is {values.Layout}, and the parameter {whole.Layout}");
    }

    /// <summary>Takes the mean of sparse gradients, with each row once, in order: of a slice its elements, each a row of its own.</summary>
    public void SetRows(Gradient mean)
    {
        Rows = mean;
        if (mean.Kind != GradientKind.Sparse)
            return;
        Mean = default;
        if (Plan!.Division != Division.Sliced || IsWhole)
            return;
        var dimensions = SparseRows.IndexDimensions(mean.Rows);
        var (length, count) = (SparseRows.RowLength(Plan.Layout, dimensions), mean.Rows.Shape[^1]);
        var indices = mean.Rows.InOrder().AsSpan<long>();
        var (places, first) = (new List<long>(), 0L);
        for (var i = 0; i < count; i++)
        {
            var row = 0L;
            for (var d = 0; d < dimensions; d++)
                row = row * Plan.Layout.Shape[d] + indices[(int)(d * count + i)];
            var (from, to) = (Math.Max(row * length, Slice.Offset), Math.Min((row + 1) * length, Slice.Offset + Slice.Length));
            if (from >= to)
                continue;
            // What the slice has of the values is one part of them, as rows are in order.
            if (places.Count == 0)
                first = i * length + from - row * length;
            for (var element = from; element < to; element++)
                places.Add(element - Slice.Offset);
        }
        var values = mean.Values.InOrder();
        Rows = Gradient.OfSparse(
            TensorView.Of<long>([.. places]),
            new(values.Address + (nint)first * values.DType.Size(), Layout.Contiguous(values.DType, [(long)places.Count]), values.Owner)
        );
    }

    /// <summary>Takes the gradient of a leaf; pairs of neighbours are added up at once, so that there are at most as many sums as levels.</summary>
    public void AddLeaf()
    {
        if (IsTaken)
            return;
        IsTaken = true;
        var found = Local();
        var (level, sum) = (0, found.Kind == GradientKind.Dense ? Gradient.OfDense(found.Values.Copy()) : found.Coalesce());
        while (leaves.TryPeek(out var before) && before.Level == level)
        {
            leaves.Pop();
            sum = Sums.Add(before.Sum, sum);
            level++;
        }
        leaves.Push((level, sum));
    }

    /// <summary>The sum over all leaves of this rank.</summary>
    public Gradient TakeLeaves()
    {
        var sum = leaves.Count == 0 ? Gradient.Absent : leaves.Pop().Sum;
        leaves.Clear();
        IsTaken = false;
        return sum;
    }

    /// <summary>Memory for the mean of this rank's part.</summary>
    public TensorView Memory()
    {
        if (memory.IsAbsent)
            memory = TensorView.Zeros(PartLayout());
        return memory;
    }

    public void ZeroGradient(bool setToNone)
    {
        given.ZeroGradient(setToNone);
        Zeroed?.Invoke();
    }

    public IDisposable? EnterClosure() => given.EnterClosure();

    public double ReadLoss(object? loss) => given.ReadLoss(loss);

    public void AfterStep() => given.AfterStep();

    public TensorView OfRow(TensorView saved)
    {
        if (Plan is null || Plan.Division == Division.Replicated || Plan.Division == Division.Whole && IsWhole)
            return saved;
        if (Plan.Division == Division.Whole)
            return default;
        if (!saved.Layout.SameShape(Plan.Layout) || IsWhole)
            return saved;
        var part = (saved.Layout.IsContiguous ? saved : saved.Copy()).Part((nint)Slice.Offset, (nint)Slice.Length);
        return part;
    }

    public (TensorView Codes, TensorView Scales) OfNarrow(TensorView codes, TensorView scales)
    {
        var part = OfRow(codes);
        if (part.IsAbsent)
            return default;
        // Scales that do not fit the codes are refused with those of the whole.
        if (!scales.IsAbsent && scales.Count != NarrowKinds.Blocks(codes.Count))
            return (codes, scales);
        return scales.IsAbsent || part.Count == codes.Count
            ? (part, scales)
            : (part, scales.InOrder().Part((nint)Slice.Offset / StateStorage.BlockLength, NarrowKinds.Blocks((nint)Slice.Length)));
    }

    public TensorView OfVector(TensorView saved) =>
        Vector.All > 0 && saved.Count == Vector.All && saved.Layout.IsContiguous ? saved.Part(Vector.First, Vector.Length) : saved;

    private TensorView Find()
    {
        given.Refresh(ref whole, ref local);
        return whole;
    }

    private TensorView PartOf(TensorView data)
    {
        if (IsWhole)
            return data;
        return new(data.Address + (nint)Slice.Offset * data.DType.Size(), PartLayout(), data.Owner);
    }

    /// <summary>One layout as long as the parameter has one, by which steps see that nothing has changed.</summary>
    private Layout PartLayout()
    {
        var now = whole.Layout;
        if (layout is null || !ReferenceEquals(known, now))
        {
            known = now;
            var made =
                IsWhole ? now.ToContiguous()
                // As many dimensions as the whole has, for rules that ask; nothing is in any of them.
                : Plan!.Division == Division.Whole ? Layout.Contiguous(now.DType, new long[now.Shape.Length])
                : Layout.Contiguous(now.DType, (nint)Slice.Length);
            layout = made.Equals(layout) ? layout : made;
        }
        return layout;
    }
}

/// <summary>Sums of gradients, element by element in their own dtype.</summary>
internal static unsafe class Sums
{
    /// <summary>Left and right, of which either may be absent or sparse, with each row once; the memory of both is given over.</summary>
    public static Gradient Add(Gradient left, Gradient right)
    {
        if (left.Kind == GradientKind.Absent || right.Kind == GradientKind.Absent)
            return left.Kind == GradientKind.Absent ? right : left;
        if (left.Kind == GradientKind.Sparse && right.Kind == GradientKind.Sparse)
        {
            var (rows, values) = CoalescedRows.Coalesce([(left.Rows, left.Values), (right.Rows, right.Values)]);
            return Gradient.OfSparse(rows, values);
        }
        var (dense, other) = left.Kind == GradientKind.Dense ? (left, right) : (right, left);
        if (other.Kind == GradientKind.Dense)
            Add([dense.Values], [other.Values]);
        else
            CoalescedRows.AddTo(dense.Values, other.Rows, other.Values);
        return dense;
    }

    /// <summary>The same gradient of all elements, of which those that it lacks are nothing in sums.</summary>
    public static TensorView Dense(Gradient rows, Layout parameter)
    {
        var dense = TensorView.Zeros(parameter.ToContiguous());
        FillWithNothing(dense);
        CoalescedRows.AddTo(dense, rows.Rows, rows.Values);
        return dense;
    }

    /// <summary>target = target + other.</summary>
    public static void Add(ReadOnlySpan<TensorView> targets, ReadOnlySpan<TensorView> others) =>
        Elements.Run(Driver<AddedFormula>.Instance, 0, new Coefficients<Real>(new Real(1)), targets, others, Executor.Team);

    /// <summary>target = target / number.</summary>
    public static void Divide(ReadOnlySpan<TensorView> targets, double number)
    {
        if (number != 1)
            Elements.Run(Driver<DivideFormula>.Instance, 0, new Coefficients<Real>(new Real(number)), targets, [], Executor.Team);
    }

    /// <summary>What a gradient that is not there is in a sum: minus zero, which changes no bit of another number.</summary>
    public static void FillWithNothing(TensorView target)
    {
        var bytes = target.Count * target.DType.Size();
        var width = target.DType.Size() / target.DType.Parts();
        for (nint at = 0; at < bytes; at += width)
            switch (width)
            {
                case 2:
                    *(ushort*)(target.Address + at) = 0x8000;
                    break;
                case 4:
                    *(uint*)(target.Address + at) = 0x80000000;
                    break;
                default:
                    *(ulong*)(target.Address + at) = 0x8000000000000000;
                    break;
            }
        GC.KeepAlive(target.Owner);
    }

    /// <summary>Copies neighbouring bytes.</summary>
    public static void Copy(nint source, nint target, nint bytes) =>
        System.Runtime.InteropServices.NativeMemory.Copy((void*)source, (void*)target, (nuint)bytes);
}
