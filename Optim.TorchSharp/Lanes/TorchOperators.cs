using Optim.Core;
using Optim.Cuda;
using Optim.Kernels;
using static TorchSharp.torch;

namespace Optim;

/// <summary>
/// Steps of whole tensors by libtorch's own operators, in place and without a graph: the formula of the rule, on whatever device the
/// tensor lies. For devices that have no kernel of ours, and wherever it is asked for.
/// </summary>
internal sealed class TorchOperators : TensorExecutor
{
    // By libtorch's names for its devices, but for the processor's, which has kernels, and meta, where there are no elements.
    private static readonly string[] devices = ["cuda", "xpu", "mps"];

    private TorchOperators() { }

    public static TorchOperators Instance { get; } = new();

    public override string Name => "libtorch's operators";

    public override bool HasWholeLanes => true;

    /// <summary>Registers for libtorch's devices.</summary>
    public static void Register()
    {
        var memory = new TorchMemory();
        foreach (var device in devices)
        {
            DeviceMemory.Register(device, memory);
            Register(device, Instance);
        }
        CudaKernels.Register("cuda", new TorchCudaHost(), () => CudaDriver.TryLoad());
    }

    /// <summary>Kernels of parameters that are of somebody else's making in the same group run on the caller.</summary>
    public override unsafe int Run(nint length, delegate* <nint, nint, void*, void> body, void* context) =>
        Caller.Run(length, body, context);

    public override void Step(TensorUpdate update)
    {
        using var scope = NewDisposeScope();
        using var mode = no_grad();
        Tensor parameter = Views.Tensor(update.Parameter);
        var columns = Array.ConvertAll(update.Columns, column => column.IsAbsent ? null : Views.Tensor(column));
        if (update.Gradient.Kind != GradientKind.Sparse)
            Step(update, parameter, Views.Tensor(update.Gradient.Values), columns);
        else
            StepSparse(update, parameter, columns);
        GC.KeepAlive(update);
    }

    public override void Look(TensorUpdate update)
    {
        using var scope = NewDisposeScope();
        using var mode = no_grad();
        var columns = Array.ConvertAll(update.Columns, column => column.IsAbsent ? null : Views.Tensor(column));
        update.RunWhole(RowOf(Views.Tensor(update.Parameter), Views.Tensor(update.Gradient.Values), columns));
        GC.KeepAlive(update);
    }

    private static TorchLane[] RowOf(Tensor parameter, Tensor gradient, Tensor?[] columns)
    {
        // Six columns that a formula may have, and averages after those that it has.
        var row = new TorchLane[2 + Math.Max(6, columns.Length)];
        (row[0], row[1]) = (new(LaneForm.In(parameter)), new(LaneForm.In(gradient)));
        for (var i = 0; i < columns.Length; i++)
            if (columns[i] is { } column)
                row[i + 2] = new(LaneForm.In(column));
        return row;
    }

    private static void Step(TensorUpdate update, Tensor parameter, Tensor gradient, Tensor?[] columns)
    {
        var row = RowOf(parameter, gradient, columns);
        update.RunWhole(row);
        for (var i = 0; i < columns.Length; i++)
            if (columns[i] is { } column)
                column.copy_(LaneForm.Out(row[i + 2].ToTensor(LaneForm.In(column)), column, wide: true));
        parameter.copy_(LaneForm.Out(row[0].ToTensor(LaneForm.In(parameter)), parameter, wide: true));
    }

    /// <summary>Only the rows of the gradient are read and written, unless momentum carries others on.</summary>
    private static void StepSparse(TensorUpdate update, Tensor parameter, Tensor?[] columns)
    {
        var (indices, shape) = (Views.Tensor(update.Gradient.Rows), parameter.shape);
        if (indices.dim() == 1)
            indices = indices.unsqueeze(0);
        // The dimensions that indices go through, made one; and each row once, with the values of repeated ones summed up.
        var dimensions = (int)indices.shape[0];
        var row = indices.select(0, 0);
        for (var d = 1; d < dimensions; d++)
            row = row * shape[d] + indices.select(0, d);
        var all = shape[..dimensions].Aggregate(1L, (a, b) => a * b);
        var values = LaneForm.In(Views.Tensor(update.Gradient.Values));
        if (update.Sparse == SparseGradients.RowsSoFar && columns is [not null, ..])
        {
            // Zeros for the rows that are not there: momentum moves those that have some.
            var dense = zeros([all, .. values.shape[1..]], values.dtype, values.device).index_add_(0, row, values, 1);
            Step(update, parameter, LaneForm.Out(dense, parameter, wide: true), columns);
            return;
        }
        var (places, inverse, _) = row.unique(sorted: true, return_inverse: true, return_counts: false);
        if (places.numel() == 0)
            return;
        var sums = zeros([places.numel(), .. values.shape[1..]], values.dtype, values.device).index_add_(0, inverse!, values, 1);
        var some = Array.ConvertAll(columns, column => column is null ? null : Some(column));
        var moved = Some(parameter);
        Step(update, moved, LaneForm.Out(sums, moved, wide: true), some);
        Put(parameter, moved);
        for (var i = 0; i < columns.Length; i++)
            if (columns[i] is { } column)
                Put(column, some[i]!);

        Tensor Some(Tensor tensor) => tensor.reshape([all, .. shape[dimensions..]]).index_select(0, places);

        void Put(Tensor tensor, Tensor rows)
        {
            var at = new Tensor[dimensions];
            var rest = places;
            for (var d = dimensions - 1; d >= 0; d--)
                (at[d], rest) = (rest.remainder(shape[d]), rest.div(shape[d], RoundingMode.floor));
            tensor.index_put_(rows, at);
        }
    }
}
