namespace Optim.Kernels;

/// <summary>
/// In how many visits of memory a program runs, and what is read and written in which: a reduction that a value needs comes a visit
/// before it. What a visit needs of an earlier one is worked out again, unless it is state that can be stored there with less traffic.
/// </summary>
internal sealed class VisitPlan
{
    private readonly StepProgram program;
    private readonly int[] depths;
    private readonly int[] storeVisits;
    private readonly bool[] isOfTotals;

    public VisitPlan(StepProgram program)
    {
        this.program = program;
        depths = new int[program.Nodes.Length];
        for (var i = 0; i < depths.Length; i++)
        {
            var node = program.Nodes[i];
            for (var k = 0; k < 3 && node.Operand(k) is >= 0 and var operand; k++)
                depths[i] = Math.Max(depths[i], depths[operand]);
            if (node.Operation.IsReduction())
                depths[i] = Math.Max(depths[i] + 1, program.FloorOf(node.Name));
            else if (node.Operation.IsSum())
                depths[i]++;
        }
        isOfTotals = OfTotals(program);
        Count = 1;
        foreach (var depth in depths)
            Count = Math.Max(Count, depth + 1);
        storeVisits = new int[program.Stores.Length];
        Array.Fill(storeVisits, Count - 1);
        if (Count == 1)
            return;
        var late = Traffic(storeVisits);
        var early = new int[storeVisits.Length];
        for (var i = 0; i < early.Length; i++)
            early[i] = IsState(program.Stores[i].Array) ? depths[program.Stores[i].Node] : Count - 1;
        if (Traffic(early) is { } less && less < late)
            storeVisits = early;
    }

    /// <summary>The number of visits.</summary>
    public int Count { get; }

    /// <summary>The visit that a reduction or a spread comes out of; -1 for a spread that is there before the first.</summary>
    public int VisitOf(int reduction) => depths[reduction] - 1;

    /// <summary>The code of each visit for parameters of a dtype.</summary>
    public Visit[] Lower(DType dtype) =>
        dtype switch
        {
            DType.Float32 or DType.Complex64 => Lower<Wide<float>>(false),
            DType.Float64 or DType.Complex128 => Lower<Wide<double>>(true),
            DType.BFloat16 => Lower<BFloat16>(false),
            DType.Float16 => Lower<Float16>(false),
            _ => throw new ArgumentOutOfRangeException(nameof(dtype), dtype, "no kernel"),
        };

    private Visit[] Lower<P>(bool isDouble)
        where P : IStorage
    {
        var visits = new Visit[Count];
        for (var visit = 0; visit < visits.Length; visit++)
            visits[visit] = new Lowering<P>(this, visit, isDouble).Run();
        return visits;
    }

    /// <summary>Whether an array has the dtype of the state.</summary>
    private bool IsState(int array) =>
        program.Arrays[array] is not (StepProgram.Parameter or StepProgram.Gradient or StepProgram.GradientSum);

    /// <summary>Arrays that all visits read and write; none where a visit needs what an earlier one has overwritten.</summary>
    private int? Traffic(int[] storeVisits)
    {
        var moved = 0;
        for (var visit = 0; visit < Count; visit++)
        {
            var read = new HashSet<string>();
            var (seen, open) = (new HashSet<int>(), new Stack<int>());
            foreach (var reduction in ReductionsOf(visit))
            {
                // An array as it lies in memory is summed there, after the visit has stored into it.
                var summed = program.Nodes[program.Nodes[reduction].A];
                if (summed.Operation == Operation.Input && IsOverwritten(summed.Name, visit + 1, storeVisits))
                    return null;
                open.Push(program.Nodes[reduction].A);
            }
            foreach (var spread in SpreadsOf(visit))
                open.Push(program.Nodes[spread].A);
            for (var i = 0; i < storeVisits.Length; i++)
                if (storeVisits[i] == visit)
                {
                    open.Push(program.Stores[i].Node);
                    moved++;
                }
            while (open.TryPop(out var place))
            {
                if (!seen.Add(place))
                    continue;
                var node = program.Nodes[place];
                if (StoredBefore(place, visit, storeVisits) is { } array)
                    read.Add(program.Arrays[array]);
                else if (node.Operation == Operation.Input)
                {
                    if (IsOverwritten(node.Name, visit, storeVisits))
                        return null;
                    read.Add(node.Name);
                }
                else if (node.Operation != Operation.Number && !node.Operation.IsSpread())
                    for (var k = 0; k < 3 && node.Operand(k) is >= 0 and var operand; k++)
                        open.Push(operand);
            }
            moved += read.Count;
        }
        return moved;
    }

    /// <summary>
    /// Which values are worked out of the totals of spreads over the same rows, or the same columns, alone, and by more than sums and products: they
    /// are the same in a whole row or column.
    /// </summary>
    private static bool[] OfTotals(StepProgram program)
    {
        var found = new bool[program.Nodes.Length];
        // Of each value the first spread over the same rows or columns; any for what is the same everywhere, none for what is neither.
        const int any = -1;
        const int none = -2;
        var over = new int[found.Length];
        for (var i = 0; i < found.Length; i++)
        {
            var node = program.Nodes[i];
            if (node.Operation.IsSum())
            {
                over[i] = i;
                for (var k = i - 1; k >= 0; k--)
                    if (
                        program.Nodes[k].Operation.IsSum()
                        && program.Nodes[k].Value == node.Value
                        && program.Nodes[k].Operation.IsOfRows() == node.Operation.IsOfRows()
                    )
                        over[i] = k;
                continue;
            }
            var isLeaf = node.Operation is Operation.Input or Operation.Noise;
            over[i] = isLeaf ? none : any;
            if (isLeaf || program.Scopes[i] < Scope.Element || node.Operation == Operation.Number)
                continue;
            for (var k = 0; k < node.Operands; k++)
                over[i] =
                    over[i] == any ? over[node.Operand(k)]
                    : over[node.Operand(k)] == any || over[node.Operand(k)] == over[i] ? over[i]
                    : none;
            found[i] =
                over[i] >= 0 && (IsLong(node.Operation) || found[node.A] || node.B >= 0 && found[node.B] || node.C >= 0 && found[node.C]);
        }
        // A mask is no number that an array could hold.
        for (var i = 0; i < found.Length; i++)
            found[i] &= !program.Nodes[i].Operation.IsMask();
        return found;

        static bool IsLong(Operation operation) =>
            operation is Operation.Divide or Operation.Sqrt or Operation.Exp or Operation.Log or Operation.Cbrt or Operation.Power;
    }

    private int[] ReductionsOf(int visit)
    {
        var found = new List<int>();
        for (var i = 0; i < depths.Length; i++)
            if (program.Nodes[i].Operation.IsReduction() && depths[i] == visit + 1)
                found.Add(i);
        return found.ToArray();
    }

    /// <summary>The sums of rows and columns that come out of a visit.</summary>
    private IEnumerable<int> SpreadsOf(int visit)
    {
        for (var i = 0; i < depths.Length; i++)
            if (program.Nodes[i].Operation.IsSum() && depths[i] == visit + 1)
                yield return i;
    }

    /// <summary>The array that holds a value since an earlier visit.</summary>
    private int? StoredBefore(int place, int visit, int[] storeVisits)
    {
        for (var i = 0; i < storeVisits.Length; i++)
            if (storeVisits[i] < visit && program.Stores[i].Node == place)
                return program.Stores[i].Array;
        return null;
    }

    private bool IsOverwritten(string array, int visit, int[] storeVisits)
    {
        for (var i = 0; i < storeVisits.Length; i++)
            if (storeVisits[i] < visit && program.Arrays[program.Stores[i].Array] == array)
                return true;
        return false;
    }

    /// <summary>One visit, with parameters and gradients in a storage.</summary>
    private sealed class Lowering<P>(VisitPlan plan, int visit, bool isDouble)
        where P : IStorage
    {
        private readonly StepProgram program = plan.program;
        private readonly Expression?[] known = new Expression?[plan.program.Nodes.Length];
        private readonly List<int> numbers = [];
        private readonly List<VisitSpread> made = [];
        private List<int>? spreads;
        private int room = plan.program.Arrays.Length;

        public Visit Run()
        {
            var list = new NodeList();
            var stores = new List<Store>();
            var reductions = new List<ArrayReduction>();
            var taken = new List<VisitSpread>();
            var reduced = plan.ReductionsOf(visit);
            foreach (var reduction in reduced)
            {
                var node = program.Nodes[reduction];
                var value = Lower(node.A);
                if (value.Operation == Operation.Load)
                    reductions.Add(new(node.Operation, (int)value.Value));
                else
                {
                    reductions.Add(new(node.Operation, room));
                    stores.Add(new(room++, list.Add(value), false));
                }
            }
            foreach (var spread in plan.SpreadsOf(visit))
            {
                taken.Add(new(spread, room));
                stores.Add(new(room++, list.Add(Lower(program.Nodes[spread].A)), false));
            }
            for (var i = 0; i < plan.storeVisits.Length; i++)
                if (plan.storeVisits[i] == visit)
                {
                    var (array, node) = program.Stores[i];
                    var (value, isWords) = plan.IsState(array) ? (Lower(node), false) : Recorder.Store<P>(Lower(node));
                    stores.Add(new(array, list.Add(value), isWords));
                }
            var code = new KernelCode(
                list.ToArray(),
                stores.ToArray(),
                reductions.ToArray(),
                program.Arrays.Length,
                numbers.Count,
                isDouble
            );
            return new(code, numbers.ToArray(), reduced, made.ToArray(), taken.ToArray());
        }

        /// <summary>What is worked out of totals.</summary>
        private TotalsVisit Totals(int place)
        {
            spreads = [];
            var list = new NodeList();
            var value = list.Add(Lower(place));
            var code = new KernelCode(list.ToArray(), [new(spreads.Count, value, false)], [], spreads.Count + 1, numbers.Count, isDouble);
            return new(new(code, numbers.ToArray(), [], [], []), spreads.ToArray());
        }

        private Expression Lower(int place) => known[place] ??= Make(place);

        private Expression Make(int place)
        {
            var node = program.Nodes[place];
            if (spreads is not null && node.Operation.IsSpread())
            {
                spreads.Add(place);
                return LoadState(spreads.Count - 1);
            }
            if (spreads is null)
            {
                if (plan.StoredBefore(place, visit, plan.storeVisits) is { } stored)
                    return LoadState(stored);
                if (node.Operation.IsSpread() || plan.isOfTotals[place])
                {
                    var work = plan.isOfTotals[place] ? new Lowering<P>(plan, visit, isDouble).Totals(place) : null;
                    made.Add(new(place, room, work));
                    return LoadState(room++);
                }
            }
            switch (node.Operation)
            {
                case Operation.Constant:
                    return Expression.Of(node.Constant);
                case Operation.Number:
                    var slot = numbers.IndexOf(node.A);
                    if (slot < 0)
                    {
                        slot = numbers.Count;
                        numbers.Add(node.A);
                    }
                    return new(Operation.Number, Scope.Element, [], slot);
                case Operation.Input:
                    var array = program.PlaceOf(node.Name);
                    return plan.IsState(array) ? LoadState(array) : Recorder.Load<P>(array);
                case Operation.Rounded:
                    return Recorder.Round<P>(Lower(node.A));
                case Operation.Divide when IsPowerOfTwo(program.Nodes[node.B]):
                    // The same bits in less time.
                    return Expression.InElements(Operation.Multiply, Lower(node.A), Expression.Of(1 / program.Nodes[node.B].Constant));
                default:
                    var operands = new Expression[node.Operands];
                    for (var k = 0; k < operands.Length; k++)
                        operands[k] = Lower(node.Operand(k));
                    return new(node.Operation, Scope.Element, operands, node.Value, node.Name);
            }
        }

        /// <summary>Whether it is a constant of which the inverse is exact, in float32 too.</summary>
        private static bool IsPowerOfTwo(Node node) =>
            node.Operation == Operation.Constant
            && Math.ILogB(node.Constant) is > -126 and < 126
            && Math.Abs(node.Constant) == Math.ScaleB(1, Math.ILogB(node.Constant));

        private Expression LoadState(int array) => isDouble ? Recorder.Load<Wide<double>>(array) : Recorder.Load<Wide<float>>(array);
    }
}
