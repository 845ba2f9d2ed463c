using Optim.Core;

namespace Optim;

/// <summary>Between state dicts and trees.</summary>
internal static class StateDictTrees
{
    public static Tree Write(StateDict dict) => dict.Members.Count > 0 ? WriteMembers(dict) : WriteOne(dict);

    private static Tree WriteMembers(StateDict dict) =>
        dict.State.Count > 0 || dict.ParamGroups.Count > 0
            ? throw new ArgumentException(
                "the state dict has members, and state or groups of its own beside them; a dict of several optimizers has members only"
            )
            : Dict([.. dict.Members.Select(member => (member.Key, Write(member.Value))), .. Accumulation(dict)]);

    private static IEnumerable<(string, Tree)> Accumulation(StateDict dict) =>
        dict.Accumulation.IsNone ? [] : [("accumulation", dict.Accumulation)];

    private static Tree WriteOne(StateDict dict) =>
        Dict([
            (
                "state",
                Map(
                    dict.State.Select(entry =>
                        KeyValuePair.Create((TreeKey)entry.Key, Dict(entry.Value.Select(slot => (slot.Key, slot.Value))))
                    )
                )
            ),
            ("param_groups", Tree.ListOf(dict.ParamGroups.Select(Write))),
            .. Accumulation(dict),
        ]);

    /// <summary>The group's own options, names, the other options, numbers: as PyTorch puts a group together.</summary>
    public static Tree Write(GroupState group)
    {
        var options = group.Select(option => (option.Key, (Tree)option.Value));
        var names = group.ParamNames is { } given
            ? [("param_names", Tree.ListOf(given.Select(name => (Tree)name)))]
            : Array.Empty<(string, Tree)>();
        return Dict([
            .. options.Take(group.OwnOptions),
            .. names,
            .. options.Skip(group.OwnOptions),
            ("params", Tree.ListOf(group.Params.Select(id => (Tree)id))),
        ]);
    }

    public static StateDict Read(Tree tree)
    {
        var root = MapAt(tree, "the state dict");
        var dict = new StateDict { Accumulation = root.TryGetValue("accumulation", out var added) ? added : Tree.None };
        if (HasMembers(root))
        {
            foreach (var (key, value) in root.Entries)
                if (Name(key, "the state dict") is not "accumulation" and var name)
                    try
                    {
                        dict.Members[name] = Read(value);
                    }
                    catch (ArgumentException error)
                    {
                        throw new ArgumentException($"'{name}': {error.Message}", error);
                    }
            return dict;
        }
        foreach (var (key, value) in MapAt(Entry(root, "state"), "state").Entries)
        {
            var where = $"state[{key}]";
            if (key is not { IsInt: true, number: >= 0 and <= int.MaxValue })
                throw new ArgumentException($"the loaded state dict has the key {key} in state; keys must be numbers of parameters");
            var state = new ParameterState();
            foreach (var (slot, content) in MapAt(value, where).Entries)
                state[Name(slot, where)] = content;
            dict.State[(int)key.number] = state;
        }
        var groups = Entry(root, "param_groups");
        foreach (var (group, i) in ItemsAt(groups, "param_groups").Select((group, i) => (group, i)))
            dict.ParamGroups.Add(ReadGroup(MapAt(group, $"param_groups[{i}]"), FormattableString.Invariant($"param_groups[{i}]")));
        return dict;
    }

    /// <summary>Whether it is a dict of state dicts.</summary>
    private static bool HasMembers(TreeMap root) =>
        !root.ContainsKey("state")
        && !root.ContainsKey("param_groups")
        && root.Entries.Any(entry => entry.Value is Tree.Map { Item: var member } && member.ContainsKey("param_groups"));

    private static GroupState ReadGroup(TreeMap map, string where)
    {
        var keys = map.Keys.Select(key => Name(key, where)).ToList();
        var group = new GroupState { OwnOptions = Math.Max(0, keys.IndexOf("param_names")) };
        if (!map.ContainsKey("params"))
            throw new ArgumentException($"{where} of the loaded state dict has no 'params'");
        foreach (var key in keys)
            try
            {
                var value = map[key];
                if (key == "params")
                    group.Params.AddRange(value.AsItems().Select(id => (int)id));
                else if (key == "param_names")
                    group.ParamNames = value.Kind == TreeKind.None ? null : [.. value.AsItems().Select(name => (string?)name ?? "")];
                else
                    group[key] = (OptionValue)value;
            }
            catch (InvalidCastException error)
            {
                throw new ArgumentException($"'{key}' in {where} of the loaded state dict: {error.Message}", error);
            }
        return group;
    }

    private static Tree Entry(TreeMap map, string key) =>
        map.TryGetValue(key, out var value)
            ? value
            : throw new ArgumentException(
                $"the loaded state dict has no '{key}'; an optimizer's has 'state' and 'param_groups', and this one: {string.Join(", ", map.Keys.Take(20))}"
            );

    private static TreeMap MapAt(Tree tree, string where) =>
        tree is Tree.Map map
            ? map.Item
            : throw new ArgumentException($"{where} of the loaded state dict must be a dict; it is {tree.Described}");

    private static IEnumerable<Tree> ItemsAt(Tree tree, string where) =>
        tree is Tree.List list
            ? list.Item
            : throw new ArgumentException($"{where} of the loaded state dict must be a list; it is {tree.Described}");

    private static string Name(TreeKey key, string where) =>
        key.IsText ? key.text : throw new ArgumentException($"{where} of the loaded state dict has the key {key}; it must be a text");

    private static Tree Map(IEnumerable<KeyValuePair<TreeKey, Tree>> entries) => Tree.MapOf(MapKind.Dict, entries);

    private static Tree Dict(IEnumerable<(string, Tree)> entries) => Tree.Dict([.. entries]);
}
