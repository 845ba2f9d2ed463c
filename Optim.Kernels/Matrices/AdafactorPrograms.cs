namespace Optim.Kernels;

/// <summary>What a tensor's mean squares are kept of.</summary>
internal enum AdafactorKind
{
    /// <summary>Elements, as a vector's are.</summary>
    Elements,

    /// <summary>Rows and columns of matrices of one element.</summary>
    Single,

    /// <summary>Rows and columns.</summary>
    Matrices,
}

/// <summary>
/// Steps of Adafactor on a device that runs programs. What is done to elements, and the numbers that their sums come to, are programs of one recording
/// of the formula; means of rows and columns come before that of matrices, with what squares are expected to be by them in memory that steps share.
/// </summary>
/// <param name="device">The device.</param>
internal sealed class AdafactorPrograms(ProgramDevice device)
{
    /// <summary>Elements of matrices of which that memory has room at a time, but for larger tensors, each by itself.</summary>
    private const nint Most = 1 << 26;

    private const string Mean = "column0",
        OfColumns = "column1";

    private readonly Dictionary<(AdafactorKind, bool IsNear), ProgramRun> runs = [];
    private readonly List<Batch> batches = [];
    private readonly DeviceRoom room = device.NewRoom();

    /// <summary>Tensors of one kind that step together.</summary>
    private sealed class Batch
    {
        public readonly List<AdafactorTensor> Tensors = [];
        public readonly AdafactorTables Factors = new();
        public readonly SliceTable Table = new();
        public AdafactorKind Kind;
    }

    /// <summary>The squares of gradients, for sums of rows and columns.</summary>
    public static KernelCode SquaresOf(DType dtype)
    {
        var sum = new Expression(Operation.SumOfSquares, Scope.Tensor, [Expression.Input(StepProgram.Gradient)]);
        var (parameter, gradient) = (StepProgram.Parameter, StepProgram.Gradient);
        return new StepProgram([parameter, gradient], [new(parameter, sum * Expression.Input(parameter))]).VisitsFor(dtype)[0].Code;
    }

    /// <summary>Means of rows as they lie, for sums of them.</summary>
    public static KernelCode RowsOf(bool isDouble) => new([], [], [new(Operation.Sum, 0)], 2, 0, isDouble);

    /// <summary>Makes what a step needs, so that running it cannot fail.</summary>
    /// <param name="tensors">Tensors of one dtype, and their state.</param>
    /// <param name="numbers">What the options come to.</param>
    /// <param name="survey">What was found in the gradients; null where nobody looked.</param>
    public void Prepare(ReadOnlySpan<AdafactorTensor> tensors, in AdafactorNumbers numbers, DeviceSurvey? survey)
    {
        var used = Lay(tensors);
        for (var i = 0; i < used; i++)
        {
            if (batches[i].Kind == AdafactorKind.Matrices)
                device.PrepareFactors(batches[i].Factors, batches[i].Tensors[0].DType, IsNear(numbers), survey is not null);
            var run = RunOf(batches[i].Kind, IsNear(numbers));
            run.Prepare(SegmentOf(batches[i], run, numbers, survey));
        }
    }

    /// <summary>A step, which waits for nothing.</summary>
    /// <inheritdoc cref="Prepare"/>
    public void Run(ReadOnlySpan<AdafactorTensor> tensors, in AdafactorNumbers numbers, DeviceSurvey? survey)
    {
        var used = Lay(tensors);
        for (var i = 0; i < used; i++)
        {
            if (batches[i].Kind == AdafactorKind.Matrices)
                device.RunFactors(batches[i].Factors, batches[i].Tensors[0].DType, IsNear(numbers), numbers, survey);
            var run = RunOf(batches[i].Kind, IsNear(numbers));
            run.Run([SegmentOf(batches[i], run, numbers, survey)], Executor.Caller);
        }
    }

    private static bool IsNear(in AdafactorNumbers numbers) => numbers.Weight < 0.5;

    private static AdafactorKind KindOf(in AdafactorTensor tensor) =>
        tensor.ColVar == 0 ? AdafactorKind.Elements
        : tensor.Rows * tensor.Columns == 1 ? AdafactorKind.Single
        : AdafactorKind.Matrices;

    /// <summary>Lays tensors out in batches of one kind; returns how many batches there are.</summary>
    private int Lay(ReadOnlySpan<AdafactorTensor> tensors)
    {
        var used = 0;
        foreach (var kind in Enum.GetValues<AdafactorKind>())
        {
            Batch? batch = null;
            nint length = 0;
            foreach (ref readonly var tensor in tensors)
            {
                if (KindOf(tensor) != kind)
                    continue;
                if (batch is null || kind == AdafactorKind.Matrices && length + tensor.Count > Most)
                {
                    if (used == batches.Count)
                        batches.Add(new());
                    (batch, length) = (batches[used++], 0);
                    batch.Kind = kind;
                    batch.Tensors.Clear();
                }
                batch.Tensors.Add(tensor);
                length += tensor.Count;
            }
        }
        nint bytes = 0;
        for (var i = 0; i < used; i++)
            if (batches[i].Kind == AdafactorKind.Matrices)
                bytes = Math.Max(bytes, AdafactorTables.Room(batches[i].Tensors.ToArray()));
        if (bytes > 0)
            room.Reserve(bytes);
        for (var i = 0; i < used; i++)
            Lay(batches[i]);
        return used;
    }

    private void Lay(Batch batch)
    {
        var expected = batch.Kind == AdafactorKind.Matrices ? batch.Factors.Lay(batch.Tensors.ToArray(), room.Address) : [];
        batch.Table.Reset(batch.Tensors.Count, 2);
        for (var i = 0; i < batch.Tensors.Count; i++)
        {
            var tensor = batch.Tensors[i];
            batch.Table.Add(tensor.Count, tensor.Param, tensor.Grad);
            batch.Table.SetColumn(0, expected.Length > 0 ? expected[i] : tensor.RowVar);
            batch.Table.SetColumn(1, tensor.ColVar);
        }
    }

    private ProgramSegment SegmentOf(Batch batch, ProgramRun run, in AdafactorNumbers numbers, DeviceSurvey? survey)
    {
        var leaves = new double[run.Leaves.Length];
        for (var i = 0; i < leaves.Length; i++)
            leaves[i] = run.Leaves[i].Name switch
            {
                nameof(AdafactorNumbers.Weight) => numbers.Weight,
                "Rest" => 1 - numbers.Weight,
                nameof(AdafactorNumbers.Eps1) => numbers.Eps1,
                nameof(AdafactorNumbers.Eps2) => numbers.Eps2,
                nameof(AdafactorNumbers.Rate) => numbers.Rate,
                nameof(AdafactorNumbers.Clip) => numbers.Clip,
                _ => numbers.Keep,
            };
        return new(batch.Table, 0, batch.Table.Count, batch.Tensors[0].DType, leaves, null, device, Survey: survey);
    }

    private ProgramRun RunOf(AdafactorKind kind, bool isNear)
    {
        if (!runs.TryGetValue((kind, isNear), out var run))
            runs.Add((kind, isNear), run = new(Record(kind, isNear)));
        return run;
    }

    /// <summary>The step of tensors of a kind, when means are there.</summary>
    public static StepProgram Record(AdafactorKind kind, bool isNear)
    {
        var (parameter, gradient) = (Input(StepProgram.Parameter), Input(StepProgram.Gradient));
        var (weight, rest, smallest) = (Element(nameof(AdafactorNumbers.Weight)), Element("Rest"), Element(nameof(AdafactorNumbers.Eps1)));
        var changes = new List<Assignment>();
        var variance = kind switch
        {
            AdafactorKind.Elements => Moved(Mean),
            AdafactorKind.Single => AdafactorFormula.OfOne(Moved(Mean), Moved(OfColumns), smallest),
            _ => Input(Mean),
        };
        var update = AdafactorFormula.Update(gradient, variance, smallest);
        var rate = AdafactorFormula.Rate(
            SumOfSquares(parameter),
            SumOfSquares(update),
            new RecordedNumber(Expression.ElementCount),
            Number(nameof(AdafactorNumbers.Eps2)),
            Number(nameof(AdafactorNumbers.Rate)),
            Number(nameof(AdafactorNumbers.Clip))
        );
        var moved = TensorMath.Against(parameter, update, Element(nameof(AdafactorNumbers.Keep)), Recorder.From(rate));
        changes.Add(new(StepProgram.Parameter, moved.Expression));
        return new([StepProgram.Parameter, StepProgram.Gradient, Mean, OfColumns], changes);

        Recorder Moved(string column)
        {
            var next = TensorMath.Between(Input(column), gradient * gradient, weight, rest, isNear);
            changes.Add(new(column, next.Expression));
            return next;
        }

        static Recorder Input(string array) => new(Expression.Input(array));

        static RecordedNumber Number(string name) => new(Expression.Named(Operation.Given, name));

        static Recorder Element(string name) => Recorder.From(Number(name));

        static RecordedNumber SumOfSquares(Recorder elements) => new(new(Operation.SumOfSquares, Scope.Tensor, [elements.Expression]));
    }
}
