namespace Optim;

/// <summary>How the triangles of <see cref="CyclicLR"/> change.</summary>
public enum CyclicMode
{
    /// <summary>They stay as they are.</summary>
    Triangular,

    /// <summary>Each is half as high as the one before.</summary>
    Triangular2,

    /// <summary>Their height is multiplied with gamma at each step.</summary>
    ExpRange,
}

/// <summary>What the scale function of <see cref="CyclicLR"/> is given.</summary>
public enum CyclicScaleMode
{
    /// <summary>The number of the triangle, from 1.</summary>
    Cycle,

    /// <summary>The number of the step, from 0.</summary>
    Iterations,
}
