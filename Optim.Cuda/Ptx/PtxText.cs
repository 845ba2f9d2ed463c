using System.Globalization;
using System.Text;

namespace Optim.Cuda;

/// <summary>A kernel's text while it is written: instructions, and the registers that they take. Each register is written in one place.</summary>
internal sealed class PtxText
{
    // What is at home in a register, by the letter of its name. Values are bits: instructions say whether these are numbers.
    private static readonly (char Letter, string Type)[] kinds =
    [
        ('p', "pred"),
        ('h', "b16"),
        ('r', "b32"),
        ('d', "b64"),
        ('v', "b32"),
        ('w', "b64"),
        ('f', "f32"),
        ('g', "f64"),
    ];

    private readonly StringBuilder constants = new();
    private readonly StringBuilder body = new();
    private readonly Dictionary<char, int> registers = [];
    private readonly Dictionary<(bool IsDouble, long Bits), string> known = [];
    private readonly List<PtxParameter> parameters = [];
    private int labels;

    /// <summary>A register of a kind that nobody has yet.</summary>
    public string New(char kind)
    {
        var number = registers.GetValueOrDefault(kind);
        registers[kind] = number + 1;
        return string.Create(CultureInfo.InvariantCulture, $"%{kind}{number}");
    }

    /// <summary>A register for a value of the arithmetic.</summary>
    public string Value(bool isDouble) => New(isDouble ? 'w' : 'v');

    /// <summary>An instruction.</summary>
    public void Line(FormattableString line) => body.Append('\t').Append(line.ToString(CultureInfo.InvariantCulture)).Append(";\n");

    /// <summary>An instruction that writes a new register, whose name comes after its own.</summary>
    public string Into(char kind, string instruction, FormattableString operands)
    {
        var target = New(kind);
        Line($"{instruction} {target}, {operands.ToString(CultureInfo.InvariantCulture)}");
        return target;
    }

    /// <summary>A name for a place to jump to that no other one has.</summary>
    public string NewLabel(string name) => string.Create(CultureInfo.InvariantCulture, $"{name}{labels++}");

    /// <summary>A place to jump to.</summary>
    public void Label(string name) => body.Append(name).Append(":\n");

    /// <summary>The register of a constant, which is set before all else.</summary>
    public string Constant(bool isDouble, long bits)
    {
        if (known.TryGetValue((isDouble, bits), out var register))
            return register;
        register = Value(isDouble);
        constants.Append('\t').Append(isDouble ? "mov.b64 " : "mov.b32 ").Append(register);
        constants.Append(", 0x").Append(bits.ToString(isDouble ? "X16" : "X8", CultureInfo.InvariantCulture)).Append(";\n");
        known.Add((isDouble, bits), register);
        return register;
    }

    /// <summary>A parameter of 4 or 8 bytes.</summary>
    public void Parameter(string name, int size) => parameters.Add(new(name, size, IsArray: false));

    /// <summary>A parameter of any number of bytes.</summary>
    public void ParameterArray(string name, int bytes) => parameters.Add(new(name, bytes, IsArray: true));

    /// <summary>The whole kernel.</summary>
    /// <param name="threads">Threads of a block.</param>
    /// <param name="blocks">How many blocks a multiprocessor is to have room for, by which the assembler gives registers; 0 for as many as there are.</param>
    public PtxKernel ToKernel(int threads, int blocks = 0)
    {
        var text = new StringBuilder();
        // The oldest that knows all of it: one text for every device that a driver of today drives.
        text.Append(".version 6.0\n.target sm_50\n.address_size 64\n\n");
        text.Append(".visible .entry ").Append(PtxKernel.Entry).Append("(\n");
        for (var i = 0; i < parameters.Count; i++)
        {
            var (name, size, isArray) = parameters[i];
            var type = isArray ? ".align 8 .b8" : $".u{8 * size}";
            text.Append(CultureInfo.InvariantCulture, $"\t.param {type} {name}");
            if (isArray)
                text.Append(CultureInfo.InvariantCulture, $"[{size}]");
            text.Append(i + 1 < parameters.Count ? ",\n" : "\n");
        }
        text.Append(CultureInfo.InvariantCulture, $")\n.maxntid {threads}, 1, 1\n");
        if (blocks > 0)
            text.Append(CultureInfo.InvariantCulture, $".minnctapersm {blocks}\n");
        text.Append("{\n");
        foreach (var (letter, type) in kinds)
            if (registers.TryGetValue(letter, out var count))
                text.Append(CultureInfo.InvariantCulture, $"\t.reg .{type} %{letter}<{count}>;\n");
        text.Append(constants).Append(body).Append("}\n");
        return new(text.ToString(), [.. parameters], threads);
    }
}
