namespace Optim.Cli.Models;

/// <summary>Parameters over arrays of whichever of the two types a generic model uses.</summary>
internal static class HostParam
{
    public static Param Of<T>(string name, T[] data, params long[] shape) =>
        data switch
        {
            float[] floats => new Param(name, floats, shape),
            double[] doubles => new Param(name, doubles, shape),
            _ => throw new NotSupportedException($"Parameters over arrays of {typeof(T).Name}: only float and double."),
        };
}
