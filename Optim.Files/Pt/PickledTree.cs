using Optim.Core;

namespace Optim.Checkpoints;

/// <summary>The tree of a pickle.</summary>
/// <param name="Tree">The tree.</param>
/// <param name="Foreign">A name that it called or had and that no checkpoint needs, whether it is in the tree or was dropped; null for none.</param>
internal sealed record PickledTree(Tree Tree, string? Foreign);
