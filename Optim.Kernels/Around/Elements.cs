namespace Optim.Kernels;

/// <summary>
/// Passes of their own over lists of tensors, element by element, by formulas without state: averaging, unscaling, clipping,
/// accumulating. One flat pass for each dtype; tensors that do not lie in one piece, or in another order than their partners, go over copies.
/// </summary>
internal static class Elements
{
    [ThreadStatic]
    private static SliceTable? ofThisThread;

    /// <summary>
    /// Changes each target by a formula, which has it as its only column, or as the parameter where it has no columns, and its
    /// partner as the gradient; without partners the target itself. Absent targets are passed over.
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
            if (targets[i].IsAbsent || targets[i].Count == 0 || (done & Bit(targets[i].DType)) != 0)
                continue;
            done |= Bit(targets[i].DType);
            RunOf(targets[i].DType, driver, switches, coefficients, targets[i..], partners.IsEmpty ? partners : partners[i..], executor);
        }
    }

    private static int Bit(DType dtype) => 1 << (int)dtype;

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
            if (target.IsAbsent || target.Count == 0 || target.DType != dtype)
                continue;
            var partner = partners.IsEmpty ? target : partners[i];
            if (!target.Layout.IsDense)
            {
                var copy = target.Copy();
                (copies ??= []).Add((copy, target));
                target = copy;
                partner = partners.IsEmpty ? copy : partner;
            }
            if (!target.Layout.SameOrder(partner.Layout))
            {
                var copy = TensorView.Zeros(target.Layout);
                copy.CopyFrom(partner);
                (owners ??= []).Add(copy.Owner);
                partner = copy;
            }
            table.Add(target.Count * (dtype.IsComplex() ? 2 : 1), driver.Columns > 0 ? partner.Address : target.Address, partner.Address);
            if (driver.Columns > 0)
                table.SetColumn(0, target.Address);
        }
        driver.Run(table, 0, table.Count, dtype, switches, coefficients, executor);
        foreach (var (copy, target) in copies ?? [])
            target.CopyFrom(copy);
        GC.KeepAlive(owners);
    }
}
