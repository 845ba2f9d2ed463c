namespace Optim.Core

open System.Collections.Generic
open System.Runtime.CompilerServices
open Optim
open Optim.Checkpoints

/// What is kept of a checkpoint file, and what reading it may take.
[<NoComparison>]
type CheckpointReading =
    {
        /// Whether values that torch.load(weights_only=True) refuses, such as objects of other libraries, are kept as Tree.Tagged, which
        /// runs nothing; otherwise a file with such values is refused.
        KeepForeign: bool
        /// What reading may take.
        Budget: ReadBudget
    }

/// Checkpoint files in F#, as trees: <c>.pt</c> as torch.save and torch.load have it, and <c>.safetensors</c> by that extension. Reading runs no
/// code; writing keeps the old file until the new one is whole and on the disk. All failures of files are a CheckpointException, paths that
/// no system has an ArgumentException. Optim.Checkpoint is the same in C#, for optimizers and models.
/// <code>Checkpoint.write "run.pt" (Tree.Dict [| struct ("state", State.toTree state); struct ("epoch", Tree.Int 3L) |])</code>
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Checkpoint =
    /// Files are refused for values that no checkpoint needs, and may take ReadBudget.Default.
    let defaults =
        {
            KeepForeign = false
            Budget = ReadBudget.Default
        }

    // TreeFile is internal: the bodies of these functions must not be copied into the code of callers, which may not call it.

    /// The tree of a file, with its tensors in memory; tensors that share a storage share it.
    [<MethodImpl(MethodImplOptions.NoInlining)>]
    let readWith (reading: CheckpointReading) (path: string) : Tree =
        Argument.notNull "reading" reading
        Argument.notNull "reading.Budget" reading.Budget
        TreeFile.Read(path, reading.KeepForeign, reading.Budget)

    /// The tree of a file that has what checkpoints need, and no more.
    let read (path: string) : Tree = readWith defaults path

    /// The texts beside the tensors of a .safetensors file.
    [<MethodImpl(MethodImplOptions.NoInlining)>]
    let readMetadata (path: string) : IReadOnlyDictionary<string, string> = TreeFile.ReadMetadata path

    /// Writes a tree as a file of its own; an old one is replaced when the new one is whole. A .safetensors file holds dicts of tensors.
    [<MethodImpl(MethodImplOptions.NoInlining)>]
    let write (path: string) (tree: Tree) = TreeFile.Write(path, tree, null)

    /// Writes a .safetensors file with texts beside the tensors; <c>format: pt</c>, which Hugging Face's loaders ask for, is added where no
    /// format is given.
    [<MethodImpl(MethodImplOptions.NoInlining)>]
    let writeWith (metadata: (string * string) seq) (path: string) (tree: Tree) =
        let texts = Dictionary<string, string>()

        for name, text in Argument.items "metadata" metadata do
            texts[name] <- text

        TreeFile.Write(path, tree, texts)
