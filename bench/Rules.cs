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
        Rho = 0.9,
        AdadeltaEps = 1e-6,
        AdagradEps = 1e-10,
        MomentumDecay = 4e-3,
        Lambd = 1e-4,
        AsgdAlpha = 0.75,
        EtaMinus = 0.5,
        EtaPlus = 1.2,
        MinStep = 1e-6,
        MaxStep = 1e-3;

    /// <summary>LBFGS's rate, at which hundreds of steps are still on their way; iterations of a step, and pairs that it remembers.</summary>
    public const double CurvatureLr = 1e-3;
    public const int Iterations = 4,
        History = 10;

    public static readonly RuleCase SGD = new("sgd", Rate(), true, parameters => new SGD(parameters, lr: Lr)),
        SGDMomentum =
            new("sgd momentum", Rate(("momentum", Momentum)), true, parameters => new SGD(parameters, lr: Lr, momentum: Momentum)),
        Adam = new("adam", Rate(), true, parameters => new Adam(parameters, lr: Lr)),
        AdamW =
            new("adamw", Rate(("weight_decay", WeightDecay)), true, parameters => new AdamW(parameters, lr: Lr, weightDecay: WeightDecay)),
        Adadelta = new("adadelta", Rate(), false, parameters => new Adadelta(parameters, lr: Lr)),
        Adagrad = new("adagrad", Rate(), false, parameters => new Adagrad(parameters, lr: Lr)),
        Adamax = new("adamax", Rate(), false, parameters => new Adamax(parameters, lr: Lr)),
        ASGD = new("asgd", Rate(), false, parameters => new ASGD(parameters, lr: Lr)),
        NAdam = new("nadam", Rate(), false, parameters => new NAdam(parameters, lr: Lr)),
        RAdam = new("radam", Rate(), false, parameters => new RAdam(parameters, lr: Lr)),
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

    /// <summary>LBFGS on a quadratic, without a line search (TorchSharp's has none), with as many evaluations as iterations.</summary>
    public static readonly RuleCase LBFGS = new(
        "lbfgs quadratic",
        new Dictionary<string, double>
        {
            ["lr"] = CurvatureLr,
            ["max_iter"] = Iterations,
            ["history_size"] = History,
        },
        false,
        parameters => new LBFGS(
            parameters,
            lr: CurvatureLr,
            maxIter: Iterations,
            maxEval: 2 * Iterations,
            toleranceGrad: 0,
            toleranceChange: 0,
            historySize: History
        )
    );

    /// <summary>Rules by definition, whose peers are the same traffic and the other engine.</summary>
    public static readonly RuleCase Lion =
            new("lion by definition", Rate(), false, parameters => new RuleOptimizer(Core.Rules.Find("Lion"), parameters, ("lr", Lr))),
        AdaBelief =
            new(
                "adabelief by definition",
                Rate(),
                false,
                parameters => new RuleOptimizer(Core.Rules.Find("AdaBelief"), parameters, ("lr", Lr))
            );

    /// <summary>A chain: clipped by global norm, Adam, decay, cautious, averaged.</summary>
    public static readonly RuleCase Chain = new(
        "chain",
        Rate(("weight_decay", WeightDecay), ("max_norm", MaxNorm), ("ema", Decay)),
        false,
        parameters => new RuleOptimizer(ChainedRules.Chain, parameters)
    );

    public bool IsDefinition => this == Lion || this == AdaBelief || this == Chain;

    public bool IsOfWholeTensors => this == Adafactor || this == Muon;

    /// <summary>What the training tail scales, clips and averages by.</summary>
    public const double Scale = 1024,
        MaxNorm = 1,
        Decay = 0.999;

    /// <summary>Unscale, clip by norm, AdamW, average, zero: attached to the optimizer, so in two visits of memory.</summary>
    public static readonly RuleCase Tail = new(
        "adamw tail",
        Rate(("weight_decay", WeightDecay), ("scale", Scale), ("max_norm", MaxNorm), ("ema", Decay)),
        false,
        parameters =>
        {
            IParameter[] list = [.. parameters];
            var optimizer = new AdamW(list, lr: Lr, weightDecay: WeightDecay);
            var average = new AveragedParameters(list, multiAvgFn: AveragedParameters.GetEmaMultiAvgFn(Decay));
            average.UpdateParameters();
            optimizer.Attach(new ClipGradNorm(MaxNorm), new GradScaler(Scale, growthInterval: long.MaxValue), average, zeroGrad: true);
            return optimizer;
        }
    );

    /// <summary>An exponential average alone, without an optimizer.</summary>
    public static readonly RuleCase Average = new(
        "average",
        new Dictionary<string, double> { ["ema"] = Decay },
        false,
        _ => throw new NotSupportedException()
    );

    public static readonly IReadOnlyList<RuleCase> All =
    [
        SGD,
        SGDMomentum,
        Adam,
        AdamW,
        Adadelta,
        Adagrad,
        Adamax,
        ASGD,
        NAdam,
        RAdam,
        RMSprop,
        Rprop,
        Adafactor,
        Muon,
        LBFGS,
        Tail,
        Average,
        Lion,
        AdaBelief,
        Chain,
    ];

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
