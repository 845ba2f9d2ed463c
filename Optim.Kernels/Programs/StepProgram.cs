namespace Optim.Kernels;

/// <summary>What becomes of an array, element by element.</summary>
/// <param name="Array">The array's name.</param>
/// <param name="Value">Its elements after the step.</param>
/// <param name="IsTensorNumber">Whether it holds one number for the tensor; then the value is such a number.</param>
internal sealed record Assignment(string Array, Expression Value, bool IsTensorNumber = false);

/// <summary>What becomes of a number that is kept from step to step.</summary>
/// <param name="Name">The number's name.</param>
/// <param name="Value">The number after the step; a number of the step itself.</param>
internal sealed record KeptNumber(string Name, Expression Value);

/// <summary>Which array becomes which value.</summary>
/// <param name="Array">The array's place.</param>
/// <param name="Node">The value's place.</param>
internal sealed record Change(int Array, int Node);

/// <summary>Which kept number becomes which value.</summary>
/// <param name="Name">The number's name.</param>
/// <param name="Node">The value's place.</param>
internal sealed record KeptChange(string Name, int Node);

/// <summary>
/// A whole step as a value: what becomes of the parameter, of the state and of whatever else the step writes, as expressions of their
/// elements before it. Equal programs have equal nodes in the same order, so that what is compiled for one serves the other.
/// </summary>
internal sealed class StepProgram : IEquatable<StepProgram>
{
    /// <summary>The name of the parameter, which is stored in its own dtype.</summary>
    public const string Parameter = "param";

    /// <summary>The name of its gradient, of the same dtype.</summary>
    public const string Gradient = "grad";

    /// <summary>The name of what gradients were added up to before, of the same dtype.</summary>
    public const string GradientSum = "grad.sum";

    private readonly Node[] nodes;
    private readonly Change[] stores;
    private readonly Change[] tensorNumbers;
    private readonly Scope[] scopes;
    private readonly (string Name, int Depth)[] floors;
    private readonly int hash;
    private readonly Lock compiling = new();
    private bool? hasSpreads;
    private readonly Visit[]?[] visits = new Visit[]?[DTypes.Count];

    /// <param name="arrays">The arrays, in the order in which they lie in a slice table: the parameter, the gradient, the columns.</param>
    /// <param name="assignments">What becomes of them; the others are left alone.</param>
    /// <param name="kept">What becomes of the numbers that are kept.</param>
    /// <param name="floors">Before which visit shared reductions are not to be had, because other programs work them out later.</param>
    public StepProgram(
        IReadOnlyList<string> arrays,
        IEnumerable<Assignment> assignments,
        IEnumerable<KeptNumber>? kept = null,
        IReadOnlyDictionary<string, int>? floors = null
    )
    {
        Arrays = new string[arrays.Count];
        for (var i = 0; i < Arrays.Length; i++)
            Arrays[i] = arrays[i];
        this.floors = floors is null ? [] : Ordered(floors);
        var list = new NodeList();
        // Loops, here and in what else runs before a first step: queries would be compiled for each type of values.
        var (changes, ofTensors) = (new List<Change>(), new List<Change>());
        foreach (var assignment in assignments)
            (assignment.IsTensorNumber ? ofTensors : changes).Add(new(PlaceOf(assignment.Array), list.Add(assignment.Value)));
        (stores, tensorNumbers) = (changes.ToArray(), ofTensors.ToArray());
        var numbers = new List<KeptChange>();
        foreach (var number in kept ?? [])
            numbers.Add(new(number.Name, list.Add(number.Value)));
        Kept = numbers.ToArray();
        nodes = list.ToArray();
        scopes = new Scope[nodes.Length];
        for (var i = 0; i < nodes.Length; i++)
        {
            scopes[i] = ScopeOf(nodes[i]);
            if (nodes[i].Operation is Operation.Input or Operation.TensorNumber)
                _ = PlaceOf(nodes[i].Name);
        }
        VisitPlan = new(this);
        var code = new HashCode();
        foreach (var node in nodes)
            code.Add(node);
        foreach (var store in stores)
            code.Add(store);
        foreach (var number in tensorNumbers)
            code.Add(number);
        hash = code.ToHashCode();
    }

    /// <summary>The arrays, in the order in which they lie in a slice table.</summary>
    public string[] Arrays { get; }

    /// <summary>All values, operands first.</summary>
    public ReadOnlySpan<Node> Nodes => nodes;

    /// <summary>Which array becomes which value.</summary>
    public ReadOnlySpan<Change> Stores => stores;

    /// <summary>Which array, of one number for a tensor, becomes which value.</summary>
    public ReadOnlySpan<Change> TensorNumbers => tensorNumbers;

    /// <summary>Which kept number becomes which value.</summary>
    public KeptChange[] Kept { get; }

    /// <summary>How often each value is worked out.</summary>
    public ReadOnlySpan<Scope> Scopes => scopes;

    /// <summary>Which visits of memory it takes, whatever the dtype.</summary>
    public VisitPlan VisitPlan { get; }

    /// <summary>Whether a value depends on other elements than its own, or on the element's place.</summary>
    public bool HasReductions =>
        tensorNumbers.Length > 0
        || nodes.Any(node => node.Operation.IsReduction() || node.Operation.IsSpread() || node.Operation == Operation.TensorNumber);

    /// <summary>Whether it looks at rows or columns, or draws noise.</summary>
    public bool HasSpreads => hasSpreads ??= nodes.Any(node => node.Operation.IsSpread());

    /// <summary>Whether slices of a parameter step as the whole does, wherever it is cut, once numbers over all parameters are known.</summary>
    public bool GoesByElements => tensorNumbers.Length == 0 && !scopes.Contains(Scope.Tensor) && !HasSpreads;

    /// <summary>Before which visit a shared reduction is not to be had.</summary>
    public int FloorOf(string name)
    {
        foreach (var floor in floors)
            if (floor.Name == name)
                return floor.Depth;
        return 0;
    }

    /// <summary>Programs of parameters that step together, with the reductions that they share worked out in the same visits.</summary>
    public static StepProgram[] Aligned(IReadOnlyList<StepProgram> programs)
    {
        StepProgram[] aligned = [.. programs];
        for (var changed = aligned.Length > 1; changed; )
        {
            changed = false;
            var depths = aligned
                .SelectMany(program => program.SharedDepths())
                .GroupBy(shared => shared.Name)
                .ToDictionary(shared => shared.Key, shared => shared.Max(each => each.Depth));
            for (var i = 0; i < aligned.Length; i++)
                if (aligned[i].SharedDepths().Any(shared => shared.Depth < depths[shared.Name]))
                {
                    var (assignments, kept) = aligned[i].Replacing("", Expression.Of(0));
                    (aligned[i], changed) = (new(aligned[i].Arrays, assignments, kept, depths), true);
                }
        }
        return aligned;
    }

    private static (string Name, int Depth)[] Ordered(IReadOnlyDictionary<string, int> floors) =>
        [.. floors.OrderBy(floor => floor.Key, StringComparer.Ordinal).Select(floor => (floor.Key, floor.Value))];

    private IEnumerable<(string Name, int Depth)> SharedDepths() =>
        from place in Enumerable.Range(0, nodes.Length)
        where nodes[place].Operation.IsReduction() && nodes[place].Name.Length > 0
        select (nodes[place].Name, VisitPlan.VisitOf(place) + 1);

    /// <summary>Whether an array is read or written.</summary>
    public bool Uses(int array) =>
        stores.Any(store => store.Array == array)
        || tensorNumbers.Any(number => number.Array == array)
        || nodes.Any(node => node.Operation is Operation.Input or Operation.TensorNumber && node.Name == Arrays[array]);

    /// <summary>What becomes of arrays and kept numbers when an array is something else before the step.</summary>
    public (List<Assignment> Assignments, List<KeptNumber> Kept) Replacing(string array, Expression value)
    {
        var values = new Expression[nodes.Length];
        for (var i = 0; i < nodes.Length; i++)
        {
            var node = nodes[i];
            var operands = new Expression[node.Operands];
            for (var k = 0; k < operands.Length; k++)
                operands[k] = values[node.Operand(k)];
            values[i] =
                node.Operation == Operation.Input && node.Name == array ? value
                : node.Operation == Operation.Constant ? Expression.Of(node.Constant)
                : new(node.Operation, scopes[i], operands, node.Value, node.Name);
        }
        var (assignments, numbers) = (new List<Assignment>(), new List<KeptNumber>());
        foreach (var store in stores)
            assignments.Add(new(Arrays[store.Array], values[store.Node]));
        foreach (var number in tensorNumbers)
            assignments.Add(new(Arrays[number.Array], values[number.Node], true));
        foreach (var kept in Kept)
            numbers.Add(new(kept.Name, values[kept.Node]));
        return (assignments, numbers);
    }

    /// <summary>Values that are worth a name of their own when it is printed: those that are used more than once.</summary>
    public IEnumerable<int> Shared()
    {
        var uses = new int[nodes.Length];
        foreach (var node in nodes)
            for (var k = 0; k < 3 && node.Operand(k) is >= 0 and var operand; k++)
                uses[operand]++;
        foreach (var (_, node) in stores)
            uses[node]++;
        foreach (var (_, node) in tensorNumbers)
            uses[node]++;
        return Enumerable.Range(0, nodes.Length).Where(i => uses[i] > 1 && nodes[i].A >= 0 && nodes[i].Operation != Operation.Number);
    }

    /// <summary>The visits of memory for parameters of a dtype: what engines compile.</summary>
    public Visit[] VisitsFor(DType dtype)
    {
        lock (compiling)
        {
            return visits[(int)dtype] ??= VisitPlan.Lower(dtype);
        }
    }

    /// <inheritdoc/>
    public bool Equals(StepProgram? other) =>
        ReferenceEquals(this, other)
        || (
            other is not null
            && hash == other.hash
            && Arrays.AsSpan().SequenceEqual(other.Arrays)
            && Nodes.SequenceEqual(other.nodes)
            && Stores.SequenceEqual(other.stores)
            && TensorNumbers.SequenceEqual(other.tensorNumbers)
            && Kept.AsSpan().SequenceEqual(other.Kept)
            && floors.AsSpan().SequenceEqual(other.floors)
        );

    /// <inheritdoc/>
    public override bool Equals(object? other) => Equals(other as StepProgram);

    /// <inheritdoc/>
    public override int GetHashCode() => hash;

    /// <summary>A line for each value that is used more than once and each array that changes.</summary>
    public override string ToString() => ProgramText.Of(this);

    /// <summary>The place of an array.</summary>
    public int PlaceOf(string array)
    {
        var place = System.Array.IndexOf(Arrays, array);
        return place >= 0 ? place : throw new ArgumentException($"there is no array '{array}'; there are {string.Join(", ", Arrays)}");
    }

    private Scope ScopeOf(Node node)
    {
        switch (node.Operation)
        {
            case Operation.Constant or Operation.Option or Operation.Kept or Operation.Given or Operation.StepCount:
                return Scope.Step;
            case Operation.ElementCount or Operation.LeadingCount or Operation.TensorNumber:
                return Scope.Tensor;
            case Operation.Number or Operation.Input:
                return Scope.Element;
            case var operation when operation.IsSpread():
                return Scope.Element;
            case var operation when operation.IsReduction():
                return node.Value == 0 ? Scope.Tensor : Scope.AllTensors;
            default:
                var scope = Scope.Step;
                for (var i = 0; i < 3; i++)
                    if (node.Operand(i) is >= 0 and var operand && scopes[operand] > scope)
                        scope = scopes[operand];
                return scope;
        }
    }
}
