namespace Optim.Checkpoints;

/// <summary>A pickle that is broken, or reaches for what no checkpoint needs; the message says what.</summary>
internal sealed class PickleException(string message) : Exception(message);
