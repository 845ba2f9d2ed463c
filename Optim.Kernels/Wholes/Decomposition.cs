// Long, because eigenvectors and orthonormal columns share their reflections.
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Optim.Kernels;

/// <summary>
/// Eigenvectors of symmetric matrices (Householder's reflections to a tridiagonal one, implicit QL iterations of it) and orthonormal columns
/// (Householder's QR), in double. Vectors are rows here, so that all loops go along memory. Threads share rows or columns, and sums are formed in one
/// order: their number changes no bit.
/// </summary>
internal static unsafe class Decomposition
{
    private const int MostIterations = 100;

    /// <summary>Rows that reflections are applied to together, and columns that rotations are.</summary>
    private const nint Together = 8,
        Columns = 128;

    private struct Work
    {
        public nint N,
            M,
            At;
        public double* A,
            Vectors,
            V,
            W,
            Tau,
            Cosines;
        public nint First,
            Last;
    }

    /// <summary>Numbers that <see cref="Eigen"/> needs room for.</summary>
    public static nint EigenRoom(nint n) => checked(2 * n * n + 8 * n);

    /// <summary>Numbers that <see cref="Orthonormal"/> needs room for.</summary>
    public static nint OrthonormalRoom(nint rows, nint columns) => checked(rows * columns + columns);

    /// <summary>Eigenvalues of a symmetric matrix, falling, and their vectors as rows; NaN where an element is not finite.</summary>
    public static void Eigen(nint n, double* matrix, double* values, double* vectors, double* room, Executor executor)
    {
        var work = new Work
        {
            N = n,
            A = room,
            Vectors = room + n * n,
            V = room + 2 * n * n,
            W = room + 2 * n * n + n,
            Tau = room + 2 * n * n + 2 * n,
            Cosines = room + 2 * n * n + 4 * n,
        };
        if (!IsFinite(matrix, n * n))
        {
            Fill(values, n, double.NaN);
            Fill(vectors, n * n, double.NaN);
            return;
        }
        Buffer.MemoryCopy(matrix, work.A, n * n * sizeof(double), n * n * sizeof(double));
        double* d = values,
            e = work.Tau + n;
        Tridiagonal(&work, d, e, executor);
        Fill(work.Vectors, n * n, 0);
        for (nint i = 0; i < n; i++)
            work.Vectors[i * n + i] = 1;
        Iterate(&work, d, e, executor);
        executor.Run(n * n, &Reflect, &work);
        Sort(n, d, work.Vectors, vectors);
    }

    // Row k of A beyond its diagonal becomes the vector of reflection k.
    private static void Tridiagonal(Work* work, double* d, double* e, Executor executor)
    {
        var n = work->N;
        var a = work->A;
        for (nint k = 0; k < n; k++)
        {
            d[k] = a[k * n + k];
            e[k] = k + 1 < n ? a[k * n + k + 1] : 0;
            work->Tau[k] = 0;
            var length = n - k - 1;
            if (length < 2)
                continue;
            var v = a + k * n + k + 1;
            work->Tau[k] = Reflection(v, length, out e[k]);
            if (work->Tau[k] == 0)
                continue;
            work->At = k;
            work->V = v;
            executor.Run(length * length, &Apply, work);
            var half = 0.5 * work->Tau[k] * Dot(work->W, v, length);
            Add(work->W, v, -half, length);
            executor.Run(length * length, &Update, work);
        }
    }

    /// <summary>x becomes v of I - tau v v', which makes it (length, 0, ..., 0); tau.</summary>
    private static double Reflection(double* x, nint count, out double length)
    {
        var tail = Dot(x + 1, x + 1, count - 1);
        length = x[0];
        if (tail == 0)
            return 0;
        var norm = Math.Sqrt(x[0] * x[0] + tail);
        length = x[0] > 0 ? -norm : norm;
        x[0] -= length;
        return 2 / (x[0] * x[0] + tail);
    }

    // W = tau A v.
    private static void Apply(nint begin, nint end, void* context)
    {
        var work = (Work*)context;
        var (n, k) = (work->N, work->At);
        var length = n - k - 1;
        for (var i = (begin + length - 1) / length; i < (end + length - 1) / length; i++)
            work->W[i] = work->Tau[k] * Dot(work->A + (k + 1 + i) * n + k + 1, work->V, length);
    }

    // A = A - v w' - w v'.
    private static void Update(nint begin, nint end, void* context)
    {
        var work = (Work*)context;
        var (n, k) = (work->N, work->At);
        var length = n - k - 1;
        for (var i = (begin + length - 1) / length; i < (end + length - 1) / length; i++)
        {
            var row = work->A + (k + 1 + i) * n + k + 1;
            Add(row, work->W, -work->V[i], length);
            Add(row, work->V, -work->W[i], length);
        }
    }

    private static void Iterate(Work* work, double* d, double* e, Executor executor)
    {
        var n = work->N;
        for (nint l = 0; l < n; l++)
        for (var iteration = 0; iteration < MostIterations; iteration++)
        {
            var m = l;
            while (m + 1 < n && Math.Abs(e[m]) > double.Epsilon && Math.Abs(e[m]) > Precision * (Math.Abs(d[m]) + Math.Abs(d[m + 1])))
                m++;
            if (m == l)
                break;
            var g = (d[l + 1] - d[l]) / (2 * e[l]);
            g = d[m] - d[l] + e[l] / (g + Math.CopySign(Hypot(g, 1), g));
            double sine = 1,
                cosine = 1,
                p = 0;
            var i = m - 1;
            for (; i >= l; i--)
            {
                var (f, b) = (sine * e[i], cosine * e[i]);
                var r = Hypot(f, g);
                e[i + 1] = r;
                if (r == 0)
                {
                    d[i + 1] -= p;
                    e[m] = 0;
                    break;
                }
                (sine, cosine) = (f / r, g / r);
                g = d[i + 1] - p;
                r = (d[i] - g) * sine + 2 * cosine * b;
                p = sine * r;
                d[i + 1] = g + p;
                g = cosine * r - b;
                (work->Cosines[2 * i], work->Cosines[2 * i + 1]) = (cosine, sine);
            }
            (work->First, work->Last) = (i + 1, m);
            if (i + 1 < m)
                executor.Run(Math.Max(n, (m - i - 1) * n), &Rotate, work);
            if (i >= l)
                continue;
            d[l] -= p;
            e[l] = g;
            e[m] = 0;
        }
    }

    private const double Precision = 1.1102230246251565e-16;

    private static double Hypot(double x, double y)
    {
        var (a, b) = (Math.Max(Math.Abs(x), Math.Abs(y)), Math.Min(Math.Abs(x), Math.Abs(y)));
        return a == 0 ? 0 : a * Math.Sqrt(1 + b / a * (b / a));
    }

    // Rows i and i + 1, from the last rotation to the first, of a share of columns.
    private static void Rotate(nint begin, nint end, void* context)
    {
        var work = (Work*)context;
        var n = work->N;
        var rotations = Math.Max(1, work->Last - work->First);
        var (first, last) = ((begin + rotations - 1) / rotations, (end + rotations - 1) / rotations);
        for (var column = Math.Min(first, n); column < Math.Min(last, n); column += Columns)
        {
            var count = Math.Min(Columns, Math.Min(last, n) - column);
            for (var i = work->Last - 1; i >= work->First; i--)
                Turn(
                    work->Vectors + i * n + column,
                    work->Vectors + (i + 1) * n + column,
                    work->Cosines[2 * i],
                    work->Cosines[2 * i + 1],
                    count
                );
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Turn(double* x, double* y, double cosine, double sine, nint count)
    {
        nint i = 0;
        var (c, s) = (Vector256.Create(cosine), Vector256.Create(sine));
        for (; i <= count - 4; i += 4)
        {
            var (a, b) = (Vector256.Load(x + i), Vector256.Load(y + i));
            (s * a + c * b).Store(y + i);
            (c * a - s * b).Store(x + i);
        }
        for (; i < count; i++)
            (x[i], y[i]) = (cosine * x[i] - sine * y[i], sine * x[i] + cosine * y[i]);
    }

    // Vectors of the tridiagonal matrix become those of A.
    private static void Reflect(nint begin, nint end, void* context)
    {
        var work = (Work*)context;
        var n = work->N;
        var (first, last) = ((begin + n - 1) / n, (end + n - 1) / n);
        for (var block = first; block < last; block += Together)
        for (var k = n - 3; k >= 0; k--)
            if (work->Tau[k] != 0)
                for (var row = block; row < Math.Min(block + Together, last); row++)
                {
                    double* v = work->A + k * n + k + 1,
                        x = work->Vectors + row * n + k + 1;
                    Add(x, v, -work->Tau[k] * Dot(x, v, n - k - 1), n - k - 1);
                }
    }

    private static void Sort(nint n, double* values, double* from, double* to)
    {
        var keys = new double[n];
        var order = new int[n];
        for (var i = 0; i < n; i++)
            (keys[i], order[i]) = (-values[i], i);
        Array.Sort(keys, order);
        for (var i = 0; i < n; i++)
        {
            values[i] = -keys[i];
            Buffer.MemoryCopy(from + order[i] * n, to + i * n, n * sizeof(double), n * sizeof(double));
        }
    }

    /// <summary>Of a matrix whose columns are given as rows the orthonormal ones, as rows; NaN where an element is not finite.</summary>
    public static void Orthonormal(nint rows, nint columns, double* source, double* result, double* room, Executor executor)
    {
        if (!IsFinite(source, rows * columns))
        {
            Fill(result, rows * columns, double.NaN);
            return;
        }
        var work = new Work
        {
            N = rows,
            M = columns,
            A = room,
            Tau = room + rows * columns,
            Vectors = result,
        };
        Buffer.MemoryCopy(source, work.A, rows * columns * sizeof(double), rows * columns * sizeof(double));
        for (nint k = 0; k < columns; k++)
        {
            work.At = k;
            work.Tau[k] = Reflection(work.A + k * rows + k, rows - k, out _);
            if (work.Tau[k] != 0 && k + 1 < columns)
                executor.Run((columns - k - 1) * (rows - k), &Eliminate, &work);
        }
        // Columns that many and few reflections reach, in pairs.
        work.First = (columns + 1) / 2;
        executor.Run(Math.Max(1, work.First * rows), &Form, &work);
    }

    private static void Eliminate(nint begin, nint end, void* context)
    {
        var work = (Work*)context;
        var (rows, k) = (work->N, work->At);
        var length = rows - k;
        var v = work->A + k * rows + k;
        for (var j = (begin + length - 1) / length; j < (end + length - 1) / length; j++)
        {
            var x = work->A + (k + 1 + j) * rows + k;
            Add(x, v, -work->Tau[k] * Dot(x, v, length), length);
        }
    }

    private static void Form(nint begin, nint end, void* context)
    {
        var work = (Work*)context;
        for (var j = (begin + work->N - 1) / work->N; j < (end + work->N - 1) / work->N; j++)
        {
            Form(work, j);
            if (work->M - 1 - j != j)
                Form(work, work->M - 1 - j);
        }
    }

    private static void Form(Work* work, nint j)
    {
        var rows = work->N;
        var x = work->Vectors + j * rows;
        Fill(x, rows, 0);
        x[j] = 1;
        for (var k = j; k >= 0; k--)
            if (work->Tau[k] != 0)
            {
                var v = work->A + k * rows + k;
                Add(x + k, v, -work->Tau[k] * Dot(x + k, v, rows - k), rows - k);
            }
    }

    private static bool IsFinite(double* x, nint count)
    {
        for (nint i = 0; i < count; i++)
            if (!double.IsFinite(x[i]))
                return false;
        return true;
    }

    private static void Fill(double* x, nint count, double value)
    {
        for (nint i = 0; i < count; i++)
            x[i] = value;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static double Dot(double* x, double* y, nint count)
    {
        Vector256<double> a = default,
            b = default,
            c = default,
            d = default;
        nint i = 0;
        for (; i <= count - 16; i += 16)
        {
            a += Vector256.Load(x + i) * Vector256.Load(y + i);
            b += Vector256.Load(x + i + 4) * Vector256.Load(y + i + 4);
            c += Vector256.Load(x + i + 8) * Vector256.Load(y + i + 8);
            d += Vector256.Load(x + i + 12) * Vector256.Load(y + i + 12);
        }
        var sum = Vector256.Sum(a + b + (c + d));
        for (; i < count; i++)
            sum += x[i] * y[i];
        return sum;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add(double* x, double* y, double factor, nint count)
    {
        var by = Vector256.Create(factor);
        nint i = 0;
        for (; i <= count - 4; i += 4)
            (Vector256.Load(x + i) + by * Vector256.Load(y + i)).Store(x + i);
        for (; i < count; i++)
            x[i] += factor * y[i];
    }
}
