using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Unicode;
using Optim.Core;

namespace Optim.Checkpoints;

/// <summary>
/// Runs the instructions of a pickle. It builds values and calls nothing: what "calling" a name means is written out in
/// <see cref="PickleCalls"/>, and what is called by any other name is kept as a value of that name. Every instruction and what it
/// builds is paid for before it is built.
/// </summary>
internal sealed class PickleReader(PickleInput input, PickleCalls calls, Budget budget)
{
    /// <summary>What torch.load(weights_only=True) reads; numbers of this size are printed in no time.</summary>
    private const int LongestNumber = 255;

    private static readonly Tree[] small = [.. Enumerable.Range(0, 256).Select(n => (Tree)n)];
    private static readonly Tree yes = true,
        no = false;

    private readonly PickleStack stack = new(budget);
    private readonly Dictionary<string, PickleName> names = new(StringComparer.Ordinal);

    /// <summary>The value that the pickle makes.</summary>
    public object? Run()
    {
        if ((Opcode)input.Byte() != Opcode.Proto)
            throw new PickleException("it does not begin as a pickle of protocol 2 or later");
        Protocol();
        while (true)
        {
            budget.Node();
            var opcode = (Opcode)input.Byte();
            if (opcode == Opcode.Stop)
                return stack.Only();
            Step(opcode);
        }
    }

    private void Step(Opcode opcode)
    {
        switch (opcode)
        {
            case Opcode.Proto:
                Protocol();
                break;
            case Opcode.Frame:
                input.Take(8);
                break;
            case Opcode.Mark:
                stack.Mark();
                break;
            case Opcode.Pop:
                stack.Pop();
                break;
            case Opcode.BinPut:
                stack.Remember(input.Byte());
                break;
            case Opcode.LongBinPut:
                stack.Remember(U32());
                break;
            case Opcode.Memoize:
                stack.Remember();
                break;
            case Opcode.BinGet:
                stack.Push(stack.Remembered(input.Byte()));
                break;
            case Opcode.LongBinGet:
                stack.Push(stack.Remembered(U32()));
                break;
            case Opcode.None:
                stack.Push(null);
                break;
            case Opcode.NewTrue:
                stack.Push(yes);
                break;
            case Opcode.NewFalse:
                stack.Push(no);
                break;
            case Opcode.BinInt:
                stack.Push(Number(BinaryPrimitives.ReadInt32LittleEndian(input.Take(4))));
                break;
            case Opcode.BinInt1:
                stack.Push(small[input.Byte()]);
                break;
            case Opcode.BinInt2:
                stack.Push(Number(BinaryPrimitives.ReadUInt16LittleEndian(input.Take(2))));
                break;
            case Opcode.Long1:
                stack.Push(Long(input.Byte()));
                break;
            case Opcode.Long4:
                stack.Push(Long(U32()));
                break;
            case Opcode.BinFloat:
                budget.Memory(24);
                stack.Push((Tree)BinaryPrimitives.ReadDoubleBigEndian(input.Take(8)));
                break;
            case Opcode.ShortBinUnicode:
                Text(input.Byte());
                break;
            case Opcode.BinUnicode:
                Text(U32());
                break;
            case Opcode.BinUnicode8:
                Text(U64());
                break;
            case Opcode.ShortBinString:
                OldText(input.Byte());
                break;
            case Opcode.ShortBinBytes:
                stack.Push(Bytes(input.Byte()));
                break;
            case Opcode.BinBytes:
                stack.Push(Bytes(U32()));
                break;
            case Opcode.BinBytes8:
                stack.Push(Bytes(U64()));
                break;
            case Opcode.ByteArray8:
                stack.Push(calls.Made(PickleNames.ByteArray, Bytes(U64())));
                break;
            default:
                Build(opcode);
                break;
        }
    }

    /// <summary>The instructions that put values together.</summary>
    private void Build(Opcode opcode)
    {
        switch (opcode)
        {
            case Opcode.EmptyList:
                budget.Memory(160);
                stack.Push(new PickleList());
                break;
            case Opcode.EmptyDict:
                stack.Push(calls.Dict(MapKind.Dict));
                break;
            case Opcode.EmptySet:
                stack.Push(calls.Dict(MapKind.Dict, isSet: true));
                break;
            case Opcode.EmptyTuple:
                Tuple([]);
                break;
            case Opcode.Tuple:
                Tuple(stack.PopMarked());
                break;
            case Opcode.Tuple1:
            case Opcode.Tuple2:
            case Opcode.Tuple3:
                var items = new object?[opcode - Opcode.Tuple1 + 1];
                for (var i = items.Length - 1; i >= 0; i--)
                    items[i] = stack.Pop();
                Tuple(items);
                break;
            case Opcode.Append:
                Append([stack.Pop()]);
                break;
            case Opcode.Appends:
                Append(stack.PopMarked());
                break;
            case Opcode.AddItems:
                var added = stack.PopMarked();
                var set = stack.Top() as PickleDict is { IsSet: true } found
                    ? found
                    : throw new PickleException("it adds to what is no set");
                foreach (var item in added)
                    set.Set(item, null, budget);
                break;
            case Opcode.SetItem:
                var (value, key) = (stack.Pop(), stack.Pop());
                SetItems([key, value]);
                break;
            case Opcode.SetItems:
                SetItems(stack.PopMarked());
                break;
            case Opcode.Global:
                var (module, member) = (input.Line(), input.Line());
                stack.Push(Name(module, member));
                break;
            case Opcode.StackGlobal:
                var (second, first) = (stack.Pop(), stack.Pop());
                stack.Push(
                    first is PickleText m && second is PickleText n
                        ? Name(m.Value, n.Value)
                        : throw new PickleException("a name is not a text")
                );
                break;
            case Opcode.Reduce:
            case Opcode.NewObj:
                var (arguments, function) = (stack.Pop(), stack.Pop());
                stack.Push(calls.Call(function, arguments));
                break;
            case Opcode.NewObjEx:
                var (named, positional, type) = (stack.Pop(), stack.Pop(), stack.Pop());
                stack.Push(calls.CallNamed(type, positional, named));
                break;
            case Opcode.Build:
                var state = stack.Pop();
                calls.SetState(stack.Top(), state);
                break;
            case Opcode.BinPersId:
                stack.Push(calls.Outside(stack.Pop()));
                break;
            default:
                throw new PickleException(
                    $"its instruction 0x{(byte)opcode:x2} at byte {input.Place - 1} is none that plain values and tensors need"
                );
        }
    }

    private void Protocol()
    {
        var protocol = input.Byte();
        if (protocol is < 2 or > 5)
            throw new PickleException($"protocol {protocol} is not known; it can be 2 to 5");
    }

    private Tree Number(long number)
    {
        budget.Memory(24);
        return number;
    }

    private Tree Long(uint length)
    {
        if (length > LongestNumber)
            throw new PickleException($"a whole number in it has {length} bytes; at most {LongestNumber} are read");
        budget.Memory(48 + length);
        var number = new BigInteger(input.Take((int)length));
        return number >= long.MinValue && number <= long.MaxValue ? (long)number : Tree.NewBigInt(number);
    }

    private Tree Bytes(ulong length)
    {
        budget.Memory(80);
        return Tree.NewBytes(ImmutableCollectionsMarshal.AsImmutableArray(input.Bytes(length, budget)));
    }

    private void Text(ulong length)
    {
        budget.Memory(120);
        stack.Push(new PickleText(input.Text(length, budget)));
    }

    /// <summary>A text of Python 2, where it is one, and bytes otherwise.</summary>
    private void OldText(byte length)
    {
        budget.Memory(120 + 2 * length);
        var bytes = input.Take(length);
        stack.Push(Utf8.IsValid(bytes) ? new PickleText(Encoding.UTF8.GetString(bytes)) : Tree.NewBytes([.. bytes]));
    }

    private void Tuple(object?[] items)
    {
        budget.Memory(200 + 24L * items.Length);
        stack.Push(new PickleTuple(items));
    }

    private void Append(object?[] items)
    {
        budget.Memory(32L * items.Length);
        switch (stack.Top())
        {
            case PickleList list:
                list.AddRange(items);
                break;
            case PickleObject made:
                (made.Items ??= []).AddRange(items);
                break;
            default:
                throw new PickleException("it appends to what is no list");
        }
    }

    private void SetItems(object?[] entries)
    {
        if (entries.Length % 2 != 0)
            throw new PickleException("a key of a dict has no value");
        var dict = stack.Top() switch
        {
            PickleDict { IsSet: false } found => found,
            PickleObject made => made.Entries ??= calls.Dict(MapKind.Dict),
            _ => throw new PickleException("it sets an item of what is no dict"),
        };
        for (var i = 0; i < entries.Length; i += 2)
            dict.Set(entries[i], entries[i + 1], budget);
    }

    private PickleName Name(string module, string name)
    {
        var both = $"{module}\n{name}";
        budget.Memory(4L * both.Length);
        if (!names.TryGetValue(both, out var found))
        {
            budget.Memory(200);
            names[both] = found = PickleNames.Find(module, name);
        }
        if (!found.IsKnown)
            calls.Foreign ??= found.Name;
        return found;
    }

    private uint U32() => BinaryPrimitives.ReadUInt32LittleEndian(input.Take(4));

    private ulong U64() => BinaryPrimitives.ReadUInt64LittleEndian(input.Take(8));
}
