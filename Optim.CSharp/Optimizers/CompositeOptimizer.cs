using Optim.Core;

namespace Optim;

/// <summary>
/// One optimizer of several rules, each for parameters of its own, as Muon for matrices with AdamW beside it:
/// <code>
/// var (matrices, others) = ForMuon.Split(parameters);
/// var optimizer = new CompositeOptimizer(
///     ("matrices", Rules.Muon, matrices, [("lr", 0.02)]),
///     ("rest", Rules.AdamW, others, [("lr", 1e-3), ("weight_decay", 0.1)]));
/// </code>
/// It is stepped, scheduled, attached to, saved and hooked into as any other: one norm clips all gradients, one scaler skips the whole step, a schedule
/// has one shape and each group its own base rate. Everything is checked before anything is written: where one member cannot step, none moves.
/// </summary>
/// <remarks>
/// The groups are those of all members in order, and <see cref="MemberOf"/> says whose a group is. A state dict holds one for each member under its name
/// (<see cref="StateDict.Members"/>), which PyTorch loads into an optimizer of that rule. <see cref="Optimizer.Algorithm"/> and
/// <see cref="Optimizer.Defaults"/> are those of the first member: schedules that compare with the optimizer's lr go by it.
/// </remarks>
public sealed class CompositeOptimizer : Optimizer
{
    private readonly OrderedDictionary<string, (Rule Rule, IOptimizerOptions Defaults)> members = [];

    /// <summary>Of these members.</summary>
    /// <exception cref="ArgumentException">There are none; two have one name; a parameter is in two; a member has no parameters.</exception>
    /// <exception cref="OptionException">An option is wrong; the message names the member.</exception>
    public CompositeOptimizer(params CompositeMember[] members)
        : this(Checked(members), isChecked: true) { }

    /// <summary>Of these members, which must have all of these parameters.</summary>
    /// <exception cref="ArgumentException">A parameter is in no member, or as without them.</exception>
    /// <exception cref="OptionException">An option is wrong; the message names the member.</exception>
    public CompositeOptimizer(IEnumerable<IParameter> parameters, params CompositeMember[] members)
        : this(Complete(parameters, Checked(members)), isChecked: true) { }

    private CompositeOptimizer(CompositeMember[] members, bool isChecked)
        : base(members[0].Rule, OptionsOf(members[0]))
    {
        foreach (var member in members)
        {
            var defaults = OptionsOf(member);
            this.members.Add(member.Name, (member.Rule, defaults));
            foreach (var group in Groups(member.Parameters))
                try
                {
                    Add(group, member.Rule, defaults, member.Name);
                }
                catch (OptionException error)
                {
                    throw Named(member.Name, error);
                }
        }
    }

    /// <summary>The names of the members, in order.</summary>
    public IReadOnlyList<string> Names => [.. members.Keys];

    /// <summary>The rule of a member.</summary>
    /// <exception cref="ArgumentException">There is no member of that name; the message says which there are.</exception>
    public Rule RuleOf(string member) => Member(member).Rule;

    /// <summary>The groups of a member.</summary>
    /// <exception cref="ArgumentException">There is no member of that name; the message says which there are.</exception>
    public IReadOnlyList<ParameterGroup> GroupsOf(string member)
    {
        Member(member);
        return [.. ParamGroups.Where(group => group.Member == member)];
    }

    /// <summary>The name of the member that a group belongs to.</summary>
    /// <exception cref="ArgumentException">It is no group of this optimizer.</exception>
    public string MemberOf(ParameterGroup group)
    {
        ArgumentNullException.ThrowIfNull(group);
        return ParamGroups.Contains(group)
            ? group.Member!
            : throw new ArgumentException("it is no group of this optimizer; its groups are ParamGroups", nameof(group));
    }

    /// <summary>Adds a group to a member; its options are checked like the constructor's.</summary>
    /// <exception cref="ArgumentException">There is no such member, or a parameter or a name is already there.</exception>
    /// <exception cref="OptionException">An option is wrong or unknown.</exception>
    public void AddParamGroup(string member, ParameterGroup group)
    {
        var (rule, defaults) = Member(member);
        ArgumentNullException.ThrowIfNull(group);
        Add(group, rule, defaults, member);
    }

    /// <summary>Refused: a group needs a member, <c>AddParamGroup("rest", group)</c>.</summary>
    /// <exception cref="InvalidOperationException">Always.</exception>
    public override void AddParamGroup(ParameterGroup group)
    {
        ArgumentNullException.ThrowIfNull(group);
        throw new InvalidOperationException(
            $"the optimizer has several rules; say whose the group is: AddParamGroup(\"{Names[^1]}\", group). There are: {string.Join(", ", Names)}"
        );
    }

    private protected override string Title =>
        $"CompositeOptimizer ({string.Join(", ", members.Select(member => $"{member.Key}: {member.Value.Rule.Name}"))})";

    private protected override StateDict WriteState(bool widen)
    {
        var dict = new StateDict();
        foreach (var (name, (rule, _)) in members)
            dict.Members[name] = StateDicts.Write(rule, GroupsOf(name), widen);
        return dict;
    }

    private protected override PreparedLoad PrepareState(StateDict dict, bool strict, MatchBy matchBy)
    {
        Match(dict, strict);
        var source = new int?[ParamGroups.Sum(group => group.Parameters.Count)];
        var origins = new int?[ParamGroups.Count];
        var loads = new List<PreparedLoad>();
        var (firstSaved, firstSavedGroup) = (0, 0);
        foreach (var (name, (rule, _)) in members)
        {
            if (!dict.Members.TryGetValue(name, out var saved))
                continue;
            var groups = GroupsOf(name);
            var (offset, groupOffset) = (firstSaved, firstSavedGroup);
            try
            {
                loads.Add(
                    StateDicts.Prepare(
                        rule,
                        groups,
                        rows => Place(groups, rows, offset, source),
                        saved,
                        strict,
                        matchBy,
                        found => Place(groups, found, groupOffset, origins)
                    )
                );
            }
            catch (OptionException error)
            {
                throw Named(name, error);
            }
            catch (ArgumentException error)
            {
                throw new ArgumentException($"{name}: {error.Message}", error);
            }
            firstSaved += saved.ParamGroups.Sum(group => group.Params.Count);
            firstSavedGroup += saved.ParamGroups.Count;
        }
        var accumulation = LoadAccumulation(dict.Accumulation, source);
        var before = ParamGroups.Select(group => group.Memory.Stamp).ToList();
        var unknown = dict.Members.Keys.Where(name => !members.ContainsKey(name)).Select(name => $"member '{name}'");
        var report = loads.Select(load => load.Report).Aggregate(LoadReport.Empty, Together);
        return new(
            report with
            {
                Unexpected = [.. report.Unexpected, .. unknown],
            },
            () =>
            {
                // All of them are checked before the first one is taken over.
                StateDicts.RefuseLate(ParamGroups, source, before);
                loads.ForEach(load => load.Commit());
                accumulation();
                GroupOrigins = origins;
            }
        );
    }

    /// <summary>Puts what a member has for each of its parameters to the place that these have in the optimizer.</summary>
    private Action Place(IReadOnlyList<ParameterGroup> groups, IReadOnlyList<int?> rows, int offset, int?[] source)
    {
        var (at, row) = (0, 0);
        foreach (var group in ParamGroups)
        {
            var isOurs = groups.Contains(group);
            for (var i = 0; i < group.Parameters.Count; i++, at++)
                if (isOurs)
                    source[at] = rows[row++] + offset;
        }
        return () => { };
    }

    /// <summary>The same for each of its groups.</summary>
    private void Place(IReadOnlyList<ParameterGroup> groups, int?[] found, int offset, int?[] origins)
    {
        for (var (i, own) = (0, 0); i < ParamGroups.Count; i++)
            if (groups.Contains(ParamGroups[i]))
                origins[i] = found[own++] + offset;
    }

    private static LoadReport Together(LoadReport a, LoadReport b) =>
        new(
            [.. a.Matched, .. b.Matched],
            [.. a.Missing, .. b.Missing],
            [.. a.Unexpected, .. b.Unexpected],
            [.. a.Converted, .. b.Converted]
        )
        {
            Groups = [.. a.Groups, .. b.Groups.Select(group => group with { Group = a.Groups.Count + group.Group })],
        };

    private void Match(StateDict dict, bool strict)
    {
        var (own, saved) = (string.Join(", ", Names), string.Join(", ", dict.Members.Keys));
        if (dict.Members.Count == 0)
            throw new ArgumentException(
                $"the loaded state dict is that of one optimizer; this one needs one for each of its members: {own}. Load it into a CompositeOptimizer of one member, or put it into Members under its name"
            );
        if (strict && !members.Keys.ToHashSet(StringComparer.Ordinal).SetEquals(dict.Members.Keys))
            throw new ArgumentException(
                $"the loaded state dict has the members {saved}, and the optimizer {own}; they must be the same. strict: false loads those that both have"
            );
    }

    private (Rule Rule, IOptimizerOptions Defaults) Member(string member)
    {
        ArgumentNullException.ThrowIfNull(member);
        return members.TryGetValue(member, out var found)
            ? found
            : throw new ArgumentException(
                $"there is no member '{member}'{Core.Names.didYouMean(member, members.Keys)} There are: {string.Join(", ", Names)}",
                nameof(member)
            );
    }

    private static IOptimizerOptions OptionsOf(CompositeMember member)
    {
        try
        {
            return member.Rule.Replace(
                member.Rule.Defaults,
                member.Options.Select(option => KeyValuePair.Create(option.Option, option.Value))
            );
        }
        catch (OptionException error)
        {
            throw Named(member.Name, error);
        }
    }

    private static OptionException Named(string member, OptionException error) => new($"{member}: {error.Message}", error.Option);

    /// <summary>Members whose names and parameters do not overlap.</summary>
    private static CompositeMember[] Checked(CompositeMember[] members)
    {
        ArgumentNullException.ThrowIfNull(members);
        if (members.Length == 0)
            throw new ArgumentException("an optimizer of several rules needs at least one member", nameof(members));
        if (members.Contains(null!))
            throw new ArgumentException("a member is null", nameof(members));
        if (members.GroupBy(member => member.Name, StringComparer.Ordinal).FirstOrDefault(same => same.Skip(1).Any()) is { } twice)
            throw new ArgumentException(
                $"two members are called '{twice.Key}'; names must differ, since state is saved by them",
                nameof(members)
            );
        var owners = new Dictionary<object, string>();
        foreach (var member in members)
        foreach (var parameter in ParametersOf(member))
            if (!owners.TryAdd(parameter.Identity, member.Name) && owners[parameter.Identity] != member.Name)
                throw new ArgumentException(
                    $"{Label(parameter)} is in the members '{owners[parameter.Identity]}' and '{member.Name}'; it must be in one",
                    nameof(members)
                );
        return [.. members];
    }

    /// <summary>Members that have all of these parameters.</summary>
    private static CompositeMember[] Complete(IEnumerable<IParameter> parameters, CompositeMember[] members)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        IParameter[] all = [.. parameters];
        if (all.Contains(null!))
            throw new ArgumentException("a parameter is null", nameof(parameters));
        var owned = members.SelectMany(ParametersOf).Select(parameter => parameter.Identity).ToHashSet();
        var left = all.Where(parameter => !owned.Contains(parameter.Identity)).ToList();
        return left.Count == 0
            ? members
            : throw new ArgumentException(
                $"these are in no member: {LoadReport.List(left.ConvertAll(Label))}; each must be in one of {string.Join(", ", members.Select(member => member.Name))}",
                nameof(parameters)
            );
    }

    private static IEnumerable<IParameter> ParametersOf(CompositeMember member) =>
        member.Parameters.SelectMany(item =>
            item switch
            {
                IParameter parameter => [parameter],
                ParameterGroup group => group.Parameters,
                _ => throw new ArgumentException($"{member.Name}: a parameter is null", nameof(member)),
            }
        );
}
