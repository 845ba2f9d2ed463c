namespace Optim.Distributed;

/// <summary>What each rank has a part of only.</summary>
public enum Shard
{
    /// <summary>Nothing: every rank has all state and all gradients, as in PyTorch's DistributedDataParallel.</summary>
    None = 0,

    /// <summary>The optimizer's state: of n ranks each has 1/n and steps that part of the parameters (stage 1 of ZeRO).</summary>
    State = 1,

    /// <summary>State and gradients: those of a rank's own backward pass are dropped when they are on their way (stage 2 of ZeRO).</summary>
    Gradients = 2,
}

/// <summary>How a tensor is divided among ranks.</summary>
public enum Division
{
    /// <summary>Every rank steps all of it.</summary>
    Replicated = 0,

    /// <summary>Ranks step slices of it, which are cut where blocks of the fixed tree end.</summary>
    Sliced = 1,

    /// <summary>One rank steps all of it, for its rule looks at whole tensors.</summary>
    Whole = 2,
}
