using System.Globalization;
using Optim;
using Optim.Distributed;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

// A TorchSharp model trained by several processes: `mpirun -n 4 dotnet DistributedTraining.dll`, or alone. The loss is the same to the last bit.
using var world = World.Join(TimeSpan.FromSeconds(60));
var loss = DistributedTraining.Train(world);
if (world.Rank == 0)
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"loss {loss:F6} on {world.Size} ranks"));

/// <summary>The training, as a method that the tests call.</summary>
public static class DistributedTraining
{
    /// <summary>Trains a small regression on this rank's leaves of each batch, of eight in all, and returns the last loss of all ranks.</summary>
    public static double Train(World world)
    {
        using var model = Sequential(("hidden", Linear(4, 16)), ("relu", ReLU()), ("out", Linear(16, 1)));
        // The same start everywhere: rank 0's is sent to all, and this one does not depend on who draws first.
        foreach (var (name, parameter) in model.named_parameters())
            using (no_grad())
                parameter.copy_(linspace(-0.5, 0.5, parameter.numel()).sin().view(parameter.shape));
        var sharded = Sharded.Over(world, model.NamedParameters(), given => new Optim.AdamW(given, lr: 1e-2, weightDecay: 0.01), leaves: 8);
        sharded.Optimizer.Attach(new ClipGradNorm(1.0));
        using var x = linspace(-2, 2, 64 * 4).view(64, 4);
        using var y = x.sum(1, keepdim: true);
        var last = 0.0;
        for (var step = 0; step < 100; step++)
        {
            foreach (var leaf in sharded.Leaves(64))
            {
                using var scope = NewDisposeScope();
                var (from, to) = (leaf.Rows.Start.Value, leaf.Rows.End.Value);
                sharded.ZeroGrad();
                var loss = functional.mse_loss(model.forward(x[from..to]), y[from..to]) * leaf.Weight;
                loss.backward();
                sharded.AddLeaf(loss.ToDouble());
            }
            last = sharded.MeanLoss();
            sharded.Step();
        }
        return last;
    }
}
