using Optim.Core;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.optim;

namespace Optim;

/// <summary>
/// An optimizer as a <see cref="torch.optim.Optimizer"/>, for code and schedulers that are typed so. It is the same optimizer:
/// steps, options and state are shared, and both can be used side by side. Made by
/// <see cref="AsTorchSharpOptimizer.AsTorchSharp"/>.
/// </summary>
/// <remarks>
/// Schedulers that cycle momentum find it as <see cref="IMomentum"/> or <see cref="IBetas"/>, on the optimizer and on its groups,
/// whichever of the two the rule has: see <see cref="WithMomentum"/> and <see cref="WithBetas"/>.
/// </remarks>
public class TorchSharpOptimizer : torch.optim.Optimizer
{
    private readonly List<TorchSharpGroup> groups = [];

    private protected TorchSharpOptimizer(Optimizer optimizer)
        : base(IntPtr.Zero)
    {
        Inner = optimizer;
        Synchronize();
    }

    /// <summary>The optimizer that does the work.</summary>
    public Optimizer Inner { get; }

    /// <summary>One for each group of the optimizer, in order; those that were added to it since included.</summary>
    public override IEnumerable<ILearningRateController> ParamGroups
    {
        get
        {
            Synchronize();
            return groups;
        }
    }

    internal static TorchSharpOptimizer Of(Optimizer optimizer) =>
        optimizer.ParamGroups.All(group => group.Algorithm!.Has("betas")) ? new WithBetas(optimizer)
        : optimizer.ParamGroups.All(group => group.Algorithm!.Has("momentum")) ? new WithMomentum(optimizer)
        : new TorchSharpOptimizer(optimizer);

    /// <summary>Fills the gradients with zeros, as TorchSharp's optimizers do. <see cref="Optimizer.ZeroGrad"/> drops them.</summary>
    public override void zero_grad() => Inner.ZeroGrad(setToNone: false);

    /// <summary>A step; with a closure, after a call of it.</summary>
    /// <returns>What the closure returned; null without one, as with TorchSharp's optimizers.</returns>
    public override Tensor step(Func<Tensor>? closure = null)
    {
        if (closure is not null)
            return Inner.Step(closure);
        Inner.Step();
        return null!;
    }

    /// <summary>The parameters of all groups.</summary>
    public override IEnumerable<Parameter> parameters() => Inner.ParamGroups.SelectMany(group => Parameters(group));

    /// <summary>Adds a group, with its learning rate where it has one; a group of TorchSharp's has no other options that are known here.</summary>
    /// <exception cref="ArgumentException">The group has no parameters, or one that the optimizer has already.</exception>
    public override void add_param_group(ParamGroup param_group)
    {
        ArgumentNullException.ThrowIfNull(param_group);
        var group = new ParameterGroup(Torch.Parameters([.. param_group.Parameters ?? []]));
        if (param_group.Options?.LearningRate is { } rate)
            group["lr"] = rate;
        Inner.AddParamGroup(group);
        Synchronize();
    }

    /// <summary>Nothing: parameters belong to their module, and state to the collector.</summary>
    protected override void Dispose(bool disposing) { }

    private protected virtual TorchSharpGroup Face(ParameterGroup group) => new TorchSharpGroup(group);

    private static void Require(IEnumerable<IParameter> parameters)
    {
        if (parameters.FirstOrDefault(parameter => parameter is not TorchParameter) is { } other)
            throw new ArgumentException(
                $"{(other.Name is { } name ? $"parameter '{name}'" : "a parameter without a name")} is no TorchSharp tensor; code of TorchSharp can only have those"
            );
    }

    private static IEnumerable<Parameter> Parameters(ParameterGroup group) =>
        group.Parameters.Cast<TorchParameter>().Select(parameter => parameter.AsParameter());

    // Groups may have been added on either side.
    private void Synchronize()
    {
        for (var i = groups.Count; i < Inner.ParamGroups.Count; i++)
        {
            Require(Inner.ParamGroups[i].Parameters);
            groups.Add(Face(Inner.ParamGroups[i]));
        }
    }

    /// <summary>An optimizer whose rule has betas, the first of which schedulers cycle.</summary>
    internal sealed class WithBetas : TorchSharpOptimizer, IBetas
    {
        internal WithBetas(Optimizer optimizer)
            : base(optimizer) { }

        /// <summary>Those of the first group; set in all.</summary>
        public (double, double) Betas
        {
            get => ((double, double))Inner.ParamGroups[0]["betas"];
            set
            {
                foreach (var group in Inner.ParamGroups)
                    group["betas"] = value;
            }
        }

        private protected override TorchSharpGroup Face(ParameterGroup group) => new TorchSharpGroup.WithBetas(group);
    }

    /// <summary>An optimizer whose rule has momentum.</summary>
    internal sealed class WithMomentum : TorchSharpOptimizer, IMomentum
    {
        internal WithMomentum(Optimizer optimizer)
            : base(optimizer) { }

        /// <summary>That of the first group; set in all.</summary>
        public double Momentum
        {
            get => (double)Inner.ParamGroups[0]["momentum"];
            set
            {
                foreach (var group in Inner.ParamGroups)
                    group["momentum"] = value;
            }
        }

        private protected override TorchSharpGroup Face(ParameterGroup group) => new TorchSharpGroup.WithMomentum(group);
    }
}
