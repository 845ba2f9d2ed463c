using System.Numerics;

namespace Optim.Kernels;

/// <summary>A loop over elements: whole registers from one element on, as many as fit before another; returns where it stopped.</summary>
internal unsafe interface IElementLoop
{
    static abstract nint Run<V>(void* context, nint at, nint end)
        where V : struct, IVector<V>;
}

/// <summary>Runs a loop over a share of elements in the widest registers, and the rest one by one.</summary>
internal static unsafe class ElementLoop<T, L>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where L : struct, IElementLoop
{
    public static void Run(nint begin, nint end, void* context)
    {
        begin = Lanes.Width switch
        {
            Width.Bits512 when Lanes.IsCompiled(Width.Bits512) => L.Run<Lane512<T>>(context, begin, end),
            Width.Bits256 when Lanes.IsCompiled(Width.Bits256) => L.Run<Lane256<T>>(context, begin, end),
            Width.Bits128 when Lanes.IsCompiled(Width.Bits128) => L.Run<Lane128<T>>(context, begin, end),
            _ => begin,
        };
        L.Run<Lane1<T>>(context, begin, end);
    }
}
