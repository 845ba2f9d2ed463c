using System.Reflection;
using System.Reflection.Emit;

namespace Optim.Kernels;

// Narrow columns: 64 elements at a time are widened into room for a block, stepped there, and as many of the block before are narrowed.
internal sealed unsafe partial class KernelEmitter
{
    private const int Together = 64;

    private delegate void RowMethod(NarrowRow* row, nint at);

    private delegate void EndMethod(NarrowRow* row, nint at, nint end);

    /// <summary>A loop over whole blocks of one slice, of a <see cref="NarrowSpan"/>.</summary>
    /// <param name="kinds">How each state column is kept.</param>
    public KernelBody EmitNarrow(NarrowKind[] kinds)
    {
        int[] columns = [.. Enumerable.Range(0, kinds.Length).Where(column => kinds[column] != NarrowKind.Wide)];
        // Parameter and gradient come before the state columns in an entry of the slice table.
        var arrays = Array.ConvertAll(columns, column => 2 + column);
        var rows = Array.ConvertAll(arrays, _ => Local());
        for (var i = 0; i < rows.Length; i++)
        {
            il.Emit(OpCodes.Ldarg_0);
            il.Emit(OpCodes.Ldc_I4, i);
            il.Emit(OpCodes.Call, typeof(NarrowSpan).GetMethod(nameof(NarrowSpan.RowOf))!);
            il.Emit(OpCodes.Stloc, rows[i]);
            addresses[arrays[i]] = Local();
        }
        Field(nameof(SliceSpan.Entry), entry);
        Field(nameof(SliceSpan.At), at);
        Field(nameof(SliceSpan.End), to);
        Field(nameof(SliceSpan.Numbers), numbers);
        KeepUniforms();
        foreach (var use in code.ArrayUses)
            if (!arrays.Contains(use.Array))
            {
                addresses[use.Array] = Local();
                Word((1 + use.Array) * IntPtr.Size);
                il.Emit(OpCodes.Stloc, addresses[use.Array]!);
            }
        var (block, elements) = (Label(), Label());
        il.MarkLabel(block);
        for (var i = 0; i < rows.Length; i++)
        {
            il.Emit(OpCodes.Ldloc, rows[i]);
            il.Emit(OpCodes.Ldloc, at);
            il.Emit(OpCodes.Call, typeof(NarrowSpan).GetMethod(nameof(NarrowSpan.OriginOf))!);
            il.Emit(OpCodes.Stloc, addresses[arrays[i]]!);
        }
        Moved(at, StateStorage.BlockLength, next);
        il.MarkLabel(elements);
        // Arithmetic of the codes between that of the rule, so that both go on at once.
        var methodsOfRows = new List<(LocalBuilder Row, MethodInfo Method)>();
        foreach (var isWidening in (bool[])[true, false])
            for (var i = 0; i < rows.Length; i++)
                methodsOfRows.Add((rows[i], MethodOf(kinds[columns[i]], isWidening)));
        var bodies = Together / methods.Count;
        for (var vector = 0; vector < bodies; vector++)
        {
            Body(vector, 1, arrays);
            foreach (
                var (row, method) in methodsOfRows[(methodsOfRows.Count * vector / bodies)..(methodsOfRows.Count * (vector + 1) / bodies)]
            )
            {
                il.Emit(OpCodes.Ldloc, row);
                il.Emit(OpCodes.Ldloc, at);
                il.Emit(OpCodes.Call, method);
            }
        }
        Moved(at, Together, at);
        il.Emit(OpCodes.Ldloc, at);
        il.Emit(OpCodes.Ldloc, next);
        il.Emit(OpCodes.Blt, elements);
        for (var i = 0; i < rows.Length; i++)
        {
            il.Emit(OpCodes.Ldloc, rows[i]);
            il.Emit(OpCodes.Ldloc, at);
            Integer(StateStorage.BlockLength);
            il.Emit(OpCodes.Sub);
            il.Emit(OpCodes.Ldloc, to);
            EndMethod end = kinds[columns[i]] switch
            {
                NarrowKind.Signed8 => NarrowCodec.EndBlockSigned,
                NarrowKind.NonNegative8 => NarrowCodec.EndBlockNonNegative,
                _ => NarrowCodec.EndBlockWords,
            };
            il.Emit(OpCodes.Call, end.Method);
        }
        il.Emit(OpCodes.Ldloc, at);
        il.Emit(OpCodes.Ldloc, to);
        il.Emit(OpCodes.Blt, block);
        il.Emit(OpCodes.Ret);
        return method.CreateDelegate<KernelBody>();
    }

    private static MethodInfo MethodOf(NarrowKind kind, bool isWidening)
    {
        RowMethod narrowing = kind switch
        {
            NarrowKind.Signed8 when isWidening => NarrowCodec.WidenNextSigned,
            NarrowKind.NonNegative8 when isWidening => NarrowCodec.WidenNextNonNegative,
            _ when isWidening => NarrowCodec.WidenNextWords,
            NarrowKind.Signed8 => NarrowCodec.NarrowLastSigned,
            NarrowKind.NonNegative8 => NarrowCodec.NarrowLastNonNegative,
            _ => NarrowCodec.NarrowLastWords,
        };
        return narrowing.Method;
    }

    private void Moved(LocalBuilder from, int elements, LocalBuilder target)
    {
        il.Emit(OpCodes.Ldloc, from);
        Integer(elements);
        il.Emit(OpCodes.Add);
        il.Emit(OpCodes.Stloc, target);
    }
}
