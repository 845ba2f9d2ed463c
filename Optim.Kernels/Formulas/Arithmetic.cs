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

    /// <summary>The coefficients of a step, which is counted from 1 for each parameter by itself.</summary>
    public abstract Coefficients<N> Coefficients<N>(Reader<N> read, O options, long step)
        where N : struct, IScalar<N>;

    /// <summary>Whether a step counts. A rule that does not count under its default options has no step in state dicts.</summary>
    public virtual bool Counts(O options) => true;
}

/// <summary>The numbers as they are.</summary>
internal sealed class RealReader : Reader<Real>
{
    public static RealReader Instance { get; } = new();

    public override Real Of(string name, double value) => new(value);
}
