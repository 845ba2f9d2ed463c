namespace Optim.Cuda;

/// <summary>A parameter of a kernel.</summary>
/// <param name="Name">What the text calls it.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="IsArray">Whether it is of bytes, at a multiple of 8.</param>
internal readonly record struct PtxParameter(string Name, int Bytes, bool IsArray);

/// <summary>A kernel as text: a pure function of what it does, so that equal kernels are compiled once.</summary>
/// <param name="Text">A module of one entry, <see cref="Entry"/>.</param>
/// <param name="Parameters">What a launch hands in, in order.</param>
/// <param name="Threads">Threads of a block.</param>
internal sealed record PtxKernel(string Text, PtxParameter[] Parameters, int Threads)
{
    /// <summary>What the entry of every module is called.</summary>
    public const string Entry = "optim";

    /// <summary>Elements of a slice that a block of a kernel, or a warp of a reduction, goes over: as many as sums have in a block on the processor.</summary>
    public const int Block = Optim.Kernels.ReductionTable.Block;

    /// <summary>Words of a table's entry before the addresses: the slice's first block, and its elements.</summary>
    public const int Head = 2;
}
