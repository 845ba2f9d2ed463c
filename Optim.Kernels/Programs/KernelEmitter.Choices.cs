using System.Reflection.Emit;

namespace Optim.Kernels;

// One of two values, by a comparison.
internal sealed unsafe partial class KernelEmitter
{
    /// <summary>The larger or the smaller one, as <see cref="ILane{V}.Max"/> and Min have it.</summary>
    private void Larger(int first, int second, bool isMax)
    {
        Hold(first);
        Hold(second);
        if ((isMax ? methods.Larger : methods.Smaller) is { } instruction)
        {
            var extreme = il.DeclareLocal(methods.Vector);
            Push(first);
            Push(second);
            il.Emit(OpCodes.Call, instruction);
            il.Emit(OpCodes.Stloc, extreme);
            Push(first);
            Call(Operation.IsNaN);
            Push(first);
            il.Emit(OpCodes.Ldloc, extreme);
            Call(Operation.Select);
            return;
        }
        Greater(isMax ? first : second, isMax ? second : first);
        Push(first);
        Push(first);
        Call(Operation.IsNaN);
        Push(first);
        Push(second);
        Call(Operation.Select);
        Call(Operation.Select);
    }

    /// <summary>One of two by a mask; where that is the larger or the smaller of them, by one instruction.</summary>
    private void Choose(Node node)
    {
        var (mask, yes, no) = (code.Nodes[node.A], node.B, node.C);
        var extreme =
            mask.Operation != Operation.Greater || values[node.A] is not null ? null
            : (mask.A, mask.B) == (yes, no) ? methods.Larger
            : (mask.A, mask.B) == (no, yes) ? methods.Smaller
            : null;
        if (extreme is null)
        {
            // Both before the mask, which then goes by a register of masks.
            Hold(yes);
            Hold(no);
            Push(node.A);
        }
        Push(yes);
        Push(no);
        il.Emit(OpCodes.Call, extreme ?? methods.For(Operation.Select));
    }

    /// <summary>Whether a value is greater than another; null for zero.</summary>
    private void Greater(int? left, int? right)
    {
        foreach (var side in (int?[])[left, right])
            if (side is { } node)
                Push(node);
            else
                Constant(0);
        Call(Operation.Greater);
    }
}
