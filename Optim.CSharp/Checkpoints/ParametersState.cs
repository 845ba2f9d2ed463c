using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>The elements of parameters by name, or by number where they have none, as a model's state_dict(). They are loaded in place.</summary>
/// <param name="parameters">The parameters; those of host arrays, or of any other library.</param>
public sealed class ParametersState(IEnumerable<IParameter> parameters) : IStateful
{
    private readonly List<IParameter> parameters = [.. parameters ?? throw new ArgumentNullException(nameof(parameters))];

    /// <inheritdoc/>
    public Tree SaveState() =>
        Tree.MapOf(MapKind.OrderedDict, [.. parameters.Select((p, i) => KeyValuePair.Create(Key(p, i), Tree.NewTensor(p.Data)))]);

    /// <inheritdoc/>
    public PreparedLoad PrepareLoad(Tree state, bool strict = true)
    {
        ArgumentNullException.ThrowIfNull(state);
        if (state is not Tree.Map { Item: var given })
            throw new ArgumentException($"the state of parameters must be a dict of tensors; it is {state.Described}");
        AppliedAverages.Refuse("loading parameters", parameters);
        var keys = parameters.Select(Key).ToHashSet();
        var missing = keys.Where(key => !given.ContainsKey(key)).Select(key => key.ToString()).ToList();
        var unexpected = given.Keys.Where(key => !keys.Contains(key)).Select(key => key.ToString()).ToList();
        if (strict && missing.Count + unexpected.Count > 0)
            throw new ArgumentException(
                $"the parameters and the loaded state do not have the same names; missing: {List(missing)}; left over: {List(unexpected)}. "
                    + "strict: false loads what matches"
            );
        var (matched, converted) = (new List<string>(), new List<string>());
        var loads = new List<(IParameter Target, TensorView Source)>();
        foreach (var (parameter, i) in parameters.Select((parameter, i) => (parameter, i)))
        {
            var (key, data) = (Key(parameter, i), parameter.Data);
            if (!given.TryGetValue(key, out var value))
                continue;
            if (!value.TryGetTensor(out TensorView view) || !view.Layout.SameShape(data.Layout))
                throw new ArgumentException($"{key} is {value.Described}; it must be a tensor of the parameter's shape, {data.Layout}");
            loads.Add((parameter, view.ConvertTo(data.DType)));
            matched.Add(key.ToString());
            if (view.DType != data.DType)
                converted.Add(key.ToString());
        }
        return new(
            new(matched, missing, unexpected, converted),
            () =>
            {
                AppliedAverages.Refuse("loading parameters", parameters);
                foreach (var (target, source) in loads)
                {
                    target.Data.CopyFrom(source);
                    target.AfterStep();
                }
            }
        );
    }

    private static TreeKey Key(IParameter parameter, int index) => parameter.Name is { } name ? name : index;

    private static string List(List<string> names) => names.Count == 0 ? "none" : string.Join(", ", names);
}
