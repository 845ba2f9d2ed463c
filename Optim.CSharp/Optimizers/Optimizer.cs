using System.Text;
using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// The base of all optimizers, as torch.optim.Optimizer: groups of parameters with options, steps, hooks and state dicts
/// over an <see cref="Core.Algorithm"/>. Everything is checked before anything is written: a step or a load that throws has changed nothing.
/// One optimizer is not thread-safe; different ones may step at the same time.
/// </summary>
public abstract partial class Optimizer : IStateful
{
    private readonly List<ParameterGroup> groups = [];
    private readonly HashSet<object> identities = [];
    private readonly HashSet<string> names = new(StringComparer.Ordinal);
    private readonly IOptimizerOptions defaults;
    private PreparedStep[] prepared = [];
    private Gradients[] gradients = [];

    /// <summary>An optimizer with default options, for parameters or for groups of them.</summary>
    /// <exception cref="ArgumentException">
    /// No parameters; a parameter or a name twice; some with and some without names; a parameter of no floating point dtype.
    /// </exception>
    /// <exception cref="OptionException">An option is wrong.</exception>
    /// <exception cref="NotSupportedException">A dtype, device or layout without support.</exception>
    protected Optimizer(Algorithm algorithm, IOptimizerOptions options, IEnumerable<IParameterOrGroup> parameters)
        : this(algorithm, options)
    {
        foreach (var group in Groups(parameters))
            Add(group, Algorithm, defaults, member: null);
    }

    /// <summary>Without groups, which an optimizer of several rules adds itself.</summary>
    private protected Optimizer(Algorithm algorithm, IOptimizerOptions options)
    {
        ArgumentNullException.ThrowIfNull(algorithm);
        ArgumentNullException.ThrowIfNull(options);
        (Algorithm, defaults) = (algorithm, algorithm.Replace(options, []));
    }

    /// <summary>The groups that a constructor is given, or one of the parameters that it is given.</summary>
    private protected static IReadOnlyList<ParameterGroup> Groups(IEnumerable<IParameterOrGroup> parameters)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        ParameterGroup.RefuseSet(parameters);
        IParameterOrGroup[] given = [.. parameters];
        if (given.Length == 0)
            throw new ArgumentException("optimizer got an empty parameter list", nameof(parameters));
        if (given.All(item => item is IParameter))
            return [new(given.Cast<IParameter>())];
        return
        [
            .. given.Select(item =>
                item as ParameterGroup
                ?? throw new ArgumentException("parameters and groups are mixed; put the parameters into a group", nameof(parameters))
            ),
        ];
    }

    /// <summary>The algorithm; of an optimizer of several rules that of the first one.</summary>
    public Algorithm Algorithm { get; }

    /// <summary>The groups; add one by <see cref="AddParamGroup"/>.</summary>
    public IReadOnlyList<ParameterGroup> ParamGroups => groups;

    /// <summary>The options of groups that have none of their own, by PyTorch's names.</summary>
    public IReadOnlyDictionary<string, OptionValue> Defaults =>
        Algorithm.OptionNames.ToDictionary(name => name, name => Algorithm.Read(defaults, name));

    /// <summary>The rate of groups that have none of their own.</summary>
    internal double DefaultRate => (double)Algorithm.Read(defaults, "lr");

    /// <summary>Adds a group; its options are checked like the constructor's. The object that is given is not changed.</summary>
    /// <exception cref="ArgumentException">A parameter or a name is already there, or some have names and others have none.</exception>
    /// <exception cref="OptionException">An option is wrong or unknown.</exception>
    public virtual void AddParamGroup(ParameterGroup group)
    {
        ArgumentNullException.ThrowIfNull(group);
        Add(group, Algorithm, defaults, member: null);
    }

    /// <summary>Adds a group that an algorithm steps.</summary>
    private protected void Add(ParameterGroup group, Algorithm algorithm, IOptimizerOptions defaults, string? member)
    {
        Ranks?.RefuseGroup(group);
        if (groups.Count > 0 && !TakesGroups)
            throw new ArgumentException($"{Algorithm.Name} doesn't support per-parameter options (parameter groups): it takes one group");
        var named = group.IsNamed();
        if (groups.Count > 0 && group.Parameters.Count > 0 && identities.Count > 0 && named != names.Count > 0)
            throw new ArgumentException(
                $"all optimizer param groups should be with/without names. cannot add param group {(named ? "with" : "without")} names to the optimizer"
            );
        var newIdentities = new HashSet<object>();
        var newNames = new HashSet<string>(StringComparer.Ordinal);
        foreach (var parameter in group.Parameters)
        {
            if (identities.Contains(parameter.Identity))
                throw new ArgumentException($"some parameters appear in more than one parameter group: {Label(parameter)}");
            if (!newIdentities.Add(parameter.Identity))
                throw new ArgumentException($"a parameter appears more than once in a parameter group: {Label(parameter)}");
            if (parameter.Name is { } name && (names.Contains(name) || !newNames.Add(name)))
                throw new ArgumentException(
                    $"two parameters are called '{name}'; names must differ, since state is matched by name: "
                        + "NamedParameters(prefix: \"base\") sets those of a module apart"
                );
        }
        groups.Add(new(group, algorithm, defaults) { Member = member });
        identities.UnionWith(newIdentities);
        names.UnionWith(newNames);
        (prepared, gradients) = (new PreparedStep[groups.Count], new Gradients[groups.Count]);
    }

    /// <summary>Drops the gradients of all parameters, or fills them with zeros.</summary>
    /// <param name="setToNone">True: dropped, so that parameters without a new gradient are passed over. False: zeros, which count as gradients.</param>
    public void ZeroGrad(bool setToNone = true)
    {
        foreach (var group in groups)
        foreach (var parameter in group.Parameters)
            parameter.ZeroGradient(setToNone);
    }

    /// <summary>The options of each group, as PyTorch prints them.</summary>
    public override string ToString()
    {
        var text = new StringBuilder(Title).Append(" (");
        for (var i = 0; i < groups.Count; i++)
        {
            var member = groups[i].Member is { } name ? $" ({name}: {groups[i].Algorithm!.Name})" : "";
            text.Append('\n').Append(FormattableString.Invariant($"Parameter Group {i}{member}\n"));
            foreach (
                var (key, value) in StateDicts.Entries(groups[i].Algorithm!, groups[i]).OrderBy(entry => entry.Key, StringComparer.Ordinal)
            )
                text.Append(FormattableString.Invariant($"    {key}: {value}\n"));
        }
        return text.Append(')').ToString();
    }

    /// <summary>The other ranks that step the same parameters; null for none.</summary>
    internal IRanks? Ranks { get; set; }

    /// <summary>What the text begins with.</summary>
    private protected virtual string Title => Algorithm.Name;

    internal bool HasWarnedOfOrder { get; set; }

    /// <summary>For each group the saved group whose options the last load gave it, or null for none; empty before the first load.</summary>
    internal int?[] GroupOrigins { get; private protected set; } = [];

    internal static string Label(IParameter parameter) =>
        parameter.Name is null ? $"a parameter without a name, {parameter.Data.Layout}" : $"parameter '{parameter.Name}'";

    private (ParameterGroup Group, int Row) Place(IParameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        foreach (var group in groups)
            for (var row = 0; row < group.Parameters.Count; row++)
                if (group.Parameters[row].Identity.Equals(parameter.Identity))
                    return (group, row);
        throw new ArgumentException($"the optimizer does not have {Label(parameter)}", nameof(parameter));
    }

    /// <summary>Whether there may be several groups.</summary>
    private protected virtual bool TakesGroups => true;
}
