using Optim.Core;

namespace Optim;

/// <summary>
/// What can be saved and loaded: optimizers, schedulers, averages, modules, a class of one's own. Loading is in two halves, so that
/// several can be loaded together or not at all.
/// </summary>
public interface IStateful
{
    /// <summary>The whole state as a tree, with PyTorch's keys where PyTorch has the class. Tensors may be the live ones, not copies.</summary>
    Tree SaveState();

    /// <summary>Checks that a state can be loaded and works everything out that may fail. Nothing has changed yet.</summary>
    /// <param name="state">What <see cref="SaveState"/> gives, or PyTorch. Its tensors are valid until the load is over, and must be copied.</param>
    /// <param name="strict">Whether what is missing or left over is an error; otherwise it is reported.</param>
    /// <exception cref="ArgumentException">The state does not fit; the message says where.</exception>
    PreparedLoad PrepareLoad(Tree state, bool strict = true);
}

/// <summary>A load of which everything is checked. It is run once, and before what it loads into becomes another.</summary>
/// <param name="Report">What it will do.</param>
/// <param name="Commit">
/// The second half: takes over what was worked out. It cannot fail, but where it comes a second time or too late, and then nothing has changed.
/// </param>
/// <param name="Completed">Runs when all that is loaded together is in place: for hooks. Null for none.</param>
public sealed record PreparedLoad(LoadReport Report, Action Commit, Action? Completed = null)
{
    /// <summary>What it will do.</summary>
    public LoadReport Report { get; init; } = Report ?? throw new ArgumentNullException(nameof(Report));

    /// <summary>The second half of the load.</summary>
    /// <exception cref="InvalidOperationException">It was run before, or what it loads into has become another.</exception>
    public Action Commit { get; } = Once(Commit);

    /// <summary>Loads now.</summary>
    /// <exception cref="InvalidOperationException">It was run before, or what it loads into has become another; nothing has changed then.</exception>
    public LoadReport Run()
    {
        Commit();
        Completed?.Invoke();
        return Report;
    }

    /// <summary>The report.</summary>
    public override string ToString() => Report.ToString();

    private static Action Once(Action commit)
    {
        ArgumentNullException.ThrowIfNull(commit);
        var isRun = false;
        return () =>
        {
            if (isRun)
                throw new InvalidOperationException(
                    "this load was run already, and what it has read belongs to what was loaded; to load again, prepare it again"
                );
            commit();
            isRun = true;
        };
    }
}
