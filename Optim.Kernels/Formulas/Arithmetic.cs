using System.Collections.Immutable;

namespace Optim.Kernels;

/// <summary>
/// Where coefficients get the numbers of options from. For kernels it is the number itself; a traced step looks a tensor up
/// by the option's name.
/// </summary>
/// <typeparam name="N">The number.</typeparam>
public abstract class Reader<N>
    where N : struct, IScalar<N>
{
    /// <summary>The number of an option. Names are PyTorch's, and beta1, beta2 for the parts of a pair.</summary>
    public abstract N Of(string name, double value);
}

/// <summary>How the options of a rule become the switches and numbers of its formula: written once, for every kind of number.</summary>
/// <typeparam name="O">The record of options.</typeparam>
public abstract class Arithmetic<O>
{
    /// <summary>The switches of the formula, a bit each.</summary>
    public abstract int Switches(O options);

    /// <summary>The switches in a step, for a rule whose steps differ; they use the same columns in all of them.</summary>
    public virtual int Switches(O options, long step) => Switches(options);

    /// <summary>Whether the formula is another one in early steps than in late ones, beside the first.</summary>
    public virtual bool HasPhases => false;

    /// <summary>Above 0 in late steps, where there are such phases.</summary>
    public virtual N Phase<N>(Reader<N> read, O options, StepNumber<N> step)
        where N : struct, IScalar<N> => N.Of(1);

    /// <summary>The options with others among them under which the steps from 2 to 4 are early, and those from 64 late.</summary>
    public virtual O WithBothPhases(O options) => options;

    /// <summary>The coefficients of a step, which is counted from 1 for each parameter by itself.</summary>
    public abstract Coefficients<N> Coefficients<N>(Reader<N> read, O options, StepNumber<N> step)
        where N : struct, IScalar<N>;

    /// <summary>Whether a step counts. A rule that does not count under its default options has no step in state dicts.</summary>
    public virtual bool Counts(O options) => true;

    /// <summary>Whether state dicts have the step as a whole number, and not as a tensor.</summary>
    public virtual bool StepsAreWhole => false;

    /// <summary>Whether complex parameters are stepped, as pairs of reals.</summary>
    public virtual bool Complex => true;

    /// <summary>The names of the numbers that a rule keeps for each parameter as a whole (at most two), as PyTorch calls them.</summary>
    public virtual ImmutableArray<string> Scalars => [];

    /// <summary>The kept numbers before a parameter's first step.</summary>
    public virtual Scalars<N> Start<N>(Reader<N> read, O options)
        where N : struct, IScalar<N> => default;

    /// <summary>The kept numbers after a step, from those before it.</summary>
    public virtual Scalars<N> Next<N>(Reader<N> read, O options, StepNumber<N> step, Scalars<N> scalars)
        where N : struct, IScalar<N> => scalars;

    /// <summary>The coefficients of a step, from the kept numbers before it.</summary>
    public virtual Coefficients<N> Coefficients<N>(Reader<N> read, O options, StepNumber<N> step, Scalars<N> scalars)
        where N : struct, IScalar<N> => Coefficients(read, options, step);

    /// <summary>What the rule makes of sparse gradients under these options.</summary>
    public virtual SparseGradients Sparse(O options) => SparseGradients.Refused;
}

/// <summary>What a rule makes of sparse gradients.</summary>
public enum SparseGradients
{
    /// <summary>An error.</summary>
    Refused = 0,

    /// <summary>The rows that a gradient has are stepped; the others and their state stay as they are.</summary>
    Rows = 1,

    /// <summary>As <see cref="Rows"/>, and dense gradients are an error.</summary>
    Required = 2,

    /// <summary>Rows of earlier gradients are stepped, too, as by a gradient of zero: momentum carries them on.</summary>
    RowsSoFar = 3,

    /// <summary>Refused for the sake of weight decay, which would move every row.</summary>
    RefusedByWeightDecay = 4,
}

/// <summary>The numbers as they are.</summary>
public sealed class RealReader : Reader<Real>
{
    private RealReader() { }

    /// <summary>The only one.</summary>
    public static RealReader Instance { get; } = new();

    /// <inheritdoc/>
    public override Real Of(string name, double value) => new(value);
}
