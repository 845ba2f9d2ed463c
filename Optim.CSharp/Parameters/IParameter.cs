using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>What an optimizer is made from: parameters, or groups of them.</summary>
public interface IParameterOrGroup;

/// <summary>
/// A tensor that is optimized, of whatever library owns it: <see cref="Param"/> for host arrays. It says where data and
/// gradient lie, and an optimizer steps them there.
/// </summary>
public interface IParameter : IParameterOrGroup
{
    /// <summary>The name by which state is matched when it is loaded; null for none.</summary>
    string? Name { get; }

    /// <summary>Where the data lie now.</summary>
    TensorView Data { get; }

    /// <summary>Whether the parameter is trained; one that is not is accepted and passed over.</summary>
    bool RequiresGradient { get; }

    /// <summary>The types of the modules that have it as their own, where its library knows modules; none otherwise. Tied weights have several.</summary>
    IReadOnlyList<Type> ModuleTypes => [];

    /// <summary>Equal for two objects that stand for the same parameter.</summary>
    object Identity { get; }

    /// <summary>
    /// Who steps lists that begin with this parameter; null for our own team of threads. A <see cref="TensorExecutor"/> steps each
    /// group that it is found in.
    /// </summary>
    Executor? Executor { get; }

    /// <summary>Writes where data and gradient lie now, before each step. The Layout object stays the same while the layout does.</summary>
    /// <exception cref="NotSupportedException">The gradient is of a kind that no optimizer here can take.</exception>
    void Refresh(ref TensorView data, ref Gradient gradient);

    /// <summary>Drops the gradient, or fills it with zeros.</summary>
    void ZeroGradient(bool setToNone);

    /// <summary>Called before a closure runs; what it returns is disposed afterwards. A library with a graph turns gradients on here.</summary>
    IDisposable? EnterClosure() => null;

    /// <summary>A loss that a closure returned, as a number: for optimizers that look at it. Numbers are known; a library knows its own tensors.</summary>
    /// <exception cref="NotSupportedException">It is of a type that is not known.</exception>
    double ReadLoss(object? loss) =>
        throw new NotSupportedException(
            $"the closure returned {(loss is null ? "null" : $"a {loss.GetType().Name}")}, and the loss is needed as a number; return a double"
        );

    /// <summary>Called after a step that moved the parameter.</summary>
    void AfterStep();
}
