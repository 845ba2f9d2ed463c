using System.Collections.Immutable;
using Optim.Core;
using Optim.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Optim;

/// <summary>Options of which some are tensors.</summary>
internal sealed class TracedOptions
{
    /// <summary>Above 0 in float32, too.</summary>
    private const double Smallest = float.Epsilon;

    private readonly Rule rule;
    private readonly IOptimizerOptions given;
    private readonly ImmutableArray<(OptionNumber Number, Tensor Value)> tensors;

    public TracedOptions(Rule rule, IOptimizerOptions options, (string Option, Tensor Value)[] tensors)
    {
        (this.rule, given) = (rule, rule.Replace(options, []));
        var known = rule.Numbers(given);
        var seen = new HashSet<string>(StringComparer.Ordinal);
        this.tensors =
        [
            .. tensors.Select(tensor =>
            {
                ArgumentNullException.ThrowIfNull(tensor.Value);
                var (name, value) = tensor;
                if (!known.Any(number => number.Name == name))
                    throw new OptionException(
                        $"{rule.Name}: no step reads an option '{name}' as a number, so it cannot be a tensor; these can be: "
                            + string.Join(", ", known.Select(number => number.Name).Distinct()),
                        name
                    );
                if (!seen.Add(name))
                    throw new OptionException($"{rule.Name}: {name} is given twice", name);
                if (value.numel() != 1)
                    throw new ArgumentException(
                        $"{rule.Name}: {name} is a tensor of {value.numel()} elements, [{string.Join(", ", value.shape)}]; it must have one",
                        nameof(tensors)
                    );
                return (known.First(number => number.Name == name), value);
            }),
        ];
        _ = Switching();
    }

    /// <summary>
    /// The record of options with what the tensors hold now, for everything that is decided by it. In the place of a 0 stands the
    /// smallest number above it: a term that a 0 would switch off has a derivative.
    /// </summary>
    /// <exception cref="OptionException">A value is outside of its range.</exception>
    public IOptimizerOptions Switching()
    {
        var options = given;
        foreach (var (number, tensor) in tensors)
        {
            var value = tensor.ToDouble();
            try
            {
                options = With(options, number, value == 0 ? Smallest : value);
            }
            catch (OptionException) when (value == 0)
            {
                // It must be 0, as dampening beside nesterov.
                options = With(options, number, value);
            }
        }
        return options;
    }

    /// <summary>What coefficients read: the tensors where there are some, as numbers, and the options' values elsewhere.</summary>
    public Reader<TorchLane> Reader() =>
        new Looking(
            tensors.ToImmutableDictionary(
                tensor => tensor.Number.Name,
                tensor => new TorchLane(tensor.Value.to(ScalarType.Float64, CPU).reshape()),
                StringComparer.Ordinal
            )
        );

    private IOptimizerOptions With(IOptimizerOptions options, OptionNumber number, double value)
    {
        if (number.Part < 0)
            return rule.Replace(options, number.Option, value);
        var (first, second) = ((double, double))rule.Read(options, number.Option);
        return rule.Replace(options, number.Option, number.Part == 0 ? (value, second) : (first, value));
    }

    private sealed class Looking(ImmutableDictionary<string, TorchLane> tensors) : Reader<TorchLane>
    {
        public override TorchLane Of(string name, double value) => tensors.TryGetValue(name, out var tensor) ? tensor : TorchLane.Of(value);
    }
}
