using System.Runtime.InteropServices;

namespace Optim.Distributed;

/// <summary>
/// The C interface of an MPI library. Open MPI's handles are the addresses of what it exports; those of MPICH, and of what shares its binary interface
/// (Intel MPI, MS-MPI), are numbers.
/// </summary>
internal sealed unsafe class MpiLibrary
{
    private const int ThreadMultiple = 3;
    private const int Message = 1024;

    private readonly nint library;
    private readonly nint communicator;
    private readonly nint bytes;
    private readonly nint ignoredStatus;
    private readonly delegate* unmanaged<void*, int, nint, int, int, nint, nint*, int> send;
    private readonly delegate* unmanaged<void*, int, nint, int, int, nint, nint*, int> receive;
    private readonly delegate* unmanaged<nint*, int*, nint, int> test;

    public MpiLibrary(string path)
    {
        library = NativeLibrary.Load(path);
        var isOpenMpi = NativeLibrary.TryGetExport(library, "ompi_mpi_comm_world", out communicator);
        nint errorsReturn = 0x54000001;
        if (isOpenMpi)
            (bytes, errorsReturn) = (Export("ompi_mpi_byte"), Export("ompi_mpi_errors_return"));
        else
            (communicator, bytes, ignoredStatus) = (0x44000000, 0x4c00010d, 1);
        send = (delegate* unmanaged<void*, int, nint, int, int, nint, nint*, int>)Export("MPI_Isend");
        receive = (delegate* unmanaged<void*, int, nint, int, int, nint, nint*, int>)Export("MPI_Irecv");
        test = (delegate* unmanaged<nint*, int*, nint, int>)Export("MPI_Test");
        int provided,
            number;
        Check(((delegate* unmanaged<nint, nint, int, int*, int>)Export("MPI_Init_thread"))(0, 0, ThreadMultiple, &provided));
        Check(((delegate* unmanaged<nint, nint, int>)Export("MPI_Comm_set_errhandler"))(communicator, errorsReturn));
        Check(((delegate* unmanaged<nint, int*, int>)Export("MPI_Comm_rank"))(communicator, &number));
        Rank = number;
        Check(((delegate* unmanaged<nint, int*, int>)Export("MPI_Comm_size"))(communicator, &number));
        Size = number;
        var text = stackalloc byte[8192];
        Check(((delegate* unmanaged<byte*, int*, int>)Export("MPI_Get_library_version"))(text, &number));
        Version = Marshal
            .PtrToStringUTF8((nint)text, number)
            .Split('\n')[0]
            .Split(',')[0]
            .Trim()
            .Replace(":      \t", " ", StringComparison.Ordinal);
    }

    public int Rank { get; }

    public int Size { get; }

    public string Version { get; }

    public void Send(nint address, int count, int to, int tag, nint request) =>
        Check(send((void*)address, count, bytes, to, tag, communicator, (nint*)request));

    public void Receive(nint address, int count, int from, int tag, nint request) =>
        Check(receive((void*)address, count, bytes, from, tag, communicator, (nint*)request));

    public bool Test(nint request)
    {
        int flag;
        Check(test((nint*)request, &flag, ignoredStatus));
        return flag != 0;
    }

    public void Finish() => ((delegate* unmanaged<int>)Export("MPI_Finalize"))();

    private nint Export(string name) => NativeLibrary.GetExport(library, name);

    private void Check(int code)
    {
        if (code == 0)
            return;
        var text = stackalloc byte[Message];
        int length;
        _ = ((delegate* unmanaged<int, byte*, int*, int>)Export("MPI_Error_string"))(code, text, &length);
        throw new TransportException(Marshal.PtrToStringUTF8((nint)text, Math.Clamp(length, 0, Message)));
    }
}
