namespace Optim.Kernels;

/// <summary>Lanes of float32 that are read and written as codes of 8 bits, and converted to whole numbers of 32 bits: what state is narrowed with.</summary>
/// <typeparam name="V">The implementing type.</typeparam>
internal unsafe interface ICodes<V> : IVector<V>
    where V : struct, ICodes<V>
{
    /// <summary>The next <see cref="IVector{V}.Count"/> bytes, each in 32 bits.</summary>
    static abstract V LoadBytes(byte* source);

    /// <summary>Stores the lower 8 bits of each element.</summary>
    static abstract void StoreBytes(V value, byte* target);

    /// <summary>The difference as whole numbers.</summary>
    static abstract V SubtractBits(V a, V b);

    /// <summary>The larger one as signed whole numbers.</summary>
    static abstract V MaxBits(V a, V b);

    /// <summary>The smaller one as signed whole numbers.</summary>
    static abstract V MinBits(V a, V b);

    /// <summary>The smaller one as unsigned whole numbers.</summary>
    static abstract V MinUnsigned(V a, V b);

    /// <summary>The larger one as unsigned whole numbers.</summary>
    static abstract V MaxUnsigned(V a, V b);

    /// <summary>Signed whole numbers as float32, rounded to nearest.</summary>
    static abstract V ToNumber(V bits);

    /// <summary>Numbers as signed whole numbers, cut off.</summary>
    static abstract V ToWhole(V value);

    /// <summary>The largest of all elements, as signed whole numbers.</summary>
    static abstract int Largest(V bits);

    /// <summary>The smallest of all elements, as unsigned whole numbers.</summary>
    static abstract uint Smallest(V bits);
}
