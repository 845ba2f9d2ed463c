using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// Parameters with options of their own: <c>new ParameterGroup(parameters) { ["lr"] = 1e-4, Custom = { ["name"] = "head" } }</c>. An optimizer
/// makes its own group from it, and never changes the one that it was given; options of its groups are read and set by PyTorch's names.
/// Entries of schedulers can be set like options, as <c>["initial_lr"] = 0.1</c>, from which a scheduler goes on that is given a lastEpoch.
/// </summary>
public sealed partial class ParameterGroup : IParameterOrGroup
{
    /// <summary>What schedulers write into groups, and state dicts carry: known, but not options.</summary>
    private static readonly string[] schedulerKeys = ["initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum", "swa_lr"];

    private readonly OrderedDictionary<string, OptionValue> own = [];
    private readonly IParameter[] parameters;
    private readonly bool tellsParameters;
    private readonly TensorView[] data;
    private readonly Gradient[] gradients;
    private readonly Parameters list;
    private readonly Gradients given;

    /// <summary>A group for an optimizer's constructor or <see cref="Optimizer.AddParamGroup"/>.</summary>
    /// <exception cref="ArgumentException">A parameter is null.</exception>
    public ParameterGroup(IEnumerable<IParameter> parameters)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        RefuseSet(parameters);
        this.parameters = [.. parameters];
        if (this.parameters.Contains(null!))
            throw new ArgumentException("a parameter is null", nameof(parameters));
        tellsParameters = Array.Exists(this.parameters, parameter => parameter is not Param);
        data = Array.ConvertAll(this.parameters, parameter => parameter.Data);
        gradients = new Gradient[data.Length];
        var names = this.parameters.All(parameter => parameter.Name is null)
            ? []
            : this.parameters.Select(parameter => parameter.Name ?? "");
        list = Core.Parameters.Over(data, [.. names], ExecutorOf(this.parameters));
        given = Gradients.Over(gradients);
        Custom = new(this);
    }

    /// <summary>The optimizer's own group, from one that was given to it.</summary>
    internal ParameterGroup(ParameterGroup given, Algorithm algorithm, IOptimizerOptions defaults)
        : this(given.parameters)
    {
        (Algorithm, own, Extras) = (algorithm, new(given.own), new(given.Extras));
        foreach (var (key, value) in given.Custom)
            Custom[key] = value;
        Options = algorithm.Replace(defaults, own);
        Memory = GroupMemory.Of(algorithm, Options, list);
    }

    /// <summary>The same options for other parameters.</summary>
    internal ParameterGroup With(IEnumerable<IParameter> others)
    {
        var group = new ParameterGroup(others);
        foreach (var (option, value) in own)
            group.own[option] = value;
        foreach (var (key, value) in Extras)
            group.Extras[key] = value;
        foreach (var (key, value) in Custom)
            group.Custom[key] = value;
        return group;
    }

    /// <summary>The parameters, in order.</summary>
    public IReadOnlyList<IParameter> Parameters => parameters;

    /// <summary>The names of the options: those given, or inside of an optimizer all of them.</summary>
    public IEnumerable<string> OptionNames => Algorithm is null ? own.Keys : Algorithm.OptionNames;

    /// <summary>What the user keeps with the group beside its options: saved and loaded as PyTorch's further keys of a group.</summary>
    public CustomKeys Custom { get; }

    /// <summary>An option, by PyTorch's name, or an entry of schedulers, such as initial_lr.</summary>
    /// <exception cref="OptionException">There is none of that name, or the value is not allowed; nothing has changed then.</exception>
    public OptionValue this[string option]
    {
        get
        {
            ArgumentNullException.ThrowIfNull(option);
            return Algorithm?.Has(option) != true && Extras.TryGetValue(option, out var extra) ? extra
                : Algorithm is null ? own[option]
                : Algorithm.Read(OptionsNow, option);
        }
        set
        {
            ArgumentNullException.ThrowIfNull(option);
            ArgumentNullException.ThrowIfNull(value);
            if (IsSchedulerKey(option) && Algorithm?.Has(option) != true)
                Extras[option] =
                    value is OptionValue.Int or OptionValue.Float && double.IsFinite((double)value)
                        ? value
                        : throw new OptionException($"{option} is {value}; it must be a finite number", option);
            else if (Algorithm is null)
                own[option] = value;
            else
                Options = Algorithm.Replace(OptionsNow, option, value);
        }
    }

    /// <summary>What steps its parameters; null outside of an optimizer.</summary>
    public Algorithm? Algorithm { get; }

    /// <summary>The name of the part of an optimizer of several rules that it belongs to; null in others.</summary>
    internal string? Member { get; init; }

    /// <summary>The rule's record; only in an optimizer's own group.</summary>
    internal IOptimizerOptions Options
    {
        get;
        set
        {
            WriteRates(value);
            field = value;
        }
    } = null!;

    /// <summary>What the optimizer keeps for its parameters; only in an optimizer's own group.</summary>
    internal GroupMemory Memory
    {
        get
        {
            Settle?.Invoke();
            return field;
        }
        set;
    } = null!;

    /// <summary>Waits for a step of which it is not known yet if it was made; null when there is none.</summary>
    internal Action? Settle { get; set; }

    /// <summary>The state of its parameters, where the optimizer has a rule that keeps rows.</summary>
    internal State State
    {
        get => ((RowMemory)Memory).State;
        set => ((RowMemory)Memory).State = value;
    }

    /// <summary>Entries of schedulers.</summary>
    internal OrderedDictionary<string, OptionValue> Extras { get; set; } = [];

    /// <summary>What users keep beside the rule in the state of parameters, by row.</summary>
    internal Dictionary<int, ParameterState> Added { get; set; } = [];

    /// <summary>The options that the user gave, in the order given.</summary>
    internal IEnumerable<string> OwnOptions => own.Keys;

    internal Parameters List => list;

    internal Gradients Gradients => given;

    /// <summary>Refuses collections without an order.</summary>
    internal static void RefuseSet(object parameters)
    {
        if (
            parameters is IReadOnlySet<IParameterOrGroup> or IReadOnlySet<IParameter> or IReadOnlySet<Param> or IReadOnlySet<ParameterGroup>
        )
            throw new ArgumentException(
                "optimizer parameters need to be organized in ordered collections, but the ordering of a set can change between runs; use a list"
            );
    }

    internal ConstructorWrites ConstructorWrites { get; } = new();

    /// <summary>Its options with several values replaced, checked together; the group stays as it is.</summary>
    internal IOptimizerOptions Replaced(IEnumerable<KeyValuePair<string, OptionValue>> values) => Algorithm!.Replace(OptionsNow, values);

    internal static bool IsSchedulerKey(string key) => schedulerKeys.Contains(key);

    /// <summary>Whether all parameters have names (true), none (false), or some (an exception).</summary>
    internal bool IsNamed()
    {
        var named = parameters.Count(parameter => parameter.Name is not null);
        return named == 0 || named == parameters.Length
            ? named > 0
            : throw new ArgumentException(
                $"all optimizer params should be with/without names. Some param names are missing: {parameters.Length - named} of {parameters.Length}"
            );
    }

    /// <summary>The gradients, with the addresses of now; parameters are refreshed, too.</summary>
    internal Gradients Refresh()
    {
        for (var i = 0; i < parameters.Length; i++)
            parameters[i].Refresh(ref data[i], ref gradients[i]);
        return given;
    }

    /// <summary>The first half of a step: reads addresses, checks everything, writes to no tensor.</summary>
    internal PreparedStep Prepare() => Prepare(Refresh());

    /// <summary>The same by gradients that are not the parameters' own.</summary>
    internal PreparedStep Prepare(Gradients gradients) => ((Rule)Algorithm!).Prepare(Options, list, gradients, State);

    // One that steps whole tensors is asked for by name, and wherever it stands; the others are a matter of speed alone.
    private static Executor? ExecutorOf(IParameter[] parameters) =>
        parameters.Select(parameter => parameter.Executor).FirstOrDefault(executor => executor is TensorExecutor)
        ?? parameters.FirstOrDefault()?.Executor;

    /// <summary>Tells the parameters that moved.</summary>
    /// <param name="all">Those without a gradient, too.</param>
    internal void AfterStep(bool all = false)
    {
        if (!tellsParameters)
            return;
        for (var i = 0; i < parameters.Length; i++)
            if (all || gradients[i].Kind != GradientKind.Absent)
                parameters[i].AfterStep();
    }
}
