// Long, because the text of PTX is read here, form by form, and nothing is taken that is not one of them.
using System.Globalization;
using System.Text.RegularExpressions;

namespace Optim.Ptx;

/// <summary>The kinds of operands: how many bits, or a predicate.</summary>
internal enum Kind
{
    Predicate,
    Bits16,
    Bits32,
    Bits64,
}

/// <summary>An operand: a register, or a number.</summary>
internal readonly record struct Operand(int Register, ulong Value)
{
    public static Operand Of(ulong value) => new(-1, value);
}

/// <summary>An instruction in its form, with its operands.</summary>
internal sealed record Instruction(string Form, int Guard, bool IsNegated, Operand[] Operands, string Line)
{
    public Code Code { get; init; }
    public int Target { get; set; } = -1;

    /// <summary>What is added to an address, or the offset of a parameter.</summary>
    public int Offset { get; init; }
    public int Size { get; init; }
}

/// <summary>A parameter and where it begins among the bytes of all.</summary>
public readonly record struct Parameter(string Name, int Offset, int Bytes);

/// <summary>
/// The text of a kernel, read strictly: a form of an instruction that is not known, a register that is not declared or of another size than the
/// instruction's, a label that is not there are errors.
/// </summary>
public sealed partial class PtxProgram
{
    private readonly List<Instruction> instructions = [];
    private readonly Dictionary<string, (int Place, Kind Kind)> registers = new(StringComparer.Ordinal);
    private readonly List<Parameter> parameters = [];

    /// <summary>Reads a kernel.</summary>
    /// <exception cref="PtxException">It is no PTX, or of a kind that is not known here.</exception>
    public PtxProgram(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var labels = new Dictionary<string, int>(StringComparer.Ordinal);
        var jumps = new List<(Instruction Instruction, string Label)>();
        var lines = text.Split('\n');
        if (lines[0] != ".version 6.0" || lines[1] != ".target sm_50" || lines[2] != ".address_size 64")
            throw new PtxException($"begins with {string.Join(' ', lines.Take(3))}");
        foreach (var raw in lines.Skip(3))
        {
            var line = raw.Trim();
            if (line.Length == 0 || line is "{" or "}" or ")")
                continue;
            if (EntryLine().Match(line) is { Success: true } entry)
            {
                if (Entry.Length > 0)
                    throw new PtxException("two entries");
                Entry = entry.Groups[1].Value;
            }
            else if (ThreadsLine().Match(line) is { Success: true } threads)
                Threads = int.Parse(threads.Groups[1].Value, CultureInfo.InvariantCulture);
            else if (BlocksLine().Match(line) is { Success: true } blocks)
            {
                // At most 1024 threads are on a multiprocessor of Turing at once, on others more.
                if (Threads == 0 || int.Parse(blocks.Groups[1].Value, CultureInfo.InvariantCulture) * Threads > 1024)
                    throw new PtxException($"{line} after .maxntid {Threads}");
            }
            else if (ParameterLine().Match(line) is { Success: true } parameter)
                AddParameter(parameter);
            else if (RegistersLine().Match(line) is { Success: true } declared)
            {
                var kind = KindOf(declared.Groups[1].Value);
                for (var i = 0; i < int.Parse(declared.Groups[3].Value, CultureInfo.InvariantCulture); i++)
                    registers.Add(declared.Groups[2].Value + i.ToString(CultureInfo.InvariantCulture), (registers.Count, kind));
            }
            else if (LabelLine().Match(line) is { Success: true } label)
                labels.Add(label.Groups[1].Value, instructions.Count);
            else
                AddInstruction(line, jumps);
        }
        foreach (var (instruction, label) in jumps)
            instruction.Target = labels.TryGetValue(label, out var place) ? place : throw new PtxException($"{label} is no label");
        if (Entry.Length == 0 || Threads == 0)
            throw new PtxException("no entry, or no .maxntid");
        if (instructions.Count == 0 || instructions[^1].Code != Code.Return || instructions[^1].Guard >= 0)
            throw new PtxException("it does not end with ret");
    }

    /// <summary>The name of the entry.</summary>
    public string Entry { get; } = "";

    /// <summary>Threads of a block at most.</summary>
    public int Threads { get; }

    /// <summary>Its parameters.</summary>
    public IReadOnlyList<Parameter> Parameters => parameters;

    /// <summary>Bytes of all parameters.</summary>
    public int ParameterBytes => parameters.Count == 0 ? 0 : parameters[^1].Offset + parameters[^1].Bytes;

    /// <summary>How often each form of an instruction stands there.</summary>
    public IReadOnlyDictionary<string, int> Forms =>
        instructions.GroupBy(each => each.Form).ToDictionary(each => each.Key, each => each.Count());

    internal IReadOnlyList<Instruction> Instructions => instructions;

    internal int Registers => registers.Count;

    internal string NameOf(int register) => registers.First(each => each.Value.Place == register).Key;

    private void AddParameter(Match match)
    {
        var isArray = match.Groups[4].Success;
        if (isArray != match.Groups[1].Success)
            throw new PtxException($"{match.Value}: an array of bytes has an alignment, and nothing else has");
        var size = isArray
            ? int.Parse(match.Groups[4].Value, CultureInfo.InvariantCulture)
            : match.Groups[2].Value switch
            {
                "u32" => 4,
                "u64" => 8,
                _ => throw new PtxException(match.Value),
            };
        var align = isArray ? int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture) : size;
        var offset = (ParameterBytes + align - 1) / align * align;
        parameters.Add(new(match.Groups[3].Value, offset, size));
    }

    private void AddInstruction(string line, List<(Instruction Instruction, string Label)> jumps)
    {
        var match = InstructionLine().Match(line);
        if (!match.Success)
            throw new PtxException($"not an instruction: {line}");
        var guard = match.Groups[2].Success ? Register(match.Groups[2].Value, Kind.Predicate, line) : -1;
        var form = match.Groups[3].Value;
        var arguments = ArgumentText().Matches(match.Groups[4].Value).Select(each => each.Value).ToArray();
        if (string.Join(", ", arguments) != match.Groups[4].Value)
            throw new PtxException($"operands of {line}");
        if (form == "bra")
        {
            var jump = new Instruction(form, guard, match.Groups[1].Value == "!", [], line) { Code = Code.Branch };
            instructions.Add(jump);
            jumps.Add((jump, arguments.Single()));
            return;
        }
        instructions.Add(Bind(form, arguments, guard, match.Groups[1].Value == "!", line));
    }

    private Instruction Bind(string form, string[] arguments, int guard, bool isNegated, string line)
    {
        if (form is "ret")
            return new(form, guard, isNegated, [], line) { Code = Code.Return };
        if (form is "bar.sync")
            return guard < 0 && arguments is ["0"]
                ? new(form, guard, isNegated, [], line) { Code = Code.Barrier }
                : throw new PtxException($"a barrier is for all threads: {line}");
        if (form is "ld.param.u32" or "ld.param.u64" or "ld.param.f32" or "ld.param.f64")
        {
            var place = ParameterPlace().Match(arguments[1]);
            var parameter = parameters.Find(each => each.Name == place.Groups[1].Value);
            if (!place.Success || parameter.Name is null)
                throw new PtxException($"no parameter: {line}");
            var size = form.EndsWith("64", StringComparison.Ordinal) ? 8 : 4;
            var offset = place.Groups[2].Success ? int.Parse(place.Groups[2].Value, CultureInfo.InvariantCulture) : 0;
            if (offset + size > parameter.Bytes || offset % size != 0)
                throw new PtxException($"outside of the parameter: {line}");
            return new(form, guard, isNegated, [new(Register(arguments[0], OfSize(size), line), 0)], line)
            {
                Code = Code.LoadParameter,
                Offset = parameter.Offset + offset,
                Size = size,
            };
        }
        if (MemoryForm().Match(form) is { Success: true } memory)
            return BindMemory(form, memory, arguments, guard, isNegated, line);
        if (!Forms_.TryGetValue(form, out var known))
            throw new PtxException($"a form that is not known: {line}");
        if (arguments.Length != known.Operands.Length)
            throw new PtxException($"{known.Operands.Length} operands: {line}");
        var operands = new Operand[arguments.Length];
        for (var i = 0; i < operands.Length; i++)
            operands[i] = i == 0 ? new(Register(arguments[0], known.Operands[0], line), 0) : Source(arguments[i], known.Operands[i], line);
        var isOfWarp = known.Code is Code.Shuffle or Code.Exchange or Code.Vote;
        if (isOfWarp && (guard >= 0 || arguments[^1] != "-1" || known.Code != Code.Vote && arguments[3] != "31"))
            throw new PtxException($"values are exchanged by all threads of a warp: {line}");
        return new(form, guard, isNegated, operands, line) { Code = known.Code };
    }

    private Instruction BindMemory(string form, Match memory, string[] arguments, int guard, bool isNegated, string line)
    {
        var isLoad = memory.Groups[1].Value == "ld";
        var width = memory.Groups[2].Success ? int.Parse(memory.Groups[2].Value, CultureInfo.InvariantCulture) : 1;
        var size = memory.Groups[3].Value switch
        {
            "u8" => 1,
            "u16" => 2,
            "f32" or "u32" => 4,
            "u64" or "f64" => 8,
            _ => throw new PtxException(line),
        };
        if (size * width > 16)
            throw new PtxException($"more than 16 bytes: {line}");
        var place = AddressText().Match(arguments[isLoad ? 1 : 0]);
        if (!place.Success)
            throw new PtxException($"no address: {line}");
        var names = arguments[isLoad ? 0 : 1].Trim('{', '}').Split(", ");
        if (names.Length != width || arguments[isLoad ? 0 : 1].StartsWith('{') != (width > 1))
            throw new PtxException($"{width} registers: {line}");
        if (isLoad && names.Distinct().Count() != width)
            throw new PtxException($"a register twice: {line}");
        var operands = names.Select(name => new Operand(Register(name, OfSize(size), line), 0));
        return new(form, guard, isNegated, [new(Register(place.Groups[1].Value, Kind.Bits64, line), 0), .. operands], line)
        {
            Code = isLoad ? Code.Load : Code.Store,
            Offset = place.Groups[2].Success ? int.Parse(place.Groups[2].Value, CultureInfo.InvariantCulture) : 0,
            Size = size,
        };
    }

    private Operand Source(string text, Kind kind, string line)
    {
        if (text is "%tid.x" or "%ctaid.x")
            return kind == Kind.Bits32 ? new(text == "%tid.x" ? Special.Thread : Special.Block, 0) : throw new PtxException(line);
        if (text[0] == '%')
            return new(Register(text, kind, line), 0);
        if (kind is Kind.Predicate or Kind.Bits16)
            throw new PtxException($"a number in place of a register: {line}");
        var value = text.StartsWith("0x", StringComparison.Ordinal)
            ? ulong.Parse(text.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture)
            : unchecked((ulong)long.Parse(text, CultureInfo.InvariantCulture));
        if (kind == Kind.Bits32 && text.StartsWith("0x", StringComparison.Ordinal) && value > uint.MaxValue)
            throw new PtxException($"more than 32 bits: {line}");
        return Operand.Of(kind == Kind.Bits32 ? (uint)value : value);
    }

    private int Register(string name, Kind kind, string line)
    {
        if (!registers.TryGetValue(name, out var found))
            throw new PtxException($"{name} is not declared: {line}");
        return found.Kind == kind ? found.Place : throw new PtxException($"{name} is of {found.Kind}, not of {kind}: {line}");
    }

    private static Kind OfSize(int size) =>
        size switch
        {
            1 or 2 => Kind.Bits16,
            4 => Kind.Bits32,
            _ => Kind.Bits64,
        };

    private static Kind KindOf(string type) =>
        type switch
        {
            "pred" => Kind.Predicate,
            "b16" => Kind.Bits16,
            "b32" or "f32" => Kind.Bits32,
            "b64" or "f64" => Kind.Bits64,
            _ => throw new PtxException($"registers of {type}"),
        };

    [GeneratedRegex(@"^\.visible \.entry (\w+)\($")]
    private static partial Regex EntryLine();

    [GeneratedRegex(@"^\.maxntid (\d+), 1, 1$")]
    private static partial Regex ThreadsLine();

    [GeneratedRegex(@"^\.minnctapersm (\d+)$")]
    private static partial Regex BlocksLine();

    [GeneratedRegex(@"^\.param (?:\.align (8) )?\.(\w+) (\w+)(?:\[(\d+)\])?,?$")]
    private static partial Regex ParameterLine();

    [GeneratedRegex(@"^\.reg \.(\w+) (%\w)<(\d+)>;$")]
    private static partial Regex RegistersLine();

    [GeneratedRegex(@"^(\w+):$")]
    private static partial Regex LabelLine();

    [GeneratedRegex(@"^(?:@(!?)(%\w+) )?([\w.]+)(?: (.*))?;$")]
    private static partial Regex InstructionLine();

    [GeneratedRegex(@"\{[^}]*\}|\[[^\]]*\]|[^,\s]+")]
    private static partial Regex ArgumentText();

    [GeneratedRegex(@"^\[(\w+)(?:\+(\d+))?\]$")]
    private static partial Regex ParameterPlace();

    [GeneratedRegex(@"^\[(%\w+)(?:\+(\d+))?\]$")]
    private static partial Regex AddressText();

    [GeneratedRegex(@"^(ld|st)\.global(?:\.v([24]))?\.(\w+)$")]
    private static partial Regex MemoryForm();
}

/// <summary>The registers that no kernel declares.</summary>
internal static class Special
{
    public const int Thread = -2,
        Block = -3;
}
