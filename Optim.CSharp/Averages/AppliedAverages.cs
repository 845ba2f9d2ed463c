namespace Optim;

/// <summary>
/// The averages, or other views, that live parameters have the values of just now, of all threads. Who would write to such a parameter, or take
/// its value for the live one, asks here first.
/// </summary>
internal static class AppliedAverages
{
    private static volatile (object Average, HashSet<object> Identities)[] applied = [];
    private static readonly Lock change = new();

    /// <summary>Whether there are none: then nothing needs to be asked.</summary>
    public static bool None => applied.Length == 0;

    public static void Add(object average, IEnumerable<IParameter> parameters)
    {
        var identities = parameters.Select(parameter => parameter.Identity).ToHashSet();
        lock (change)
            applied = [.. applied, (average, identities)];
    }

    public static void Remove(object average)
    {
        lock (change)
            applied = Array.FindAll(applied, other => other.Average != average);
    }

    /// <summary>Refuses a call that would change one of these parameters, where it has the value of an average.</summary>
    /// <param name="call">What was called.</param>
    /// <param name="parameters">What it is about; null where there is none.</param>
    /// <exception cref="InvalidOperationException">An average is applied to one of them.</exception>
    public static void Refuse(string call, IEnumerable<IParameter?> parameters)
    {
        if (None)
            return;
        var now = applied;
        foreach (var parameter in parameters)
        foreach (var (average, identities) in now)
            if (parameter is not null && identities.Contains(parameter.Identity))
                throw new InvalidOperationException(
                    $"{call}: {Optimizer.Label(parameter)} has the value of an average just now, of {average}; dispose what Applied() returned first"
                );
    }
}
