using System.Diagnostics.CodeAnalysis;
using System.Reflection.Emit;

namespace Optim.Kernels;

/// <summary>Runs the code of a visit as machine code: the runtime compiles it when it is first run, and drops it with this object.</summary>
[RequiresDynamicCode("makes code at run time")]
internal sealed unsafe class EmittedKernel : VisitKernel
{
    /// <summary>Arrays beyond which there are enough loads under way as it is; from main memory two vectors at a time are faster with fewer.</summary>
    private const int FewArrays = 5;

    private readonly VectorMethods methods;
    private readonly KernelBody single;
    private readonly bool inPairs;
    private KernelBody? pair;

    public EmittedKernel(KernelCode code, Width width)
        : base(code)
    {
        methods = VectorMethods.Of(width, code.IsDouble);
        single = new KernelEmitter(code, methods, 1).Emit();
        inPairs = code.ArrayUses.Length <= FewArrays;
    }

    public override int Count => methods.Count;

    protected override void Vectors(nint* arrays, nint begin, nint end, void* numbers, bool streams)
    {
        if (inPairs && streams && end - begin >= 2 * Count)
        {
            var whole = end - (end - begin) % (2 * Count);
            // Two threads may both make it: the same code.
            (pair ??= new KernelEmitter(Code, methods, 2).Emit())(arrays, begin, whole, numbers);
            begin = whole;
        }
        if (begin < end)
            single(arrays, begin, end, numbers);
    }
}

/// <summary>Elements [begin, end) of the arrays at these addresses, which are whole vectors, with these numbers.</summary>
internal unsafe delegate void KernelBody(nint* arrays, nint begin, nint end, void* numbers);

/// <summary>Writes the code of a visit as instructions of the runtime.</summary>
[RequiresDynamicCode("makes code at run time")]
internal sealed class KernelEmitter
{
    private readonly KernelCode code;
    private readonly VectorMethods methods;
    private readonly int vectors;
    private readonly DynamicMethod method;
    private readonly ILGenerator il;
    private readonly LocalBuilder[] addresses;
    private readonly LocalBuilder?[] values;
    private readonly LocalBuilder at;

    /// <param name="code">What to do with each element.</param>
    /// <param name="methods">On which vectors.</param>
    /// <param name="vectors">How many vectors go at a time: all are loaded before the first is stored.</param>
    public KernelEmitter(KernelCode code, VectorMethods methods, int vectors)
    {
        (this.code, this.methods, this.vectors) = (code, methods, vectors);
        method = new(
            "kernel",
            typeof(void),
            [typeof(nint).MakePointerType(), typeof(nint), typeof(nint), typeof(void).MakePointerType()],
            typeof(KernelEmitter).Module,
            true
        );
        il = method.GetILGenerator();
        addresses = new LocalBuilder[code.ArrayUses[^1].Array + 1];
        values = new LocalBuilder?[code.Nodes.Length];
        at = il.DeclareLocal(typeof(nint));
    }

    public KernelBody Emit()
    {
        foreach (var use in code.ArrayUses)
        {
            addresses[use.Array] = il.DeclareLocal(typeof(nint));
            Argument(0, use.Array * IntPtr.Size);
            il.Emit(OpCodes.Ldind_I);
            il.Emit(OpCodes.Stloc, addresses[use.Array]);
        }
        for (var i = 0; i < code.Nodes.Length; i++)
            if (code.IsUniform[i])
            {
                Compute(i);
                Keep(i);
            }
        var (test, body) = (il.DefineLabel(), il.DefineLabel());
        il.Emit(OpCodes.Ldarg_1);
        il.Emit(OpCodes.Stloc, at);
        il.Emit(OpCodes.Br, test);
        il.MarkLabel(body);
        Body();
        il.Emit(OpCodes.Ldloc, at);
        Integer(vectors * methods.Count);
        il.Emit(OpCodes.Add);
        il.Emit(OpCodes.Stloc, at);
        il.MarkLabel(test);
        il.Emit(OpCodes.Ldloc, at);
        il.Emit(OpCodes.Ldarg_2);
        il.Emit(OpCodes.Blt, body);
        il.Emit(OpCodes.Ret);
        return method.CreateDelegate<KernelBody>();
    }

    private void Body()
    {
        var loaded = new LocalBuilder?[vectors][];
        for (var vector = 0; vector < vectors; vector++)
        {
            for (var i = 0; i < code.Nodes.Length; i++)
                if (code.Nodes[i].Operation is Operation.Load or Operation.LoadWords)
                {
                    Compute(i, vector);
                    Keep(i);
                }
            loaded[vector] = [.. values];
        }
        for (var vector = 0; vector < vectors; vector++)
        {
            loaded[vector].CopyTo(values, 0);
            // All values before the first store: arrays may be the same memory.
            foreach (var store in code.Stores)
                if (values[store.Node] is null)
                {
                    Compute(store.Node);
                    Keep(store.Node);
                }
            foreach (var store in code.Stores)
            {
                Push(store.Node);
                Address(store.Array, store.IsWords ? sizeof(ushort) : code.Size, vector);
                il.Emit(OpCodes.Call, store.IsWords ? methods.StoreWords : methods.Store);
            }
        }
    }

    /// <summary>Puts a value onto the stack; one that is used again is kept.</summary>
    private void Push(int node)
    {
        if (values[node] is { } known)
        {
            il.Emit(OpCodes.Ldloc, known);
            return;
        }
        Compute(node);
        if (code.Uses[node] > 1)
        {
            il.Emit(OpCodes.Dup);
            Keep(node);
        }
    }

    private void Keep(int node) => il.Emit(OpCodes.Stloc, values[node] = il.DeclareLocal(methods.Vector));

    private void Compute(int place, int vector = 0)
    {
        var node = code.Nodes[place];
        switch (node.Operation)
        {
            case Operation.Constant when code.IsDouble:
                il.Emit(OpCodes.Ldc_R8, node.Constant);
                il.Emit(OpCodes.Call, methods.Create);
                break;
            case Operation.Constant:
                il.Emit(OpCodes.Ldc_R4, (float)node.Constant);
                il.Emit(OpCodes.Call, methods.Create);
                break;
            case Operation.Number:
                Argument(3, (int)node.Value * code.Size);
                il.Emit(code.IsDouble ? OpCodes.Ldind_R8 : OpCodes.Ldind_R4);
                il.Emit(OpCodes.Call, methods.Create);
                break;
            case Operation.Bits:
                il.Emit(OpCodes.Ldc_I4, unchecked((int)(uint)node.Value));
                il.Emit(OpCodes.Call, methods.OfBits);
                break;
            case Operation.Load:
                Address((int)node.Value, code.Size, vector);
                il.Emit(OpCodes.Call, methods.Load);
                break;
            case Operation.LoadWords:
                Address((int)node.Value, sizeof(ushort), vector);
                il.Emit(OpCodes.Call, methods.LoadWords);
                break;
            default:
                for (var k = 0; k < 3 && node.Operand(k) >= 0; k++)
                    Push(node.Operand(k));
                if (node.Operation is Operation.ShiftLeft or Operation.ShiftRight)
                    il.Emit(OpCodes.Ldc_I4, (int)node.Value);
                il.Emit(OpCodes.Call, methods.For(node.Operation));
                break;
        }
    }

    /// <summary>Where the elements of an array go on.</summary>
    private void Address(int array, int size, int vector)
    {
        il.Emit(OpCodes.Ldloc, addresses[array]);
        il.Emit(OpCodes.Ldloc, at);
        Integer(size);
        il.Emit(OpCodes.Mul);
        il.Emit(OpCodes.Add);
        if (vector > 0)
        {
            Integer(vector * methods.Count * size);
            il.Emit(OpCodes.Add);
        }
    }

    private void Argument(int argument, int offset)
    {
        il.Emit(OpCodes.Ldarg, (short)argument);
        Integer(offset);
        il.Emit(OpCodes.Add);
    }

    private void Integer(int value)
    {
        il.Emit(OpCodes.Ldc_I4, value);
        il.Emit(OpCodes.Conv_I);
    }
}
