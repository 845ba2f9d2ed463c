namespace Optim.Checkpoints;

/// <summary>An entry of an archive.</summary>
/// <param name="Name">Its full name.</param>
/// <param name="Header">Where its local header begins.</param>
/// <param name="Place">Where its bytes begin.</param>
/// <param name="Size">How many there are in the file.</param>
/// <param name="Crc">Their checksum.</param>
/// <param name="IsStored">Whether they are as they are; others are compressed, and are not read.</param>
internal sealed record ZipEntry(string Name, long Header, long Place, long Size, uint Crc, bool IsStored = true);
