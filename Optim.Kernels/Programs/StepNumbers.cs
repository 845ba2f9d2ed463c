namespace Optim.Kernels;

/// <summary>Numbers of the step and of a tensor, which are worked out in double.</summary>
internal static class StepNumbers
{
    /// <summary>A value from those of its operands, which stand in their places.</summary>
    public static double Evaluate(Node node, double[] values)
    {
        var (a, b, c) = (values[node.A], node.B >= 0 ? values[node.B] : 0, node.C >= 0 ? values[node.C] : 0);
        return node.Operation switch
        {
            Operation.Add => a + b,
            Operation.Subtract => a - b,
            Operation.Multiply => a * b,
            Operation.Divide => a / b,
            Operation.Negate => -a,
            Operation.Sqrt => Math.Sqrt(a),
            Operation.Exp => Math.Exp(a),
            Operation.Log => Math.Log(a),
            Operation.Cbrt => Math.Cbrt(a),
            Operation.Fma => Math.FusedMultiplyAdd(a, b, c),
            Operation.Abs => Math.Abs(a),
            Operation.Power => Math.Pow(a, b),
            Operation.Floor => Math.Floor(a),
            Operation.Erfi => SpecialFunctions.Erfi(a),
            Operation.Max => a > b || double.IsNaN(a) ? a : b,
            Operation.Min => b > a || double.IsNaN(a) ? a : b,
            Operation.Sign => a > 0 ? 1
            : a < 0 ? -1
            : 0,
            Operation.Greater => a > b ? 1 : 0,
            Operation.IsNaN => double.IsNaN(a) ? 1 : 0,
            Operation.Select => a != 0 ? b : c,
            _ => throw new NotSupportedException($"{node.Operation} of numbers"),
        };
    }
}
