using System.Collections.Immutable;
using Optim.Cli.Data;
using Optim.Core;
using Optim.Distributed;
using Optim.Kernels;

namespace Optim.Cli.Training;

/// <summary>Who works out the losses and gradients.</summary>
public enum Backend
{
    /// <summary>This program, over host arrays.</summary>
    Host,

    /// <summary>TorchSharp's autograd.</summary>
    TorchSharp,
}

/// <summary>What a training run is made from: the same settings give the same losses, bit for bit, on every run.</summary>
public sealed record TrainingSettings
{
    /// <summary>What <c>optim train</c> does when it is told nothing.</summary>
    public static TrainingSettings Defaults { get; } = new();

    /// <summary>What is learnt; the digits unless set.</summary>
    public DataSet Data
    {
        get => field ??= Digits.Load();
        init;
    }

    /// <summary>The rule, as in <see cref="Algorithms.All"/>.</summary>
    public Algorithm Rule { get; init; } = Algorithms.Find("AdamW");

    /// <summary>Options of the rule that are not at its defaults, by PyTorch's names; those of a rule beside it as in adamw.lr.</summary>
    public ImmutableArray<(string Name, OptionValue Value)> Options { get; init; } = [];

    /// <summary>The schedule of the learning rate; null for none. A step of the run is one of the schedule, but for one that goes by a metric: an epoch (greedy: a step).</summary>
    public Scheduling? Schedule { get; init; }

    /// <summary>Options of some of the parameters, by their names.</summary>
    public ImmutableArray<GroupSetting> Groups { get; init; } = [];

    /// <summary>Which of the groups counts for a parameter that several match: first, last, or null for none of them.</summary>
    public string? GroupOrder { get; init; }

    /// <summary>Times that every row is seen; 0 stands for what suits the data.</summary>
    public int Epochs
    {
        get => field > 0 ? field : Data.DefaultEpochs;
        init;
    }

    /// <summary>Rows of a batch; at least 1.</summary>
    public int BatchSize { get; init; } = 32;

    /// <summary>Sizes of the hidden layers; at least one layer.</summary>
    public ImmutableArray<int> Hidden { get; init; } = [128];

    /// <summary>Decides the split into rows to train on and to test, the initial weights, and the batches.</summary>
    public long Seed { get; init; }

    /// <summary>float32 or float64.</summary>
    public DType DType { get; init; } = DType.Float32;

    /// <summary>Threads of the optimizer, and of libtorch; 0 stands for <see cref="DefaultThreads"/>.</summary>
    public int ThreadCount
    {
        get => field > 0 ? field : DefaultThreads(Backend);
        init;
    }

    /// <summary>Decay of the exponential moving average of the parameters, from 0 to 1; null for none.</summary>
    public double? Ema { get; init; }

    /// <summary>The largest norm of the gradients, above 0; null for any.</summary>
    public double? Clip { get; init; }

    /// <summary>The file that is saved after each epoch, and at the end; null for none.</summary>
    public string? Checkpoint { get; init; }

    /// <summary>Whether the run goes on from that file, if it is there.</summary>
    public bool Resume { get; init; }

    /// <summary>Who works out the gradients.</summary>
    public Backend Backend { get; init; }

    /// <summary>
    /// Into how many leaves each batch is cut, whose gradients are summed by one tree: with as many leaves any number of ranks gives the same losses. Null
    /// for none, where a batch is summed row by row.
    /// </summary>
    public int? Leaves { get; init; }

    /// <summary>The processes that train together, where there are leaves; null for this one alone.</summary>
    public World? World { get; init; }

    /// <summary>Steps of an epoch.</summary>
    public int StepsPerEpoch => Batches.PerEpoch(Data.TrainingRows, BatchSize);

    /// <summary>Steps of the whole run.</summary>
    public int Steps => Epochs * StepsPerEpoch;

    /// <summary>Refuses options and settings of a schedule that are wrong, before anything is trained.</summary>
    /// <exception cref="OptionException">One is unknown, missing or not allowed.</exception>
    public void Check()
    {
        foreach (var (rule, options, _, _) in OptimizerShare.Of(Rule, Options, []))
            _ = rule.Replace(rule.Defaults, options.Select(option => KeyValuePair.Create(option.Name, option.Value)));
        Schedule?.Check(Rule, Options, Steps);
    }

    /// <summary>
    /// All cores, or OPTIM_THREADS. One for TorchSharp: layers of this size gain nothing from libtorch's threads, and on a busy machine these wait
    /// for each other (40 times slower was seen).
    /// </summary>
    internal static int DefaultThreads(Backend backend) =>
        backend == Backend.TorchSharp && string.IsNullOrWhiteSpace(Environment.GetEnvironmentVariable(Threads.Variable))
            ? 1
            : Threads.Count;
}
