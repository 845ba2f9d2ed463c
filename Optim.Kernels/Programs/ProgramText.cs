using System.Globalization;
using System.Text;

namespace Optim.Kernels;

/// <summary>Programs and expressions in words.</summary>
internal static class ProgramText
{
    /// <summary>An expression in one line.</summary>
    public static string Of(Expression expression)
    {
        var list = new NodeList();
        var root = list.Add(expression);
        return new Writer(list.ToArray(), []).Text(root, 0);
    }

    /// <summary>A line for each value that is used more than once and each array that changes.</summary>
    public static string Of(StepProgram program)
    {
        var nodes = program.Nodes.ToArray();
        var names = new Dictionary<int, string>();
        var writer = new Writer(nodes, names);
        var text = new StringBuilder();
        foreach (var place in program.Shared())
        {
            var line = writer.Text(place, 0);
            names.Add(place, string.Create(CultureInfo.InvariantCulture, $"v{names.Count + 1}"));
            text.Append(names[place]).Append(" = ").Append(line).Append('\n');
        }
        foreach (var (array, node) in program.Stores)
            text.Append(program.Arrays[array]).Append(" = ").Append(writer.Text(node, 0)).Append('\n');
        foreach (var (array, node) in program.TensorNumbers)
            text.Append(program.Arrays[array]).Append(" = ").Append(writer.Text(node, 0)).Append('\n');
        foreach (var (name, node) in program.Kept)
            text.Append(name).Append(" = ").Append(writer.Text(node, 0)).Append('\n');
        return text.ToString();
    }

    private sealed class Writer(Node[] nodes, Dictionary<int, string> names)
    {
        /// <summary>A value, in parentheses where its operator binds less than the place asks for: 1 for sums, 2 for products, 3 for powers.</summary>
        public string Text(int place, int binding)
        {
            if (names.TryGetValue(place, out var name))
                return name;
            var node = nodes[place];
            var text = node.Operation switch
            {
                Operation.Constant => node.Constant.ToString("R", CultureInfo.InvariantCulture),
                Operation.Option or Operation.Kept or Operation.Given or Operation.Input or Operation.TensorNumber => node.Name,
                Operation.StepCount => "t",
                Operation.ElementCount => "n",
                Operation.LeadingCount => "rows",
                Operation.Noise => "noise",
                Operation.Number => Text(node.A, binding),
                Operation.Add => Infix(node, " + ", 1, 1, 2, binding),
                Operation.Subtract => Infix(node, " - ", 1, 1, 2, binding),
                Operation.Multiply => Infix(node, " * ", 2, 2, 3, binding),
                Operation.Divide => Infix(node, " / ", 2, 2, 3, binding),
                Operation.Power => Infix(node, "^", 3, 4, 3, binding),
                Operation.Negate => "-" + Text(node.A, 3),
                Operation.Greater => Infix(node, " > ", 0, 1, 1, binding),
                Operation.Select => Call("where", node),
                var operation when operation.IsReduction() => Call(NameOf(operation) + (node.Value == 0 ? "" : "_over_all"), node),
                var operation => Call(NameOf(operation), node),
            };
            return node.Operation is Operation.Constant && text[0] == '-' && binding > 0 ? $"({text})" : text;
        }

        private static string NameOf(Operation operation) =>
            operation switch
            {
                Operation.SumOfSquares => "sum_of_squares",
                Operation.LargestMagnitude => "largest",
                Operation.SumOfRow => "row_sum",
                Operation.SumOfSquaresOfRow => "row_sum_of_squares",
                Operation.SumOfColumn => "column_sum",
                Operation.SumOfSquaresOfColumn => "column_sum_of_squares",
                _ => operation.ToString().ToLowerInvariant(),
            };

        private string Call(string name, Node node) =>
            $"{name}({string.Join(", ", Enumerable.Range(0, 3).Where(k => node.Operand(k) >= 0).Select(k => Text(node.Operand(k), 0)))})";

        private string Infix(Node node, string sign, int own, int left, int right, int binding)
        {
            var text = Text(node.A, left) + sign + Text(node.B, right);
            return own < binding ? $"({text})" : text;
        }
    }
}
