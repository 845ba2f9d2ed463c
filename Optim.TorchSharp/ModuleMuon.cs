using Optim.Core;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Optim;

/// <summary>Muon for a module: <c>ForMuon.Optimizer(model)</c>; in F# <c>ModuleMuon.Optimizer model</c>.</summary>
public static class ModuleMuon
{
    extension(ForMuon)
    {
        /// <summary>
        /// Muon for the matrices of a module, and AdamW for everything else: biases, scales, kernels of convolutions, and of the matrices those of embeddings
        /// (<see cref="Embedding"/>, <see cref="EmbeddingBag"/>) and of the head, which is the last <see cref="Linear"/>.
        /// <code>
        /// var optimizer = ForMuon.Optimizer(model, muon: [("lr", 0.02)], others: [("lr", 3e-4)]);
        /// </code>
        /// </summary>
        /// <param name="module">The module, in its final dtype and on its final device.</param>
        /// <param name="muon">Options of Muon that are not at its defaults.</param>
        /// <param name="others">Options of AdamW that are not at its defaults.</param>
        /// <param name="notForMuon">Matrices that AdamW shall have, too; none when null.</param>
        /// <returns>An optimizer with the members <c>muon</c> and <c>adamw</c>, or one of them where the other has no parameters.</returns>
        /// <exception cref="OptionException">An option is wrong; the message names the member.</exception>
        public static CompositeOptimizer Optimizer(
            nn.Module module,
            (string Option, OptionValue Value)[]? muon = null,
            (string Option, OptionValue Value)[]? others = null,
            Func<IParameter, bool>? notForMuon = null
        )
        {
            ArgumentNullException.ThrowIfNull(module);
            var head = module.modules().Prepend(module).OfType<Linear>().LastOrDefault();
            var headIdentity = head?.weight is { } weight ? new TorchParameter(null, weight).Identity : null;
            return ForMuon.Optimizer(
                module.NamedParameters(),
                muon,
                others,
                parameter =>
                    parameter.ModuleTypes.Any(type => type == typeof(Embedding) || type == typeof(EmbeddingBag))
                    || parameter.Identity.Equals(headIdentity)
                    || notForMuon?.Invoke(parameter) == true
            );
        }
    }
}
