using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// The state of one parameter by PyTorch's names: tensors, of which <c>step</c> is a single number, and whatever else a rule or its
/// user keeps: numbers, texts, lists. <c>state["exp_avg"].AsTensor()</c> is a tensor where it lies.
/// </summary>
public sealed class ParameterState : OrderedDictionary<string, Tree>
{
    /// <summary>Steps that a float32 can count, as PyTorch does; beyond it is a float64.</summary>
    private const long MostFloat32Steps = 1 << 24;

    /// <summary>A copy that shares nothing with this one.</summary>
    public ParameterState Clone()
    {
        var clone = new ParameterState();
        foreach (var (name, value) in this)
            clone[name] = value.Copy();
        return clone;
    }

    /// <summary>What lies on other devices, as copies in the memory of the processor.</summary>
    internal ParameterState ToHost()
    {
        foreach (var (name, value) in this.Where(entry => entry.Value.IsTensor).ToArray())
            if (value.AsTensor() is var tensor && !tensor.Layout.IsOnCpu)
                this[name] = tensor.ToHost();
        return this;
    }

    internal static ParameterState Of(Rule rule, ParameterGroup group, int row)
    {
        var found = new ParameterState();
        foreach (var column in group.State.Columns)
            if (!column[row].IsAbsent)
                found[column.Name] = column[row];
        var steps = group.State.Count(row);
        if (steps > 0)
            foreach (var (name, i) in group.State.ScalarNames.Select((name, i) => (name, i)))
                found.Insert(i, name, TensorView.Of<double>([group.State.Scalar(name, row)], []));
        if (rule.KeepsStep && (steps > 0 || found.Count > 0))
            found.Insert(0, "step", rule.StepsAreWhole ? Tree.NewInt(steps) : Steps(steps));
        if (group.Added.TryGetValue(row, out var added))
            foreach (var (name, value) in added)
                found[name] = value;
        return found;
    }

    private static Tree Steps(long steps) => steps <= MostFloat32Steps ? TensorView.Of<float>([steps]) : TensorView.Of<double>([steps]);
}
