using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>What an optimizer asks of the other ranks, where several processes step the same parameters together.</summary>
internal interface IRanks
{
    /// <summary>What the slices of other ranks come to; null where this rank has all gradients as a whole.</summary>
    SlicesAcross? Slices { get; }

    /// <summary>Has numbers over the parameters of all groups, in one list, go over all ranks.</summary>
    void Join(Parameters parameters);

    /// <summary>The parameters as a whole, in the order of the groups.</summary>
    IReadOnlyList<IParameter> Wholes { get; }

    /// <summary>Whether any parameter had a gradient on any rank when they were last collected.</summary>
    bool HasGradients { get; }

    /// <summary>Makes the gradients the means over all ranks, unless they are already; before a step reads them.</summary>
    void Collect();

    /// <summary>Gradients are worked out anew within a step: those of before are forgotten.</summary>
    void Anew();

    /// <summary>The parameters have moved here: gives every rank all of them.</summary>
    void Publish();

    /// <summary>A call of Step is over: the next one collects anew.</summary>
    void End();

    /// <summary>The mean of a loss over all ranks.</summary>
    double MeanLoss(double loss);

    /// <summary>Refuses a group that other ranks do not know of.</summary>
    void RefuseGroup(ParameterGroup group);
}

/// <summary>A parameter of which this rank steps a part: what of a whole tensor belongs to that.</summary>
internal interface ISlice
{
    /// <summary>The part of a row of state, or of an accumulated gradient; absent where another rank has it.</summary>
    TensorView OfRow(TensorView whole);

    /// <summary>The part of a row of narrow state: codes, and the scales of their blocks, which are absent where there are none.</summary>
    (TensorView Codes, TensorView Scales) OfNarrow(TensorView codes, TensorView scales);

    /// <summary>The part of a vector over all parameters.</summary>
    TensorView OfVector(TensorView whole);
}
