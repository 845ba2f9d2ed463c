using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Optim;

/// <summary>What goes with averages of models, as torch.optim.swa_utils.</summary>
public static class SwaUtils
{
    /// <summary>
    /// Works out running means and variances of every batch normalization anew, as torch.optim.swa_utils.update_bn: the plain mean
    /// over all batches, in training mode and without gradients. Momenta and modes are restored, also when a forward pass throws.
    /// A model without batch normalization is left alone, and the batches are not read.
    /// </summary>
    /// <param name="loader">The inputs of the batches.</param>
    /// <param name="model">The model.</param>
    /// <param name="forward">Its forward pass; needed when the module does not take one tensor and give one.</param>
    /// <exception cref="ArgumentException">There is no forward pass from one tensor to one.</exception>
    public static void UpdateBn(IEnumerable<Tensor> loader, nn.Module model, Func<Tensor, Tensor>? forward = null)
    {
        ArgumentNullException.ThrowIfNull(loader);
        ArgumentNullException.ThrowIfNull(model);
        // Parents first: a mode that is set counts for children, too.
        nn.Module[] modules = [model, .. model.modules().Where(module => !ReferenceEquals(module, model))];
        var norms = modules.OfType<BatchNorm>().Where(norm => norm.track_running_stats).ToArray();
        if (norms.Length == 0)
            return;
        forward ??= model is nn.Module<Tensor, Tensor> module
            ? module.forward
            : throw new ArgumentException(
                $"{model.GetName()} does not go from one tensor to one; say by forward: how a batch goes through it",
                nameof(forward)
            );
        var momenta = Array.ConvertAll(norms, norm => norm.momentum);
        var modes = Array.ConvertAll(modules, module => module.training);
        using var withoutGraph = no_grad();
        try
        {
            foreach (var norm in norms)
            {
                norm.reset_running_stats();
                norm.momentum = null;
            }
            model.train();
            foreach (var batch in loader)
                using (NewDisposeScope())
                    forward(batch);
        }
        finally
        {
            for (var i = 0; i < norms.Length; i++)
                norms[i].momentum = momenta[i];
            for (var i = 0; i < modules.Length; i++)
                modules[i].train(modes[i]);
        }
    }

    /// <inheritdoc cref="UpdateBn(IEnumerable{Tensor}, nn.Module, Func{Tensor, Tensor}?)"/>
    public static void UpdateBn(IEnumerable<(Tensor Input, Tensor Target)> loader, nn.Module model, Func<Tensor, Tensor>? forward = null)
    {
        ArgumentNullException.ThrowIfNull(loader);
        UpdateBn(loader.Select(batch => batch.Input), model, forward);
    }
}
