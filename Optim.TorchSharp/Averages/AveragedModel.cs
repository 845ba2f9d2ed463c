using Optim.Core;
using Optim.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Optim;

/// <summary>
/// Averages of a TorchSharp module, as torch.optim.swa_utils.AveragedModel. TorchSharp cannot copy modules: without
/// <c>copy</c> the averages are kept beside the model, and <see cref="AveragedParameters.Applied"/> lends them to it; with
/// <c>copy: () => new Net()</c> a second live module holds them.
/// <code>
/// var average = new AveragedModel(model, multiAvgFn: AveragedModel.GetEmaMultiAvgFn(0.999));
/// foreach (var (x, y) in batches)
/// {
///     ...
///     optimizer.Step();
///     average.UpdateParameters();
/// }
/// average.UpdateBn(batches);
/// using var predictions = average.forward(test);
/// </code>
/// </summary>
public sealed class AveragedModel : AveragedParameters
{
    private readonly nn.Module model;
    private readonly nn.Module? copy;
    private readonly TorchParameter[] stateOwners;
    private readonly Tensor[] liveTensors;
    private readonly Tensor[] averageTensors;
    private readonly AvgFn<Tensor>? avgFn;
    private readonly MultiAvgFn<Tensor>? multiAvgFn;

    /// <summary>Averages of a module's parameters and buffers.</summary>
    /// <param name="model">The live model, in its final dtype.</param>
    /// <param name="copy">Makes a second module of the same structure, which holds the averages and is filled by name; it takes over training mode and requires_grad.</param>
    /// <param name="avgFn">The average of one parameter, by a function of one's own; without a function it is the equal average.</param>
    /// <param name="multiAvgFn">All averages at once, in place, by <see cref="GetEmaMultiAvgFn"/> or a function of one's own.</param>
    /// <param name="useBuffers">True: buffers are averaged as parameters are. False: each update copies them.</param>
    /// <param name="every">Only every so many calls update, beginning with the first.</param>
    /// <exception cref="ArgumentException">Both functions; a copy of another structure, whose differences the message names.</exception>
    /// <exception cref="OptionException">A setting is outside of its range.</exception>
    public AveragedModel(
        nn.Module model,
        Func<nn.Module>? copy = null,
        AvgFn<Tensor>? avgFn = null,
        MultiAvgFn<Tensor>? multiAvgFn = null,
        bool useBuffers = false,
        long every = 1
    )
        : this(new Rows(model, copy, IKnownAverage.Of(avgFn, multiAvgFn)), useBuffers, every) =>
        (this.avgFn, this.multiAvgFn) = (avgFn, multiAvgFn);

    private AveragedModel(Rows found, bool useBuffers, long every)
        : base(found.Parameters, found.Buffers, found.Averages, found.Averaging, useBuffers, every)
    {
        (model, copy) = (found.Model, found.Copy);
        stateOwners = [.. found.Parameters, .. found.Buffers];
        liveTensors = Array.ConvertAll(stateOwners, owner => owner.Tensor);
        averageTensors = [.. (found.Averages ?? []).Select(average => average.Tensor)];
    }

    /// <summary>The module that has the values of the averages: the copy, or inside of <see cref="AveragedParameters.Applied"/> the live one.</summary>
    /// <exception cref="InvalidOperationException">There is no copy, and the averages are not applied: the live module has the live values.</exception>
    public nn.Module Module =>
        HasCopy || IsApplied
            ? Holder
            : throw new InvalidOperationException(
                "Module: there is no second module with the averages, and the live one has the live values. Use it inside of Applied(), which lends it the averages "
                    + "(using (average.Applied()) average.Module.SaveWeights(path);), save StateDict(), or make the average with copy: () => new Net()"
            );

    /// <summary>Whether a second module holds the averages.</summary>
    public bool HasCopy => copy is not null;

    private nn.Module Holder => copy ?? model;

    /// <summary>
    /// The averaged model's output, of modules from tensor to tensor: that of the copy, or that of the live model with the averages
    /// applied, and then without a graph. Other modules are called through <see cref="Module"/>.
    /// </summary>
    /// <exception cref="InvalidOperationException">The module does not take one tensor and give one.</exception>
    public Tensor forward(Tensor input)
    {
        var module =
            Holder as nn.Module<Tensor, Tensor>
            ?? throw new InvalidOperationException(
                $"{Holder.GetName()} does not go from one tensor to one; call Module, inside of Applied() where there is no copy"
            );
        if (HasCopy || IsApplied)
            return module.forward(input);
        using var withoutGraph = no_grad();
        using var averages = Applied();
        return module.forward(input);
    }

    /// <summary>Takes a model of the same structure in.</summary>
    /// <exception cref="ArgumentException">The structure differs; the message names what is missing and what is left over.</exception>
    public void UpdateParameters(nn.Module model)
    {
        if (ReferenceEquals(model, this.model))
            UpdateParameters();
        else
            UpdateParameters(model.NamedParameters().Concat(Rows.BuffersOf(model)));
    }

    /// <summary>Works out the statistics of batch normalization for the averages, by <see cref="SwaUtils.UpdateBn(IEnumerable{Tensor}, nn.Module, Func{Tensor, Tensor}?)"/>.</summary>
    public void UpdateBn(IEnumerable<Tensor> loader)
    {
        if (HasCopy || IsApplied)
            SwaUtils.UpdateBn(loader, Holder);
        else
            using (Applied())
                SwaUtils.UpdateBn(loader, Holder);
    }

    /// <inheritdoc cref="UpdateBn(IEnumerable{Tensor})"/>
    public void UpdateBn(IEnumerable<(Tensor Input, Tensor Target)> loader)
    {
        ArgumentNullException.ThrowIfNull(loader);
        UpdateBn(loader.Select(batch => batch.Input));
    }

    /// <inheritdoc cref="AveragedParameters.GetEmaAvgFn"/>
    public static new AvgFn<Tensor> GetEmaAvgFn(double decay = 0.999, bool warmup = false) => Known(Exponential(decay, warmup)).One;

    /// <inheritdoc cref="AveragedParameters.GetEmaMultiAvgFn"/>
    public static new MultiAvgFn<Tensor> GetEmaMultiAvgFn(double decay = 0.999, bool warmup = false) =>
        Known(Exponential(decay, warmup)).Many;

    /// <inheritdoc cref="AveragedParameters.GetSwaAvgFn"/>
    public static new AvgFn<Tensor> GetSwaAvgFn() => Known(AveragingModule.equal).One;

    /// <inheritdoc cref="AveragedParameters.GetSwaMultiAvgFn"/>
    public static new MultiAvgFn<Tensor> GetSwaMultiAvgFn() => Known(AveragingModule.equal).Many;

    private static KnownAverage<Tensor> Known(Averaging averaging) =>
        new(
            averaging,
            tensor => ((IParameter)new TorchParameter(null, tensor)).Data,
            tensor =>
            {
                using var withoutGraph = no_grad();
                return tensor.clone();
            }
        );

    /// <summary>In the order of the module's state_dict, which has a key for each name of a tied weight, and leaves buffers out that do not persist.</summary>
    private protected override IEnumerable<(string Key, int Row)> StateRows()
    {
        var rows = stateOwners.Select((owner, row) => (owner.Identity, row)).ToDictionary(pair => pair.Identity, pair => pair.row);
        return model
            .state_dict()
            .Select(entry => (entry.Key, Row: rows.TryGetValue(new TorchParameter(null, entry.Value).Identity, out var row) ? row : -1))
            .Where(entry => entry.Row >= 0);
    }

    private protected override void MoveByOwnFunction(int[] moving, TensorView[] averages, TensorView[] current, long averaged)
    {
        using var withoutGraph = no_grad();
        using var scope = NewDisposeScope();
        Tensor[] all = [.. moving.Select(row => averageTensors[row])],
            from = [.. moving.Select(row => liveTensors[row])];
        if (multiAvgFn is not null)
            multiAvgFn(all, from, averaged);
        else
            for (var i = 0; i < all.Length; i++)
                all[i].copy_(avgFn!(all[i], from[i], averaged));
    }

    /// <summary>The tensors of the model, and those that hold the averages.</summary>
    private sealed class Rows
    {
        public Rows(nn.Module model, Func<nn.Module>? copy, Averaging? averaging)
        {
            ArgumentNullException.ThrowIfNull(model);
            (Model, Averaging, Copy) = (model, averaging, copy?.Invoke());
            (Parameters, Buffers) = ([.. model.NamedParameters().Cast<TorchParameter>()], [.. BuffersOf(model)]);
            if (Copy is not null)
                Averages = Match(Copy);
            else if (averaging is null)
                // A function over tensors needs tensors.
                Averages = [.. Parameters.Concat(Buffers).Select(live => new TorchParameter(live.Name, Kept(live.Tensor)))];
        }

        public nn.Module Model { get; }
        public nn.Module? Copy { get; }
        public Averaging? Averaging { get; }
        public TorchParameter[] Parameters { get; }
        public TorchParameter[] Buffers { get; }
        public TorchParameter[]? Averages { get; }

        public static IEnumerable<TorchParameter> BuffersOf(nn.Module module) =>
            module
                .named_buffers(recurse: true, include_nonpersistent: true)
                .Select(buffer => new TorchParameter(buffer.name, buffer.buffer))
                .DistinctBy(buffer => buffer.Identity);

        private TorchParameter[] Match(nn.Module copy)
        {
            if (ReferenceEquals(copy, Model))
                throw new ArgumentException("copy returned the live model; it must make a new one", nameof(copy));
            TorchParameter[] live = [.. Parameters, .. Buffers];
            var found = copy.NamedParameters().Cast<TorchParameter>().Concat(BuffersOf(copy)).ToDictionary(row => row.Name!);
            RefuseDifferent("the module that copy made", live.Select(row => row.Name!), found.Keys);
            foreach (var row in live)
                RefuseOther(row.Name!, "the module that copy made", ((IParameter)row).Data, ((IParameter)found[row.Name!]).Data);
            TakeOver(copy);
            return [.. live.Select(row => found[row.Name!])];
        }

        /// <summary>What a copy in PyTorch has from its original beside the values: the training mode of each module, and which parameters are frozen.</summary>
        private void TakeOver(nn.Module copy)
        {
            var modes = Model.named_modules().ToDictionary(module => module.name, module => module.module.training);
            copy.train(Model.training);
            // Parents first: a mode that is set counts for children, too.
            foreach (var (name, module) in copy.named_modules())
                if (modes.TryGetValue(name, out var mode))
                    module.train(mode);
            var trained = Model
                .named_parameters()
                .ToDictionary(parameter => parameter.name, parameter => parameter.parameter.requires_grad);
            foreach (var (name, parameter) in copy.named_parameters())
                if (trained.TryGetValue(name, out var requiresGrad))
                    parameter.requires_grad = requiresGrad;
        }

        private static Tensor Kept(Tensor tensor)
        {
            using var withoutGraph = no_grad();
            return tensor.detach().clone().DetachFromDisposeScope();
        }
    }
}
