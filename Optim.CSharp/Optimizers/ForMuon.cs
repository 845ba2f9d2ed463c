using Optim.Core;

namespace Optim;

/// <summary>Which parameters <see cref="Muon"/> steps, and which another optimizer has to.</summary>
public static class ForMuon
{
    /// <summary>
    /// The matrices among a model's parameters, for <see cref="Muon"/>, and everything else (biases, scales, single numbers, kernels of
    /// convolutions), for <see cref="AdamW"/> or another; both in the order given. Embeddings and the last layer are matrices, too: name
    /// them to have them with the others, as is often advised.
    /// <code>
    /// var (matrices, others) = ForMuon.Split(parameters);
    /// Optimizer[] optimizers = [new Muon(matrices, lr: 0.02), new AdamW(others, lr: 1e-3)];
    /// </code>
    /// </summary>
    /// <param name="parameters">Host parameters, or those of a TorchSharp module.</param>
    /// <param name="notForMuon">Matrices that shall be with the others; none when null.</param>
    public static (P[] Matrices, P[] Others) Split<P>(IEnumerable<P> parameters, Func<P, bool>? notForMuon = null)
        where P : IParameter
    {
        ArgumentNullException.ThrowIfNull(parameters);
        P[] given = [.. parameters];
        if (Array.Exists(given, parameter => parameter is null))
            throw new ArgumentException("a parameter is null", nameof(parameters));
        var matrices = given.ToLookup(parameter => parameter.Data.Shape.Length == 2 && notForMuon?.Invoke(parameter) != true);
        return ([.. matrices[true]], [.. matrices[false]]);
    }

    /// <summary>
    /// Both in one optimizer: Muon for the matrices, and AdamW for the others. Over TorchSharp <c>ForMuon.Optimizer(model)</c> knows embeddings and heads
    /// by the types of their modules.
    /// <code>
    /// var optimizer = ForMuon.Optimizer(parameters, muon: [("lr", 0.02)], others: [("lr", 3e-4)], notForMuon: p => p.Name == "head.weight");
    /// </code>
    /// </summary>
    /// <param name="parameters">Host parameters, or those of a TorchSharp module.</param>
    /// <param name="muon">Options of Muon that are not at its defaults.</param>
    /// <param name="others">Options of AdamW that are not at its defaults.</param>
    /// <param name="notForMuon">Matrices that AdamW shall have; none when null.</param>
    /// <returns>An optimizer with the members <c>muon</c> and <c>adamw</c>, or one of them where the other has no parameters.</returns>
    /// <exception cref="OptionException">An option is wrong; the message names the member.</exception>
    public static CompositeOptimizer Optimizer(
        IEnumerable<IParameter> parameters,
        (string Option, OptionValue Value)[]? muon = null,
        (string Option, OptionValue Value)[]? others = null,
        Func<IParameter, bool>? notForMuon = null
    )
    {
        var (matrices, rest) = Split(parameters, notForMuon);
        CompositeMember[] members =
        [
            new("muon", Rules.Find("Muon"), matrices, muon ?? []),
            new("adamw", Rules.Find("AdamW"), rest, others ?? []),
        ];
        return matrices.Length + rest.Length == 0
            ? throw new ArgumentException("there are no parameters to step", nameof(parameters))
            : new([.. members.Where(member => member.Parameters.Any())]);
    }
}
