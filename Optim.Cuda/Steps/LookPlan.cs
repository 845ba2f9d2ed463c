using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>Where what one look at gradients finds lies on a device: the number of each gradient, and what they come to. It is kept for the next look.</summary>
internal sealed unsafe class LookPlan(Gpu gpu)
{
    private readonly Dictionary<DType, SliceTable> tables = [];
    private readonly List<DType> dtypes = [];
    private int[] places = [];
    private int[] known = [];
    private GpuMemory? memory;
    private nint stream;

    /// <summary>The dtypes that there are.</summary>
    public IReadOnlyList<DType> DTypes => dtypes;

    /// <summary>The gradients of a dtype.</summary>
    public SliceTable TableOf(DType dtype) => tables[dtype];

    /// <summary>Where what was found lies.</summary>
    public nint Found => memory!.Address;

    /// <summary>Where the numbers of the gradients are listed, in their order.</summary>
    public nint List => memory!.Address + Guard.Bytes;

    /// <summary>Where the numbers of the gradients of a dtype lie.</summary>
    public nint NumbersOf(DType dtype)
    {
        nint before = 0;
        foreach (var other in dtypes)
            if (other == dtype)
                break;
            else
                before += tables[other].Count;
        return memory!.Address + Guard.Bytes + sizeof(nint) * places.Length + before * sizeof(double);
    }

    /// <summary>What was found, on its way to the processor; null until somebody has asked for that.</summary>
    public GpuCopy? Copy { get; private set; }

    /// <summary>Sends what was found to the processor.</summary>
    public void Fetch()
    {
        Copy ??= gpu.Room(Guard.Bytes);
        Copy.Begin(Found);
    }

    /// <summary>Lays the gradients out, those of a dtype after those of another.</summary>
    public void Lay(ReadOnlySpan<TensorView> gradients)
    {
        dtypes.Clear();
        foreach (var gradient in gradients)
            if (!dtypes.Contains(gradient.DType))
                dtypes.Add(gradient.DType);
        if (places.Length != gradients.Length)
            places = new int[gradients.Length];
        var place = 0;
        foreach (var dtype in dtypes)
        {
            if (!tables.TryGetValue(dtype, out var table))
                tables.Add(dtype, table = new());
            table.Reset(gradients.Length, 0);
            for (var i = 0; i < gradients.Length; i++)
                if (gradients[i].DType == dtype)
                {
                    table.Add(gradients[i].Count * dtype.Parts(), gradients[i].Address, gradients[i].Address);
                    places[i] = place++;
                }
        }
        UpdateList();
    }

    private void UpdateList()
    {
        var current = gpu.Stream;
        if (memory is not null && stream == current && places.AsSpan().SequenceEqual(known))
        {
            gpu.Keep(memory);
            return;
        }
        known = [];
        var made = gpu.Allocate(Guard.Bytes + places.Length * (sizeof(nint) + sizeof(double)));
        memory?.Dispose();
        (memory, stream) = (made, current);
        var numbers = List + sizeof(nint) * places.Length;
        var addresses = Array.ConvertAll(places, place => numbers + place * sizeof(double));
        fixed (nint* source = addresses)
            gpu.Upload(List, source, addresses.Length * (nint)sizeof(nint));
        known = [.. places];
    }
}
