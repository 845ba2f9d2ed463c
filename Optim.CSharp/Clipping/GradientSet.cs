using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>The gradients of some parameters, where they lie now.</summary>
internal sealed class GradientSet
{
    private readonly IParameter[] parameters;

    public GradientSet(IEnumerable<IParameter> parameters)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        this.parameters = [.. parameters];
        if (this.parameters.Contains(null!))
            throw new ArgumentException("a parameter is null", nameof(parameters));
        var gradients = new Gradient[this.parameters.Length];
        for (var i = 0; i < gradients.Length; i++)
        {
            var data = this.parameters[i].Data;
            this.parameters[i].Refresh(ref data, ref gradients[i]);
        }
        List = Gradients.Over(gradients);
    }

    public Gradients List { get; }

    public Executor Executor => parameters.FirstOrDefault()?.Executor ?? Executor.Team;

    public string Label(int row) => parameters[row].Name is { } name ? $"'{name}'" : FormattableString.Invariant($"{row}");
}
