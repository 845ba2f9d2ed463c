using TorchSharp;
using static TorchSharp.torch;

namespace Optim;

/// <summary>Groups of a module's parameters: <c>ParameterGroups.For(model)</c>; in F# <c>ModuleGroups.For model</c>.</summary>
public static class ModuleGroups
{
    extension(ParameterGroups)
    {
        /// <summary>Of a module's parameters by their names, whose types of modules are known: <c>ParameterGroups.For(model).WhereModule&lt;Embedding&gt;(("lr", 1e-4))</c>.</summary>
        /// <param name="module">The module, in its final dtype and on its final device.</param>
        /// <exception cref="ArgumentException">It has no parameters.</exception>
        public static ParameterGroups For(nn.Module module)
        {
            ArgumentNullException.ThrowIfNull(module);
            return ParameterGroups.For(module.NamedParameters());
        }
    }
}
