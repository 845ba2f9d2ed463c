using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>The switches of a formula: what is decided once a step and must leave no instruction in the loop.</summary>
public interface ISwitches
{
    /// <summary>Whether switch <paramref name="index"/> (0 to 5) is on; a constant to the compiler.</summary>
    static abstract bool On(int index);
}

/// <summary>
/// The element-wise arithmetic of a rule, written once and run on every lane. Implement <see cref="IFormula0{F}"/> to
/// <see cref="IFormula6{F}"/>, by the number of state columns: this interface is how the driver sees them all. They repeat each other
/// because C# has no parameter lists of variable length by reference.
/// </summary>
public interface IFormula
{
    /// <summary>How many state columns there are at most.</summary>
    static virtual int Columns => throw new NotSupportedException(NotDirectly);

    /// <summary>
    /// How many switches it looks at, from the first on; 6 at most. A loop is compiled for each combination in use, and by Native AOT for
    /// each that there could be: name no more than there are.
    /// </summary>
    static virtual int SwitchCount
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 6;
    }

    /// <summary>Whether a state column is touched under these switches; one that is not needs no memory.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static virtual bool Uses<Is>(int column)
        where Is : ISwitches => true;

    /// <summary>Whether the parameter is written; a formula that only reads it leaves its memory alone.</summary>
    static virtual bool WritesParam
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => true;
    }

    /// <summary>Whether a state column that is touched is written, too.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static virtual bool WritesColumn(int column) => true;

    /// <summary>The update, over all six columns that the driver has room for.</summary>
    static virtual void UpdateAll<V, Is>(
        in Coefficients<V> coefficients,
        ref V param,
        V grad,
        ref V c0,
        ref V c1,
        ref V c2,
        ref V c3,
        ref V c4,
        ref V c5
    )
        where V : struct, ILane<V>
        where Is : ISwitches => throw new NotSupportedException(NotDirectly);

    private const string NotDirectly = "a formula implements IFormula0 to IFormula6";
}

/// <summary>A formula over a parameter, its gradient and no state column.</summary>
/// <typeparam name="F">The implementing type.</typeparam>
public interface IFormula0<F> : IFormula
    where F : struct, IFormula0<F>
{
    /// <summary>New values of the parameter, from old ones and the gradient.</summary>
    static abstract void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad)
        where V : struct, ILane<V>
        where Is : ISwitches;

    static int IFormula.Columns => 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void IFormula.UpdateAll<V, Is>(
        in Coefficients<V> coefficients,
        ref V param,
        V grad,
        ref V c0,
        ref V c1,
        ref V c2,
        ref V c3,
        ref V c4,
        ref V c5
    ) => F.Update<V, Is>(in coefficients, ref param, grad);
}

/// <summary>A formula over a parameter, its gradient and one state column.</summary>
/// <typeparam name="F">The implementing type.</typeparam>
public interface IFormula1<F> : IFormula
    where F : struct, IFormula1<F>
{
    /// <summary>New values of parameter and state, from old ones and the gradient.</summary>
    static abstract void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V c0)
        where V : struct, ILane<V>
        where Is : ISwitches;

    static int IFormula.Columns => 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void IFormula.UpdateAll<V, Is>(
        in Coefficients<V> coefficients,
        ref V param,
        V grad,
        ref V c0,
        ref V c1,
        ref V c2,
        ref V c3,
        ref V c4,
        ref V c5
    ) => F.Update<V, Is>(in coefficients, ref param, grad, ref c0);
}

/// <summary>A formula over a parameter, its gradient and 2 state columns.</summary>
/// <typeparam name="F">The implementing type.</typeparam>
public interface IFormula2<F> : IFormula
    where F : struct, IFormula2<F>
{
    /// <summary>New values of parameter and state, from old ones and the gradient.</summary>
    static abstract void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V c0, ref V c1)
        where V : struct, ILane<V>
        where Is : ISwitches;

    static int IFormula.Columns => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void IFormula.UpdateAll<V, Is>(
        in Coefficients<V> coefficients,
        ref V param,
        V grad,
        ref V c0,
        ref V c1,
        ref V c2,
        ref V c3,
        ref V c4,
        ref V c5
    ) => F.Update<V, Is>(in coefficients, ref param, grad, ref c0, ref c1);
}

/// <summary>A formula over a parameter, its gradient and 3 state columns.</summary>
/// <typeparam name="F">The implementing type.</typeparam>
public interface IFormula3<F> : IFormula
    where F : struct, IFormula3<F>
{
    /// <summary>New values of parameter and state, from old ones and the gradient.</summary>
    static abstract void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V c0, ref V c1, ref V c2)
        where V : struct, ILane<V>
        where Is : ISwitches;

    static int IFormula.Columns => 3;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void IFormula.UpdateAll<V, Is>(
        in Coefficients<V> coefficients,
        ref V param,
        V grad,
        ref V c0,
        ref V c1,
        ref V c2,
        ref V c3,
        ref V c4,
        ref V c5
    ) => F.Update<V, Is>(in coefficients, ref param, grad, ref c0, ref c1, ref c2);
}

/// <summary>A formula over a parameter, its gradient and 4 state columns.</summary>
/// <typeparam name="F">The implementing type.</typeparam>
public interface IFormula4<F> : IFormula
    where F : struct, IFormula4<F>
{
    /// <summary>New values of parameter and state, from old ones and the gradient.</summary>
    static abstract void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V c0, ref V c1, ref V c2, ref V c3)
        where V : struct, ILane<V>
        where Is : ISwitches;

    static int IFormula.Columns => 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void IFormula.UpdateAll<V, Is>(
        in Coefficients<V> coefficients,
        ref V param,
        V grad,
        ref V c0,
        ref V c1,
        ref V c2,
        ref V c3,
        ref V c4,
        ref V c5
    ) => F.Update<V, Is>(in coefficients, ref param, grad, ref c0, ref c1, ref c2, ref c3);
}

/// <summary>A formula over a parameter, its gradient and 5 state columns.</summary>
/// <typeparam name="F">The implementing type.</typeparam>
public interface IFormula5<F> : IFormula
    where F : struct, IFormula5<F>
{
    /// <summary>New values of parameter and state, from old ones and the gradient.</summary>
    static abstract void Update<V, Is>(
        in Coefficients<V> coefficients,
        ref V param,
        V grad,
        ref V c0,
        ref V c1,
        ref V c2,
        ref V c3,
        ref V c4
    )
        where V : struct, ILane<V>
        where Is : ISwitches;

    static int IFormula.Columns => 5;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void IFormula.UpdateAll<V, Is>(
        in Coefficients<V> coefficients,
        ref V param,
        V grad,
        ref V c0,
        ref V c1,
        ref V c2,
        ref V c3,
        ref V c4,
        ref V c5
    ) => F.Update<V, Is>(in coefficients, ref param, grad, ref c0, ref c1, ref c2, ref c3, ref c4);
}

/// <summary>A formula over a parameter, its gradient and 6 state columns.</summary>
/// <typeparam name="F">The implementing type.</typeparam>
public interface IFormula6<F> : IFormula
    where F : struct, IFormula6<F>
{
    /// <summary>New values of parameter and state, from old ones and the gradient.</summary>
    static abstract void Update<V, Is>(
        in Coefficients<V> coefficients,
        ref V param,
        V grad,
        ref V c0,
        ref V c1,
        ref V c2,
        ref V c3,
        ref V c4,
        ref V c5
    )
        where V : struct, ILane<V>
        where Is : ISwitches;

    static int IFormula.Columns => 6;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void IFormula.UpdateAll<V, Is>(
        in Coefficients<V> coefficients,
        ref V param,
        V grad,
        ref V c0,
        ref V c1,
        ref V c2,
        ref V c3,
        ref V c4,
        ref V c5
    ) => F.Update<V, Is>(in coefficients, ref param, grad, ref c0, ref c1, ref c2, ref c3, ref c4, ref c5);
}
