using System.Globalization;
using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// Averages of parameters, as torch.optim.swa_utils.AveragedModel: equal (SWA), exponential (EMA) or by a function of one's own, in
/// memory beside the live parameters. Call <see cref="UpdateParameters()"/> after steps, or attach it to the optimizer.
/// <code>
/// var average = new AveragedParameters(parameters, multiAvgFn: AveragedParameters.GetEmaMultiAvgFn(0.999));
/// optimizer.Step();
/// average.UpdateParameters();
/// using (average.Applied())
///     Evaluate();
/// </code>
/// </summary>
/// <remarks>The first update copies; later ones move by a = a + w (x - a), w = 1 / (n + 1) after n updates, or 1 - decay.</remarks>
public partial class AveragedParameters
{
    private readonly IParameter[] live;
    private readonly IParameter[] second;
    private readonly string[] names;
    private readonly int parameterCount;
    private readonly TensorView[] values;
    private readonly TensorView[] rows;
    private readonly AvgFn<TensorView>? avgFn;
    private readonly MultiAvgFn<TensorView>? multiAvgFn;
    private readonly TensorView[] moving;
    private readonly AverageWatch watch = new();
    private readonly Func<int, string> label;
    private Dictionary<object, int>? places;

    /// <summary>Calls so far, of which some update. Like the updates they are known when it is known whether the last step was made.</summary>
    private long Calls
    {
        get
        {
            Owner?.Settle();
            return field;
        }
        set;
    }

    /// <summary>Averages of parameters of any provider.</summary>
    /// <param name="parameters">The live parameters, with names or without.</param>
    /// <param name="avgFn">The average of one parameter, by a function of one's own; without a function it is the equal average.</param>
    /// <param name="multiAvgFn">All averages at once, in place, by <see cref="GetEmaMultiAvgFn"/> or a function of one's own.</param>
    /// <param name="useBuffers">True: buffers are averaged as parameters are. False: each update copies them.</param>
    /// <param name="buffers">What a model keeps beside its parameters, such as running means.</param>
    /// <param name="every">Only every so many calls update, beginning with the first.</param>
    /// <exception cref="ArgumentException">Both functions; no parameters; a name twice.</exception>
    /// <exception cref="OptionException">A setting is outside of its range.</exception>
    public AveragedParameters(
        IEnumerable<IParameter> parameters,
        AvgFn<TensorView>? avgFn = null,
        MultiAvgFn<TensorView>? multiAvgFn = null,
        bool useBuffers = false,
        IEnumerable<IParameter>? buffers = null,
        long every = 1
    )
        : this(parameters, buffers ?? [], null, IKnownAverage.Of(avgFn, multiAvgFn), useBuffers, every) =>
        (this.avgFn, this.multiAvgFn) = (avgFn, multiAvgFn);

    /// <summary>For a provider: where the averages are kept (null: in memory of their own), and its settings (null: by <see cref="MoveByOwnFunction"/>).</summary>
    private protected AveragedParameters(
        IEnumerable<IParameter> parameters,
        IEnumerable<IParameter> buffers,
        IEnumerable<IParameter>? averages,
        Averaging? averaging,
        bool useBuffers,
        long every
    )
    {
        ArgumentNullException.ThrowIfNull(parameters);
        IParameter[] first = [.. parameters];
        if (first.Length == 0)
            throw new ArgumentException("AveragedModel got an empty parameter list", nameof(parameters));
        (live, parameterCount) = ([.. first, .. buffers], first.Length);
        label = row => $"'{names![row]}'";
        names = [.. live.Select((parameter, i) => parameter.Name ?? i.ToString(CultureInfo.InvariantCulture))];
        if (names.GroupBy(name => name, StringComparer.Ordinal).FirstOrDefault(same => same.Count() > 1) is { } twice)
            throw new ArgumentException($"two parameters are called '{twice.Key}'; names must differ, since averages are matched by name");
        HasOwnFunction = averaging is null;
        averaging ??= AveragingModule.equal;
        Averaging = new(averaging.Decay, averaging.Warmup, every);
        AveragingModule.check(Averaging);
        UseBuffers = useBuffers;
        values = Array.ConvertAll(live, parameter => parameter.Data);
        second = averages is null ? [] : [.. averages];
        (rows, moving) = (new TensorView[live.Length], new TensorView[live.Length]);
        RefreshRows();
        // The rest lies in memory of its own: all of it without a second model, and with one what must be wider than there.
        var own = TensorView.Slab([
            .. rows.Zip(values)
                .Where(pair => pair.First.IsAbsent)
                .Select(pair => pair.Second.Layout.IsDense ? pair.Second.Layout : pair.Second.Layout.ToContiguous())
                .Select(layout => layout.WithDType(layout.DType.ToStateDType())),
        ]);
        for (var (row, next) = (0, 0); row < rows.Length; row++)
            rows[row] = rows[row].IsAbsent ? own[next++] : rows[row];
        Watch();
        AverageModule.move(1, rows, values, Executor.Caller);
        WriteSecond();
    }

    /// <summary>How the average moves; where it has a function of its own only <c>Every</c> counts.</summary>
    public Averaging Averaging { get; private set; }

    /// <summary>Whether it moves by a function of the user's own.</summary>
    public bool HasOwnFunction { get; }

    /// <summary>Whether buffers are averaged as parameters are; otherwise each update copies them.</summary>
    public bool UseBuffers { get; private set; }

    /// <summary>Updates so far, PyTorch's n_averaged.</summary>
    public long NAveraged
    {
        get
        {
            Owner?.Settle();
            return field;
        }
        private set;
    }

    /// <summary>The names of parameters and then buffers; their numbers where they have none.</summary>
    public IReadOnlyList<string> Names => names;

    /// <summary>The average of a parameter or buffer, where it lies.</summary>
    /// <exception cref="KeyNotFoundException">There is none of that name.</exception>
    public TensorView this[string name] =>
        Array.IndexOf(names, name) is >= 0 and var row
            ? SettledRows()[row]
            : throw new KeyNotFoundException($"there is no average of '{name}'; there are: {string.Join(", ", names)}");

    /// <summary>Takes the live parameters in: the first time a copy, then the average moves.</summary>
    /// <exception cref="InvalidOperationException">The averages are applied.</exception>
    public void UpdateParameters() => Update(live, null);

    /// <summary>Takes other parameters of the same names, shapes and dtypes in; buffers may be among them or be left out.</summary>
    /// <exception cref="ArgumentException">The structure differs; the message names what is missing and what is left over.</exception>
    public void UpdateParameters(IEnumerable<IParameter> parameters)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        IParameter[] given = [.. parameters];
        var byName = given
            .Select((parameter, i) => (Name: parameter.Name ?? i.ToString(CultureInfo.InvariantCulture), parameter))
            .ToDictionary(pair => pair.Name, pair => pair.parameter, StringComparer.Ordinal);
        var wanted = names.Where((name, row) => row < parameterCount || byName.ContainsKey(name)).ToArray();
        RefuseDifferent("the model", wanted, byName.Keys);
        Update(Array.ConvertAll(names, name => byName.GetValueOrDefault(name)), null);
    }

    /// <summary>PyTorch's get_ema_avg_fn: decay a + (1 - decay) x, for one parameter.</summary>
    /// <param name="decay">How much of the average stays, in [0, 1].</param>
    /// <param name="warmup">Whether the decay begins small: min(decay, (1 + n) / (10 + n)) after n updates.</param>
    /// <exception cref="OptionException">The decay is outside of [0, 1].</exception>
    public static AvgFn<TensorView> GetEmaAvgFn(double decay = 0.999, bool warmup = false) => Ema(decay, warmup).One;

    /// <summary>PyTorch's get_ema_multi_avg_fn: decay a + (1 - decay) x, for all parameters.</summary>
    /// <inheritdoc cref="GetEmaAvgFn" path="/param"/>
    /// <inheritdoc cref="GetEmaAvgFn" path="/exception"/>
    public static MultiAvgFn<TensorView> GetEmaMultiAvgFn(double decay = 0.999, bool warmup = false) => Ema(decay, warmup).Many;

    /// <summary>PyTorch's get_swa_avg_fn: the equal average, for one parameter.</summary>
    public static AvgFn<TensorView> GetSwaAvgFn() => Known(AveragingModule.equal).One;

    /// <summary>PyTorch's get_swa_multi_avg_fn: the equal average, for all parameters.</summary>
    public static MultiAvgFn<TensorView> GetSwaMultiAvgFn() => Known(AveragingModule.equal).Many;

    /// <summary>An exponential average that is checked.</summary>
    internal static Averaging Exponential(double decay, bool warmup)
    {
        var averaging = new Averaging(decay, warmup, 1);
        AveragingModule.check(averaging);
        return averaging;
    }

    private static KnownAverage<TensorView> Ema(double decay, bool warmup) => Known(Exponential(decay, warmup));

    private static KnownAverage<TensorView> Known(Averaging averaging) => new(averaging, view => view, view => view.Copy());

    /// <summary>Averages by a function of the user's own: the rows that move, and their averages and new values.</summary>
    private protected virtual void MoveByOwnFunction(int[] moving, TensorView[] averages, TensorView[] current, long averaged)
    {
        if (multiAvgFn is not null)
            multiAvgFn(averages, current, averaged);
        else
            for (var row = 0; row < averages.Length; row++)
                averages[row].CopyFrom(avgFn!(averages[row], current[row], averaged));
    }

    /// <summary>A call that counts: from these parameters (null: not given), leaving out the rows that are done already.</summary>
    private void Update(IParameter?[] from, bool[]? done)
    {
        RefuseApplied("UpdateParameters");
        AppliedAverages.Refuse("UpdateParameters", from);
        RefreshRows();
        for (var row = 0; row < values.Length; row++)
            if (from[row] is { } parameter && done?[row] != true)
            {
                values[row] = parameter.Data;
                RefuseOther(names[row], "the model", rows[row], values[row]);
            }
        Watch();
        if (AveragingModule.moves(Averaging, Calls))
        {
            for (var row = 0; row < rows.Length; row++)
            {
                var isLeft = from[row] is not null && done?[row] != true;
                var moves = row < parameterCount || UseBuffers;
                moving[row] = isLeft && moves ? rows[row] : default;
                if (isLeft && !moves)
                    rows[row].CopyFrom(values[row]);
            }
            Move();
            NAveraged = Counting.add(NAveraged, 1);
            WriteSecond();
        }
        Calls = Counting.add(Calls, 1);
    }

    /// <summary>The optimizer whose steps it goes along with.</summary>
    internal Optimizer? Owner { get; set; }

    /// <summary>The row of a parameter; -1 for none.</summary>
    internal int RowOf(IParameter parameter)
    {
        if (places is null)
        {
            places = [];
            for (var row = 0; row < parameterCount; row++)
                places[live[row].Identity] = row;
        }
        return places.TryGetValue(parameter.Identity, out var place) ? place : -1;
    }

    /// <summary>Such as <c>AveragedModel (decay 0.999, 12 updates) of 3 tensors</c>.</summary>
    public override string ToString()
    {
        var how =
            HasOwnFunction ? "function of one's own"
            : Averaging.Decay is { } decay ? FormattableString.Invariant($"decay {decay}")
            : "equal weights";
        return FormattableString.Invariant($"{GetType().Name} ({how}, {NAveraged} updates) of {live.Length} tensors");
    }

    /// <summary>Whether steps leave it more to do than to count: a function of its own, buffers, a second model of half types.</summary>
    internal bool MovesByItself =>
        HasOwnFunction
        || live.Length > parameterCount
        || Array.Exists(second, parameter => parameter.Data.DType is var dtype && dtype != dtype.ToStateDType());

    /// <summary>The average of a row, in a step that has begun.</summary>
    internal TensorView Row(int row) => rows[row];

    /// <summary>Before a step that goes along: the weight of the new parameters, or 0 when it moves nothing that a kernel can.</summary>
    internal double BeginStep()
    {
        RefreshRows();
        Watch();
        return HasOwnFunction || !AveragingModule.moves(Averaging, Calls) ? 0 : AveragingModule.weight(Averaging, NAveraged);
    }

    /// <summary>After it: moves what the step has not, and counts.</summary>
    internal void EndStep(bool[]? done) => Update(live, done);

    /// <summary>Refuses averages over the memory of what they average, such as a copy of a model that shares its tensors.</summary>
    private void Watch() => watch.Check(label, rows, values);

    private void Move()
    {
        if (!HasOwnFunction)
            AverageModule.move(AveragingModule.weight(Averaging, NAveraged), moving, values, live[0].Executor ?? Executor.Team);
        else if (NAveraged == 0)
            AverageModule.move(1, moving, values, Executor.Caller);
        else
        {
            var own = Enumerable.Range(0, moving.Length).Where(row => !moving[row].IsAbsent).ToArray();
            MoveByOwnFunction(own, Array.ConvertAll(own, row => moving[row]), Array.ConvertAll(own, row => values[row]), NAveraged);
        }
    }

    private TensorView[] SettledRows()
    {
        Owner?.Settle();
        return RefreshRows();
    }

    private TensorView[] RefreshRows()
    {
        for (var row = 0; row < second.Length; row++)
            if (second[row].Data is var data && data.DType == data.DType.ToStateDType())
                rows[row] = data;
        return rows;
    }

    /// <summary>Tells the second model that it has changed, and gives it what is kept wider than there.</summary>
    private void WriteSecond()
    {
        for (var row = 0; row < second.Length; row++)
        {
            if (second[row].Data is var data && data.DType != rows[row].DType)
                data.ConvertFrom(rows[row]);
            second[row].AfterStep();
        }
    }

    private protected static void RefuseOther(string name, string what, TensorView average, TensorView value)
    {
        if (AverageModule.dtypeOf(value) != average.DType || !value.Layout.SameShape(average.Layout))
            throw new ArgumentException(
                $"'{name}' of {what} is {value.Layout}, and its average {average.Layout}; they do not belong together"
            );
    }

    private protected static void RefuseDifferent(string what, IEnumerable<string> wanted, IEnumerable<string> found)
    {
        string[] missing = [.. wanted.Except(found, StringComparer.Ordinal)],
            left = [.. found.Except(wanted, StringComparer.Ordinal)];
        if (missing.Length + left.Length > 0)
            throw new ArgumentException(
                $"{what} does not have the structure of the average; missing: {List(missing)}; left over: {List(left)}"
            );
    }

    private static string List(string[] found) => found.Length == 0 ? "none" : string.Join(", ", found);
}
