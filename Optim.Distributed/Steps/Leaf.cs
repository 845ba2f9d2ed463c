namespace Optim.Distributed;

/// <summary>A part of a batch: neighbouring rows, whose gradient is one leaf of the tree by which all are summed.</summary>
/// <param name="Number">Its number among all leaves of the batch.</param>
/// <param name="Rows">The rows of the batch.</param>
/// <param name="Weight">By what the mean loss of the rows is multiplied, so that the mean of all leaves is that of the batch: 1 where all leaves have as many rows.</param>
public readonly record struct Leaf(int Number, Range Rows, double Weight);
