namespace Optim.Bench;

/// <summary>A rule with the options that it is measured at, the same for us and for every peer: PyTorch's defaults, but for those named here.</summary>
/// <remarks>Gradients stay the same from step to step, and small rates keep the numbers in range over millions of steps.</remarks>
internal sealed record RuleCase(
    string Name,
    IReadOnlyDictionary<string, double> Options,
    bool HasFused,
    Func<IEnumerable<IParameter>, Optimizer> Ours
)
{
    public const double Lr = 1e-4,
        Momentum = 0.9,
        Beta1 = 0.9,
        Beta2 = 0.999,
        Eps = 1e-8,
        WeightDecay = 1e-2, // AdamW's
        MuonDecay = 0.1,
        Alpha = 0.99,
        EtaMinus = 0.5,
        EtaPlus = 1.2,
        MinStep = 1e-6,
        MaxStep = 1e-3;

    public static readonly RuleCase SGD = new("sgd", Rate(), true, parameters => new SGD(parameters, lr: Lr)),
        SGDMomentum =
            new("sgd momentum", Rate(("momentum", Momentum)), true, parameters => new SGD(parameters, lr: Lr, momentum: Momentum)),
        Adam = new("adam", Rate(), true, parameters => new Adam(parameters, lr: Lr)),
        AdamW =
            new("adamw", Rate(("weight_decay", WeightDecay)), true, parameters => new AdamW(parameters, lr: Lr, weightDecay: WeightDecay)),
        RMSprop = new("rmsprop", Rate(), false, parameters => new RMSprop(parameters, lr: Lr)),
        Rprop =
            new(
                "rprop",
                Rate(("min_step", MinStep), ("max_step", MaxStep)),
                false,
                parameters => new Rprop(parameters, lr: Lr, stepSizes: (MinStep, MaxStep))
            );

    /// <summary>Rules of whole tensors, which have peers and lists of their own.</summary>
    public static readonly RuleCase Adafactor = new("adafactor", Rate(), false, parameters => new Adafactor(parameters, lr: Lr)),
        Muon = new("muon", Rate(("weight_decay", MuonDecay)), false, parameters => new Muon(parameters, lr: Lr, weightDecay: MuonDecay));

    public static readonly IReadOnlyList<RuleCase> All = [SGD, SGDMomentum, Adam, AdamW, RMSprop, Rprop, Adafactor, Muon];

    public bool IsOfWholeTensors => this == Adafactor || this == Muon;

    /// <summary>Is this the rule of that name, or one of its variants? "sgd" names "sgd momentum", too.</summary>
    public bool Is(string name) => (Name + " ").StartsWith(name + " ", StringComparison.OrdinalIgnoreCase);

    private static Dictionary<string, double> Rate(params ReadOnlySpan<(string, double)> further)
    {
        var options = new Dictionary<string, double> { ["lr"] = Lr };
        foreach (var (name, value) in further)
            options[name] = value;
        return options;
    }
}
