using Optim.Core;

namespace Optim;

// State dicts, and loading them.
public abstract partial class LRScheduler : IStateful
{
    /// <summary>The state in PyTorch's keys. Rates are the optimizer's state: both must be saved. Functions are not saved.</summary>
    public Tree StateDict() => Tree.Dict([.. Save()]);

    /// <summary>Takes over a state, and the settings in it; the groups of the optimizer are not touched, as its own state has them. On any error nothing has changed.</summary>
    /// <param name="state">What <see cref="StateDict"/> gives, or PyTorch.</param>
    /// <param name="strict">Whether keys that are not known are an error; otherwise they are reported.</param>
    /// <returns>What was left out, and under Missing what cannot be saved and stays as it is: functions.</returns>
    /// <exception cref="ArgumentException">The state does not fit; the message names the key.</exception>
    public LoadReport LoadStateDict(Tree state, bool strict = true) => Prepare(state, strict).Run();

    Tree IStateful.SaveState() => StateDict();

    PreparedLoad IStateful.PrepareLoad(Tree state, bool strict) => Prepare(state, strict);

    /// <summary>What a scheduler of one's own keeps beside epochs and rates.</summary>
    protected virtual IEnumerable<KeyValuePair<string, Tree>> SaveOwn() => [];

    /// <summary>Takes over what <see cref="SaveOwn"/> gave.</summary>
    protected virtual void LoadOwn(IReadOnlyDictionary<string, Tree> own) { }

    /// <summary>All entries of the state, in PyTorch's order: settings first.</summary>
    private protected virtual IEnumerable<(string, Tree)> Save() =>
        [.. SaveSettings(), .. SaveOwn().Select(entry => (entry.Key, entry.Value)), .. SaveCommon()];

    /// <summary>The settings as they are saved.</summary>
    private protected virtual IEnumerable<(string, Tree)> SaveSettings() =>
        Settings is { } settings
            ? settings
                .Kind.Settings.Where(setting => setting.Name != "last_epoch")
                .Select(setting => (setting.Name, (Tree)settings[setting.Name]))
            : [];

    /// <summary>What all schedulers save.</summary>
    private protected IEnumerable<(string, Tree)> SaveCommon() =>
        [
            ("base_lrs", Numbers(baseLrs)),
            ("last_epoch", WholeOrNot(LastEpoch)),
            ("_step_count", StepCount),
            ("_is_initial", false),
            ("_get_lr_called_within_step", false),
            ("_last_lr", Numbers(lastLr)),
        ];

    /// <summary>Reads and checks; the action takes over what was read.</summary>
    private protected virtual Action Load(StateReader state)
    {
        var settings = Settings is { } known
            ? state.Settings(
                known,
                [.. known.Kind.Settings.Where(setting => setting.Name != "last_epoch").Select(setting => (setting.Name, setting.Name))]
            )
            : null;
        var own = SaveOwn()
            .Select(entry => entry.Key)
            .Where(key => state.Find(key) is not null)
            .ToDictionary(key => key, key => state[key]);
        var common = LoadCommon(state);
        return () =>
        {
            common();
            if (settings is not null)
                Settings = settings;
            LoadOwn(own);
        };
    }

    /// <summary>Reads what all schedulers save.</summary>
    private protected Action LoadCommon(StateReader state)
    {
        var bases = state.PerGroup("base_lrs", Optimizer.ParamGroups.Count);
        var count = state.Find("_step_count") is { } counted
            ? Counting.ofTree($"the loaded state of {GetType().Name}: _step_count", counted)
            : StepCount;
        state.Find("_is_initial");
        state.Find("_get_lr_called_within_step");
        state.Find("verbose"); // of older versions
        var position = LoadPosition(state);
        return () =>
        {
            SetBaseLrs(bases);
            StepCount = count;
            position();
        };
    }

    /// <summary>Reads last_epoch and _last_lr.</summary>
    private protected Action LoadPosition(StateReader state)
    {
        var epoch = state.Number("last_epoch");
        if (!(epoch >= -1 && double.IsFinite(epoch)))
            throw state.Wrong("last_epoch", "a number of at least -1");
        var rates = LoadRates(state);
        return () =>
        {
            LastEpoch = epoch;
            rates();
        };
    }

    /// <summary>Reads _last_lr.</summary>
    private protected Action LoadRates(StateReader state)
    {
        var rates = state.Find("_last_lr") is null ? lastLr : state.Numbers("_last_lr");
        return () => lastLr = rates;
    }

    /// <param name="state">What was saved.</param>
    /// <param name="strict">Whether unknown keys are an error.</param>
    /// <param name="outermost">Whether it is loaded for itself, and not as a part of a container.</param>
    internal PreparedLoad Prepare(Tree state, bool strict, bool outermost = true)
    {
        ArgumentNullException.ThrowIfNull(state);
        var reader = new StateReader(GetType().Name, state, strict);
        var commit = Load(reader);
        var loadedOrder = LoadedOrder.Of(GetType().Name, state);
        if (loadedOrder.Problem(Optimizer.GroupOrigins) is { } problem)
            throw new ArgumentException(problem, nameof(state));
        return new(
            LoadReport.Empty with
            {
                Missing = reader.Missing,
                Unexpected = reader.Leftover(),
            },
            () =>
            {
                var isNew = outermost && !StateDict().Equals(state);
                commit();
                (stepped, order) = (LastEpoch > 0, loadedOrder);
                // All of a container's or none: one whose own state is the same stands between others that have changed.
                foreach (var scheduler in isNew ? WithInside() : [])
                foreach (var group in Optimizer.ParamGroups)
                    group.ConstructorWrites.TakeBack(scheduler, group);
            }
        );
    }

    private protected static Tree Numbers(IEnumerable<double> values) => Tree.ListOf(values.Select(value => (Tree)value));

    /// <summary>A number that is whole is written as such.</summary>
    private protected static Tree WholeOrNot(double value) =>
        Math.Floor(value) == value && Math.Abs(value) < 9e15 ? Tree.NewInt((long)value) : value;
}
