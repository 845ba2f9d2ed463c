namespace Optim.Kernels;

/// <summary>
/// Numbers that a visit takes, or that tensors keep, as a device works them out where what they are made of lies: so nobody waits for it. What is made
/// of options and the step alone is handed in. Leaves are <see cref="Operation.Constant"/>, <see cref="Operation.Number"/> (what is handed in, by its
/// place there), <see cref="Operation.Load"/> (a reduction of the tensor or a product of its lengths, by its place among
/// <see cref="ProgramRun.SliceNumbers"/>), <see cref="Operation.Kept"/> (a reduction over all, by its place among <see cref="ProgramRun.Totals"/>),
/// <see cref="Operation.ElementCount"/> and <see cref="Operation.TensorNumber"/> (by its array). Where options, kept numbers and the step lie on the
/// device, nothing is handed in: they are <see cref="Operation.Given"/>, by their places among <see cref="DeviceLeaves.Nodes"/>.
/// </summary>
internal sealed class NumberCode
{
    private readonly StepProgram program;
    private readonly int[] ofSlices;
    private readonly int[] ofAll;
    private readonly List<Node> nodes = [];
    private readonly List<int> given = [];
    private readonly Dictionary<int, int> places = [];

    /// <param name="program">The program.</param>
    /// <param name="wanted">The values that a visit takes, by their places in the program.</param>
    /// <param name="kept">The numbers that tensors keep then.</param>
    /// <param name="ofSlices">What there is for each slice.</param>
    /// <param name="ofAll">The program's reductions over all.</param>
    /// <param name="dtype">The dtype of the parameters.</param>
    /// <param name="leaves">The leaves, where they lie on the device; else null.</param>
    /// <param name="rates">The dtype of the tensor from which each of them is read; null for its place there.</param>
    public NumberCode(
        StepProgram program,
        ReadOnlySpan<int> wanted,
        ReadOnlySpan<Change> kept,
        int[] ofSlices,
        int[] ofAll,
        DType dtype,
        Node[]? leaves = null,
        DType?[]? rates = null
    )
    {
        (this.program, this.ofSlices, this.ofAll) = (program, ofSlices, ofAll);
        (Leaves, Rates) = (leaves, rates ?? new DType?[leaves?.Length ?? 0]);
        Results = new int[wanted.Length];
        for (var i = 0; i < wanted.Length; i++)
            Results[i] = Add(wanted[i]);
        Stores = new Change[kept.Length];
        for (var i = 0; i < kept.Length; i++)
            Stores[i] = new(kept[i].Array, Add(kept[i].Node));
        LeafStores = Leaves is null ? [] : StoresOf(Leaves);
        (Nodes, Given, DType) = (nodes.ToArray(), given.ToArray(), dtype);
        IsDouble = dtype is DType.Float64 or DType.Complex128;
        IsOfStep = Array.TrueForAll(
            Nodes,
            node =>
                node.Operation
                    is not (Operation.Load or Operation.Kept or Operation.ElementCount or Operation.TensorNumber or Operation.Given)
        );
        IsOfTensors =
            Stores.Length > 0
            || Array.Exists(Nodes, node => node.Operation is Operation.Load or Operation.ElementCount or Operation.TensorNumber);
    }

    /// <summary>Values in double, operands first.</summary>
    public Node[] Nodes { get; }

    /// <summary>The values that the visit takes, in its order.</summary>
    public int[] Results { get; }

    /// <summary>The arrays of one element that become a value.</summary>
    public Change[] Stores { get; }

    /// <summary>
    /// The leaves that become a value, where they lie on the device: the step, the numbers that are kept, and, behind all leaves, how many steps were made.
    /// </summary>
    public Change[] LeafStores { get; }

    /// <summary>The leaves, where they lie on the device; else null.</summary>
    public Node[]? Leaves { get; }

    /// <summary>The dtype of the tensor from which each of them is read; null for its place there.</summary>
    public DType?[] Rates { get; }

    /// <summary>Whether it reads these leaves.</summary>
    public bool IsOf(DeviceLeaves leaves) => ReferenceEquals(Leaves, leaves.Nodes) && Rates.AsSpan().SequenceEqual(leaves.RateTypes);

    /// <summary>What is handed in, by places in the program.</summary>
    public int[] Given { get; }

    /// <summary>Whether results and kept numbers are of float64; else of float32.</summary>
    public bool IsDouble { get; }

    /// <summary>The dtype of the parameters.</summary>
    public DType DType { get; }

    /// <summary>Reals of an element of the parameters.</summary>
    public int Parts => DType.Parts();

    /// <summary>Whether all of it is handed in.</summary>
    public bool IsOfStep { get; }

    /// <summary>Whether each tensor has its own.</summary>
    public bool IsOfTensors { get; }

    /// <summary>Bytes of a number.</summary>
    public int Size => IsDouble ? sizeof(double) : sizeof(float);

    /// <summary>Numbers that can be handed in.</summary>
    private const int MostGiven = 128;

    /// <summary>
    /// Whether all numbers of tensors, and of all of them, can be worked out in this way: by operations that are rounded once, which have the same bits
    /// wherever they are made. Powers, exponential functions and logarithms of numbers are the system's.
    /// </summary>
    public static bool Has(StepProgram program)
    {
        var ofStep = 0;
        for (var i = 0; i < program.Nodes.Length; i++)
        {
            var (operation, scope) = (program.Nodes[i].Operation, program.Scopes[i]);
            if (scope == Scope.Step)
                ofStep++;
            else if (scope < Scope.Element && !Has(operation))
                return false;
        }
        return ofStep <= MostGiven;
    }

    /// <summary>
    /// Whether a device works out all numbers of a step from leaves that lie there: a program of one visit, whose numbers are those of the step alone.
    /// Powers, exponential functions and logarithms are <see cref="LaneMath"/>'s there, which may differ from the system's in the last bits.
    /// </summary>
    public static bool HasSteps(StepProgram program)
    {
        if (program.VisitPlan.Count != 1 || program.HasReductions || program.HasSpreads || program.Nodes.Length > DeviceLeaves.MostNumbers)
            return false;
        for (var i = 0; i < program.Nodes.Length; i++)
            if (program.Scopes[i] == Scope.Step && program.Nodes[i].A >= 0 && !HasOfStep(program.Nodes[i].Operation))
                return false;
        return true;
    }

    private static bool HasOfStep(Operation operation) =>
        Has(operation) || operation is Operation.Power or Operation.Exp or Operation.Log or Operation.Cbrt;

    private static bool Has(Operation operation) =>
        operation.IsReduction()
        || operation
            is Operation.ElementCount
                or Operation.LeadingCount
                or Operation.TensorNumber
                or Operation.Add
                or Operation.Subtract
                or Operation.Multiply
                or Operation.Divide
                or Operation.Negate
                or Operation.Sqrt
                or Operation.Fma
                or Operation.Abs
                or Operation.Max
                or Operation.Min
                or Operation.Sign
                or Operation.Greater
                or Operation.IsNaN
                or Operation.Select;

    private int Add(int place)
    {
        if (places.TryGetValue(place, out var known))
            return known;
        var node = Made(place, program.Nodes[place]);
        nodes.Add(node);
        places.Add(place, nodes.Count - 1);
        return nodes.Count - 1;
    }

    // What counts counts on; numbers that are kept become those of the next step.
    private Change[] StoresOf(Node[] leaves)
    {
        nodes.Add(new(Operation.Constant, Value: BitConverter.DoubleToInt64Bits(1)));
        var one = nodes.Count - 1;
        var stores = new List<Change>();
        for (var leaf = 0; leaf <= leaves.Length; leaf++)
            if (leaf == leaves.Length || leaves[leaf].Operation == Operation.StepCount)
            {
                nodes.Add(new(Operation.Given, Value: leaf));
                nodes.Add(new(Operation.Add, nodes.Count - 1, one));
                stores.Add(new(leaf, nodes.Count - 1));
            }
            else if (leaves[leaf].Operation == Operation.Kept)
                foreach (var kept in program.Kept)
                    if (kept.Name == leaves[leaf].Name)
                        stores.Add(new(leaf, Add(kept.Node)));
        return stores.ToArray();
    }

    private Node Made(int place, Node node)
    {
        if (node.Operation == Operation.Constant)
            return node;
        if (Leaves is not null && Array.IndexOf(Leaves, node) is >= 0 and var leaf)
            return new(Operation.Given, Value: leaf);
        if (Leaves is null && program.Scopes[place] == Scope.Step)
        {
            given.Add(place);
            return new(Operation.Number, Value: given.Count - 1);
        }
        if (node.Operation.IsReduction() && program.Scopes[place] == Scope.AllTensors)
            return new(Operation.Kept, Value: Array.IndexOf(ofAll, place));
        if (node.Operation.IsReduction() || node.Operation == Operation.LeadingCount)
            return new(Operation.Load, Value: Array.IndexOf(ofSlices, place));
        return node.Operation switch
        {
            Operation.ElementCount => new(Operation.ElementCount),
            Operation.TensorNumber => new(Operation.TensorNumber, Value: program.PlaceOf(node.Name)),
            _ => node with { A = Add(node.A), B = node.B < 0 ? -1 : Add(node.B), C = node.C < 0 ? -1 : Add(node.C) },
        };
    }
}

/// <summary>Numbers that a device works out, and what the processor works out first of what it hands in.</summary>
/// <param name="Code">The numbers.</param>
/// <param name="OfStep">Places in the program, operands first.</param>
internal sealed record DeviceNumbers(NumberCode Code, int[] OfStep);
