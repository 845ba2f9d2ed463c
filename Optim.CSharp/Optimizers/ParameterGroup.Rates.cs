using Optim.Core;
using Optim.Kernels;

namespace Optim;

// Numbers that steps on a device read from tensors there.
public sealed partial class ParameterGroup
{
    /// <summary>
    /// Has capturable steps read a number from a tensor on the device of the parameters, so that a graph that was captured takes another rate when the
    /// tensor changes. From then on the group's option is what the tensor is: setting it, as schedulers do, writes to the tensor, and reading it waits for
    /// the device.
    /// </summary>
    /// <param name="number">The option, such as <c>lr</c>, or one of a pair: <c>beta1</c> and <c>beta2</c> are those of betas.</param>
    /// <param name="tensor">Of one element, float32 or float64.</param>
    /// <exception cref="OptionException">Steps read no such number, or the tensor holds one that is not allowed.</exception>
    /// <exception cref="ArgumentException">The tensor is another one.</exception>
    /// <exception cref="NotSupportedException">The rule has no capturable steps, or the group belongs to no optimizer.</exception>
    public void BindRate(string number, TensorView tensor)
    {
        if (Algorithm is not Rule rule)
            throw new NotSupportedException(
                $"{number} cannot be read from a tensor: that is for the groups of an optimizer whose steps are capturable"
            );
        var bound = rule.WithRate(Options, number, tensor);
        // What the tensor holds is checked as any other value is.
        Options = Overlaid(rule, bound);
    }

    /// <summary>The options, with numbers as the tensors have them now from which steps read them.</summary>
    private IOptimizerOptions OptionsNow => Algorithm is Rule rule && HasRates(Options) ? Overlaid(rule, Options) : Options;

    private bool HasRates(IOptimizerOptions options) => Algorithm!.OptionTable.Rates(options).Tensors.Count > 0;

    private static IOptimizerOptions Overlaid(Rule rule, IOptimizerOptions options)
    {
        var tensors = rule.OptionTable.Rates(options).Tensors;
        foreach (var number in rule.Numbers(options))
            if (tensors.TryGetValue(number.Name, out var tensor) && tensor.ToDoubles()[0] is var value)
                options = rule.Replace(
                    options,
                    number.Option,
                    number.Part < 0 ? value
                        : number.Part == 0 ? (value, PartOf(rule, options, number.Option, 1))
                        : (PartOf(rule, options, number.Option, 0), value)
                );
        return options;
    }

    private static double PartOf(Rule rule, IOptimizerOptions options, string option, int part) =>
        (double)((OptionValue.Tuple)rule.Read(options, option)).Item[part];

    // Writes to the tensors what options say that become the group's.
    private void WriteRates(IOptimizerOptions options)
    {
        if (Algorithm is not Rule rule || Options is null || !HasRates(options))
            return;
        var tensors = rule.OptionTable.Rates(options).Tensors;
        foreach (var (number, value) in StepRecording.numbersOf(rule, options))
            if (
                tensors.TryGetValue(number, out var tensor)
                && (tensor.DType == DType.Float32 ? (float)value : value) != tensor.ToDoubles()[0]
            )
                tensor.CopyFrom(TensorView.OfDoubles(tensor.DType, [value], tensor.Shape.AsSpan()));
    }
}
