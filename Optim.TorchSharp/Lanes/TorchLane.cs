using System.Runtime.CompilerServices;
using Optim.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Optim;

/// <summary>
/// A whole TorchSharp tensor as a lane, and as a number of coefficients: what formulas compute on where there is a graph, or no
/// kernel. What does not depend on any tensor is a constant, and stays a double until it meets one.
/// </summary>
/// <remarks>
/// Numbers are tensors without dimensions in float64 on the CPU. Combined with a tensor that has dimensions they take on its dtype
/// and work on its device; lanes therefore have one dimension at least. Every result belongs to the dispose scope in force.
/// </remarks>
internal readonly struct TorchLane : IWhole<TorchLane>, IScalar<TorchLane>, ITakes<TorchLane, TorchLane>
{
    private readonly Tensor? tensor;
    private readonly double constant;

    // Of a mask: what it was made from, as both sides of a selection can be numbers.
    private readonly Tensor? compared;

    /// <summary>A tensor with a dimension at least, or a number as described.</summary>
    public TorchLane(Tensor tensor) => this.tensor = tensor;

    private TorchLane(double constant) => this.constant = constant;

    private TorchLane(Tensor mask, Tensor compared) => (tensor, this.compared) = (mask, compared);

    /// <summary>The tensor; of a constant, one of the dtype, shape and device of another.</summary>
    public Tensor ToTensor(Tensor like) => tensor ?? full_like(like, Number(constant, like));

    /// <summary>A number as a tensor.</summary>
    public Tensor ToNumber() => tensor ?? torch.tensor(constant);

    public static TorchLane Of(double value) => new(value);

    public static TorchLane From(TorchLane number) => number;

    public static TorchLane From(Real number) => new(number.Value);

    public static TorchLane operator +(TorchLane left, TorchLane right) =>
        (left.tensor, right.tensor) switch
        {
            (null, null) => new(left.constant + right.constant),
            (null, { } b) => left.constant == 0 ? right : new(b.add(Number(left.constant, b))),
            ({ } a, null) => right.constant == 0 ? left : new(a.add(Number(right.constant, a))),
            ({ } a, { } b) => new(a.add(b)),
        };

    public static TorchLane operator -(TorchLane left, TorchLane right) =>
        (left.tensor, right.tensor) switch
        {
            (null, null) => new(left.constant - right.constant),
            (null, { } b) => new(b.neg().add(Number(left.constant, b))),
            ({ } a, null) => new(a.sub(Number(right.constant, a))),
            ({ } a, { } b) => new(a.sub(b)),
        };

    public static TorchLane operator *(TorchLane left, TorchLane right) =>
        (left.tensor, right.tensor) switch
        {
            (null, null) => new(left.constant * right.constant),
            (null, { } b) => left.constant == 1 ? right : new(b.mul(Number(left.constant, b))),
            ({ } a, null) => right.constant == 1 ? left : new(a.mul(Number(right.constant, a))),
            ({ } a, { } b) => new(a.mul(b)),
        };

    // By a tensor in each case: libtorch divides by a number as it multiplies with its reciprocal, which rounds twice.
    public static TorchLane operator /(TorchLane left, TorchLane right) =>
        left.tensor is null && right.tensor is null
            ? new(left.constant / right.constant)
            : new((left.tensor ?? torch.tensor(left.constant)).div(right.tensor ?? torch.tensor(right.constant)));

    public static TorchLane operator -(TorchLane value) => value.tensor is null ? new(-value.constant) : new(value.tensor.neg());

    public static TorchLane Fma(TorchLane a, TorchLane b, TorchLane c) =>
        (a.tensor, b.tensor, c.tensor) switch
        {
            (null, { } y, { } z) when z.dim() > 0 => new(z.add(y, Number(a.constant, z))),
            ({ } x, null, { } z) when z.dim() > 0 => new(z.add(x, Number(b.constant, z))),
            ({ } x, { } y, { } z) when x.dim() > 0 && y.dim() > 0 && z.dim() > 0 => new(z.addcmul(x, y, 1)),
            _ => a * b + c,
        };

    /// <summary>
    /// The root. At 0 its derivative is infinite; what stands before it in formulas is a square of which the derivative is 0 there,
    /// and the product of both would be NaN. With 0 it is the derivative of the whole: in Adam, of g / (|g| + eps).
    /// </summary>
    public static TorchLane Sqrt(TorchLane value)
    {
        if (value.tensor is not { } x)
            return new(Math.Sqrt(value.constant));
        if (!x.requires_grad)
            return new(x.sqrt());
        var zero = x.eq(0);
        return new(x.masked_fill(zero, 1).sqrt().masked_fill(zero, 0));
    }

    public static TorchLane Exp(TorchLane value) => value.tensor is null ? new(Math.Exp(value.constant)) : new(value.tensor.exp());

    public static TorchLane Log(TorchLane value) => value.tensor is null ? new(Math.Log(value.constant)) : new(value.tensor.log());

    public static TorchLane Cbrt(TorchLane value) =>
        value.tensor is null ? new(Math.Cbrt(value.constant)) : new(value.tensor.sign().mul(value.tensor.abs().pow(1.0 / 3)));

    public static TorchLane Pow(TorchLane value, long exponent) =>
        value.tensor is null ? new(Math.Pow(value.constant, exponent)) : new(value.tensor.pow(exponent));

    public static TorchLane Pow(TorchLane value, TorchLane exponent) =>
        value.tensor is null && exponent.tensor is null
            ? new(Math.Pow(value.constant, exponent.constant))
            : new(value.ToNumber().pow(exponent.ToNumber()));

    public static TorchLane Abs(TorchLane value) => value.tensor is null ? new(Math.Abs(value.constant)) : new(value.tensor.abs());

    public static TorchLane Greater(TorchLane a, TorchLane b) =>
        (a.tensor, b.tensor) switch
        {
            (null, null) => Mask(a.constant > b.constant),
            (null, { } y) => new(y.lt(Number(a.constant, y)), y),
            ({ } x, null) => new(x.gt(Number(b.constant, x)), x),
            ({ } x, { } y) => new(x.gt(y), x.dim() > 0 ? x : y),
        };

    public static TorchLane IsNaN(TorchLane value) =>
        value.tensor is null ? Mask(double.IsNaN(value.constant)) : new(value.tensor.isnan(), value.tensor);

    public static TorchLane Select(TorchLane mask, TorchLane yes, TorchLane no)
    {
        if (mask.tensor is null)
            return mask.constant != 0 ? yes : no;
        var like = mask.compared!;
        return new(where(mask.tensor, Alike(yes, like), Alike(no, like)));
    }

    // Float64 is not to be had on mps. Without dimensions it leaves the dtype of what it is combined with as it is.
    public static TorchLane SumOfSquares(TorchLane value) => new(Whole(value).mul(Whole(value)).sum(Widest(value)));

    public static TorchLane Sum(TorchLane value) => new(Whole(value).sum(Widest(value)));

    public static TorchLane LargestMagnitude(TorchLane value) => new(Whole(value).abs().max());

    public static double Read(TorchLane number) => number.tensor is { } one ? one.to(ScalarType.Float64).item<double>() : number.constant;

    public static TorchLane CopyOf(TensorView tensor, TorchLane like) =>
        new(LaneForm.In(Views.Tensor(tensor)).to(like.ToNumber().device, copy: true));

    public static TorchLane Mean(TorchLane value, int dimension) => new(Whole(value).mean([dimension], keepdim: true));

    public static TorchLane Transposed(TorchLane matrix) => new(Whole(matrix).transpose(0, 1));

    public static TorchLane Product(TorchLane left, TorchLane right) => new(Whole(left).mm(Whole(right)));

    // One operator rounds once, but takes its numbers in float32.
    public static TorchLane Product(TorchLane left, TorchLane right, double scale, TorchLane other, double shift) =>
        Whole(left).dtype == ScalarType.Float64
            ? Fma(new(shift), other, new TorchLane(scale) * Product(left, right))
            : new(Whole(other).addmm(Whole(left), Whole(right), (float)shift, (float)scale));

    public static TorchLane Narrow(TorchLane value) => new(value.ToNumber().to(ScalarType.BFloat16));

    public static TorchLane Widen(TorchLane value, TorchLane like) => new(Whole(value).to(like.ToNumber().dtype));

    public static TorchLane Round(TorchLane value, DType dtype) =>
        value.tensor is { } x ? new(x.to((ScalarType)(int)dtype).to(x.dtype)) : value;

    public static TorchLane Sum(TorchLane value, int dimension) => new(Whole(value).sum(dimension, keepdim: true));

    public static TorchLane Largest(TorchLane value, int dimension) => new(Whole(value).amax([dimension], keepdim: true));

    public static TorchLane Reshaped(TorchLane value, ReadOnlySpan<long> shape) => new(Whole(value).reshape(shape.ToArray()));

    public static TorchLane Permuted(TorchLane value, ReadOnlySpan<int> dimensions)
    {
        var order = new long[dimensions.Length];
        for (var i = 0; i < order.Length; i++)
            order[i] = dimensions[i];
        return new(Whole(value).permute(order));
    }

    public static TorchLane Converted(TorchLane value, DType dtype) =>
        value.tensor is { } x && x.dim() > 0 ? new(x.to((ScalarType)(int)dtype)) : value;

    public static TorchLane Power(TorchLane value, TorchLane exponent) =>
        value.tensor is { } x && exponent.tensor is null ? new(x.pow(Number(exponent.constant, x))) : Pow(value, exponent);

    public static TorchLane Eigenvectors(TorchLane matrix, out TorchLane values)
    {
        // By rising eigenvalues there. In float64, as ours are, where there is such a thing.
        var x = Whole(matrix);
        var (numbers, vectors) = linalg.eigh(x.to(Widest(matrix)));
        values = new(numbers.flip(0).unsqueeze(0).to(x.dtype));
        return new(vectors.flip(1).to(x.dtype));
    }

    public static TorchLane Orthonormal(TorchLane matrix)
    {
        var x = Whole(matrix);
        return new(linalg.qr(x.to(Widest(matrix))).Q.to(x.dtype));
    }

    public static TorchLane Ordered(TorchLane value, int dimension, TorchLane keys) =>
        new(Whole(value).index_select(dimension, Whole(keys).flatten().argsort(descending: true)));

    public static TorchLane Identity(TorchLane like, long rows) => new(eye(rows, dtype: Whole(like).dtype, device: Whole(like).device));

    public static void Free(TorchLane value) => value.tensor?.Dispose();

    private static Tensor Whole(TorchLane value) => value.tensor!;

    private static ScalarType Widest(TorchLane value) =>
        Whole(value).device_type == DeviceType.MPS ? ScalarType.Float32 : ScalarType.Float64;

    // Numbers take on the dtype of tensors with dimensions by themselves, except where both sides are numbers.
    private static Tensor Alike(TorchLane value, Tensor like) =>
        value.tensor is null ? torch.tensor(value.constant, like.dtype, like.device)
        : value.tensor.dim() == 0 ? value.tensor.to(like.dtype, like.device)
        : value.tensor;

    private static TorchLane Mask(bool holds) => new(holds ? 1 : 0);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    // libtorch refuses a number that a float cannot hold; kernels take the infinity that it is rounded to.
    private static Scalar Number(double value, Tensor like) =>
        like.dtype is ScalarType.Float64 or ScalarType.ComplexFloat64 ? value : (float)value;
}
