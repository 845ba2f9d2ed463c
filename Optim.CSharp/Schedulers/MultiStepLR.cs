using Optim.Core;

namespace Optim;

/// <summary>The rate times gamma at each milestone, as torch.optim.lr_scheduler.MultiStepLR; a milestone that is repeated counts as often.</summary>
public sealed class MultiStepLR : ChainableLR
{
    internal static readonly SchedulerKind Kind = new(
        "MultiStepLR",
        "multistep",
        "the rate times gamma at each milestone",
        [
            SchedulerSetting.WholeNumbers("milestones", "epochs at which the rate is reduced"),
            SchedulerSetting.Number("gamma", Interval.AtLeast(0), 0.1, "what the rate is multiplied with"),
            SchedulerSetting.LastEpoch,
        ],
        (optimizer, settings) => new MultiStepLR(optimizer, settings)
    );

    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="milestones">Epochs, at least 0, in any order.</param>
    /// <param name="gamma">What the rate is multiplied with, at least 0.</param>
    /// <param name="lastEpoch">The last epoch that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public MultiStepLR(Optimizer optimizer, IEnumerable<int> milestones, double gamma = 0.1, int lastEpoch = -1)
        : this(
            optimizer,
            Kind.With(
                SchedulerSetting.Many(
                    (milestones ?? throw new ArgumentNullException(nameof(milestones))).Select(epoch => (OptionValue)epoch)
                ),
                gamma,
                lastEpoch
            )
        ) { }

    private MultiStepLR(Optimizer optimizer, SchedulerSettings settings)
        : base(optimizer, settings, s => Chainable.MultiStep(s.Numbers("milestones"), s.Number("gamma"))) { }

    /// <summary>Milestones are a Counter in PyTorch: how often each one comes.</summary>
    private protected override IEnumerable<(string, Tree)> SaveSettings() =>
        [
            (
                "milestones",
                Tree.MapOf(
                    MapKind.Counter,
                    Settings!
                        .Numbers("milestones")
                        .GroupBy(milestone => milestone)
                        .Select(same => KeyValuePair.Create<TreeKey, Tree>((long)same.Key, same.Count()))
                )
            ),
            ("gamma", Settings.Number("gamma")),
        ];

    private protected override Action Load(StateReader state) => base.Load(state.With("milestones", Milestones(state)));

    private static Tree Milestones(StateReader state)
    {
        if (state["milestones"] is not Tree.Map counter)
            return state["milestones"];
        var milestones = new List<Tree>();
        foreach (var (key, times) in counter.Item.Entries)
        {
            if (!key.IsInt || times is not Tree.Int { Item: >= 1 and <= 10_000 })
                throw state.Wrong("milestones", "a Counter of whole numbers");
            milestones.AddRange(Enumerable.Repeat<Tree>(key.number, (int)(long)times));
        }
        return Tree.ListOf(milestones);
    }
}
