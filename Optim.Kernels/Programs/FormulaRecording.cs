namespace Optim.Kernels;

/// <summary>A step on lanes and numbers of any kind, of which a recording can be made.</summary>
internal abstract class FormulaRecording
{
    /// <summary>The step: the row becomes what it is after it, and the kept numbers after it are returned.</summary>
    public abstract Scalars<N> Run<V, N>(Reader<N> read, StepNumber<N> step, Scalars<N> scalars, V[] row)
        where V : struct, ILane<V>, ITakes<V, N>
        where N : struct, IScalar<N>;

    /// <summary>The same on lanes and numbers that note what is done to them.</summary>
    public Scalars<RecordedNumber> Record(
        Reader<RecordedNumber> read,
        StepNumber<RecordedNumber> step,
        Scalars<RecordedNumber> scalars,
        Recorder[] row
    ) => Run(read, step, scalars, row);
}
