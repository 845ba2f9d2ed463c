namespace Optim.Checkpoints;

/// <summary>An entry of an archive that is stored as it is.</summary>
/// <param name="Name">Its full name.</param>
/// <param name="Header">Where its local header begins.</param>
/// <param name="Place">Where its bytes begin.</param>
/// <param name="Size">How many there are.</param>
/// <param name="Crc">Their checksum.</param>
internal sealed record ZipEntry(string Name, long Header, long Place, long Size, uint Crc);
