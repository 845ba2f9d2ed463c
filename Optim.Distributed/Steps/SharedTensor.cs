using Optim.Core;
using Optim.Kernels;

namespace Optim.Distributed;

/// <summary>
/// A parameter that all ranks train together, as the optimizer of one rank sees it: the part that this rank steps, with the mean of its gradient over all
/// ranks. Until it is divided it is the parameter that was given.
/// </summary>
internal sealed class SharedTensor(IParameter given) : IParameter, ISlice
{
    private readonly Stack<(int Level, TensorView Sum)> leaves = [];
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

    /// <summary>The mean over all ranks, of the part of this rank; absent where there was none.</summary>
    public TensorView Mean { get; set; }

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
        else if (
            gradient.Kind != GradientKind.Dense
            || gradient.Values.Address != Mean.Address
            || !ReferenceEquals(gradient.Values.Layout, Mean.Layout)
        )
            gradient = Gradient.OfDense(Mean);
    }

    /// <summary>The gradient of this rank's own backward pass, which must be dense and fit.</summary>
    public TensorView Local()
    {
        given.Refresh(ref whole, ref local);
        if (local.Kind == GradientKind.Sparse)
            throw new NotSupportedException(
                $"the gradient of {Label} is sparse; ranks send dense gradients: make it dense (in TorchSharp sparse: false, the default of an Embedding)"
            );
        if (local.Kind == GradientKind.Absent)
            return default;
        var values = local.Values;
        return values.DType == whole.DType && values.Layout.SameShape(whole.Layout)
            ? values
            : throw new ArgumentException($"the gradient of {Label} is {values.Layout}, and the parameter {whole.Layout}");
    }

    /// <summary>Takes the gradient of a leaf; pairs of neighbours are added up at once, so that there are at most as many sums as levels.</summary>
    public void AddLeaf()
    {
        if (IsTaken)
            return;
        IsTaken = true;
        var found = Local();
        var (level, sum) = (0, found.IsAbsent ? default : found.Copy());
        while (leaves.TryPeek(out var before) && before.Level == level)
        {
            leaves.Pop();
            sum = Sums.Add(before.Sum, sum);
            level++;
        }
        leaves.Push((level, sum));
    }

    /// <summary>The sum over all leaves of this rank.</summary>
    public TensorView TakeLeaves()
    {
        var sum = leaves.Count == 0 ? default : leaves.Pop().Sum;
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
    /// <summary>Left and right, of which either may be absent; the memory of both is given over.</summary>
    public static TensorView Add(TensorView left, TensorView right)
    {
        if (left.IsAbsent || right.IsAbsent)
            return left.IsAbsent ? right : left;
        Add([left], [right]);
        return left;
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
