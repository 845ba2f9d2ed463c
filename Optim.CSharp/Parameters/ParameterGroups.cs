using System.Collections;
using System.Text;
using Optim.Core;

namespace Optim;

/// <summary>
/// Groups of a model's parameters by rules over names, shapes and modules, for the constructor of any optimizer:
/// <code>
/// var groups = ParameterGroups.For(model.NamedParameters())
///     .NoDecay("bias", "norm")
///     .Where("head.*", ("lr", 1e-2))
///     .LayerDecay(0.75);
/// var optimizer = new AdamW(groups, lr: 1e-3, weightDecay: 0.05);
/// Console.WriteLine(groups);
/// </code>
/// Immutable: each method gives new groups. The text is a table of what went where, and by which rule.
/// </summary>
/// <remarks>
/// Patterns with <c>*</c>, <c>?</c> or <c>[..]</c> are globs over the whole name, as in <c>*.bias</c>; other texts are found anywhere in a name. A pattern, a
/// dimension or a type of module that matches nothing is refused. So is a parameter that rules of different outcomes match, unless an order is
/// given: <see cref="FirstWins"/> or <see cref="LastWins"/> decide, option by option. Groups stand in the order of the rules, and what no rule matches
/// comes last; with layer decay they stand in the order of their first parameters, as in timm.
/// </remarks>
public sealed class ParameterGroups : IReadOnlyList<ParameterGroup>
{
    private readonly IParameter[] parameters;
    private readonly GroupRule[] rules;
    private readonly GroupPrecedence precedence;
    private readonly GroupLayers? layers;
    private readonly Lazy<GroupTable> table;

    private ParameterGroups(IParameter[] parameters, GroupRule[] rules, GroupPrecedence precedence, GroupLayers? layers)
    {
        (this.parameters, this.rules, this.precedence, this.layers) = (parameters, rules, precedence, layers);
        table = new(() => GroupTable.Of(parameters, rules, precedence, layers));
    }

    /// <summary>Of parameters, which are one group until there are rules.</summary>
    /// <exception cref="ArgumentException">There are none, or one is null or there twice.</exception>
    public static ParameterGroups For(IEnumerable<IParameter> parameters)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        ParameterGroup.RefuseSet(parameters);
        IParameter[] given = [.. parameters];
        if (given.Length == 0)
            throw new ArgumentException("there are no parameters to group", nameof(parameters));
        if (given.Contains(null!))
            throw new ArgumentException("a parameter is null", nameof(parameters));
        if (given.GroupBy(parameter => parameter.Identity).FirstOrDefault(same => same.Skip(1).Any()) is { } twice)
            throw new ArgumentException($"a parameter appears more than once: {Optimizer.Label(twice.First())}", nameof(parameters));
        return new(given, [], GroupPrecedence.Refuse, null);
    }

    /// <summary>weight_decay 0 for the names that one of the patterns matches.</summary>
    /// <exception cref="ArgumentException">There is no pattern, or one matches no name; the message shows the names.</exception>
    public ParameterGroups NoDecay(params string[] patterns) => With(GroupRule.OfPatterns(parameters, patterns, NoWeightDecay));

    /// <summary>weight_decay 0 for what has one dimension or none, and for names that end in .bias: biases, and scales of normalizations. There need be none.</summary>
    public ParameterGroups NoDecayForVectors() =>
        With(
            new GroupRule(
                "vectors and *.bias",
                parameter =>
                    IsVector(parameter) || parameter.Name?.EndsWith(".bias", StringComparison.Ordinal) == true
                        ? "vectors and *.bias"
                        : null,
                NoWeightDecay
            )
        );

    /// <summary>Options, or custom keys such as lr_scale, for the names that a pattern matches.</summary>
    /// <exception cref="ArgumentException">The pattern matches no name; the message shows the names.</exception>
    public ParameterGroups Where(string pattern, params (string Option, OptionValue Value)[] options) =>
        With(GroupRule.OfPatterns(parameters, [pattern], options));

    /// <summary>The same for the parameters of which a function says so.</summary>
    /// <param name="which">Whether a parameter belongs to it.</param>
    /// <param name="says">What the table calls it.</param>
    /// <param name="options">The options.</param>
    public ParameterGroups Where(Func<IParameter, bool> which, string says, params (string Option, OptionValue Value)[] options)
    {
        ArgumentNullException.ThrowIfNull(which);
        ArgumentException.ThrowIfNullOrEmpty(says);
        return With(new GroupRule(says, parameter => which(parameter) ? says : null, options));
    }

    /// <summary>The same for parameters of so many dimensions.</summary>
    /// <exception cref="ArgumentException">There are none; the message says which dimensions there are.</exception>
    public ParameterGroups WhereDimensions(int dimensions, params (string Option, OptionValue Value)[] options)
    {
        var says = FormattableString.Invariant($"{dimensions} dimensions");
        if (!Array.Exists(parameters, parameter => parameter.Data.Shape.Length == dimensions))
            throw new ArgumentException(
                FormattableString.Invariant(
                    $"no parameter has {dimensions} dimensions; there are parameters of {string.Join(", ", parameters.Select(parameter => parameter.Data.Shape.Length).Distinct().Order())}"
                ),
                nameof(dimensions)
            );
        return With(new GroupRule(says, parameter => parameter.Data.Shape.Length == dimensions ? says : null, options));
    }

    /// <summary>The same for parameters that modules of a type have as their own: <c>WhereModule&lt;Embedding&gt;(("lr", 1e-4))</c>.</summary>
    /// <exception cref="ArgumentException">There are none; the message says of which modules there are.</exception>
    public ParameterGroups WhereModule<M>(params (string Option, OptionValue Value)[] options) => WhereModule(typeof(M), options);

    /// <inheritdoc cref="WhereModule{M}"/>
    public ParameterGroups WhereModule(Type module, params (string Option, OptionValue Value)[] options)
    {
        ArgumentNullException.ThrowIfNull(module);
        var says = $"module {module.Name}";
        bool Has(IParameter parameter) => parameter.ModuleTypes.Any(module.IsAssignableFrom);
        if (!Array.Exists(parameters, Has))
            throw new ArgumentException(
                $"no parameter belongs to a module of type {module.Name}; there are those of {LoadReport.List([.. parameters.SelectMany(parameter => parameter.ModuleTypes).Select(type => type.Name).Distinct().Order(StringComparer.Ordinal).DefaultIfEmpty("no modules")])}",
                nameof(module)
            );
        return With(new GroupRule(says, parameter => Has(parameter) ? says : null, options));
    }

    /// <summary>
    /// The rate of a layer is that of the last one times decay for each layer in between (as in BEiT, arXiv 2106.08254, and timm): a custom key
    /// lr_scale = max(minScale, decay^(last - layer)), which schedulers respect. Without a scheduler rates are not scaled.
    /// </summary>
    /// <param name="decay">The factor from a layer to the one before it, in (0, 1].</param>
    /// <param name="layerOf">The layer of a name, from 0 at the input; null for <see cref="LayerOrder.Of"/>.</param>
    /// <param name="minScale">The least factor, in [0, 1].</param>
    /// <param name="leaveOutBelow">Parameters whose factor is below it are left out of all groups, and so do not move; null for none.</param>
    /// <exception cref="OptionException">A number is outside of its range.</exception>
    /// <exception cref="ArgumentException">A parameter has no name, a layer is below 0, or layers cannot be told from the names.</exception>
    public ParameterGroups LayerDecay(double decay, Func<string, int>? layerOf = null, double minScale = 0, double? leaveOutBelow = null) =>
        new(parameters, rules, precedence, GroupLayers.Of(parameters, decay, layerOf, minScale, leaveOutBelow));

    /// <summary>Of several rules that match a parameter, the first one that sets an option counts for it.</summary>
    public ParameterGroups FirstWins() => new(parameters, rules, GroupPrecedence.First, layers);

    /// <summary>Of several rules that match a parameter, the last one that sets an option counts for it.</summary>
    public ParameterGroups LastWins() => new(parameters, rules, GroupPrecedence.Last, layers);

    /// <summary>How many groups there are.</summary>
    /// <exception cref="ArgumentException">Rules of different outcomes match a parameter, and no order is given.</exception>
    public int Count => table.Value.Groups.Count;

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">Rules of different outcomes match a parameter, and no order is given.</exception>
    public ParameterGroup this[int index] => table.Value.Groups[index];

    /// <inheritdoc/>
    public IEnumerator<ParameterGroup> GetEnumerator() => table.Value.Groups.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>A table: each parameter with its shape, its group, what is set for it, and by which rule.</summary>
    public override string ToString() => table.Value.ToString();

    private static readonly (string, OptionValue)[] NoWeightDecay = [("weight_decay", 0.0)];

    private static bool IsVector(IParameter parameter) => parameter.Data.Shape.Length <= 1;

    private ParameterGroups With(GroupRule rule) => new(parameters, [.. rules, rule], precedence, layers);
}
