namespace Optim;

/// <summary>In which form the elements of state are kept.</summary>
public enum StateFormat
{
    /// <summary>Four bytes an element, as exact as the arithmetic.</summary>
    Float32 = 0,

    /// <summary>Two bytes an element: bfloat16, rounded by a hash of seed, step and element.</summary>
    BFloat16 = 1,

    /// <summary>One byte an element and a scale for each 256 of them, rounded by a hash of seed, step and element.</summary>
    Blockwise8 = 2,
}

/// <summary>
/// How a rule's state is kept, an option of every rule that goes element by element: <c>new AdamW(parameters, stateStorage: StateStorage.Blockwise8)</c>.
/// A step widens state to float32, computes as ever, and narrows it again in one visit of memory.
/// </summary>
/// <remarks>
/// A second moment above 0 is never kept as 0, and rounding is unbiased, so that moments that change slowly do not stall: no step becomes wild.
/// It is repeatable: with one <see cref="Seed"/> the same bits for any number of threads, width of registers and machine, and after a resume.
/// Columns for which that cannot hold (Rprop's step sizes, centered RMSprop's mean of gradients) stay float32.
/// </remarks>
public sealed record StateStorage
{
    /// <summary>Elements that share a scale in <see cref="StateFormat.Blockwise8"/>.</summary>
    public const int BlockLength = 256;

    /// <summary>Elements from which a parameter has narrow state, unless told otherwise.</summary>
    public const int DefaultMinimum = 4096;

    /// <summary>The largest seed; the smallest is 0.</summary>
    public const long LargestSeed = uint.MaxValue;

    private StateStorage(StateFormat format, int minimum, long seed) => (Format, Minimum, Seed) = (format, minimum, seed);

    /// <summary>Wide state: the default.</summary>
    public static StateStorage Float32 { get; } = new(StateFormat.Float32, DefaultMinimum, 0);

    /// <summary>Two bytes an element.</summary>
    public static StateStorage BFloat16 { get; } = new(StateFormat.BFloat16, DefaultMinimum, 0);

    /// <summary>One byte an element, and four for each 256 of them.</summary>
    public static StateStorage Blockwise8 { get; } = new(StateFormat.Blockwise8, DefaultMinimum, 0);

    /// <summary>The form of the elements.</summary>
    public StateFormat Format { get; }

    /// <summary>Parameters of fewer elements keep float32 state.</summary>
    public int Minimum { get; }

    /// <summary>The seed of the rounding: numbers between two codes go up or down by a hash of it, the step and the element.</summary>
    public long Seed { get; }

    /// <summary>The name of the format in state dicts and on the command line: float32, bfloat16 or blockwise8.</summary>
    public string Name => NameOf(Format);

    /// <summary>The storage of a format.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is no such format, the minimum is below 0, or the seed is not in [0, <see cref="LargestSeed"/>].</exception>
    public static StateStorage Of(StateFormat format, int minimum = DefaultMinimum, long seed = 0) =>
        !Enum.IsDefined(format)
            ? throw new ArgumentOutOfRangeException(nameof(format), format, "a format of state is Float32, BFloat16 or Blockwise8")
        : minimum < 0 ? throw new ArgumentOutOfRangeException(nameof(minimum), minimum, "the minimum of elements must be at least 0")
        : seed is < 0 or > LargestSeed
            ? throw new ArgumentOutOfRangeException(
                nameof(seed),
                seed,
                $"the seed of the rounding must be a whole number in [0, {LargestSeed}]"
            )
        : new(format, minimum, seed);

    /// <summary>The same format, for parameters of at least so many elements.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Below 0.</exception>
    public StateStorage From(int minimum) => Of(Format, minimum, Seed);

    /// <summary>The same format with another seed of the rounding, which is 0 unless told otherwise: other bits, as good as those.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Not in [0, <see cref="LargestSeed"/>].</exception>
    public StateStorage WithSeed(long seed) => Of(Format, Minimum, seed);

    /// <summary>Whether a parameter of so many elements has narrow state.</summary>
    public bool IsNarrow(nint elements) => Format != StateFormat.Float32 && elements >= Minimum;

    /// <summary>Bytes of state for each element of a column.</summary>
    public double BytesPerElement =>
        Format switch
        {
            StateFormat.Blockwise8 => 1 + sizeof(float) / (double)BlockLength,
            StateFormat.BFloat16 => sizeof(ushort),
            _ => sizeof(float),
        };

    /// <summary>The format, and the minimum and the seed where they are not the usual ones.</summary>
    public override string ToString() =>
        NameOf(Format)
        + (Minimum == DefaultMinimum ? "" : FormattableString.Invariant($" from {Minimum} elements"))
        + (Seed == 0 ? "" : FormattableString.Invariant($" with seed {Seed}"));

    /// <summary>The name of a format in state dicts and on the command line.</summary>
    internal static string NameOf(StateFormat format) =>
        format switch
        {
            StateFormat.Blockwise8 => "blockwise8",
            StateFormat.BFloat16 => "bfloat16",
            _ => "float32",
        };
}
