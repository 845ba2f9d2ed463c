using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// The state of one parameter by PyTorch's names: tensors, of which <c>step</c> is a single number, and whatever else a rule or its
/// user keeps: numbers, texts, lists. <c>state["exp_avg"].AsTensor()</c> is a tensor where it lies. Narrow state (<see cref="StateStorage"/>) has
/// <c>exp_avg.codes</c>, <c>exp_avg.scales</c> and <c>exp_avg.map</c>, the name of their map; <see cref="Optimizer.StateDict(bool)"/> can widen them.
/// </summary>
public sealed class ParameterState : OrderedDictionary<string, Tree>
{
    /// <summary>A copy that shares nothing with this one.</summary>
    public ParameterState Clone()
    {
        var clone = new ParameterState();
        foreach (var (name, value) in this)
            clone[name] = value.Copy();
        return clone;
    }

    /// <summary>The entries; of tensors dtype, shape and the first numbers.</summary>
    public override string ToString() =>
        "{"
        + string.Join(
            ", ",
            this.Select(entry => $"'{entry.Key}': {(entry.Value.IsTensor ? entry.Value.AsTensor().ToString() : entry.Value.ToString())}")
        )
        + "}";

    /// <summary>The same with the numbers of narrow state, as float32 under PyTorch's keys.</summary>
    internal ParameterState Widen(Rule rule)
    {
        var widened = new ParameterState();
        foreach (var (key, value) in NarrowTrees.widened(rule, "a parameter", [], this))
            if (key != NarrowTrees.Step)
                widened[key] = value;
        return widened;
    }

    /// <summary>What lies on other devices, as copies in the memory of the processor.</summary>
    internal ParameterState ToHost()
    {
        foreach (var (name, value) in this.Where(entry => entry.Value.IsTensor).ToArray())
            if (value.AsTensor() is var tensor && !tensor.Layout.IsOnCpu)
                this[name] = tensor.ToHost();
        return this;
    }

    /// <summary>What an optimizer keeps of a parameter, and what its user keeps beside.</summary>
    internal static ParameterState Of(ParameterGroup group, int row)
    {
        var found = group.Memory.Entries(row);
        if (group.Added.TryGetValue(row, out var added))
            foreach (var (name, value) in added)
                found[name] = value;
        return found;
    }

    /// <summary>A row of a rule's state.</summary>
    internal static ParameterState Of(Rule rule, State state, int row)
    {
        var found = new ParameterState();
        foreach (var column in state.Columns)
            if (column[row].IsAbsent)
                continue;
            else if (column.IsNarrow(row))
                foreach (var (key, value) in NarrowTrees.entries(column, row))
                    found[key] = value;
            else
                found[column.Name] = column[row];
        var steps = state.Count(row);
        // Rounding goes by the step, of which PyTorch keeps no count for such a rule.
        if (!rule.KeepsStep && state.Columns.Any(column => column.IsNarrow(row)))
            found[NarrowTrees.Step] = Tree.NewInt(steps);
        if (steps > 0)
            foreach (var (name, i) in state.ScalarNames.Select((name, i) => (name, i)))
                found.Insert(i, name, TensorView.Of<double>([state.Scalar(name, row)], []));
        if (rule.KeepsStep && (steps > 0 || found.Count > 0))
            found.Insert(0, "step", rule.StepsAreWhole ? Tree.NewInt(steps) : Counting.toTree(steps));
        return found;
    }
}
