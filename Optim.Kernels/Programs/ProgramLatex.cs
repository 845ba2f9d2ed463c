using System.Globalization;
using System.Text;

namespace Optim.Kernels;

/// <summary>Programs as formulas in LaTeX: a line for each value that is used more than once and each array that changes, in an aligned block.</summary>
internal static class ProgramLatex
{
    /// <summary>How the field writes what has a sign of its own.</summary>
    private static readonly Dictionary<string, string> signs = new()
    {
        [StepProgram.Parameter] = @"\theta",
        [StepProgram.Gradient] = "g",
        ["lr"] = @"\gamma",
        ["weight_decay"] = @"\lambda",
        ["eps"] = @"\epsilon",
        ["beta1"] = @"\beta_1",
        ["beta2"] = @"\beta_2",
        ["beta3"] = @"\beta_3",
        ["momentum"] = @"\mu",
        ["dampening"] = @"\tau",
        ["alpha"] = @"\alpha",
        ["rho"] = @"\rho",
        ["lambd"] = @"\lambda",
    };

    /// <summary>The program as an aligned block.</summary>
    public static string Of(StepProgram program)
    {
        var nodes = program.Nodes.ToArray();
        var names = new Dictionary<int, string>();
        var text = new StringBuilder(@"\begin{aligned}");
        foreach (var place in program.Shared())
        {
            var line = Text(nodes, names, place, 0);
            names.Add(place, string.Create(CultureInfo.InvariantCulture, $"v_{{{names.Count + 1}}}"));
            Line(names[place], line);
        }
        foreach (var (array, node) in program.Stores)
            Line(Sign(program.Arrays[array]), Text(nodes, names, node, 0));
        foreach (var (array, node) in program.TensorNumbers)
            Line(Sign(program.Arrays[array]), Text(nodes, names, node, 0));
        foreach (var (name, node) in program.Kept)
            Line(Sign(name), Text(nodes, names, node, 0));
        return text.Append("\n\\end{aligned}").ToString();

        void Line(string name, string value) => text.Append("\n    ").Append(name).Append(@" &\leftarrow ").Append(value).Append(@" \\");
    }

    /// <summary>A value, in parentheses where its operator binds less than the place asks for: 1 for sums, 2 for products, 3 for powers.</summary>
    private static string Text(Node[] nodes, Dictionary<int, string> names, int place, int binding)
    {
        if (names.TryGetValue(place, out var name))
            return name;
        var node = nodes[place];
        return node.Operation switch
        {
            Operation.Constant => Bound(node.Constant.ToString("R", CultureInfo.InvariantCulture), node.Constant < 0 ? 1 : 4),
            Operation.Option or Operation.Kept or Operation.Given or Operation.Input or Operation.TensorNumber => Sign(node.Name),
            Operation.StepCount => "t",
            Operation.ElementCount => "n",
            Operation.LeadingCount => "n_1",
            Operation.Noise => @"\xi",
            Operation.Floor => $@"\left\lfloor {Of(node.A, 0)} \right\rfloor",
            Operation.Number => Of(node.A, binding),
            Operation.Add => Bound($"{Of(node.A, 1)} + {Of(node.B, 1)}", 1),
            Operation.Subtract => Bound($"{Of(node.A, 1)} - {Of(node.B, 2)}", 1),
            Operation.Multiply => Bound($@"{Of(node.A, 2)} \, {Of(node.B, 2)}", 2),
            Operation.Fma => Bound($@"{Of(node.A, 2)} \, {Of(node.B, 2)} + {Of(node.C, 1)}", 1),
            Operation.Divide => $@"\frac{{{Of(node.A, 0)}}}{{{Of(node.B, 0)}}}",
            Operation.Power => Bound($"{Of(node.A, 4)}^{{{Of(node.B, 0)}}}", 3),
            Operation.Negate => Bound($"-{Of(node.A, 2)}", 1),
            Operation.Sqrt => $@"\sqrt{{{Of(node.A, 0)}}}",
            Operation.Exp => $@"\exp({Of(node.A, 0)})",
            Operation.Log => $@"\ln({Of(node.A, 0)})",
            Operation.Cbrt => $@"\sqrt[3]{{{Of(node.A, 0)}}}",
            Operation.Abs => $@"\left|{Of(node.A, 0)}\right|",
            Operation.Max => $@"\max({Of(node.A, 0)}, {Of(node.B, 0)})",
            Operation.Min => $@"\min({Of(node.A, 0)}, {Of(node.B, 0)})",
            Operation.Sign => $@"\operatorname{{sign}}({Of(node.A, 0)})",
            Operation.Greater => $"{Of(node.A, 1)} > {Of(node.B, 1)}",
            Operation.IsNaN => $@"{Of(node.A, 1)} \text{{ is NaN}}",
            Operation.Select =>
                $@"\begin{{cases}} {Of(node.B, 0)} & \text{{if }} {Of(node.A, 0)} \\ {Of(node.C, 0)} & \text{{else}} \end{{cases}}",
            Operation.Sum => $@"\sum{Over(node)} {Of(node.A, 2)}",
            Operation.SumOfSquares => $@"\sum{Over(node)} {Of(node.A, 4)}^2",
            Operation.LargestMagnitude => $@"\max{Over(node)} \left|{Of(node.A, 0)}\right|",
            _ => $@"\operatorname{{{node.Operation.ToString().ToLowerInvariant()}}}({Of(node.A, 0)})",
        };

        string Of(int operand, int wanted) => Text(nodes, names, operand, wanted);

        string Bound(string text, int own) => own < binding ? $"({text})" : text;

        static string Over(Node node) => node.Value == 0 ? "" : @"_{\text{all}}";
    }

    private static string Sign(string name) =>
        signs.TryGetValue(name, out var sign) ? sign : $@"\mathrm{{{name.Replace("_", @"\_", StringComparison.Ordinal)}}}";
}
