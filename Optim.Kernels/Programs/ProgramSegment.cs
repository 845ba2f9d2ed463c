namespace Optim.Kernels;

/// <summary>Neighbouring slices of one dtype that a program runs over, and the values of its leaves for them.</summary>
/// <param name="Table">The table.</param>
/// <param name="First">The first slice.</param>
/// <param name="Count">How many.</param>
/// <param name="DType">The dtype of parameters and gradients.</param>
/// <param name="Leaves">Options, kept numbers and the step, as <see cref="ProgramRun.Leaves"/> asks for them.</param>
/// <param name="Spread">Of each slice of the table what spreads need of it; null where the program has none.</param>
/// <param name="On">The device where the slices lie; null for the memory of the processor.</param>
/// <param name="Narrow">How the columns are kept, where some are narrow.</param>
/// <param name="Step">The step, counted from 1, by which they are rounded.</param>
/// <param name="Survey">What was found in the gradients on the device; null where nobody looked there.</param>
/// <param name="There">The leaves on the device, where a step takes them from there; else null.</param>
internal readonly record struct ProgramSegment(
    SliceTable Table,
    int First,
    int Count,
    DType DType,
    double[] Leaves,
    SpreadSlice[]? Spread = null,
    ProgramDevice? On = null,
    NarrowTable? Narrow = null,
    long Step = 0,
    DeviceSurvey? Survey = null,
    DeviceLeaves? There = null
);
