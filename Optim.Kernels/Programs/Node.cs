namespace Optim.Kernels;

/// <summary>A value of a program, with its operands by their places among the nodes before it; -1 for none.</summary>
/// <param name="Operation">What it does.</param>
/// <param name="A">The first operand.</param>
/// <param name="B">The second one.</param>
/// <param name="C">The third one.</param>
/// <param name="Value">The bits of a constant; the place of an array or a number; bits, or how far they are moved.</param>
/// <param name="Name">The name of an option, a number or an array.</param>
internal sealed record Node(Operation Operation, int A = -1, int B = -1, int C = -1, long Value = 0, string Name = "")
{
    /// <summary>The constant.</summary>
    public double Constant => BitConverter.Int64BitsToDouble(Value);

    /// <summary>How many operands it has.</summary>
    public int Operands =>
        C >= 0 ? 3
        : B >= 0 ? 2
        : A >= 0 ? 1
        : 0;

    /// <summary>The operands.</summary>
    public int Operand(int index) =>
        index switch
        {
            0 => A,
            1 => B,
            _ => C,
        };
}

/// <summary>Nodes in an order in which operands come first, equal ones once.</summary>
internal sealed class NodeList
{
    private readonly List<Node> nodes = [];
    private readonly Dictionary<Node, int> places = [];
    private readonly Dictionary<Expression, int> known = new(ReferenceEqualityComparer.Instance);

    /// <summary>The place of an expression, which is added with its operands where it is new.</summary>
    public int Add(Expression expression)
    {
        if (known.TryGetValue(expression, out var place))
            return place;
        var operands = expression.Operands;
        Span<int> at = [-1, -1, -1];
        for (var i = 0; i < operands.Length; i++)
            at[i] = Add(operands[i]);
        var value = expression.Operation == Operation.Constant ? BitConverter.DoubleToInt64Bits(expression.Value) : (long)expression.Value;
        var node = new Node(expression.Operation, at[0], at[1], at[2], value, expression.Name);
        if (!places.TryGetValue(node, out place))
        {
            place = nodes.Count;
            nodes.Add(node);
            places.Add(node, place);
        }
        known.Add(expression, place);
        return place;
    }

    public Node[] ToArray() => nodes.ToArray();
}
