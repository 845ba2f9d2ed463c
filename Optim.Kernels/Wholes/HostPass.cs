// Long, because planning a pass and its steps share one table.
using System.Collections.Immutable;

namespace Optim.Kernels;

/// <summary>A tensor that a pass reads: element by element of the pass where it is direct, and else in runs of elements at even distances.</summary>
internal unsafe struct HostLeaf
{
    /// <summary>Dimensions that are told apart, at most.</summary>
    public const int Most = 8;

    public nint Address;
    public bool IsDouble,
        IsDirect;

    /// <summary>Elements of a run, and what lies between them.</summary>
    public nint Run,
        Between;

    /// <summary>The dimensions that runs go through.</summary>
    public int Outer;
    public fixed long Lengths[Most];
    public fixed long Strides[Most];
}

/// <summary>One operation of a pass; operands are places of its table: uniform vectors, then leaves, then rooms.</summary>
internal struct HostStep
{
    public nint Body;
    public int Target,
        A,
        B,
        C,
        D;

    /// <summary>Which of the results it writes where they lie; -1: none.</summary>
    public int Result;
}

/// <summary>What a pass leaves in memory.</summary>
internal struct HostResult
{
    public int From;
    public nint Address;

    /// <summary>Whether a step writes it there.</summary>
    public bool IsDirect;
}

/// <summary>What the shares of a pass need.</summary>
internal unsafe struct HostPass
{
    public HostLeaf* Leaves;
    public HostStep* Steps;
    public HostResult* Results;

    /// <summary>Vectors of one number each.</summary>
    public byte* Uniforms;
    public int LeafCount,
        StepCount,
        ResultCount,
        UniformCount,
        RoomCount;

    /// <summary>Elements of a vector, and of a block.</summary>
    public int Lanes,
        Block;

    /// <summary>Elements of the pass.</summary>
    public nint Count;

    // Sums: what is summed, how, and the shape [Outer, Along, Inner] of which Along becomes 1. Rows of Along are cut in Pieces of Piece.

    public int Summed;
    public WholeReduction Reduction;
    public nint Outer,
        Along,
        Inner,
        Piece,
        Pieces;
    public double* Sums;

    /// <summary>What executors are told to share: tasks, as if each were so many elements.</summary>
    public nint Tasks,
        Weight;

    public readonly nint TaskAt(nint element) => (element + Weight - 1) / Weight;
}

/// <summary>Writes down a pass: which values are worked out in it, in which order, and where they lie meanwhile.</summary>
internal sealed unsafe class HostPlan(HostWhole home)
{
    private int passes;
    private readonly List<HostTensor> leaves = [],
        steps = [];
    private readonly List<HostTensor> numbers = [];
    private readonly List<int> lastUse = [],
        rooms = [],
        free = [];
    private int pass;

    /// <summary>A number by which values are marked that were looked at; passes mark theirs by others.</summary>
    public int Mark() => ++passes;

    /// <summary>
    /// Runs the values, which have a shape that all go with, into memory, and one of them into sums.
    /// </summary>
    public void Run(
        ReadOnlySpan<HostTensor> values,
        ReadOnlySpan<nint> addresses,
        ImmutableArray<long> shape,
        DType work,
        HostTensor? summed,
        HostPass* sums
    )
    {
        nint count = 1;
        foreach (var length in shape)
            count *= (nint)length;
        // Values of fewer elements by passes of their own, which use these lists, too.
        var smaller = ++passes;
        foreach (var value in values)
            Prepare(value, count, smaller);
        if (summed is not null)
            Prepare(summed, count, smaller);
        pass = ++passes;
        leaves.Clear();
        steps.Clear();
        numbers.Clear();
        foreach (var value in values)
            Visit(value, count, addresses);
        if (summed is not null)
            Visit(summed, count, addresses);

        var made = new HostPass
        {
            LeafCount = leaves.Count,
            UniformCount = numbers.Count,
            StepCount = steps.Count,
            ResultCount = values.Length,
            Count = count,
            Summed = -1,
        };
        if (sums != null)
        {
            made.Reduction = sums->Reduction;
            (made.Outer, made.Along, made.Inner) = (sums->Outer, sums->Along, sums->Inner);
            (made.Piece, made.Pieces) = (sums->Piece, sums->Pieces);
            made.Sums = sums->Sums;
        }
        var loops = HostLoops.Of(work);
        made.Lanes = loops.Count;

        var leafMemory = stackalloc HostLeaf[leaves.Count + 1];
        for (var i = 0; i < leaves.Count; i++)
            Describe(leaves[i], shape, work, ref leafMemory[i]);
        var uniforms = stackalloc byte[(numbers.Count + 1) * 64];
        for (var i = 0; i < numbers.Count; i++)
            loops.Constant(NumberOf(numbers[i]), 0, false, uniforms + i * 64);
        // A copy for each result that is no step, at most.
        var stepMemory = stackalloc HostStep[steps.Count + values.Length + 1];
        var results = stackalloc HostResult[values.Length + 1];
        made.Leaves = leafMemory;
        made.Uniforms = uniforms;
        made.Steps = stepMemory;
        made.Results = results;
        Order(ref made, loops, work, values, addresses, summed);

        var operands = made.UniformCount + made.LeafCount + made.RoomCount;
        var size = work.Size();
        // Half of the first cache, beside what lies in memory.
        made.Block = Math.Clamp((24 << 10) / (size * (made.LeafCount + made.RoomCount + 1)) / 64 * 64, 64, 1024);
        var isDouble = work == DType.Float64;
        if (sums == null)
            home.Ran(home.Executor.Run(count, isDouble ? &HostKernel<double>.Run : &HostKernel<float>.Run, &made));
        else
        {
            made.Tasks = made.Outer * made.Pieces;
            made.Weight = Math.Max(16, made.Piece * made.Inner);
            home.Ran(home.Executor.Run(made.Tasks * made.Weight, isDouble ? &HostKernel<double>.Sum : &HostKernel<float>.Sum, &made));
        }
        foreach (var leaf in leaves)
            GC.KeepAlive(leaf);
    }

    /// <summary>Works values of fewer elements out.</summary>
    private void Prepare(HostTensor value, nint count, int mark)
    {
        if (value.Operation is WholeOperation.Leaf or WholeOperation.Number || value.Pass == mark)
            return;
        value.Pass = mark;
        if (value.Count < count)
        {
            home.InMemory(value);
            return;
        }
        var (a, b, c, d) = (value.A, value.B, value.C, value.D);
        foreach (var operand in (ReadOnlySpan<HostTensor?>)[a, b, c, d])
            if (operand is not null)
                Prepare(operand, count, mark);
    }

    /// <summary>Whether it is one number for all elements.</summary>
    private static bool IsUniform(HostTensor value, nint count) =>
        value.Operation == WholeOperation.Number || value.Operation == WholeOperation.Leaf && value.Count == 1 && count > 1;

    private static double NumberOf(HostTensor value) =>
        value.Operation == WholeOperation.Number ? value.Value
        : value.Stored == DType.Float64 ? *(double*)value.Address
        : *(float*)value.Address;

    /// <summary>The place of a value in the order of the pass.</summary>
    private void Visit(HostTensor value, nint count, ReadOnlySpan<nint> addresses)
    {
        if (value.Pass == pass)
            return;
        if (value.Operation == WholeOperation.Leaf && value.Count == count && !value.IsInOrder && addresses.Contains(value.Address))
            throw new InvalidOperationException("a value is read in another order than the one in which it is written");
        switch (value.Operation)
        {
            case WholeOperation.Number or WholeOperation.Leaf when IsUniform(value, count):
                value.Place = numbers.Count;
                numbers.Add(value);
                break;
            case WholeOperation.Leaf:
                value.Place = leaves.Count;
                leaves.Add(value);
                break;
            default:
                foreach (var operand in (ReadOnlySpan<HostTensor?>)[value.A, value.B, value.C, value.D])
                    if (operand is not null)
                        Visit(operand, count, addresses);
                value.Place = steps.Count;
                steps.Add(value);
                break;
        }
        value.Pass = pass;
    }

    /// <summary>How a leaf is read.</summary>
    private static void Describe(HostTensor leaf, ImmutableArray<long> shape, DType work, ref HostLeaf made)
    {
        made.Address = leaf.Address;
        made.IsDouble = leaf.Stored == DType.Float64;
        made.IsDirect = leaf.Stored == work && leaf.Shape.SequenceEqual(shape) && leaf.IsInOrder;
        if (made.IsDirect)
            return;
        (made.Run, made.Between, made.Outer) = (1, 0, 0);
        var isFirst = true;
        long next = 0;
        for (var i = 1; i <= shape.Length; i++)
        {
            var length = shape[^i];
            if (length == 1)
                continue;
            var stride = i > leaf.Rank || leaf.Shape[^i] == 1 ? 0 : leaf.Strides[^i];
            if (isFirst)
                (made.Run, made.Between, isFirst) = ((nint)length, (nint)stride, false);
            else if (made.Outer == 0 && stride == next)
                made.Run *= (nint)length;
            else if (made.Outer < HostLeaf.Most)
            {
                (made.Lengths[made.Outer], made.Strides[made.Outer]) = (length, stride);
                made.Outer++;
            }
            else
                throw new NotSupportedException("a tensor of more than eight dimensions");
            next = stride * length;
        }
    }

    /// <summary>Steps with the places of their operands. A room is free again after the last step that reads it.</summary>
    private void Order(
        ref HostPass made,
        BlockLoops loops,
        DType work,
        ReadOnlySpan<HostTensor> values,
        ReadOnlySpan<nint> addresses,
        HostTensor? summed
    )
    {
        lastUse.Clear();
        rooms.Clear();
        free.Clear();
        for (var i = 0; i < steps.Count; i++)
            lastUse.Add(i);
        Span<int> leafUse = stackalloc int[leaves.Count];
        leafUse.Clear();
        for (var i = 0; i < steps.Count; i++)
            foreach (var operand in (ReadOnlySpan<HostTensor?>)[steps[i].A, steps[i].B, steps[i].C, steps[i].D])
                if (operand is null || IsUniform(operand, made.Count))
                    continue;
                else if (operand.Operation == WholeOperation.Leaf)
                    leafUse[operand.Place] = i;
                else
                    lastUse[operand.Place] = i;
        // Results and what is summed are read after all steps.
        foreach (var value in values)
            Keep(value, made.Count, leafUse);
        if (summed is not null)
            Keep(summed, made.Count, leafUse);

        var first = made.UniformCount + made.LeafCount;
        for (var i = 0; i < steps.Count; i++)
        {
            var step = steps[i];
            var (a, b, c, d) = (At(step.A, in made), At(step.B, in made), At(step.C, in made), At(step.D, in made));
            // What is read here for the last time may be written over: loops go forward.
            foreach (var operand in (ReadOnlySpan<HostTensor?>)[step.A, step.B, step.C, step.D])
                if (
                    operand is { Operation: not (WholeOperation.Leaf or WholeOperation.Number) }
                    && lastUse[operand.Place] == i
                    && !free.Contains(rooms[operand.Place])
                )
                    free.Add(rooms[operand.Place]);
            int room;
            if (free.Count > 0)
            {
                room = free[^1];
                free.RemoveAt(free.Count - 1);
            }
            else
                room = made.RoomCount++;
            rooms.Add(room);
            made.Steps[i] = new()
            {
                Body = (nint)HostLoops.BodyOf(loops, work, step.Operation),
                Target = first + room,
                A = a,
                B = b,
                C = c,
                D = d,
                Result = -1,
            };
        }
        for (var i = 0; i < values.Length; i++)
        {
            var value = values[i];
            if (IsUniform(value, made.Count))
            {
                made.Steps[made.StepCount] = new()
                {
                    Body = (nint)loops.Copy.Body,
                    Target = first + made.RoomCount,
                    A = value.Place,
                    Result = -1,
                };
                made.StepCount++;
                made.Results[i] = new() { From = first + made.RoomCount++, Address = addresses[i] };
                continue;
            }
            made.Results[i] = new() { From = At(value, in made), Address = addresses[i] };
            if (value.Operation == WholeOperation.Leaf || made.Steps[value.Place].Result >= 0)
                continue;
            // Where it lies at once, unless something reads there after it.
            var isRead = false;
            for (var leaf = 0; leaf < leaves.Count; leaf++)
                isRead |= leaves[leaf].Address == addresses[i] && leafUse[leaf] > value.Place;
            if (isRead)
                continue;
            made.Steps[value.Place].Result = i;
            made.Results[i].IsDirect = true;
        }
        if (summed is not null)
            made.Summed = At(summed, in made);
    }

    private void Keep(HostTensor value, nint count, Span<int> leafUse)
    {
        if (IsUniform(value, count))
            return;
        if (value.Operation == WholeOperation.Leaf)
            leafUse[value.Place] = int.MaxValue;
        else
            lastUse[value.Place] = int.MaxValue;
    }

    private int At(HostTensor? value, in HostPass made) =>
        value is null ? 0
        : IsUniform(value, made.Count) ? value.Place
        : value.Operation == WholeOperation.Leaf ? made.UniformCount + value.Place
        : made.UniformCount + made.LeafCount + rooms[value.Place];
}
