namespace Optim.Ptx;

/// <summary>A kernel's text is not as PTX has it, or does what it must not.</summary>
public sealed class PtxException(string message) : Exception(message);
