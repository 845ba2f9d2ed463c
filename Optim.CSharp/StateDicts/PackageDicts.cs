using Optim.Core;

namespace Optim;

/// <summary>
/// State dicts of packages beside torch.optim (pytorch_optimizer, timm), which keep in a parameter group what is kept here for each parameter: the step, and
/// numbers of the whole run.
/// </summary>
internal static class PackageDicts
{
    /// <summary>How a step is run there, and directions of it: nothing that a rule needs to know while they are off.</summary>
    private static readonly string[] switches = ["foreach", "fused", "capturable", "differentiable", "maximize"];

    /// <summary>Rules whose step in a group is ahead of the steps taken.</summary>
    private static readonly string[] ahead = ["Prodigy"];

    /// <summary>Options of bitsandbytes that only AdEMAMix goes by; off in other groups.</summary>
    private static readonly string[] bitsAndBytes = ["alpha", "t_alpha", "t_beta3"];

    /// <summary>The dict as torch.optim would have it: the same one where no group is of that kind.</summary>
    public static StateDict Adapted(Algorithm algorithm, StateDict dict)
    {
        if (algorithm is Rule quantized && dict.State.Values.Any(state => state.ContainsKey("qmap1")))
            dict = WithoutQuantizers(quantized, dict);
        if (algorithm is not Rule rule || !dict.ParamGroups.Any(group => group.Any(entry => IsForeign(rule, entry.Key, entry.Value))))
            return dict;
        var adapted = dict.ShallowCopy();
        for (var i = 0; i < dict.ParamGroups.Count; i++)
        {
            var (group, saved) = (dict.ParamGroups[i].Clone(), dict.ParamGroups[i]);
            foreach (var (key, value) in saved)
                if (IsForeign(rule, key, value))
                {
                    // A number of the run may be called as the option that it begins at.
                    if (!rule.Has(key))
                        group.Remove(key);
                    foreach (var id in saved.Params)
                        if (!adapted.State.TryGetValue(id, out var state) ? rule.ColumnNames.IsEmpty : !state.ContainsKey(key))
                            Take(rule, adapted.State, id, key, value);
                }
            adapted.ParamGroups[i] = group;
        }
        return adapted;
    }

    /// <summary>bitsandbytes gives all its optimizers the same options; of SGD's betas the first is the momentum.</summary>
    private static StateDict WithoutQuantizers(Rule rule, StateDict dict)
    {
        var adapted = dict.ShallowCopy();
        for (var i = 0; i < dict.ParamGroups.Count; i++)
        {
            var group = dict.ParamGroups[i].Clone();
            if (rule.Has("momentum") && !group.ContainsKey("momentum") && group.TryGetValue("betas", out var betas))
                if (betas is OptionValue.Tuple { Item: [var momentum, ..] })
                    group["momentum"] = momentum;
            foreach (var key in (string[])["betas", "eps", "weight_decay"])
                if (!rule.Has(key))
                    group.Remove(key);
            adapted.ParamGroups[i] = group;
        }
        return adapted;
    }

    private static bool IsForeign(Rule rule, string key, OptionValue value) =>
        rule.ScalarNames.Contains(key) && Number(value) is not null
        || !rule.Has(key)
            && (
                key == "step" && Number(value) is not null
                || switches.Contains(key) && (value.IsNone || value.Equals(OptionValue.NewBool(false)))
                || bitsAndBytes.Contains(key) && (value.IsNone || Number(value) == 0)
            );

    private static void Take(Rule rule, IDictionary<int, ParameterState> states, int id, string key, OptionValue value)
    {
        if (Number(value) is not { } number || key == "step" && !rule.KeepsStep)
            return;
        var state = states.TryGetValue(id, out var known) ? known.Clone() : [];
        if (key == "step")
            state.Insert(0, key, Counting.toTree((long)number - (ahead.Contains(rule.Name) ? 1 : 0)));
        else
            state[key] = number;
        states[id] = state;
    }

    private static double? Number(OptionValue value) =>
        value switch
        {
            OptionValue.Int whole => whole.Item,
            OptionValue.Float real => real.Item,
            _ => null,
        };
}
