namespace Optim.Cuda;

/// <summary>
/// What was found in the gradients before a step, where it lies on the device: a kernel that is guarded by it does nothing where one of them was not
/// finite, and takes the factor that clips their norm from there.
/// </summary>
/// <param name="ClipAt">Which of a visit's numbers is the factor; -1 for none.</param>
internal readonly record struct Guard(int ClipAt)
{
    /// <summary>Bytes of what was found: whether one is not finite (0: none), the factor, the norm.</summary>
    public const int Bytes = 3 * sizeof(double);

    /// <summary>Where the factor stands among them.</summary>
    public const int Factor = sizeof(double);

    /// <summary>Where the norm does.</summary>
    public const int Norm = 2 * sizeof(double);

    /// <summary>The parameter of its address.</summary>
    public void Parameter(PtxText text) => text.Parameter("p_found", 8);

    /// <summary>Jumps to END where a gradient was not finite.</summary>
    public void Skip(PtxText text)
    {
        var found = text.Into('d', "ld.param.u64", $"[p_found]");
        var flag = text.Into('d', "ld.global.u64", $"[{found}]");
        var isFound = text.Into('p', "setp.ne.s64", $"{flag}, 0");
        text.Line($"@{isFound} bra END");
    }

    /// <summary>The factor, in the type of the arithmetic.</summary>
    public static string ClipFactor(PtxText text, bool isDouble)
    {
        var found = text.Into('d', "ld.param.u64", $"[p_found]");
        var factor = text.Into('w', "ld.global.f64", $"[{found}+{Factor}]");
        return isDouble ? factor : SliceSearch.Narrow(text, factor);
    }
}
