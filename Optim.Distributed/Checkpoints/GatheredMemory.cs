using System.Buffers.Binary;
using System.Text;
using Optim.Checkpoints;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Distributed;

/// <summary>A tensor of which every rank has a slice: reading it while a file is written asks the ranks for theirs, piece by piece.</summary>
internal sealed class GatheredMemory(IReadOnlyList<(int Rank, long Start, long Bytes)> slices, TensorView own) : DeferredMemory
{
    /// <summary>The slice of this rank, row-major.</summary>
    public TensorView Own => own;

    /// <summary>By what rank 0 asks for it.</summary>
    public int Number { get; set; }

    /// <summary>What asks the other ranks, while a file is written.</summary>
    public GatheredFile? File { get; set; }

    public override void Read(long place, Span<byte> bytes)
    {
        if (File is not { } file)
            throw new InvalidOperationException(
                "the state is spread over several ranks, and these write it together: save it by ShardedCheckpoint.Save, on every rank"
            );
        file.KeepAlive();
        foreach (var (rank, start, length) in slices)
        {
            var (from, to) = (Math.Max(place, start), Math.Min(place + bytes.Length, start + length));
            if (from < to)
                file.Read(this, rank, from - start, bytes[(int)(from - place)..(int)(to - place)]);
        }
    }

    /// <summary>Bytes of this rank's slice.</summary>
    public unsafe ReadOnlySpan<byte> Bytes(long from, int length) => new((void*)(own.Address + (nint)from), length);
}

/// <summary>
/// The writing of one file by all ranks: rank 0 writes and asks, the others answer until it says how it went. Only pieces of a megabyte are under way.
/// </summary>
internal sealed class GatheredFile(World world, IReadOnlyList<GatheredMemory> tensors)
{
    private const int Request = 32;
    private const int Asking = 0x7FFD;
    private const int Answering = 0x7FFE;
    private const string Operation = "save";

    private DateTime told = DateTime.UtcNow;

    private enum Kind
    {
        Give,
        Wait,
        Done,
    }

    /// <summary>Writes the file on rank 0; every rank returns when it is whole and on the disk, or throws as that one did.</summary>
    public void Write(string path, Tree tree)
    {
        foreach (var tensor in tensors)
            tensor.File = this;
        if (world.Rank > 0)
        {
            Answer(path);
            return;
        }
        try
        {
            TreeFile.Write(path, tree, null);
        }
        catch (Exception error) when (error is not WorldException)
        {
            End(error.Message);
            throw;
        }
        finally
        {
            foreach (var tensor in tensors)
                tensor.File = null;
        }
        End("");
    }

    public void Read(GatheredMemory tensor, int rank, long from, Span<byte> bytes)
    {
        if (rank == world.Rank)
        {
            tensor.Bytes(from, bytes.Length).CopyTo(bytes);
            return;
        }
        Send(rank, Kind.Give, tensor.Number, from, bytes.Length);
        var answer = TensorView.Zeros(DType.UInt8, bytes.Length);
        world.ReceiveNow(Operation, rank, answer, Answering);
        answer.AsSpan<byte>().CopyTo(bytes);
    }

    /// <summary>Ranks that are not asked for anything for a while hear that there is more to come.</summary>
    public void KeepAlive()
    {
        if (world.Size == 1 || DateTime.UtcNow - told < world.Timeout / 8)
            return;
        told = DateTime.UtcNow;
        for (var rank = 1; rank < world.Size; rank++)
            Send(rank, Kind.Wait, 0, 0, 0);
    }

    private void End(string problem)
    {
        var text = Encoding.UTF8.GetBytes(problem);
        for (var rank = 1; rank < world.Size; rank++)
        {
            Send(rank, Kind.Done, 0, 0, text.Length);
            if (text.Length > 0)
                world.SendNow(Operation, rank, TensorView.Of<byte>(text), Asking);
        }
    }

    private void Send(int rank, Kind kind, int number, long from, int length)
    {
        var request = TensorView.Zeros(DType.UInt8, Request);
        var words = request.AsSpan<byte>();
        BinaryPrimitives.WriteInt64LittleEndian(words, (long)kind);
        BinaryPrimitives.WriteInt64LittleEndian(words[8..], number);
        BinaryPrimitives.WriteInt64LittleEndian(words[16..], from);
        BinaryPrimitives.WriteInt64LittleEndian(words[24..], length);
        world.SendNow(Operation, rank, request, Asking);
    }

    private void Answer(string path)
    {
        var request = TensorView.Zeros(DType.UInt8, Request);
        while (true)
        {
            world.ReceiveNow(Operation, 0, request, Asking);
            var words = request.AsSpan<byte>();
            var kind = (Kind)BinaryPrimitives.ReadInt64LittleEndian(words);
            var number = (int)BinaryPrimitives.ReadInt64LittleEndian(words[8..]);
            var from = BinaryPrimitives.ReadInt64LittleEndian(words[16..]);
            var length = (int)BinaryPrimitives.ReadInt64LittleEndian(words[24..]);
            if (kind == Kind.Give)
                world.SendNow(Operation, 0, tensors[number].Own.Bytes(from, length), Answering);
            else if (kind == Kind.Done && length == 0)
                return;
            else if (kind == Kind.Done)
            {
                var text = TensorView.Zeros(DType.UInt8, length);
                world.ReceiveNow(Operation, 0, text, Asking);
                throw new CheckpointException($"rank 0 could not write {path}: {Encoding.UTF8.GetString(text.AsSpan<byte>())}");
            }
        }
    }
}

/// <summary>Windows of bytes.</summary>
internal static class ByteWindows
{
    /// <summary>Some bytes of a row-major tensor.</summary>
    public static TensorView Bytes(this TensorView view, long from, int length) =>
        new(view.Address + (nint)from, Layout.Contiguous(DType.UInt8, length), view.Owner);
}
