namespace Optim.Kernels;

/// <summary>
/// C = scale A B + shift D, or A A' for B, of row-major matrices without gaps, of float32 or float64. Each element of A B is summed over k
/// in blocks (of 192, unless told otherwise), one fused multiplication and addition after the other in a block, and the blocks in order: so vector width,
/// tiles, executor and number of threads change no bit.
/// </summary>
internal static unsafe class MatrixProduct
{
    /// <summary>Terms of a block: a panel of B of so many rows stays in the first cache while rows of A pass by.</summary>
    public const int Depth = 192;

    /// <summary>Rows of a tile: with two registers of columns, twelve sums, which hide how long one addition takes and leave registers for the operands.</summary>
    public const int TileRows = 6;

    /// <summary>Rows that go together: so many of A, a block deep, stay in the second cache.</summary>
    private const int MostRows = 96;

    /// <summary>Multiplications that take as long as an element of a step, by which executors decide who takes part.</summary>
    private const int PerElement = 5;

    /// <summary>Elements that a product needs room for, for B of so many rows and columns.</summary>
    public static nint Room(nint k, nint n) => checked(k * ((n + 63) / 64 * 64));

    /// <summary>C of m x n = scale A B + shift D, A of m x k, B of k x n, or B' of n x k. C is another matrix than the others.</summary>
    public static void Run(
        DType dtype,
        nint m,
        nint n,
        nint k,
        nint a,
        nint b,
        nint c,
        nint room,
        Executor executor,
        double scale = 1,
        double shift = 0,
        nint d = 0,
        nint depth = Depth,
        bool isTransposed = false
    ) =>
        Run(
            new()
            {
                M = m,
                N = n,
                K = k,
                A = (void*)a,
                B = (void*)b,
                ByRow = isTransposed ? 1 : n,
                ByColumn = isTransposed ? k : 1,
                C = (void*)c,
                D = (void*)d,
                Panels = (void*)room,
                Scale = scale,
                Shift = shift,
                Depth = depth,
            },
            dtype,
            executor
        );

    /// <summary>C of m x m = scale A A' + shift D, A of m x k; D is symmetric, as C is. Half of it is worked out.</summary>
    public static void Square(
        DType dtype,
        nint m,
        nint k,
        nint a,
        nint c,
        nint room,
        Executor executor,
        double scale = 1,
        double shift = 0,
        nint d = 0,
        nint depth = Depth
    ) =>
        Run(
            new()
            {
                M = m,
                N = m,
                K = k,
                A = (void*)a,
                B = (void*)a,
                ByRow = 1,
                ByColumn = k,
                C = (void*)c,
                D = (void*)d,
                Panels = (void*)room,
                Scale = scale,
                Shift = shift,
                Depth = depth,
                IsSymmetric = true,
            },
            dtype,
            executor
        );

    private static void Run(ProductPass pass, DType dtype, Executor executor)
    {
        if (pass.M == 0 || pass.N == 0)
            return;
        pass.Width = Lanes.Width;
        var panels = (pass.N + pass.Columns(dtype) - 1) / pass.Columns(dtype);
        var single = dtype == DType.Float32;

        pass.Tasks = panels;
        pass.Weight = Math.Max(16, pass.K * pass.Columns(dtype));
        executor.Run(pass.Tasks * pass.Weight, single ? &ProductKernel<float>.Pack : &ProductKernel<double>.Pack, &pass);

        // Eight shares or more, so that they can be even; rows of a symmetric one go in pairs, a long one with a short one.
        pass.Rows = (int)Math.Clamp((pass.M + 8 * TileRows - 1) / (8 * TileRows) * TileRows, TileRows, MostRows);
        pass.Blocks = (pass.M + pass.Rows - 1) / pass.Rows;
        pass.Tasks = pass.IsSymmetric ? (pass.Blocks + 1) / 2 : pass.Blocks;
        pass.Weight = Math.Max(16, pass.Rows * pass.N * pass.K / PerElement);
        executor.Run(pass.Tasks * pass.Weight, single ? &ProductKernel<float>.Multiply : &ProductKernel<double>.Multiply, &pass);

        if (!pass.IsSymmetric)
            return;
        pass.Weight = Math.Max(16, pass.Rows * pass.N / 2);
        executor.Run(pass.Tasks * pass.Weight, single ? &ProductKernel<float>.Mirror : &ProductKernel<double>.Mirror, &pass);
    }
}

/// <summary>What the passes of a product need.</summary>
internal unsafe struct ProductPass
{
    /// <summary>Terms that are summed up in one piece.</summary>
    public nint Depth;

    public nint M,
        N,
        K;

    /// <summary>Without gaps, row by row.</summary>
    public void* A,
        C,
        D;

    /// <summary>Element (k, j) lies at k ByRow + j ByColumn.</summary>
    public void* B;
    public nint ByRow,
        ByColumn;

    /// <summary>B again, in panels of columns: element (k, j) of a panel at k times its columns + j.</summary>
    public void* Panels;
    public double Scale,
        Shift;
    public bool IsSymmetric;
    public Width Width;

    /// <summary>What executors are told to share: tasks, as if each were so many elements.</summary>
    public nint Tasks,
        Weight;

    /// <summary>Blocks of rows.</summary>
    public nint Blocks;
    public int Rows;

    /// <summary>Columns of a panel: two registers.</summary>
    public readonly int Columns(DType dtype) => 2 * Math.Max(1, (Width == Width.Single ? 0 : (int)Width) / (8 * dtype.Size()));

    /// <summary>The first task that begins at an element or after it.</summary>
    public readonly nint TaskAt(nint element) => (element + Weight - 1) / Weight;
}
