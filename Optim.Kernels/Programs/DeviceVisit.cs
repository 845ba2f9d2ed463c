namespace Optim.Kernels;

/// <summary>
/// A visit with spreads as a device runs it. There a sum of rows or of columns is worked out by itself, with its elements made for it alone, as threads
/// take rows, columns or blocks; then comes everything else, which finds spreads as they are the same for many elements.
/// </summary>
internal sealed class DeviceVisit
{
    /// <param name="program">The program.</param>
    /// <param name="visit">The visit.</param>
    public DeviceVisit(StepProgram program, Visit visit)
    {
        var code = visit.Code;
        Made = Array.ConvertAll(visit.Made, made => RoomOf(program, made));
        var taken = visit.Taken.Select(each => each.Room).ToHashSet();
        Rest = code.Only(Array.FindAll(code.Stores, store => !taken.Contains(store.Array)), code.Reductions, Made);
        var sums = new List<DeviceSums>();
        foreach (
            var group in visit.Taken.GroupBy(each => (program.Nodes[each.Place].Operation.IsOfRows(), program.Nodes[each.Place].Value))
        )
        {
            var own = group.ToArray();
            var stores = Array.ConvertAll(own, each => Array.Find(code.Stores, store => store.Array == each.Room)!);
            var reductions = Array.ConvertAll(own, each => new ArrayReduction(ReductionOf(program.Nodes[each.Place].Operation), each.Room));
            sums.Add(
                new(code.Only(stores, reductions, Made), Array.ConvertAll(own, each => each.Place), group.Key.Item1, (int)group.Key.Value)
            );
        }
        Sums = [.. sums];
    }

    /// <summary>The spreads that it reads, in the order of <see cref="Visit.Made"/>.</summary>
    public SpreadRoom[] Made { get; }

    /// <summary>The sums that come out, those over the same rows or columns together.</summary>
    public DeviceSums[] Sums { get; }

    /// <summary>What is stored and reduced; it may be empty.</summary>
    public KernelCode Rest { get; }

    private static SpreadRoom RoomOf(StepProgram program, VisitSpread made)
    {
        var node = program.Nodes[made.Work is { } work ? work.Spreads[0] : made.Place];
        return new(made.Room, node.Operation, (int)node.Value);
    }

    private static Operation ReductionOf(Operation operation) =>
        operation is Operation.SumOfSquaresOfRow or Operation.SumOfSquaresOfColumn ? Operation.SumOfSquares : Operation.Sum;
}

/// <summary>Sums over the same rows or columns.</summary>
/// <param name="Code">Their elements, as reductions.</param>
/// <param name="Places">Their places in the program.</param>
/// <param name="IsOfRows">Whether rows are summed; else columns.</param>
/// <param name="Dimensions">How many first dimensions count.</param>
internal sealed record DeviceSums(KernelCode Code, int[] Places, bool IsOfRows, int Dimensions);
