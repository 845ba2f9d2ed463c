using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Optim;
using Optim.Core;
using Optim.Kernels;

// Every rule, and one of one's own, over several dtypes, with schedules, clipping and checkpoints: a line with a hash of the bits for each.
Console.WriteLine($"{Lanes.WidestBits} bits");

Func<Param, Optimizer>[] rules =
[
    p => new SGD([p], lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01),
    p => new Adam([p], lr: 0.01, amsgrad: true, weightDecay: 0.01),
    p => new AdamW([p], lr: 0.01),
    p => new NAdam([p]),
    p => new RAdam([p]),
    p => new Adamax([p]),
    p => new Adagrad([p]),
    p => new Adadelta([p]),
    p => new RMSprop([p], momentum: 0.9, centered: true),
    p => new Rprop([p]),
    p => new ASGD([p]),
    p => new Adafactor([p]),
    p => new Muon([p]),
    p => new DiffGrad([p]),
    p => new OwnRuleCSharp.Lion([p], lr: 0.01, weightDecay: 0.1),
    p => new RuleOptimizer(
        Chains.Of(
            Transforms.ClipByGlobalNorm(1.0),
            Transforms.ScaleByAdam(beta2: 0.99),
            Transforms.AddDecayedWeights(0.1).Where(parameter => parameter.Shape.Length == 2),
            Transforms.Centralize,
            Transforms.ScaleByLearningRate(0.01)
        ),
        [p]
    ),
    p => new RuleOptimizer(Wrappers.Lookahead(Rules.AdamW, k: 3), [p]),
    p => new RuleOptimizer(Wrappers.Cautious(Wrappers.Average(Rules.Muon, 0.9)), [p]),
    p => new RuleOptimizer(Wrappers.SkipLargeUpdates(Rules.Find("CAME"), 1e9), [p]),
];

foreach (var rule in rules)
{
    Run<float>(rule, x => (float)x, (values, shape) => new Param("x", values, shape));
    Run<double>(rule, x => x, (values, shape) => new Param("x", values, shape));
    Run<Half>(rule, x => (Half)x, (values, shape) => new Param("x", values, shape));
}

Func<Param, Optimizer>[] narrow =
[
    p => new AdamW([p], lr: 0.01, stateStorage: StateStorage.Blockwise8.From(0)),
    p => new Adam([p], lr: 0.01, amsgrad: true, stateStorage: StateStorage.BFloat16.From(0)),
    p => new SGD([p], lr: 0.1, momentum: 0.9, stateStorage: StateStorage.Blockwise8.From(0)),
];

foreach (var rule in narrow)
{
    Run<float>(rule, x => (float)x, (values, shape) => new Param("x", values, shape));
    Run<Half>(rule, x => (Half)x, (values, shape) => new Param("x", values, shape));
}

var line = new double[] { 3, -2 };
using (var x = new Param("x", line))
{
    var lbfgs = new LBFGS([x], lineSearchFn: "strong_wolfe");
    lbfgs.Step(() =>
    {
        var gradient = x.Gradient<double>();
        (gradient[0], gradient[1]) = (line[0], 10 * line[1]);
        return (line[0] * line[0] + 10 * line[1] * line[1]) / 2;
    });
    Print("LBFGS", MemoryMarshal.AsBytes(line.AsSpan()));
}

static void Run<T>(Func<Param, Optimizer> rule, Func<double, T> number, Func<T[], long[], Param> of)
    where T : unmanaged
{
    var values = Enumerable.Range(0, 37 * 31).Select(i => number(Math.Sin(i))).ToArray();
    using var x = of(values, [37, 31]);
    var optimizer = rule(x);
    var scheduler = new CosineAnnealingLR(optimizer, tMax: 10);
    for (var step = 0; step < 10; step++)
    {
        if (step == 5)
        {
            var file = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName() + ".pt");
            Checkpoint.Save(file, ("optimizer", optimizer), ("scheduler", scheduler));
            optimizer = rule(x);
            scheduler = new CosineAnnealingLR(optimizer, tMax: 10);
            Checkpoint.Load(file, ("optimizer", optimizer), ("scheduler", scheduler));
            File.Delete(file);
        }
        optimizer.ZeroGrad();
        values.AsSpan().CopyTo(x.Gradient<T>());
        ClipGrad.Norm([x], 1.0);
        optimizer.Step();
        scheduler.Step();
    }
    Print($"{optimizer.GetType().Name} {typeof(T).Name}", MemoryMarshal.AsBytes(values.AsSpan()));
}

static void Print(string name, ReadOnlySpan<byte> bits) => Console.WriteLine($"{name} {Convert.ToHexString(SHA256.HashData(bits))}");
