namespace Optim.Kernels;

/// <summary>
/// Passes of their own over lists of tensors, element by element: averaging, unscaling, clipping, accumulating. One flat pass
/// for each dtype; tensors that do not lie in one piece, or in another order than their partners, go over copies, and so do those of other devices.
/// </summary>
internal static class Elements
{
    [ThreadStatic]
    private static SliceTable? ofThisThread;

    /// <summary>
    /// Changes each target by a formula. One without columns has the target as its parameter and the partner, of the same dtype, as
    /// its gradient; without partners the target itself. One with a column has the target there, in the dtype that the state of the
    /// partner has. Absent targets are passed over.
    /// </summary>
    public static void Run(
        Driver driver,
        int switches,
        in Coefficients<Real> coefficients,
        ReadOnlySpan<TensorView> targets,
        ReadOnlySpan<TensorView> partners,
        Executor executor
    )
    {
        var done = 0;
        for (var i = 0; i < targets.Length; i++)
        {
            if (targets[i].IsAbsent || targets[i].Count == 0)
                continue;
            var dtype = (partners.IsEmpty ? targets : partners)[i].DType;
            if ((done & 1 << (int)dtype) != 0)
                continue;
            done |= 1 << (int)dtype;
            RunOf(dtype, driver, switches, coefficients, targets[i..], partners.IsEmpty ? partners : partners[i..], executor);
        }
    }

    private static void RunOf(
        DType dtype,
        Driver driver,
        int switches,
        in Coefficients<Real> coefficients,
        ReadOnlySpan<TensorView> targets,
        ReadOnlySpan<TensorView> partners,
        Executor executor
    )
    {
        var table = ofThisThread ??= new();
        table.Reset(targets.Length, driver.Columns);
        List<(TensorView Copy, TensorView Target)>? copies = null;
        List<object?>? owners = null;
        for (var i = 0; i < targets.Length; i++)
        {
            var target = targets[i];
            if (target.IsAbsent || target.Count == 0 || (partners.IsEmpty ? targets : partners)[i].DType != dtype)
                continue;
            var partner = partners.IsEmpty ? target : partners[i];
            if (!target.Layout.IsDense || !target.Layout.IsOnCpu)
            {
                var copy = target.InOrder();
                (copies ??= []).Add((copy, target));
                target = copy;
                partner = partners.IsEmpty ? copy : partner;
            }
            if (!partner.Layout.IsOnCpu || !target.Layout.SameOrder(partner.Layout))
            {
                var copy = TensorView.Zeros(target.Layout.WithDType(dtype));
                copy.CopyFrom(partner);
                (owners ??= []).Add(copy.Owner);
                partner = copy;
            }
            table.Add(target.Count * dtype.Parts(), driver.Columns > 0 ? partner.Address : target.Address, partner.Address);
            if (driver.Columns > 0)
                table.SetColumn(0, target.Address);
        }
        driver.Run(table, 0, table.Count, dtype, switches, coefficients, executor);
        foreach (var (copy, target) in copies ?? [])
            target.CopyFrom(copy);
        GC.KeepAlive(owners);
    }
}
