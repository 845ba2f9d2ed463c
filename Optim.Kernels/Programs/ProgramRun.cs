// Long, because visits, spreads, reductions and numbers of a run share its memory.
using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>Runs a program over slices, visit by visit. Kept from step to step, so that a step allocates nothing; for one thread at a time.</summary>
internal sealed unsafe partial class ProgramRun
{
    private readonly StepProgram program;
    private readonly int[] leaves;
    private readonly double[] values;
    private readonly Prepared[]?[] prepared = new Prepared[]?[DTypes.Count];
    private readonly int[] totals;
    private readonly double[][] parts;
    private readonly Dictionary<(int Total, int Row), double[]> blocksOfRows = [];
    private readonly (int[] OfStep, int[] OfTensor) forTensorNumbers;
    private readonly double[] tensorNumbers;
    private readonly Dictionary<(int Place, int Segment), double[]> ofTensors = [];
    private readonly Dictionary<(int Place, int Segment), SpreadSums> spreads = [];
    private readonly List<SpreadSums> readSpreads = [];
    private readonly Dictionary<(int Visit, int Work, DType), DeviceNumbers> deviceNumbers = [];
    private readonly List<NumberCode> onLeaves = [];
    private readonly ProgramRun[] self;
    private int[]? keptTotals;
    private SpreadSpan[] spreadSpans = [];
    private byte* numbers;
    private nint numbersRoom;
    private double* partials;
    private nint partialsRoom;
    private nint* firstBlocks;
    private int firstBlocksRoom;

    /// <summary>A visit of a dtype, its kernel, and the values to work out before it: once, and for each slice.</summary>
    private sealed record Prepared(Visit Visit, int[] OfStep, int[] OfTensor)
    {
        public VisitKernel? Kernel;
        public Width Width;
        public Engine Engine;

        /// <summary>What works out the spreads that it reads; null for those that are there.</summary>
        public required Prepared?[] Works { get; init; }

        /// <summary>The same as a device runs it, where there are spreads.</summary>
        public DeviceVisit? OnDevice;
    }

    public ProgramRun(StepProgram program)
    {
        this.program = program;
        values = new double[program.Nodes.Length];
        var found = new List<int>();
        for (var i = 0; i < values.Length; i++)
            if (program.Nodes[i].Operation == Operation.Constant)
                values[i] = program.Nodes[i].Constant;
            else if (program.Nodes[i].Operation is Operation.Option or Operation.Kept or Operation.Given or Operation.StepCount)
                found.Add(i);
        leaves = found.ToArray();
        Leaves = new Node[leaves.Length];
        for (var i = 0; i < leaves.Length; i++)
            Leaves[i] = program.Nodes[leaves[i]];
        found.Clear();
        for (var i = 0; i < values.Length; i++)
            if (program.Nodes[i].Operation.IsReduction() && program.Scopes[i] == Scope.AllTensors)
                found.Add(i);
        totals = found.ToArray();
        self = [this];
        SliceNumbers = Array.FindAll(
            Enumerable.Range(0, values.Length).ToArray(),
            i => program.Nodes[i].Operation.IsReduction() || program.Nodes[i].Operation == Operation.LeadingCount
        );
        HasNumbersOfTensors =
            program.TensorNumbers.Length > 0 || Array.Exists(program.Scopes.ToArray(), scope => scope is Scope.Tensor or Scope.AllTensors);
        parts = new double[totals.Length][];
        Array.Fill(parts, []);
        var written = new List<int>();
        foreach (var (_, node) in program.TensorNumbers)
            written.Add(node);
        forTensorNumbers = Needed(written);
        tensorNumbers = new double[written.Count];
    }

    ~ProgramRun()
    {
        NativeMemory.Free(numbers);
        NativeMemory.Free(partials);
        NativeMemory.Free(firstBlocks);
    }

    public StepProgram Program => program;

    /// <summary>The options, kept numbers and step counts that segments give, in their order.</summary>
    public Node[] Leaves { get; }

    /// <summary>Runs all visits over some segments that step together, and says how many threads took part.</summary>
    public int Run(ReadOnlySpan<ProgramSegment> segments, Executor executor)
    {
        if (!segments.IsEmpty && segments[0].There is not null)
        {
            foreach (ref readonly var segment in segments)
                segment.On!.RunOnLeaves(this, in segment);
            return 1;
        }
        if (ProgramParts.WholeOn(self, segments) is { } device)
        {
            // All of one kind.
            device.RunWhole(self, segments, stackalloc int[segments.Length]);
            return 1;
        }
        var took = 1;
        for (var visit = 0; visit < program.VisitPlan.Count; visit++)
        {
            Begin(visit);
            for (var i = 0; i < segments.Length; i++)
                took = Math.Max(took, Visit(visit, i, in segments[i], executor));
            Total(visit);
        }
        for (var i = 0; i < segments.Length; i++)
            End(i, in segments[i]);
        return took;
    }

    /// <summary>Begins a visit: nothing has been added to the totals that come out of it.</summary>
    public void Begin(int visit)
    {
        blocksOfRows.Clear();
        for (var i = 0; i < totals.Length; i++)
            if (program.VisitPlan.VisitOf(totals[i]) == visit)
                Array.Clear(parts[i]);
    }

    /// <summary>Whether blocks of parameters are kept for <see cref="BlocksOf"/>, as other ranks have the rest of them.</summary>
    public bool KeepsBlocks { get; set; }

    /// <summary>What the blocks of each parameter came to that are here, for a total of the last visit, by their rows.</summary>
    public IEnumerable<(int Row, double[] Blocks)> BlocksOf(int total) =>
        from each in blocksOfRows
        where each.Key.Total == total
        orderby each.Key.Row
        select (each.Key.Row, each.Value);

    /// <summary>Makes the totals of a visit of what was added, parameter by parameter in their order.</summary>
    private void Total(int visit)
    {
        for (var i = 0; i < totals.Length; i++)
            if (program.VisitPlan.VisitOf(totals[i]) == visit)
                values[totals[i]] = ProgramParts.Joined(program.Nodes[totals[i]].Operation, parts[i]);
    }

    /// <summary>One visit of a segment, and what the next visit reads of it.</summary>
    /// <param name="visit">The visit; nothing happens after the last.</param>
    /// <param name="index">The segment's number among those that step together.</param>
    /// <param name="segment">The segment.</param>
    /// <param name="executor">Who runs it.</param>
    public int Visit(int visit, int index, in ProgramSegment segment, Executor executor)
    {
        if (visit >= program.VisitPlan.Count)
            return 1;
        return Run(visit, index, in segment, executor);
    }

    /// <summary>Writes the numbers of tensors, after the last visit of a segment.</summary>
    public void End(int index, in ProgramSegment segment)
    {
        if (tensorNumbers.Length == 0)
            return;
        Enter(segment.Leaves);
        EvaluateOfStep(forTensorNumbers.OfStep);
        var there = segment.On is null ? null : ReadNumbers(forTensorNumbers.OfTensor, in segment);
        var written = segment.On is null ? [] : new double[tensorNumbers.Length * segment.Count];
        for (var slice = 0; slice < segment.Count; slice++)
        {
            EvaluateOfTensor(forTensorNumbers.OfTensor, index, in segment, slice, there);
            for (var i = 0; i < tensorNumbers.Length; i++)
                tensorNumbers[i] = values[program.TensorNumbers[i].Node];
            // All of them before the first is written: one may be made of another.
            for (var i = 0; i < tensorNumbers.Length; i++)
                if (segment.On is null)
                    SetNumber(in segment, slice, program.TensorNumbers[i].Array, tensorNumbers[i]);
                else
                    written[i * segment.Count + slice] = tensorNumbers[i];
        }
        if (segment.On is not { } device)
            return;
        for (var i = 0; i < tensorNumbers.Length; i++)
            device.Write(
                AddressesOf(in segment, program.TensorNumbers[i].Array),
                IsDouble(segment.DType),
                written.AsSpan(i * segment.Count, segment.Count)
            );
    }

    /// <summary>The numbers of tensors that some values are made of, by their arrays, where they lie on a device.</summary>
    private Dictionary<int, double[]> ReadNumbers(int[] places, in ProgramSegment segment)
    {
        var read = new Dictionary<int, double[]>();
        foreach (var place in places)
            if (program.Nodes[place].Operation == Operation.TensorNumber && program.PlaceOf(program.Nodes[place].Name) is var array)
                if (!read.ContainsKey(array))
                {
                    var numbers = new double[segment.Count];
                    segment.On!.Read(AddressesOf(in segment, array), IsDouble(segment.DType), numbers);
                    read.Add(array, numbers);
                }
        return read;
    }

    private static nint[] AddressesOf(in ProgramSegment segment, int array)
    {
        var addresses = new nint[segment.Count];
        for (var slice = 0; slice < addresses.Length; slice++)
            addresses[slice] = segment.Table.AddressOf(segment.First + slice, array);
        return addresses;
    }

    /// <summary>Whether there are reductions over all.</summary>
    public bool HasTotals => totals.Length > 0;

    /// <summary>What a reduction over all came to in this step.</summary>
    public double TotalOf(int place) => values[place];

    /// <summary>The reductions over all that a visit makes.</summary>
    public int[] TotalsOf(int visit) => Array.FindAll(totals, total => program.VisitPlan.VisitOf(total) == visit);

    /// <summary>Adds what a parameter comes to.</summary>
    public void Add(int total, int row, double part)
    {
        ref var room = ref parts[Array.IndexOf(totals, total)];
        if (row >= room.Length)
            Array.Resize(ref room, Math.Max(row + 1, 2 * room.Length));
        room[row] = part;
    }

    /// <summary>
    /// The reductions over all that a visit makes, for the programs that share them: name, kind and what each parameter has added. Where parameters
    /// are of one kind they may have no names, and come in the same order in all programs.
    /// </summary>
    public IEnumerable<(string Name, Operation Kind, double[] Parts)> SharedAfter(int visit) =>
        from total in TotalsOf(visit)
        select (NameOf(total), program.Nodes[total].Operation, parts[Array.IndexOf(totals, total)]);

    /// <summary>Takes over what a shared reduction comes to over all programs.</summary>
    public void Share(int visit, string name, double value)
    {
        foreach (var total in TotalsOf(visit))
            if (NameOf(total) == name)
                values[total] = value;
    }

    /// <summary>By what it is shared with other programs.</summary>
    public string NameOf(int total) =>
        program.Nodes[total].Name.Length > 0 ? program.Nodes[total].Name : $"#{Array.IndexOf(totals, total)}";

    /// <summary>
    /// The numbers that are kept, after a step over a segment with these leaves, in the program's order. What is reduced over all is as the
    /// last run left it.
    /// </summary>
    public void Kept(double[] leaves, Span<double> kept)
    {
        Enter(leaves);
        EvaluateNumbers(Scope.AllTensors);
        for (var i = 0; i < program.Kept.Length; i++)
            kept[i] = values[program.Kept[i].Node];
    }

    private void EvaluateNumbers(Scope widest)
    {
        for (var i = 0; i < values.Length; i++)
            if (program.Scopes[i] <= widest && program.Nodes[i].A >= 0 && !program.Nodes[i].Operation.IsReduction())
                values[i] = StepNumbers.Evaluate(program.Nodes[i], values);
    }

    /// <summary>The spreads that a visit of a segment makes or takes in, of one slice after the other.</summary>
    private void LaySpreads(Visit visit, int index, in ProgramSegment segment, ref ProgramPass pass)
    {
        var count = visit.Made.Length + visit.Taken.Length;
        if (spreadSpans.Length < count * segment.Count)
            spreadSpans = GC.AllocateUninitializedArray<SpreadSpan>(count * segment.Count, pinned: true);
        for (var i = 0; i < count; i++)
        {
            var isTaken = i >= visit.Made.Length;
            var (place, room, _) = isTaken ? visit.Taken[i - visit.Made.Length] : visit.Made[i];
            var node = program.Nodes[place];
            var isNoise = node.Operation == Operation.Noise;
            if (isNoise)
                EvaluateNumbers(Scope.Step);
            if (isTaken)
                SumsOf(place, index).Lay(in segment, segment.Spread!, IsDouble(segment.DType));
            for (var slice = 0; slice < segment.Count; slice++)
            {
                var span = isNoise
                    ? new()
                    {
                        Operation = Operation.Noise,
                        IsDouble = IsDouble(segment.DType),
                        Columns = 1,
                    }
                    : SumsOf(place, index)[slice];
                (span.Room, span.IsTaken) = (room, isTaken);
                if (isNoise)
                    span.Key = Noise.Key(segment.Spread![segment.First + slice].Stream, values[node.A], values[node.B]);
                spreadSpans[slice * count + i] = span;
            }
        }
        pass.Spreads = (SpreadSpan*)Marshal.UnsafeAddrOfPinnedArrayElement(spreadSpans, 0);
        pass.SpreadCount = count;
    }

    private SpreadSums SumsOf(int place, int index)
    {
        if (!spreads.TryGetValue((place, index), out var sums))
            spreads[(place, index)] = sums = new(program.Nodes[place]);
        return sums;
    }

    private void Enter(double[] given)
    {
        for (var i = 0; i < leaves.Length; i++)
            values[leaves[i]] = given[i];
    }

    private int Run(int visit, int index, in ProgramSegment segment, Executor executor)
    {
        var table = segment.Table;
        var entries = table.Entries + segment.First * (nint)table.Stride;
        var length = entries[segment.Count * (nint)table.Stride] - entries[0];
        if (segment.On is { } device)
            return RunOn(device, visit, index, in segment);
        var now = PreparedFor(visit, segment.DType);
        var code = now.Visit.Code;
        if (length == 0 || code.IsEmpty)
            return 1;
        for (var i = 0; i < now.Works.Length; i++)
            if (now.Works[i] is { } work)
                WorkOut(work, now.Visit.Made[i], index, in segment, executor);
        var pass = new ProgramPass
        {
            Entries = entries,
            Stride = table.Stride,
            Slices = segment.Count,
            Streams = segment.Narrow is null && length * (long)code.Footprint > Driver.Cache,
            Kernel = now.Kernel!.Handle,
            Width = Lanes.Width,
        };
        WriteNumbers(now, index, in segment, ref pass);
        int took;
        if (segment.Narrow is { } narrow)
            took = NarrowPass.Run(
                narrow,
                segment.First,
                segment.Step,
                length,
                &ProgramPass.Run,
                &pass,
                sizeof(ProgramPass),
                segment.DType.Size(),
                executor,
                &pass
            );
        else if (code.Reductions.Length == 0 && code.Rooms == 0)
            took = executor.Run(length, &ProgramPass.Run, &pass);
        else
        {
            LaySpreads(now.Visit, index, in segment, ref pass);
            MakeRoomForBlocks(ref pass, code.Reductions.Length);
            took = executor.Run(length, &ProgramPass.RunBlocks, &pass);
            Reduce(now, index, in segment, in pass);
            foreach (var taken in now.Visit.Taken)
                SumsOf(taken.Place, index).Join(in segment);
        }
        GC.KeepAlive(now.Kernel);
        return took;
    }

    /// <summary>Works out of the totals of rows or columns what is the same in all their elements.</summary>
    private void WorkOut(Prepared work, VisitSpread made, int index, in ProgramSegment segment, Executor executor)
    {
        var pass = new ProgramPass { Kernel = work.Kernel!.Handle, Width = Lanes.Width };
        readSpreads.Clear();
        foreach (var spread in made.Work!.Spreads)
            readSpreads.Add(SumsOf(spread, index));
        var length = SumsOf(made.Place, index).LayWork(in segment, readSpreads, ref pass);
        if (length == 0)
            return;
        WriteNumbers(work, index, in segment, ref pass);
        executor.Run(length, &ProgramPass.Run, &pass);
        GC.KeepAlive(work.Kernel);
    }

    private int RunOn(ProgramDevice device, int visit, int index, in ProgramSegment segment)
    {
        var now = VisitOf(visit, segment.DType);
        var code = now.Visit.Code;
        if (code.IsEmpty)
            return 1;
        if (HasSpreads(now))
            return RunSpreadsOn(device, now, index, in segment);
        var pass = default(ProgramPass);
        WriteNumbers(now, index, in segment, ref pass);
        var results = new double[code.Reductions.Length * segment.Count];
        var guard = StepGuard.Of(segment.Survey, program, now.Visit);
        device.Run(
            code,
            segment.Table,
            segment.First,
            segment.Count,
            pass.Numbers,
            pass.NumbersStride,
            results,
            guard,
            segment.Narrow,
            segment.Step
        );
        for (var i = 0; i < now.Visit.Reductions.Length; i++)
        for (var slice = 0; slice < segment.Count; slice++)
            Reduced(now.Visit.Reductions[i], index, in segment, slice, results[i * segment.Count + slice]);
        return 1;
    }

    /// <summary>Makes what a device needs to run it over some slices, so that running it cannot fail.</summary>
    public void Prepare(in ProgramSegment segment) => ProgramParts.Prepare(self, [segment], [0], waits: false);

    /// <summary>The same for a device that runs it visit by visit.</summary>
    public void PrepareVisits(in ProgramSegment segment)
    {
        var (device, dtype) = (segment.On!, segment.DType);
        for (var visit = 0; visit < program.VisitPlan.Count; visit++)
        {
            var now = VisitOf(visit, dtype);
            var guard = StepGuard.Of(segment.Survey, program, now.Visit);
            if (HasSpreads(now))
                PrepareSpreadsOn(device, now, in segment);
            else if (!now.Visit.Code.IsEmpty)
                device.Prepare(now.Visit.Code, segment.Table, segment.First, segment.Count, now.OfTensor.Length > 0, guard, segment.Narrow);
        }
        foreach (var array in NumberArrays)
            device.PrepareNumbers(AddressesOf(in segment, array), IsDouble(dtype));
    }

    /// <summary>Whether numbers are made of tensors, each or all of them: a device that does not work them out hands over what they are made of.</summary>
    public bool HasNumbersOfTensors { get; }

    /// <summary>What there is for each slice: what it comes to by each reduction, and products of its lengths. Places in the program.</summary>
    public int[] SliceNumbers { get; }

    /// <summary>The reductions over all, by their places in the program.</summary>
    public int[] Totals => totals;

    /// <summary>What a visit does, of parameters of a dtype.</summary>
    public Visit VisitFor(int visit, DType dtype) => VisitOf(visit, dtype).Visit;

    /// <summary>
    /// The numbers that a visit takes, or one of the spreads that it reads, as a device works them out; after the last visit those that tensors keep.
    /// </summary>
    public DeviceNumbers NumbersFor(int visit, DType dtype, int work = -1)
    {
        if (deviceNumbers.TryGetValue((visit, work, dtype), out var known))
            return known;
        var isEnd = visit == program.VisitPlan.Count;
        var code = new NumberCode(
            program,
            isEnd ? []
                : work < 0 ? VisitOf(visit, dtype).Visit.Numbers
                : VisitOf(visit, dtype).Works[work]!.Visit.Numbers,
            isEnd ? program.TensorNumbers : [],
            SliceNumbers,
            totals,
            dtype
        );
        known = new(code, Needed(code.Given).OfStep);
        deviceNumbers.Add((visit, work, dtype), known);
        return known;
    }

    /// <summary>The numbers of its one visit, worked out of leaves that lie on a device.</summary>
    /// <param name="dtype">The dtype of the parameters.</param>
    /// <param name="there">The leaves.</param>
    public NumberCode NumbersOnLeaves(DType dtype, DeviceLeaves there)
    {
        foreach (var known in onLeaves)
            if (known.DType == dtype && known.IsOf(there))
                return known;
        var made = new NumberCode(program, VisitFor(0, dtype).Numbers, [], SliceNumbers, totals, dtype, there.Nodes, there.RateTypes);
        onLeaves.Add(made);
        return made;
    }

    /// <summary>What is handed in of these numbers for a segment.</summary>
    public void HandIn(DeviceNumbers there, double[] given, Span<double> target)
    {
        Enter(given);
        EvaluateOfStep(there.OfStep);
        for (var i = 0; i < there.Code.Given.Length; i++)
            target[i] = values[there.Code.Given[i]];
    }

    /// <summary>The reductions over all that kept numbers are made of.</summary>
    public int[] KeptTotals => keptTotals ??= FindKeptTotals();

    private int[] FindKeptTotals()
    {
        var (ofStep, _) = Needed(Array.ConvertAll(program.Kept, kept => kept.Node));
        return Array.FindAll(totals, total => Array.IndexOf(ofStep, total) >= 0);
    }

    /// <summary>Takes over what a reduction over all came to elsewhere.</summary>
    public void Take(int total, double value) => values[total] = value;

    /// <summary>The arrays of numbers of tensors, which are read or written.</summary>
    private IEnumerable<int> NumberArrays =>
        program
            .Nodes.ToArray()
            .Where(node => node.Operation == Operation.TensorNumber)
            .Select(node => program.PlaceOf(node.Name))
            .Concat(program.TensorNumbers.ToArray().Select(number => number.Array))
            .Distinct();

    /// <summary>Makes the kernels for a dtype, so that running it cannot fail.</summary>
    public void Prepare(DType dtype)
    {
        for (var visit = 0; visit < program.VisitPlan.Count; visit++)
            PreparedFor(visit, dtype);
    }

    /// <summary>The kernel of a program of one visit without reductions, and its numbers; both are valid until the next call and step.</summary>
    public (VisitKernel Kernel, nint Numbers) Ready(DType dtype, double[] leaves)
    {
        var now = PreparedFor(0, dtype);
        var pass = default(ProgramPass);
        WriteNumbers(now, 0, new(null!, 0, 1, dtype, leaves), ref pass);
        return (now.Kernel!, (nint)pass.Numbers);
    }

    private Prepared PreparedFor(int visit, DType dtype)
    {
        var known = VisitOf(visit, dtype);
        MakeKernel(known);
        return known;
    }

    private static void MakeKernel(Prepared known)
    {
        var (width, engine) = (Lanes.Width, ProgramEngine.Current);
        if (known.Visit.Code.IsEmpty || known.Kernel is not null && known.Width == width && known.Engine == engine)
            return;
        (known.Kernel, known.Width, known.Engine) = (ProgramEngine.KernelOf(known.Visit.Code), width, engine);
        foreach (var work in known.Works)
            if (work is not null)
                MakeKernel(work);
    }

    private Prepared VisitOf(int visit, DType dtype) =>
        (prepared[(int)dtype] ??= Array.ConvertAll(program.VisitsFor(dtype), Prepare))[visit];

    private Prepared Prepare(Visit visit)
    {
        var (ofStep, ofTensor) = Needed(visit.Numbers);
        return new(visit, ofStep, ofTensor)
        {
            Works = Array.ConvertAll(visit.Made, made => made.Work is { } work ? Prepare(work.Visit) : null),
        };
    }

    /// <summary>What is worked out for some numbers: once, and for each slice.</summary>
    private (int[] OfStep, int[] OfTensor) Needed(IEnumerable<int> wanted)
    {
        var needed = new bool[values.Length];
        foreach (var number in wanted)
            needed[number] = true;
        var (ofStep, ofTensor) = (new List<int>(), new List<int>());
        for (var place = needed.Length - 1; place >= 0; place--)
        {
            if (!needed[place])
                continue;
            var (node, scope) = (program.Nodes[place], program.Scopes[place]);
            for (var k = 0; k < node.Operands && !node.Operation.IsReduction(); k++)
                needed[node.Operand(k)] = true;
            if (scope == Scope.Tensor)
                ofTensor.Add(place);
            else if (node.A >= 0)
                ofStep.Add(place);
        }
        ofStep.Reverse();
        ofTensor.Reverse();
        return (ofStep.ToArray(), ofTensor.ToArray());
    }

    private void WriteNumbers(Prepared now, int index, in ProgramSegment segment, ref ProgramPass pass)
    {
        var code = now.Visit.Code;
        var each = now.OfTensor.Length > 0;
        var stride = (nint)code.Numbers * code.Size;
        var needed = stride * (each ? segment.Count : 1);
        if (needed > numbersRoom)
        {
            numbers = (byte*)NativeMemory.Realloc(numbers, (nuint)needed);
            numbersRoom = needed;
        }
        pass.Numbers = numbers;
        pass.NumbersStride = each ? stride : 0;
        Enter(segment.Leaves);
        EvaluateOfStep(now.OfStep);
        var there = each && segment.On is not null ? ReadNumbers(now.OfTensor, in segment) : null;
        for (var slice = 0; slice < (each ? segment.Count : 1); slice++)
        {
            EvaluateOfTensor(now.OfTensor, index, in segment, slice, there);
            var target = numbers + slice * stride;
            for (var i = 0; i < code.Numbers; i++)
                if (code.IsDouble)
                    ((double*)target)[i] = values[now.Visit.Numbers[i]];
                else
                    ((float*)target)[i] = (float)values[now.Visit.Numbers[i]];
        }
    }

    private void EvaluateOfStep(int[] places)
    {
        foreach (var place in places)
            if (!program.Nodes[place].Operation.IsReduction())
                values[place] = StepNumbers.Evaluate(program.Nodes[place], values);
    }

    private void EvaluateOfTensor(int[] places, int index, in ProgramSegment segment, int slice, Dictionary<int, double[]>? there = null)
    {
        foreach (var place in places)
            values[place] = program.Nodes[place] switch
            {
                { Operation: Operation.ElementCount } => segment.Table.LengthOf(segment.First + slice) / segment.DType.Parts(),
                { Operation: Operation.LeadingCount } node => segment.Spread![segment.First + slice].LeadingCount((int)node.Value),
                { Operation: Operation.TensorNumber } node when program.PlaceOf(node.Name) is var array => there is null
                    ? NumberOf(in segment, slice, array)
                    : there[array][slice],
                var node when node.Operation.IsReduction() => ofTensors[(place, index)][slice],
                var node => StepNumbers.Evaluate(node, values),
            };
    }

    private static double NumberOf(in ProgramSegment segment, int slice, int array)
    {
        var at = segment.Table.AddressOf(segment.First + slice, array);
        return IsDouble(segment.DType) ? *(double*)at : *(float*)at;
    }

    private static void SetNumber(in ProgramSegment segment, int slice, int array, double value)
    {
        var at = segment.Table.AddressOf(segment.First + slice, array);
        if (IsDouble(segment.DType))
            *(double*)at = value;
        else
            *(float*)at = (float)value;
    }

    private static bool IsDouble(DType dtype) => dtype is DType.Float64 or DType.Complex128;

    private static nint LengthOf(in ProgramPass pass, int slice) =>
        pass.Entries[(slice + 1) * (nint)pass.Stride] - pass.Entries[slice * (nint)pass.Stride];

    private void MakeRoomForBlocks(ref ProgramPass pass, int reductions)
    {
        if (pass.Slices + 1 > firstBlocksRoom)
        {
            firstBlocksRoom = pass.Slices + 1;
            firstBlocks = (nint*)NativeMemory.Realloc(firstBlocks, (nuint)firstBlocksRoom * (nuint)sizeof(nint));
        }
        firstBlocks[0] = 0;
        for (var slice = 0; slice < pass.Slices; slice++)
            firstBlocks[slice + 1] = firstBlocks[slice] + (LengthOf(in pass, slice) + ReductionTable.Block - 1) / ReductionTable.Block;
        var needed = firstBlocks[pass.Slices] * reductions;
        if (needed > partialsRoom)
        {
            NativeMemory.Free(partials);
            partials = (double*)NativeMemory.Alloc((nuint)needed, sizeof(double));
            partialsRoom = needed;
        }
        pass.FirstBlocks = firstBlocks;
        pass.Partials = partials;
    }

    private void Reduce(Prepared now, int index, in ProgramSegment segment, in ProgramPass pass)
    {
        var blocks = firstBlocks[pass.Slices];
        for (var i = 0; i < now.Visit.Reductions.Length; i++)
        {
            var place = now.Visit.Reductions[i];
            var kind = program.Nodes[place].Operation;
            for (var slice = 0; slice < pass.Slices; slice++)
            {
                var first = firstBlocks[slice];
                var those = partials + i * blocks + first;
                var count = firstBlocks[slice + 1] - first;
                if (KeepsBlocks && program.Scopes[place] == Scope.AllTensors)
                    blocksOfRows[(place, RowOf(in segment, slice))] = new ReadOnlySpan<double>(those, (int)count).ToArray();
                else
                    Reduced(place, index, in segment, slice, ProgramPass.Join(kind, those, count));
            }
        }
    }

    private void Reduced(int place, int index, in ProgramSegment segment, int slice, double value)
    {
        if (program.Scopes[place] == Scope.Tensor)
            RoomFor(place, index, segment.Count)[slice] = value;
        else
            Add(place, RowOf(in segment, slice), value);
    }

    /// <summary>The row of a slice's parameter, in whose order totals are joined.</summary>
    public static int RowOf(in ProgramSegment segment, int slice) =>
        segment.Spread is { } spread ? spread[segment.First + slice].Row : segment.First + slice;

    private double[] RoomFor(int place, int segment, int slices)
    {
        if (!ofTensors.TryGetValue((place, segment), out var room) || room.Length < slices)
            ofTensors[(place, segment)] = room = new double[slices];
        return room;
    }
}
