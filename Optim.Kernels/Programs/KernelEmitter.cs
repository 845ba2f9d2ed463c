using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Reflection.Emit;

namespace Optim.Kernels;

/// <summary>Writes the code of a visit as instructions of the runtime.</summary>
[RequiresDynamicCode("makes code at run time")]
internal sealed unsafe partial class KernelEmitter
{
    private readonly KernelCode code;

    private readonly VectorMethods methods;
    private readonly int vectors;
    private readonly bool looksAhead;
    private readonly LocalBuilder[][]? running;
    private readonly DynamicMethod method;
    private readonly ILGenerator il;
    private readonly LocalBuilder?[] addresses;
    private readonly LocalBuilder?[] values;
    private readonly LocalBuilder at,
        entry,
        stride,
        next,
        end,
        to,
        numbers;

    /// <param name="code">What to do with each element, spelled out.</param>
    /// <param name="methods">On which vectors.</param>
    /// <param name="vectors">How many vectors go at a time: all are loaded before the first is stored.</param>
    /// <param name="looksAhead">Whether memory is asked for before it is needed.</param>
    public KernelEmitter(KernelCode code, VectorMethods methods, int vectors, bool looksAhead = false)
    {
        (this.code, this.methods, this.vectors, this.looksAhead) = (code, methods, vectors, looksAhead);
        method = new("kernel", typeof(void), [typeof(SliceSpan).MakePointerType()], typeof(KernelEmitter).Module, true);
        il = method.GetILGenerator();
        addresses = new LocalBuilder?[code.ArrayUses[^1].Array + 1];
        values = new LocalBuilder?[code.Nodes.Length];
        (at, entry, stride, next) = (Local(), Local(), Local(), Local());
        (end, to, numbers) = (Local(), Local(), Local());
    }

    public KernelBody Emit()
    {
        Running(isLoading: true);
        Field(nameof(SliceSpan.Entry), entry);
        Field(nameof(SliceSpan.Stride), stride);
        Field(nameof(SliceSpan.At), next);
        Field(nameof(SliceSpan.End), end);
        Field(nameof(SliceSpan.Numbers), numbers);
        il.Emit(OpCodes.Ldloc, stride);
        Integer(IntPtr.Size);
        il.Emit(OpCodes.Mul);
        il.Emit(OpCodes.Stloc, stride);
        KeepUniforms();
        var (slice, slices, element, elements, done) = (Label(), Label(), Label(), Label(), Label());
        il.Emit(OpCodes.Br, slices);
        il.MarkLabel(slice);
        BeginSlice();
        il.Emit(OpCodes.Br, elements);
        il.MarkLabel(element);
        Body(0, vectors, []);
        il.Emit(OpCodes.Ldloc, at);
        Integer(vectors * methods.Count);
        il.Emit(OpCodes.Add);
        il.Emit(OpCodes.Stloc, at);
        il.MarkLabel(elements);
        il.Emit(OpCodes.Ldloc, at);
        il.Emit(OpCodes.Ldloc, to);
        Integer(vectors * methods.Count);
        il.Emit(OpCodes.Sub);
        il.Emit(OpCodes.Ble, element);
        EndSlice(done);
        il.MarkLabel(slices);
        il.Emit(OpCodes.Ldloc, next);
        il.Emit(OpCodes.Ldloc, end);
        il.Emit(OpCodes.Blt, slice);
        il.MarkLabel(done);
        Running(isLoading: false);
        SetField(nameof(SliceSpan.Entry), entry);
        SetField(nameof(SliceSpan.At), next);
        il.Emit(OpCodes.Ret);
        return method.CreateDelegate<KernelBody>();
    }

    /// <summary>Works out what is the same for all elements.</summary>
    private void KeepUniforms()
    {
        var uniforms = 0;
        foreach (var isUniform in code.IsUniform)
            uniforms += isUniform ? 1 : 0;
        for (var i = 0; i < code.Nodes.Length; i++)
            // A constant that has no register is better read where it is used than kept on the stack: that loads would be held up by stores to
            // arrays at the same offset in a page.
            if (code.IsUniform[i] && !(uniforms > methods.Uniforms && code.Nodes[i].Operation == Operation.Constant && code.Uses[i] == 1))
            {
                Compute(i);
                Keep(i);
            }
    }

    /// <summary>Where the arrays of a slice lie, the element of it that comes next, and one past the last.</summary>
    private void BeginSlice()
    {
        foreach (var use in code.ArrayUses)
        {
            addresses[use.Array] ??= Local();
            Word((1 + use.Array) * IntPtr.Size);
            il.Emit(OpCodes.Stloc, addresses[use.Array]!);
        }
        il.Emit(OpCodes.Ldloc, next);
        Word(0);
        il.Emit(OpCodes.Sub);
        il.Emit(OpCodes.Stloc, at);
        // The smaller one of where the slice ends and where the elements end.
        var smaller = Label();
        NextSlice();
        il.Emit(OpCodes.Ldind_I);
        il.Emit(OpCodes.Stloc, to);
        il.Emit(OpCodes.Ldloc, to);
        il.Emit(OpCodes.Ldloc, end);
        il.Emit(OpCodes.Ble, smaller);
        il.Emit(OpCodes.Ldloc, end);
        il.Emit(OpCodes.Stloc, to);
        il.MarkLabel(smaller);
        il.Emit(OpCodes.Ldloc, to);
        Word(0);
        il.Emit(OpCodes.Sub);
        il.Emit(OpCodes.Stloc, to);
    }

    /// <summary>Goes on to the next slice, unless this one has a tail.</summary>
    private void EndSlice(Label done)
    {
        il.Emit(OpCodes.Ldloc, at);
        Word(0);
        il.Emit(OpCodes.Add);
        il.Emit(OpCodes.Stloc, next);
        il.Emit(OpCodes.Ldloc, at);
        il.Emit(OpCodes.Ldloc, to);
        il.Emit(OpCodes.Blt, done);
        NextSlice();
        il.Emit(OpCodes.Stloc, entry);
    }

    /// <summary>Some vectors from the one of a number on; memory is not asked for early of the arrays that are at hand.</summary>
    private void Body(int first, int count, int[] atHand)
    {
        var uniform = (LocalBuilder?[])values.Clone();
        var loaded = new LocalBuilder?[count][];
        for (var vector = 0; vector < count; vector++)
        {
            for (var i = 0; i < code.Nodes.Length; i++)
                if (code.Nodes[i].Operation is Operation.Load or Operation.LoadWords)
                {
                    Compute(i, first + vector);
                    Keep(i);
                }
            loaded[vector] = (LocalBuilder?[])values.Clone();
            LookAhead(first + vector, atHand);
        }
        for (var vector = 0; vector < count; vector++)
        {
            loaded[vector].CopyTo(values, 0);
            // All values before the first store: arrays may be the same memory.
            foreach (var store in code.Stores)
                Hold(store.Node);
            Take(first + vector);
            foreach (var store in code.Stores)
            {
                if (IsRunning(store.Array))
                    continue;
                Push(store.Node);
                Address(store.Array, store.IsWords ? sizeof(ushort) : code.Size, first + vector);
                il.Emit(OpCodes.Call, store.IsWords ? methods.StoreWords : methods.Store);
            }
        }
        uniform.CopyTo(values, 0);
    }

    /// <summary>Puts a value onto the stack; one that is used again is kept.</summary>
    private void Push(int node)
    {
        if (values[node] is { } known)
        {
            il.Emit(OpCodes.Ldloc, known);
            return;
        }
        // A mask that is kept would lie in a vector: asking again is cheaper.
        var isMask = code.Nodes[node].Operation.IsMask();
        for (var k = 0; k < 2 && isMask && code.Uses[node] > 1 && code.Nodes[node].Operand(k) is >= 0 and var operand; k++)
            Hold(operand);
        Compute(node);
        if (code.Uses[node] > 1 && !isMask)
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
            case Operation.Constant:
                Constant(node.Constant);
                break;
            case Operation.Number:
                il.Emit(OpCodes.Ldloc, numbers);
                Integer((int)node.Value * code.Size);
                il.Emit(OpCodes.Add);
                il.Emit(code.IsDouble ? OpCodes.Ldind_R8 : OpCodes.Ldind_R4);
                il.Emit(OpCodes.Call, methods.Create);
                break;
            case Operation.Bits:
                il.Emit(OpCodes.Ldc_I4, unchecked((int)(uint)node.Value));
                il.Emit(OpCodes.Call, methods.OfBits);
                break;
            case Operation.Load:
                Load((int)node.Value, vector);
                break;
            case Operation.LoadWords:
                Address((int)node.Value, sizeof(ushort), vector);
                il.Emit(OpCodes.Call, methods.LoadWords);
                break;
            case Operation.Max:
                Larger(node.A, node.B, isMax: true);
                break;
            case Operation.Min:
                Larger(node.A, node.B, isMax: false);
                break;
            case Operation.Select:
                Choose(node);
                break;
            case Operation.Sign:
                // 1 where x > 0, or else -1 where 0 > x.
                Hold(node.A);
                Greater(node.A, null);
                Constant(1);
                Greater(null, node.A);
                Constant(-1);
                Constant(0);
                Call(Operation.Select);
                Call(Operation.Select);
                break;
            default:
                for (var k = 0; k < 3 && node.Operand(k) >= 0; k++)
                    Push(node.Operand(k));
                if (node.Operation is Operation.ShiftLeft or Operation.ShiftRight)
                    il.Emit(OpCodes.Ldc_I4, (int)node.Value);
                Call(node.Operation);
                break;
        }
    }

    /// <summary>Keeps a value that is pushed more than once.</summary>
    private void Hold(int node)
    {
        if (values[node] is not null)
            return;
        Compute(node);
        Keep(node);
    }

    private void Constant(double value)
    {
        if (code.IsDouble)
            il.Emit(OpCodes.Ldc_R8, value);
        else
            il.Emit(OpCodes.Ldc_R4, (float)value);
        il.Emit(OpCodes.Call, methods.Create);
    }

    private void Call(Operation operation) => il.Emit(OpCodes.Call, methods.For(operation));

    private void Load(int array, int vector)
    {
        Address(array, code.Size, vector);
        il.Emit(OpCodes.Call, methods.Load);
    }

    /// <summary>Where the elements of an array go on.</summary>
    private void Address(int array, int size, int vector)
    {
        il.Emit(OpCodes.Ldloc, addresses[array]!);
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

    private void Word(int offset)
    {
        il.Emit(OpCodes.Ldloc, entry);
        Integer(offset);
        il.Emit(OpCodes.Add);
        il.Emit(OpCodes.Ldind_I);
    }

    private void NextSlice()
    {
        il.Emit(OpCodes.Ldloc, entry);
        il.Emit(OpCodes.Ldloc, stride);
        il.Emit(OpCodes.Add);
    }

    private void Field(string name, LocalBuilder local)
    {
        il.Emit(OpCodes.Ldarg_0);
        il.Emit(OpCodes.Ldfld, FieldOf(name));
        il.Emit(OpCodes.Stloc, local);
    }

    private void SetField(string name, LocalBuilder local)
    {
        il.Emit(OpCodes.Ldarg_0);
        il.Emit(OpCodes.Ldloc, local);
        il.Emit(OpCodes.Stfld, FieldOf(name));
    }

    private static FieldInfo FieldOf(string name) => typeof(SliceSpan).GetField(name)!;

    private LocalBuilder Local() => il.DeclareLocal(typeof(nint));

    private Label Label() => il.DefineLabel();

    private void Integer(int value)
    {
        il.Emit(OpCodes.Ldc_I4, value);
        il.Emit(OpCodes.Conv_I);
    }
}
