using System.Globalization;

namespace Optim.Bench;

/// <summary>What a goal is about.</summary>
internal enum Aim
{
    /// <summary>The peer's time over ours, at least.</summary>
    Ratio,

    /// <summary>The peer's time over ours, at most.</summary>
    RatioAtMost,

    /// <summary>Our microseconds of a step, at most.</summary>
    Microseconds,

    /// <summary>Our managed bytes of a step, at most.</summary>
    Bytes,
}

/// <summary>A goal in float32, and the number to reach, with AVX-512 and without. Empty: every rule, list, peer.</summary>
internal sealed record Goal(
    string[] Rules,
    string[] Lists,
    string? Peer,
    string? Parameters,
    int? Threads,
    Aim Aim,
    double Avx512,
    double Avx2
)
{
    public static readonly IReadOnlyList<Goal> All =
    [
        Fused(["4K", "16K", "64K"], 1.5, 1.2),
        Fused(["256K", "1M"], 1.3, 1.0),
        Fused(["16M", "64M", "gpt2_124m"], 0.97, 0.97),
        Fused(["1000 x 1K"], 8, 4),
        Fused(["10000 x 64"], 40, 20),
        Fused(["resnet50"], 0.97, 0.97),
        Fused(["1000 x 1K"], 4, 3) with
        {
            Parameters = Row.TorchSharp,
        },
        Fused(["10000 x 64"], 10, 10) with
        {
            Parameters = Row.TorchSharp,
        },
        new(["adam"], ["4K"], Measurement.Fused, Row.Host, 1, Aim.Microseconds, 3, 3),
        new(["adafactor"], ["resnet50"], Measurement.Ops, Row.Host, null, Aim.Ratio, 1, 1),
        new(["muon"], ["vit_b16 matrices", "mlp matrices"], Measurement.Ops, Row.Host, null, Aim.Ratio, 0.6, 0.6),
        new(
            ["adadelta", "adagrad", "adamax", "nadam", "radam", "rmsprop", "rprop"],
            ["resnet50"],
            Measurement.Ops,
            Row.Host,
            2,
            Aim.Ratio,
            2.5,
            2.5
        ),
        TorchSharp(["adam", "adamw", "rmsprop", "rprop"], 2),
        TorchSharp(["sgd momentum"], 1.3),
        TorchSharp(["sgd"], 1),
        new(["adamw tail"], ["resnet50"], Measurement.Passes, Row.Host, 2, Aim.Ratio, 1.5, 1.3),
        new(["adamw tail"], ["1000 x 1K"], Measurement.Passes, Row.Host, 2, Aim.Ratio, 10, 4),
        // An average moves 12 bytes for the 8 of a copy: this is 0.9 of its bytes per second.
        new(["average"], ["16M"], Measurement.Copy, Row.Host, 2, Aim.Ratio, 0.6, 0.6),
        new(
            ["sgd", "sgd momentum", "adam", "adamw", "adadelta", "adagrad", "adamax", "asgd", "nadam", "radam", "rmsprop", "rprop"],
            ["16M", "64M", "resnet50"],
            Measurement.Traffic,
            Row.Host,
            2,
            Aim.Ratio,
            0.9,
            0.9
        ),
        // Bytes of an element: 14 of 20, and 14 of 20. Adam moves 22 of 28, which allow 1.27.
        new(["sgd momentum", "rmsprop"], ["16M"], Measurement.Single, Row.Host, 2, Aim.Ratio, 1.3, 1.3),
        new(["adam"], ["16M"], Measurement.Single, Row.Host, 2, Aim.Ratio, 1.2, 1.2),
        // Recorded formulas beside the static driver.
        new(
            ["sgd", "sgd momentum", "adam", "adamw", "adadelta", "adagrad", "adamax", "asgd", "nadam", "radam", "rmsprop", "rprop"],
            [],
            Measurement.Emitted,
            Row.Host,
            2,
            Aim.RatioAtMost,
            1.05,
            1.05
        ),
        new(
            ["adamw tail", "lion by definition", "adabelief by definition"],
            ["16M"],
            Measurement.Blocks,
            Row.Host,
            2,
            Aim.RatioAtMost,
            1.35,
            1.35
        ),
        new(["lion by definition", "adabelief by definition"], ["16M"], Measurement.Traffic, Row.Host, 2, Aim.Ratio, 0.95, 0.95),
        // Its own traffic, the second look at the gradients included.
        new(["chain"], ["16M", "resnet50"], Measurement.Traffic, Row.Host, 2, Aim.Ratio, 0.9, 0.9),
        new(["chain"], ["1000 x 1K"], Measurement.Ops, Row.Host, 2, Aim.Ratio, 10, 10),
        new(["lbfgs quadratic"], ["1M"], Measurement.TorchSharp, null, 2, Aim.Ratio, 1, 1),
        new([], [], null, null, null, Aim.Bytes, 512, 512),
    ];

    public bool IsAboutAll => Rules.Length == 0;

    /// <summary>LBFGS keeps what it remembers in records of its own, new ones for each iteration.</summary>
    private bool IsAbout(string rule) => IsAboutAll ? rule != RuleCase.LBFGS.Name : Rules.Contains(rule);

    public double Needed => Machine.Here.WidestBits >= 512 ? Avx512 : Avx2;

    public bool Applies(Measurement m) =>
        Applies(
            m.Rule.Name,
            m.List.Name,
            m.Peer,
            m.Parameters,
            m.Threads,
            m.DType == Kernels.DType.Float32 || (m.Peer == Measurement.Single && m.DType == Kernels.DType.BFloat16),
            m.IsTraining
        );

    public bool Applies(Row row) =>
        Applies(
            row.Rule,
            row.List,
            row.Peer,
            row.Parameters,
            row.Threads,
            row.Dtype == "float32" || (row.Peer == Measurement.Single && row.Dtype == "bfloat16"),
            Training.Names.Contains(row.List)
        );

    /// <summary>The number of a row that this goal is about.</summary>
    public double Value(Row row) =>
        Aim switch
        {
            Aim.Ratio or Aim.RatioAtMost => row.Ratio,
            Aim.Microseconds => row.OursUs,
            _ => row.Bytes,
        };

    public bool Reached(Row row) => Aim == Aim.Ratio ? Value(row) >= Needed : Value(row) <= Needed;

    public string Format(double value) =>
        Aim switch
        {
            Aim.Ratio or Aim.RatioAtMost => value.ToString("0.00", CultureInfo.InvariantCulture) + "x",
            Aim.Microseconds => value.ToString("0.00", CultureInfo.InvariantCulture) + " us",
            _ => value.ToString("0", CultureInfo.InvariantCulture) + " bytes",
        };

    public override string ToString()
    {
        var who = IsAboutAll ? "every row but LBFGS's" : string.Join(", ", Rules);
        var where = Lists.Length == 0 ? (IsAboutAll ? "" : " on every list") : " on " + string.Join(", ", Lists);
        var how = Parameters == Row.TorchSharp ? ", TorchSharp parameters" : "";
        var against = Aim is Aim.Ratio or Aim.RatioAtMost ? $" against {Peer}" : "";
        var threads = Threads == 1 ? ", one thread" : "";
        return $"{who}{where}{how}{against}{threads}";
    }

    private bool Applies(string rule, string list, string peer, string parameters, int threads, bool isFloat32, bool isTraining) =>
        isFloat32
        && !isTraining
        && IsAbout(rule)
        && (Lists.Length == 0 || Lists.Contains(list))
        && (Peer ?? peer) == peer
        && (Parameters ?? parameters) == parameters
        && (Threads ?? threads) == threads;

    private static Goal Fused(string[] lists, double avx512, double avx2) =>
        new(["adam"], lists, Measurement.Fused, Row.Host, 2, Aim.Ratio, avx512, avx2);

    private static Goal TorchSharp(string[] rules, double ratio) =>
        new(rules, [], Measurement.TorchSharp, Row.Host, 2, Aim.Ratio, ratio, ratio);
}
