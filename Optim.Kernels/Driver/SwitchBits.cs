using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>A bit as a type, so that what depends on it is decided when the loop is compiled.</summary>
internal interface IBit
{
    static abstract bool On { get; }
}

internal readonly struct One : IBit
{
    public static bool On
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => true;
    }
}

internal readonly struct Zero : IBit
{
    public static bool On
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }
}

/// <summary>Six bits as a type.</summary>
internal readonly struct Switches<B0, B1, B2, B3, B4, B5> : ISwitches
    where B0 : IBit
    where B1 : IBit
    where B2 : IBit
    where B3 : IBit
    where B4 : IBit
    where B5 : IBit
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool On(int index) =>
        index switch
        {
            0 => B0.On,
            1 => B1.On,
            2 => B2.On,
            3 => B3.On,
            4 => B4.On,
            5 => B5.On,
            _ => false,
        };
}

/// <summary>Six bits as they are on this thread: for lanes of which an operation takes so long that a question more does not matter.</summary>
internal readonly struct LateSwitches : ISwitches
{
    /// <summary>The bits of the update that runs on this thread.</summary>
    [ThreadStatic]
    public static int Bits;

    public static bool On(int index) => (Bits >> index & 1) != 0;
}
