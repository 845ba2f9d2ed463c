using System.Runtime.InteropServices;
using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>The arrays of some tensors, in memory of the processor: each tensor's one after the other.</summary>
internal sealed unsafe class CheckedArrays
{
    private readonly byte[][] arrays;
    private readonly int[] sizes;
    private readonly int shift;
    private readonly DType dtype;

    public CheckedArrays(StepProgram program, DType dtype, int shift, int seed)
    {
        (this.shift, this.dtype) = (shift, dtype);
        sizes = new int[program.Arrays.Length];
        arrays = new byte[sizes.Length][];
        var random = new Random(seed);
        for (var array = 0; array < sizes.Length; array++)
        {
            var isState = program.Arrays[array] is not (StepProgram.Parameter or StepProgram.Gradient or StepProgram.GradientSum);
            var own = isState && dtype != DType.Float64 ? DType.Float32 : dtype;
            sizes[array] = own.Size();
            arrays[array] = GC.AllocateUninitializedArray<byte>(Start(GpuCheck.Lengths.Length) * sizes[array], pinned: true);
            for (var i = 0; i < Start(GpuCheck.Lengths.Length); i++)
                Set(arrays[array], i, own, random.NextDouble() - (isState ? 0 : 0.5));
        }
    }

    private CheckedArrays(CheckedArrays other)
    {
        (shift, dtype, sizes) = (other.shift, other.dtype, other.sizes);
        arrays = Array.ConvertAll(
            other.arrays,
            array =>
            {
                var copy = GC.AllocateUninitializedArray<byte>(array.Length, pinned: true);
                array.CopyTo(copy, 0);
                return copy;
            }
        );
    }

    /// <summary>The same numbers in memory of their own.</summary>
    public CheckedArrays Copy() => new(this);

    /// <summary>One element of one gradient is not finite.</summary>
    public void Spoil() => Set(arrays[1], Start(2) + 4000, dtype, double.PositiveInfinity);

    public long Elements => (long)GpuCheck.Lengths.Sum() * sizes.Length;

    // Behind the elements of the tensors before, and so many more that not all begin at a multiple of 16 bytes.
    private int Start(int tensor) => GpuCheck.Lengths.Take(tensor).Sum(length => (length + 63) / 64 * 64 + 64) + shift;

    public GpuMemory Move(DriverGpu gpu)
    {
        var memory = gpu.Allocate(arrays.Sum(array => (array.Length + 255) / 256 * 256));
        Give(gpu, memory);
        return memory;
    }

    public void Give(DriverGpu gpu, GpuMemory memory) =>
        Each(memory, (address, array) => gpu.Upload(address, (void*)Marshal.UnsafeAddrOfPinnedArrayElement(array, 0), array.Length));

    public void Fetch(DriverGpu gpu, GpuMemory memory) =>
        Each(memory, (address, array) => gpu.Download((void*)Marshal.UnsafeAddrOfPinnedArrayElement(array, 0), address, array.Length));

    public SliceTable Table(GpuMemory? memory)
    {
        var table = new SliceTable();
        table.Reset(GpuCheck.Lengths.Length, arrays.Length - 2);
        var starts = new List<nint>();
        if (memory is null)
            foreach (var array in arrays)
                starts.Add(Marshal.UnsafeAddrOfPinnedArrayElement(array, 0));
        else
            Each(memory, (address, _) => starts.Add(address));
        for (var tensor = 0; tensor < GpuCheck.Lengths.Length; tensor++)
        {
            nint At(int array) => starts[array] + (nint)Start(tensor) * sizes[array];
            table.Add(GpuCheck.Lengths[tensor], At(0), At(1));
            for (var array = 2; array < arrays.Length; array++)
                table.SetColumn(array - 2, At(array));
        }
        return table;
    }

    public long Differing(CheckedArrays other)
    {
        var differ = 0L;
        for (var array = 0; array < arrays.Length; array++)
        {
            var size = sizes[array];
            if (arrays[array].AsSpan().SequenceEqual(other.arrays[array]))
                continue;
            for (var i = 0; i < arrays[array].Length; i += size)
            {
                var a = arrays[array].AsSpan(i, size);
                var b = other.arrays[array].AsSpan(i, size);
                if (!a.SequenceEqual(b) && !(IsNaN(a) && IsNaN(b)))
                    differ++;
            }
        }
        return differ;
    }

    // Of a half type both kinds: NaN is stored as one number of each.
    private static bool IsNaN(ReadOnlySpan<byte> bytes) =>
        bytes.Length switch
        {
            8 => double.IsNaN(BitConverter.ToDouble(bytes)),
            4 => float.IsNaN(BitConverter.ToSingle(bytes)),
            _ => (BitConverter.ToUInt16(bytes) & 0x7FFF) is 0x7FC0 or 0x7E00,
        };

    /// <summary>Sets an element of an array of a dtype.</summary>
    public static void Set(byte[] array, int index, DType dtype, double value)
    {
        switch (dtype)
        {
            case DType.Float64:
                BitConverter.TryWriteBytes(array.AsSpan(index * sizeof(double)), value);
                break;
            case DType.Float32:
                BitConverter.TryWriteBytes(array.AsSpan(index * sizeof(float)), (float)value);
                break;
            case DType.Float16:
                BitConverter.TryWriteBytes(array.AsSpan(index * 2), (Half)value);
                break;
            default:
                BitConverter.TryWriteBytes(array.AsSpan(index * 2), (ushort)(BitConverter.SingleToUInt32Bits((float)value) >> 16));
                break;
        }
    }

    private void Each(GpuMemory memory, Action<nint, byte[]> visit)
    {
        var address = memory.Address;
        foreach (var array in arrays)
        {
            visit(address, array);
            address += (array.Length + 255) / 256 * 256;
        }
    }
}
