namespace Optim.Kernels;

/// <summary>
/// What a device does with matrices before a step of Adafactor, as tables that its kernels read. The length of a slice is how many units of work it has.
/// Sums are formed of parts, in the order of <see cref="AdafactorKernel{T}"/>: a group of neighbouring elements is cut into bands, and of each band so
/// many parts are summed, which take its elements in turn. A group is a row, of one part, or a matrix, of a part for each column.
/// </summary>
internal sealed class AdafactorTables
{
    /// <summary>Words of an entry of sums, after the arrays of their elements: elements of a group, parts of a band, elements of a band, bands, and where parts go.</summary>
    public const int SumsWords = 5;

    /// <summary>Sums of squares of gradients.</summary>
    public AdafactorSums Squares { get; } = new();

    /// <summary>
    /// Means of rows and of columns, a thread for each: where parts lie, where means lie, parts of a band, bands, and elements of a mean.
    /// </summary>
    public SliceTable Means { get; } = new();

    /// <summary>Sums of means of rows.</summary>
    public AdafactorSums Rows { get; } = new();

    /// <summary>What products of means are multiplied by, a thread for each matrix, with the words of <see cref="Means"/>.</summary>
    public SliceTable Scales { get; } = new();

    /// <summary>What squares of elements are expected to be: where that goes, means of rows, those of columns, scales, and rows and columns of a matrix.</summary>
    public SliceTable Expected { get; } = new();

    /// <summary>Bytes that it takes to step some matrices.</summary>
    public static nint Room(ReadOnlySpan<AdafactorTensor> matrices)
    {
        nint bytes = 0;
        foreach (ref readonly var matrix in matrices)
            bytes += new Shape(matrix).Bytes;
        return bytes;
    }

    /// <summary>Lays all of them out; returns where what squares are expected to be lies, of each tensor.</summary>
    /// <param name="matrices">Tensors of one dtype, which have elements.</param>
    /// <param name="room">Where there is room on the device.</param>
    public nint[] Lay(ReadOnlySpan<AdafactorTensor> matrices, nint room)
    {
        Squares.Reset(2 * matrices.Length);
        Means.Reset(2 * matrices.Length, 3);
        Rows.Reset(matrices.Length);
        Scales.Reset(matrices.Length, 3);
        Expected.Reset(matrices.Length, 4);
        var expected = new nint[matrices.Length];
        for (var i = 0; i < matrices.Length; i++)
        {
            ref readonly var matrix = ref matrices[i];
            var shape = new Shape(matrix);
            var (ofRows, ofColumns, ofMeans) = (room, room + shape.RowParts, room + shape.RowParts + shape.ColumnParts);
            var scales = ofMeans + shape.MeanParts;
            expected[i] = scales + shape.Scales;
            Squares.Add(matrix.Param, matrix.Grad, shape.OfRows, ofRows);
            Squares.Add(matrix.Param, matrix.Grad, shape.OfColumns, ofColumns);
            AddTotals(Means, shape.OfRows, ofRows, matrix.RowVar, matrix.Columns);
            AddTotals(Means, shape.OfColumns, ofColumns, matrix.ColVar, matrix.Rows);
            Rows.Add(matrix.RowVar, matrix.RowVar, shape.OfMeans, ofMeans);
            AddTotals(Scales, shape.OfMeans, ofMeans, scales, matrix.Rows);
            Expected.Add(matrix.Count, expected[i], matrix.RowVar);
            Expected.SetColumn(0, matrix.ColVar);
            Expected.SetColumn(1, scales);
            Expected.SetColumn(2, matrix.Rows);
            Expected.SetColumn(3, matrix.Columns);
            room += shape.Bytes;
        }
        return expected;
    }

    private static void AddTotals(SliceTable table, AdafactorGroups groups, nint parts, nint target, nint elements)
    {
        table.Add(groups.Count * groups.Parts, parts, target);
        table.SetColumn(0, groups.Parts);
        table.SetColumn(1, groups.Bands);
        table.SetColumn(2, elements);
    }

    /// <summary>What is summed of a tensor, and the bytes of all that is made of it.</summary>
    private readonly struct Shape(in AdafactorTensor matrix)
    {
        private readonly int size = matrix.DType.ToStateDType().Size();
        private readonly nint count = matrix.Count;
        private readonly nint matrices = matrix.Count / (matrix.Rows * matrix.Columns);

        public AdafactorGroups OfRows { get; } = AdafactorGroups.Of(matrix.Count / matrix.Columns, matrix.Columns);

        public AdafactorGroups OfColumns { get; } =
            new(
                matrix.Count / (matrix.Rows * matrix.Columns),
                matrix.Rows * matrix.Columns,
                matrix.Columns,
                AdafactorPass.Chunk * matrix.Columns,
                (matrix.Rows + AdafactorPass.Chunk - 1) / AdafactorPass.Chunk
            );

        public AdafactorGroups OfMeans { get; } = AdafactorGroups.Of(matrix.Count / (matrix.Rows * matrix.Columns), matrix.Rows);

        public nint RowParts => OfRows.Units * sizeof(double);
        public nint ColumnParts => OfColumns.Units * sizeof(double);
        public nint MeanParts => OfMeans.Units * sizeof(double);
        public nint Scales => NativeBlock.Aligned(matrices * size);
        public nint Bytes => NativeBlock.Aligned(RowParts + ColumnParts + MeanParts) + Scales + NativeBlock.Aligned(count * size);
    }
}

/// <summary>Groups of neighbouring elements, of which each is summed by itself.</summary>
/// <param name="Count">How many.</param>
/// <param name="Size">Elements of a group.</param>
/// <param name="Parts">Parts of a band, which take its elements in turn.</param>
/// <param name="BandSize">Elements of a band, but for the last one.</param>
/// <param name="Bands">Bands of a group.</param>
internal readonly record struct AdafactorGroups(nint Count, nint Size, nint Parts, nint BandSize, nint Bands)
{
    /// <summary>How many parts there are.</summary>
    public nint Units => Count * Bands * Parts;

    /// <summary>Whether the fixed tree sums a band; else one element is added after the other.</summary>
    public bool IsTree => Parts == 1 && Size > AdafactorPass.Short;

    /// <summary>Rows, or what is as long: blocks of the fixed tree, or all of it.</summary>
    public static AdafactorGroups Of(nint count, nint length) =>
        length <= AdafactorPass.Short
            ? new(count, length, 1, length, 1)
            : new(count, length, 1, ReductionTable.Block, (length + ReductionTable.Block - 1) / ReductionTable.Block);
}

/// <summary>Tables of sums: of those by the fixed tree, a warp for each part, and of the others, a thread for each.</summary>
internal sealed class AdafactorSums
{
    public SliceTable Warps { get; } = new();
    public SliceTable Threads { get; } = new();

    public void Reset(int slices)
    {
        Warps.Reset(slices, AdafactorTables.SumsWords);
        Threads.Reset(slices, AdafactorTables.SumsWords);
    }

    /// <summary>Adds sums of some elements.</summary>
    public void Add(nint first, nint second, AdafactorGroups groups, nint parts)
    {
        var table = groups.IsTree ? Warps : Threads;
        table.Add(groups.Units, first, second);
        ReadOnlySpan<nint> words = [groups.Size, groups.Parts, groups.BandSize, groups.Bands, parts];
        for (var i = 0; i < words.Length; i++)
            table.SetColumn(i, words[i]);
    }
}
