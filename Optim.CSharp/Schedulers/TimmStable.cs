namespace Optim;

/// <summary>What the rate of timm's warm-up, stable, decay does before the decay, with s the count behind the warm-up.</summary>
public enum TimmStable
{
    /// <summary>It stays.</summary>
    Constant,

    /// <summary>It falls with the root: (1 + s / timescale)^-0.5.</summary>
    InverseSqrt,

    /// <summary>It falls with a power: (1 + s / timescale)^-power.</summary>
    Power,
}
