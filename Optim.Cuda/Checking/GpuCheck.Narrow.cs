using System.Runtime.InteropServices;
using Optim.Kernels;

namespace Optim.Cuda;

// Steps with narrow state.
internal sealed unsafe partial class GpuCheck
{
    /// <summary>Rules that are compared, of one column and more.</summary>
    private static readonly string[] narrowRules = ["Adam", "AdamW", "Lion", "NAdam", "RMSprop", "AdaBelief"];

    private static readonly StateFormat[] narrowFormats = [StateFormat.BFloat16, StateFormat.Blockwise8];

    // The state of float64 is as wide as it is.
    private static readonly DType[] narrowDTypes = [DType.Float32, DType.BFloat16, DType.Float16];

    /// <summary>Steps of each comparison: state begins as nothing.</summary>
    private const int NarrowSteps = 3;

    /// <summary>Parameters, codes and scales beside the processor's, bytes of which may differ.</summary>
    private (long Elements, long Different) CompareNarrow(StepProgram program, StateFormat format, DType dtype, int shift, int seed)
    {
        NarrowArrays Fresh() => new(program, format, dtype, shift, seed);
        var (here, there) = (Fresh(), Fresh());
        using var moved = gpu.Allocate(there.Bytes);
        gpu.Upload(moved.Address, there.Start, there.Bytes);
        var (own, other) = (here.Tables((nint)here.Start), there.Tables(moved.Address));
        for (var step = 1; step <= NarrowSteps; step++)
        {
            StepNarrow(null, program, dtype, own, step);
            StepNarrow(kernels, program, dtype, other, step);
        }
        gpu.Download(there.Start, moved.Address, there.Bytes);
        return (here.Elements, here.Differing(there));
    }

    private static void StepNarrow(
        ProgramDevice? device,
        StepProgram program,
        DType dtype,
        (SliceTable All, NarrowTable Narrow) tables,
        long step
    )
    {
        var run = new ProgramRun(program);
        var narrow = tables.Narrow.Columns == 0 ? null : tables.Narrow;
        run.Run([new(tables.All, 0, tables.All.Count, dtype, LeavesOf(run), null, device, narrow, step)], Executor.Caller);
    }

    /// <summary>Elements a second of Adam's kernel by how its state is kept.</summary>
    private void MeasureNarrow(long elements)
    {
        var usual = 0.0;
        foreach (var format in narrowFormats.Prepend(StateFormat.Float32))
        {
            var arrays = new NarrowArrays(adam, format, [(nint)elements]);
            using var memory = gpu.Allocate(arrays.Bytes);
            Fill(memory);
            var (tables, step) = (arrays.Tables(memory.Address), 0);
            var rate = elements / Seconds(() => StepNarrow(kernels, adam, DType.Float32, tables, ++step));
            usual = format == StateFormat.Float32 ? rate : usual;
            var bytes = 3 * sizeof(float) + 4 * StateStorage.Of(format).BytesPerElement;
            var label = $"Adam, state in {StateStorage.NameOf(format)}";
            say(
                FormattableString.Invariant(
                    $"{label, -32} {rate / 1e9:F2} billion elements a second, {rate * bytes / 1e9:F1} GB/s; {rate / usual:F2} times as fast as in float32"
                )
            );
        }
    }

    /// <summary>Parameters, gradients, codes and scales of some tensors in one piece of memory, first here and then copied there.</summary>
    private sealed class NarrowArrays
    {
        private readonly byte[] memory = [];
        private readonly nint[] lengths;
        private readonly NarrowKind[] kinds;
        private readonly nint[,] places;
        private readonly nint[,] scales;

        /// <summary>Only where everything would lie.</summary>
        public NarrowArrays(StepProgram program, StateFormat format, nint[] lengths, DType dtype = DType.Float32, int shift = 0)
        {
            this.lengths = lengths;
            // Numbers of either sign and others by turns; a column that the step does not need is none.
            var uses = program.VisitsFor(dtype)[0].Code.ArrayUses;
            kinds =
            [
                .. Enumerable
                    .Range(0, program.Arrays.Length - 2)
                    .Select(column =>
                        format == StateFormat.Float32 || !Array.Exists(uses, use => use.Array == 2 + column) ? NarrowKind.Wide
                        : format == StateFormat.BFloat16 ? NarrowKind.BFloat16
                        : column % 2 == 0 ? NarrowKind.Signed8
                        : NarrowKind.NonNegative8
                    ),
            ];
            (places, scales) = (new nint[2 + kinds.Length, lengths.Length], new nint[kinds.Length, lengths.Length]);
            for (var array = 0; array < 2 + kinds.Length; array++)
            {
                var size =
                    array < 2 ? dtype.Size()
                    : kinds[array - 2] == NarrowKind.Wide ? sizeof(float)
                    : NarrowKinds.SizeOf(kinds[array - 2]);
                for (var tensor = 0; tensor < lengths.Length; tensor++)
                    // Codes of bytes by two, so that some do not lie at multiples of four.
                    places[array, tensor] = Place((lengths[tensor] + 2 * shift) * size) + (size == 1 ? 2 : 1) * shift * size;
            }
            for (var column = 0; column < kinds.Length; column++)
            for (var tensor = 0; tensor < lengths.Length; tensor++)
                scales[column, tensor] = Place(NarrowKinds.Blocks(lengths[tensor]) * sizeof(float));
        }

        public NarrowArrays(StepProgram program, StateFormat format, DType dtype, int shift, int seed)
            : this(program, format, Array.ConvertAll(Lengths, length => (nint)length), dtype, shift)
        {
            memory = GC.AllocateArray<byte>((int)Bytes, pinned: true);
            var random = new Random(seed);
            for (var array = 0; array < 2; array++)
            for (var tensor = 0; tensor < Lengths.Length; tensor++)
            for (var i = 0; i < Lengths[tensor]; i++)
                CheckedArrays.Set(memory, (int)places[array, tensor] / dtype.Size() + i, dtype, random.NextDouble() - 0.5);
        }

        public nint Bytes { get; private set; }

        public void* Start => (void*)Marshal.UnsafeAddrOfPinnedArrayElement(memory, 0);

        public long Elements => lengths.Sum(length => (long)length) * (2 + kinds.Length);

        private nint Place(nint bytes)
        {
            var at = Bytes;
            Bytes += (bytes + 255) / 256 * 256;
            return at;
        }

        public (SliceTable All, NarrowTable Narrow) Tables(nint start)
        {
            var (all, narrow) = (new SliceTable(), new NarrowTable());
            all.Reset(lengths.Length, kinds.Length);
            narrow.Reset(lengths.Length, Array.TrueForAll(kinds, kind => kind == NarrowKind.Wide) ? 0 : kinds.Length, 0);
            for (var tensor = 0; tensor < lengths.Length; tensor++)
            {
                all.Add(lengths[tensor], start + places[0, tensor], start + places[1, tensor]);
                for (var column = 0; column < kinds.Length; column++)
                {
                    all.SetColumn(column, start + places[2 + column, tensor]);
                    if (kinds[column] != NarrowKind.Wide)
                        narrow.Set(tensor, column, kinds[column], start + scales[column, tensor], 0);
                }
            }
            return (all, narrow);
        }

        /// <summary>How many bytes differ.</summary>
        public long Differing(NarrowArrays other)
        {
            var differ = 0L;
            for (var i = 0; i < memory.Length; i++)
                differ += memory[i] == other.memory[i] ? 0 : 1;
            return differ;
        }
    }
}
