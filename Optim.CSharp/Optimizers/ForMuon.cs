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
}
