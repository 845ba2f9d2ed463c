using System.Reflection.Emit;

namespace Optim.Kernels;

// Reductions whose running sums are kept in registers: an element goes to the sum that the fixed tree gives it.
internal sealed unsafe partial class KernelEmitter
{
    /// <summary>Whether running sums of reductions are kept in vectors of this kind.</summary>
    public static bool CanReduce(VectorMethods methods) => methods.Takes(Operation.Sum).Length > 0;

    /// <summary>Puts the values that are reduced into running sums, and into no array.</summary>
    /// <param name="code">What to do with each element, spelled out.</param>
    /// <param name="methods">On which vectors.</param>
    /// <param name="looksAhead">Whether memory is asked for before it is needed.</param>
    public static KernelEmitter Reducing(KernelCode code, VectorMethods methods, bool looksAhead) => new(code, methods, looksAhead);

    private KernelEmitter(KernelCode code, VectorMethods methods, bool looksAhead)
        : this(code, methods, ReductionTable.Sums / methods.Count, looksAhead) =>
        running = Array.ConvertAll(
            code.Reductions,
            reduction =>
            {
                var takes = methods.Takes(reduction.Kind);
                var locals = new LocalBuilder[vectors * takes.Length];
                for (var i = 0; i < locals.Length; i++)
                    locals[i] = il.DeclareLocal(takes[0].ReturnType);
                return locals;
            }
        );

    /// <summary>Puts a vector of each value that is reduced into the running sums.</summary>
    private void Take(int vector)
    {
        for (var i = 0; i < running?.Length; i++)
        {
            var (kind, array) = code.Reductions[i];
            var takes = methods.Takes(kind);
            for (var part = 0; part < takes.Length; part++)
            {
                var sums = running[i][vector * takes.Length + part];
                il.Emit(OpCodes.Ldloc, sums);
                if (array >= code.Arrays && Array.Find(code.Stores, store => store.Array == array) is { } made)
                    Push(made.Node);
                else
                    Load(array, vector);
                il.Emit(OpCodes.Call, takes[part]);
                il.Emit(OpCodes.Stloc, sums);
            }
        }
    }

    /// <summary>Whether an array is made for a reduction alone, of which the running sums are kept here.</summary>
    private bool IsRunning(int array) =>
        running is not null && array >= code.Arrays && Array.Exists(code.Reductions, reduction => reduction.Array == array);

    /// <summary>Loads all running sums, or stores them.</summary>
    private void Running(bool isLoading)
    {
        var at = 0;
        foreach (var sums in running?.SelectMany(all => all) ?? [])
        {
            if (!isLoading)
                il.Emit(OpCodes.Ldloc, sums);
            il.Emit(OpCodes.Ldarg_0);
            il.Emit(OpCodes.Ldfld, FieldOf(nameof(SliceSpan.Sums)));
            Integer(at);
            il.Emit(OpCodes.Add);
            var wide = VectorMethods.OfSums(sums.LocalType);
            il.Emit(OpCodes.Call, isLoading ? wide.Load : wide.Store);
            if (isLoading)
                il.Emit(OpCodes.Stloc, sums);
            at += wide.Count * sizeof(double);
        }
    }
}
